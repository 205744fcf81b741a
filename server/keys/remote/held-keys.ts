/**
 * Which keys does a signer hold, and for which logs?
 *
 *     KEYS/operator.pem           signs control records of all of them; it need not be here
 *     KEYS/team-a/origin          one line: log.example.com/logs/team-a
 *     KEYS/team-a/identity.pem    a PKCS#8 file, or identity.pkcs11: one line, the URI of a key in a token
 *     KEYS/team-a/anchor.pem
 *     KEYS/team-a/sth.pem
 *
 * A purpose may have several keys: `identity-2.pem` is the successor that an announced rotation is about.
 * The names of the folders mean nothing. A key that is here for two purposes, or for two logs, is refused
 * before anything is signed: what it said for one could be taken for the other.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { invariant, malformed, SteleError, shown } from '../../core/errors.ts';
import type { Algorithm, PublicKey } from '../../core/keys.ts';
import { checkOrigin } from '../../core/tree-head.ts';
import type { Signer } from '../signer.ts';
import { KEYS_MAX, type Purpose } from './protocol.ts';

/** Opens the key of a file that ends in .pem or .pkcs11. */
export type OpenKey = (path: string) => Promise<Signer>;

/** Logs that one signer holds keys of. */
export const SIGNER_LOGS_MAX = 16_384;

