/**
 * The keys of logs that a signer holds, as a server uses them.
 *
 * Their public halves are written down in the data folder (`keys/remote/pinned.ts`) when a log is created, or
 * once its stored heads were found to be signed by them: a log whose keys were files until now changes over
 * by itself.
 */
import { join } from 'node:path';
import { utf8 } from '../core/bytes.ts';
import { openCheckpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { parseNote } from '../core/note.ts';
import { anchorVerifierKey, identityVerifierKey, type OpenedKeys } from '../keys/log-keys.ts';
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
import { findTreeHeadKey } from '../log/recover.ts';
import type { LogStore } from '../storage/store.ts';
import { ensureFolder, writeWhole } from './files.ts';

export interface SignerKeysOptions {
  readonly data: string;
  readonly signer: Asking;
  /** The operator's key, where the signer does not hold it. */
  readonly openOperator: () => Promise<Signer>;
}

export class SignerKeys {
  readonly #options: SignerKeysOptions;

  constructor(options: SignerKeysOptions) {
    this.#options = options;
  }

  /** The keys of log `name`, whose database is `store`. The signer is asked only if nothing is written down yet. */
  async open(name: string, origin: string, store: LogStore): Promise<OpenedKeys> {
    const { data, signer } = this.#options;
    const folder = join(data, 'keys', 'logs', name);
    const pinned = readPinned(folder) ?? (await this.#pin(folder, origin, store));
    const remote = (purpose: Purpose, key: PublicKey) =>
      new RemoteSigner(signer, origin, purpose, key);
    const { identity, anchor, sth, operator } = pinned;
    return {
      keys: {
        identity: remote('identity', identity),
        anchor: remote('anchor', anchor),
        sth: remote('sth', sth),
      },
      operator:
        operator === undefined ? await this.#options.openOperator() : remote('operator', operator),
      signerMemory: new RemoteMemory(signer, origin),
    };
  }

  async #pin(folder: string, origin: string, store: LogStore): Promise<PinnedKeys> {
    const { signer } = this.#options;
    const isNew = (await store.readHead()) === undefined;
    const held = isNew ? await createKeys(signer, origin) : await keysOf(signer, origin);
    const pinned = choose(origin, held);
    await checkStored(origin, pinned, store);
    ensureFolder(folder);
    for (const [file, text] of formatPinned(pinned)) writeWhole(join(folder, file), text, 0o600);
    return pinned;
  }
}

/** The signer's key of each purpose. Of several it has to be told which one is meant. */
function choose(origin: string, held: readonly PurposeKey[]): PinnedKeys {
  const of = (purpose: Purpose) => {
    const keys = held.filter((key) => key.purpose === purpose).map(({ publicKey }) => publicKey);
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

/** What the log was signed with so far has to be what the signer holds. */
async function checkStored(origin: string, pinned: PinnedKeys, store: LogStore): Promise<void> {
  const head = await store.readHead();
  const published = await store.readPublished();
  const identity = identityVerifierKey(origin, { publicKey: pinned.identity });
  const anchor = anchorVerifierKey(origin, { publicKey: pinned.anchor });
  try {
    if (head !== undefined) openCheckpoint(utf8(head.checkpoint), origin, [identity]);
    const bytes = published && utf8(published.checkpoint);
    // Every published head has the identity key's line and the anchor key's.
    if (bytes !== undefined && parseNote(bytes).signatures.length > 1) {
      openCheckpoint(bytes, origin, [anchor]);
    }
    const announced = await findTreeHeadKey(store, origin);
    if (announced !== undefined && announced !== pinned.sth.keyid) {
      throw new SteleError('unverified', `its sth key is ${pinned.sth.keyid}, not ${announced}`);
    }
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new SteleError(
      'storage',
      `the signer's keys for ${origin} are not those that the log was signed with (${cause.message}): give the ` +
        'signer the right keys',
      { cause },
    );
  }
}
