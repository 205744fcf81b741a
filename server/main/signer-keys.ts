/**
 * The keys of logs that a signer holds, as a server uses them.
 *
 * Which of them sign is for the log's own records to say. What it begins with is written down in the data folder
 * (`keys/remote/pinned.ts`) when it is created, or once its stored heads were found to be signed by keys that the
 * signer holds: a log whose keys were files until now changes over by itself.
 */
import { join } from 'node:path';
import { invariant, SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { LOG_KEY_PURPOSES, type LogKeyPurpose } from '../core/log-key.ts';
import type { LogKeyring, OpenedKeys } from '../keys/log-keyring.ts';
import { checkAlgorithm } from '../keys/remote/held-keys.ts';
import { formatPinned, type PinnedKeys, readPinned } from '../keys/remote/pinned.ts';
import type { Purpose, PurposeKey } from '../keys/remote/protocol.ts';
import {
  type Asking,
  createKeys,
  keysOf,
  RemoteMemory,
  RemoteSigner,
} from '../keys/remote/remote-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { KeysElsewhere } from '../log/logs.ts';
import { replayListed } from '../log/recover.ts';
import type { LogStore } from '../storage/store.ts';
import { ensureFolder, writeWhole } from './files.ts';

export interface SignerKeysOptions {
  readonly data: string;
  readonly signer: Asking;
  /** The operator's key, where the signer does not hold it. */
  readonly openOperator: () => Promise<Signer>;
}

export class SignerKeys implements KeysElsewhere {
  readonly #options: SignerKeysOptions;

  constructor(options: SignerKeysOptions) {
    this.#options = options;
  }

  /** The keys of log `name`, whose database is `store`. The signer is asked only if nothing is written down yet. */
  async open(name: string, origin: string, store: LogStore): Promise<OpenedKeys> {
    const { data, signer, openOperator } = this.#options;
    const folder = join(data, 'keys', 'logs', name);
    const pinned = readPinned(folder) ?? (await this.#pin(folder, origin, store));
    const { operator } = pinned;
    return {
      keys: new SignerKeyring(signer, origin, pinned),
      operator:
        operator === undefined
          ? await openOperator()
          : new RemoteSigner(signer, origin, 'operator', operator),
      signerMemory: new RemoteMemory(signer, origin),
    };
  }

  async identities(origin: string): Promise<readonly PublicKey[]> {
    return ofPurpose(await keysOf(this.#options.signer, origin), 'identity');
  }

  async #pin(folder: string, origin: string, store: LogStore): Promise<PinnedKeys> {
    const { signer } = this.#options;
    const isNew = (await store.readHead()) === undefined;
    const held = isNew ? await createKeys(signer, origin) : await keysOf(signer, origin);
    const pinned = isNew ? choose(origin, held) : await chosen(origin, held, store);
    ensureFolder(folder);
    for (const [file, text] of formatPinned(pinned)) writeWhole(join(folder, file), text, 0o600);
    return pinned;
  }
}

/** The keys of one log, each by the public half that the log announced. */
class SignerKeyring implements LogKeyring {
  readonly #signer: Asking;
  readonly #origin: string;
  /** What the log begins with. */
  readonly #first: PinnedKeys;

  constructor(signer: Asking, origin: string, first: PinnedKeys) {
    this.#signer = signer;
    this.#origin = origin;
    this.#first = first;
  }

  /** Asks nobody: a signer that has another key says so when it is to sign. */
  async open(purpose: LogKeyPurpose, _: number, publicKey: PublicKey): Promise<Signer> {
    return new RemoteSigner(this.#signer, this.#origin, purpose, publicKey);
  }

  async next(purpose: LogKeyPurpose, announced: readonly PublicKey[]): Promise<Signer> {
    const key =
      announced.length === 0 ? this.#first[purpose] : await this.#other(purpose, announced);
    return new RemoteSigner(this.#signer, this.#origin, purpose, key);
  }

  async #other(purpose: LogKeyPurpose, announced: readonly PublicKey[]): Promise<PublicKey> {
    const origin = this.#origin;
    const known = new Set(announced.map(({ keyid }) => keyid));
    const held = ofPurpose(await keysOf(this.#signer, origin), purpose);
    const [other, ...more] = held.filter(({ keyid }) => !known.has(keyid));
    if (other === undefined) {
      throw new SteleError(
        'not_found',
        `the signer has no ${purpose} key for ${origin} but those that the log announced: where it runs, run ` +
          `"stele signer add ${origin} --keys … --next ${purpose}"`,
      );
    }
    if (more.length > 0) {
      throw new SteleError(
        'conflict',
        `the signer has ${more.length + 1} ${purpose} keys for ${origin} that the log never announced: leave one ` +
          'of them in its folder',
      );
    }
    return other;
  }
}

function ofPurpose(held: readonly PurposeKey[], purpose: Purpose): readonly PublicKey[] {
  return held.filter((key) => key.purpose === purpose).map(({ publicKey }) => publicKey);
}

/** The signer's key of each purpose. Of several it has to be told which one is meant. */
function choose(origin: string, held: readonly PurposeKey[]): PinnedKeys {
  const of = (purpose: Purpose) => {
    const keys = ofPurpose(held, purpose);
    for (const { alg } of keys) checkAlgorithm(`the signer's ${purpose} key`, purpose, alg);
    if (keys.length > 1) {
      throw new SteleError(
        'conflict',
        `the signer has ${keys.length} ${purpose} keys for ${origin}: write the one to begin with into a file ` +
          `${purpose}.pub beside the log's others`,
      );
    }
    return keys[0];
  };
  const needed = (purpose: Purpose) => {
    const key = of(purpose);
    if (key !== undefined) return key;
    throw new SteleError('not_found', `the signer has no ${purpose} key for ${origin}`);
  };
  const [identity, anchor, sth] = [needed('identity'), needed('anchor'), needed('sth')];
  const operator = of('operator');
  return { identity, anchor, sth, ...(operator === undefined ? {} : { operator }) };
}

/** What a log with entries goes on with: every key that signs for it now has to be the signer's. */
async function chosen(
  origin: string,
  held: readonly PurposeKey[],
  store: LogStore,
): Promise<PinnedKeys> {
  const { history } = await replayListed(store, origin);
  invariant(history !== undefined, 'genesis is the first entry');
  const live = LOG_KEY_PURPOSES.flatMap((purpose) => history.live(purpose));
  for (const { purpose, publicKey } of live) {
    const its = ofPurpose(held, purpose);
    if (its.some(({ keyid }) => keyid === publicKey.keyid)) continue;
    throw new SteleError(
      'storage',
      `the signer's keys for ${origin} are not those that the log was signed with (its ${purpose} key is ` +
        `${its.map(({ keyid }) => keyid).join(', ') || 'missing'}, and the log announced ${publicKey.keyid}): give the ` +
        'signer the right keys',
    );
  }
  // What the log does not name, of an earlier build, is what the signer has.
  const unnamed = held.filter(({ purpose }) => !live.some((key) => key.purpose === purpose));
  const newest = LOG_KEY_PURPOSES.flatMap((purpose) => history.live(purpose).slice(-1));
  return choose(origin, [...newest, ...unnamed]);
}