/** What each purpose's keys are. An operator's is any that a verifier knows. */
export const PURPOSE_ALGORITHMS: { readonly [P in Purpose]: readonly Algorithm[] } = {
  identity: ['ed25519'],
  anchor: ['ecdsa-p256'],
  sth: ['ecdsa-p256'],
  operator: ['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'rsa-pss'],
};

/** What a log needs to have, each at least once. */
const NEEDED = ['identity', 'anchor', 'sth'] as const;

const KEY_FILE = /^(identity|anchor|sth)(?:-[a-z0-9-]+)?\.(?:pem|pkcs11)$/;
const OPERATOR_FILE = /^operator(?:-[a-z0-9-]+)?\.(?:pem|pkcs11)$/;

export interface HeldKey {
  readonly purpose: Purpose;
  readonly signer: Signer;
}

export class HeldKeys {
  readonly #folder: string;
  readonly #open: OpenKey;
  readonly #logs = new Map<string, readonly HeldKey[]>();
  readonly #folders = new Set<string>();
  /** Where each key is, by its ID. */
  readonly #places = new Map<string, string>();
  #operators: readonly HeldKey[] = [];
  #looking: Promise<void> = Promise.resolve();

  private constructor(folder: string, open: OpenKey) {
    this.#folder = folder;
    this.#open = open;
  }

  /** Opens every key of `folder`. Rejects with the file and the rule if one cannot be used. */
  static async open(folder: string, open: OpenKey): Promise<HeldKeys> {
    const held = new HeldKeys(folder, open);
    try {
      held.#operators = await held.#openAll(folder, OPERATOR_FILE, '');
      await held.#lookAgain();
    } catch (error) {
      await held.close();
      throw error;
    }
    return held;
  }

  get origins(): readonly string[] {
    return [...this.#logs.keys()];
  }

  /** Whether there are keys of an origin; a folder that was made since the start is found. */
  async has(origin: string): Promise<boolean> {
    if (!this.#logs.has(origin)) {
      await this.#alone(async () => {
        if (!this.#logs.has(origin)) await this.#lookAgain();
      });
    }
    return this.#logs.has(origin);
  }

  /** The keys of an origin; `not_found` if there are none. */
  async keys(origin: string): Promise<readonly HeldKey[]> {
    const keys = (await this.has(origin)) ? this.#logs.get(origin) : undefined;
    if (keys === undefined) {
      throw new SteleError(
        'not_found',
        `the signer has no keys for ${shown(origin)}: run "stele signer add ${origin} --keys ${this.#folder}"`,
      );
    }
    return [...keys, ...this.#operators];
  }

  /** The keys of an origin, with those that were put into its folder since the start. */
  async keysAnew(origin: string): Promise<readonly HeldKey[]> {
    await this.keys(origin);
    await this.#alone(async () => {
      const folder = this.folderOf(origin);
      const known = this.#logs.get(origin);
      invariant(folder !== undefined && known !== undefined, 'keys are not taken away');
      this.#logs.set(origin, [...known, ...(await this.#openAll(folder, KEY_FILE, origin))]);
    });
    return this.keys(origin);
  }

  /** The folder of an origin's keys, where there is one. */
  folderOf(origin: string): string | undefined {
    const [key] = this.#logs.get(origin) ?? [];
    const path = key && this.#places.get(key.signer.publicKey.keyid);
    return path && dirname(path);
  }

  /** Throws `conflict` if the key serves for something already. */
  checkUnused(what: string, { keyid }: PublicKey): void {
    const elsewhere = this.#places.get(keyid);
    if (elsewhere === undefined) return;
    throw new SteleError(
      'conflict',
      `${what}: key ${keyid} is ${elsewhere} too: each key has one purpose, in one log`,
    );
  }

  async close(): Promise<void> {
    const all = [...this.#operators, ...[...this.#logs.values()].flat()];
    await Promise.all(all.map(({ signer }) => signer.close()));
  }

  /** One look into the folder at a time: two would open the same key twice. */
  async #alone(look: () => Promise<void>): Promise<void> {
    const before = this.#looking;
    const looking = before.then(look);
    this.#looking = looking.catch(() => {});
    await looking;
  }

  async #lookAgain(): Promise<void> {
    for (const entry of readdirSync(this.#folder, { withFileTypes: true })) {
      const { name } = entry;
      if (name.startsWith('.') || this.#folders.has(name)) continue;
      if (!entry.isDirectory()) {
        if (OPERATOR_FILE.test(name)) continue;
        throw malformed(
          join(this.#folder, name),
          'neither the folder of a log nor an operator key',
        );
      }
      await this.#openLog(name);
    }
  }

  async #openLog(name: string): Promise<void> {
    const folder = join(this.#folder, name);
    const origin = readOrigin(folder);
    // Being made: its origin is written last.
    if (origin === undefined) return;
    if (this.#logs.has(origin)) {
      throw new SteleError(
        'conflict',
        `${folder}: ${shown(origin)} has keys in another folder too`,
      );
    }
    if (this.#logs.size >= SIGNER_LOGS_MAX) {
      throw new SteleError('too_large', `${this.#folder}: over ${SIGNER_LOGS_MAX} logs`);
    }
    const keys = await this.#openAll(folder, KEY_FILE, origin);
    for (const purpose of NEEDED) {
      if (keys.some((key) => key.purpose === purpose)) continue;
      throw new SteleError('not_found', `${folder}: it has no ${purpose} key`);
    }
    this.#folders.add(name);
    this.#logs.set(origin, keys);
  }

  async #openAll(folder: string, form: RegExp, origin: string): Promise<HeldKey[]> {
    const files = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
      .sort();
    const forKeys = files.filter((file) => isOfKey(file, folder, form, origin));
    if (forKeys.length > KEYS_MAX) {
      throw new SteleError('too_large', `${folder}: over ${KEYS_MAX} keys`);
    }
    const known = new Set(this.#places.values());
    const opened: (HeldKey & { readonly path: string })[] = [];
    try {
      for (const file of forKeys) {
        const path = join(folder, file);
        if (known.has(path)) continue;
        const purpose = purposeOf(file);
        const signer = await this.#open(path);
        opened.push({ path, purpose, signer });
        this.#checkKey(path, purpose, signer);
      }
      return opened;
    } catch (error) {
      // What is wrong may be put right, and then all of them are looked at again.
      for (const { path, signer } of opened) await this.#letGo(path, signer);
      throw error;
    }
  }

  async #letGo(path: string, signer: Signer): Promise<void> {
    const { keyid } = signer.publicKey;
    if (this.#places.get(keyid) === path) this.#places.delete(keyid);
    await signer.close();
  }

  #checkKey(path: string, purpose: Purpose, { publicKey }: Signer): void {
    checkAlgorithm(path, purpose, publicKey.alg);
    this.checkUnused(path, publicKey);
    this.#places.set(publicKey.keyid, path);
  }
}

/** Whether a file is one of keys; throws `malformed` for one that has no place in a log's folder. */
function isOfKey(file: string, folder: string, form: RegExp, origin: string): boolean {
  if (form.test(file)) return true;
  if (origin === '' || file === 'origin') return false;
  throw malformed(
    join(folder, file),
    'not the name of a key: identity, anchor or sth, and .pem or .pkcs11',
  );
}

/** Throws `malformed` unless keys of this algorithm serve the purpose. */
export function checkAlgorithm(what: string, purpose: Purpose, alg: Algorithm): void {
  const known = PURPOSE_ALGORITHMS[purpose];
  if (known.includes(alg)) return;
  throw malformed(what, `${alg} where a key for ${purpose} is ${known.join(' or ')}`);
}

function purposeOf(file: string): Purpose {
  return basename(file).split(/[-.]/)[0] as Purpose;
}

function readOrigin(folder: string): string | undefined {
  const path = join(folder, 'origin');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new SteleError('storage', `${path}: it cannot be read`, { cause });
  }
  const origin = text.replace(/\n$/, '');
  checkOrigin(origin);
  return origin;
}
