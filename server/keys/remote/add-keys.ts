/**
 * Keys of a log for a signer's folder: brought along, or made.
 *
 * The name of the log's folder follows from its origin and the file with the origin is written last, so that
 * what was cut short is completed by doing it again, and is no log until then.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../../core/bytes.ts';
import { invariant, SteleError } from '../../core/errors.ts';
import type { PublicKey } from '../../core/keys.ts';
import { checkOrigin } from '../../core/tree-head.ts';
import { createKeyFile } from '../file.ts';
import {
  findKeyFile,
  type KeySecrets,
  openKeyByFile,
  openKeyReference,
  placeKey,
  writeNewFile,
} from '../reference.ts';
import { checkAlgorithm, HeldKeys, SIGNER_LOGS_MAX } from './held-keys.ts';
import { KEYS_MAX, type Purpose } from './protocol.ts';

/** What a log's folder has, and what is made where none is brought along. */
const MADE = { identity: 'ed25519', anchor: 'ecdsa-p256', sth: 'ecdsa-p256' } as const;
type LogPurpose = keyof typeof MADE;

/** What a log changes in the course of its life. */
export type NextPurpose = 'identity' | 'anchor';

const LOG_PURPOSES = Object.keys(MADE) as LogPurpose[];

/** Keys that are brought along: a file, or a pkcs11: URI. */
export type GivenKeys = { readonly [P in Purpose]?: string | undefined };

export interface AddOptions {
  /** What a file that is named without its folder is in. */
  readonly cwd: string;
  readonly secrets: KeySecrets;
}

/**
 * Gives a signer's folder the keys of an origin, and resolves to their public halves. What is there already
 * stays, and a key that is brought along must be it, or `conflict`; so does a key that serves for anything else.
 */
export async function addKeys(
  folder: string,
  origin: string,
  given: GivenKeys,
  { cwd, secrets }: AddOptions,
): Promise<readonly { readonly purpose: Purpose; readonly key: PublicKey }[]> {
  checkOrigin(origin);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const held = await HeldKeys.open(folder, (path) => openKeyByFile(path, secrets));
  const place = new Placing(held, cwd, secrets);
  try {
    const known = held.folderOf(origin);
    // Checked before anything is written: a signer with too many would not start again.
    if (known === undefined && held.origins.length >= SIGNER_LOGS_MAX) {
      throw new SteleError(
        'too_large',
        `${folder}: it has ${SIGNER_LOGS_MAX} logs, and no more fit`,
      );
    }
    const own = known ?? join(folder, folderName(origin));
    const bases = [
      ...LOG_PURPOSES.map((purpose) => ({ purpose, base: join(own, purpose) })),
      ...(given.operator === undefined
        ? []
        : [{ purpose: 'operator' as const, base: join(folder, 'operator') }]),
    ];
    // All of them are judged before anything is written.
    for (const { purpose, base } of bases) await place.judge(base, purpose, given[purpose]);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    const added = [];
    for (const { purpose, base } of bases) {
      added.push({ purpose, key: await place.put(base, purpose, given[purpose]) });
    }
    const path = join(own, 'origin');
    // From here on the signer holds keys for it.
    if (!existsSync(path)) writeNewFile(path, `${origin}\n`);
    return added;
  } finally {
    await held.close();
  }
}

/**
 * Puts one more key of `purpose` beside those that a signer's folder has for an origin: the one that the
 * log announces next. `reference` names it, or it is made. Resolves to its public half.
 */
export async function addNext(
  folder: string,
  origin: string,
  {
    purpose,
    reference,
  }: { readonly purpose: NextPurpose; readonly reference?: string | undefined },
  { cwd, secrets }: AddOptions,
): Promise<PublicKey> {
  const held = await HeldKeys.open(folder, (path) => openKeyByFile(path, secrets));
  try {
    const keys = await held.keys(origin);
    const own = held.folderOf(origin);
    invariant(own !== undefined, 'there are keys of it');
    if (keys.length >= KEYS_MAX) {
      throw new SteleError('too_large', `${own}: ${KEYS_MAX} keys: take those away that ended`);
    }
    let number = 2;
    while (findKeyFile(join(own, `${purpose}-${number}`)) !== undefined) number++;
    const place = new Placing(held, cwd, secrets);
    return await place.put(join(own, `${purpose}-${number}`), purpose, reference);
  } finally {
    await held.close();
  }
}

class Placing {
  readonly #held: HeldKeys;
  readonly #cwd: string;
  readonly #secrets: KeySecrets;
  /** What was brought along in this very call. */
  readonly #brought = new Map<string, Purpose>();

  constructor(held: HeldKeys, cwd: string, secrets: KeySecrets) {
    this.#held = held;
    this.#cwd = cwd;
    this.#secrets = secrets;
  }

  /** Throws if the key that is brought along, if one is, cannot be the one of this purpose. */
  async judge(base: string, purpose: Purpose, reference: string | undefined): Promise<void> {
    if (reference === undefined) return;
    const brought = await openKeyReference(reference, this.#cwd, this.#secrets);
    await brought.close();
    const { publicKey } = brought;
    const found = findKeyFile(base);
    if (found !== undefined && (await this.#open(found)).keyid === publicKey.keyid) return;
    if (found !== undefined) {
      throw new SteleError(
        'conflict',
        `${found}: another ${purpose} key is there, and is never replaced`,
      );
    }
    checkAlgorithm(reference, purpose, publicKey.alg);
    this.#held.checkUnused(reference, publicKey);
    const other = this.#brought.get(publicKey.keyid);
    if (other !== undefined && other !== purpose) {
      throw new SteleError(
        'conflict',
        `${reference}: it was given for ${other} and for ${purpose}: each key has one purpose`,
      );
    }
    this.#brought.set(publicKey.keyid, purpose);
  }

  /** Puts the key where it is looked for, or makes one, unless it is there. */
  async put(base: string, purpose: Purpose, reference: string | undefined): Promise<PublicKey> {
    await this.judge(base, purpose, reference);
    const found = findKeyFile(base);
    if (found !== undefined) return this.#open(found);
    if (reference === undefined) return this.#make(base, purpose);
    return this.#open(placeKey(base, reference, this.#cwd));
  }

  async #open(path: string): Promise<PublicKey> {
    const signer = await openKeyByFile(path, this.#secrets);
    await signer.close();
    return signer.publicKey;
  }

  async #make(base: string, purpose: Purpose): Promise<PublicKey> {
    if (purpose === 'operator')
      throw new SteleError('not_found', `${base}: no operator key was given`);
    const { passphrase } = this.#secrets;
    const options = passphrase === undefined ? {} : { passphrase };
    const signer = await createKeyFile(`${base}.pem`, MADE[purpose], options);
    await signer.close();
    return signer.publicKey;
  }
}

/** The last part of the origin, for people, and a hash of all of it. */
function folderName(origin: string): string {
  const last = origin.split('/').at(-1) ?? '';
  const shown = last.replace(/[^A-Za-z0-9.-]/g, '-').replace(/^\./, '-');
  return `${shown.slice(0, 100)}-${toHex(sha256(utf8(origin))).slice(0, 12)}`;
}
