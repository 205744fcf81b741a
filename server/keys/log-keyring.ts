/**
 * Where do a log's own keys come from, when there may be several of a purpose, one after the other?
 *
 * Keys of a purpose are counted from 1, in the order in which the log announced them, and that order is all
 * that decides which file is which:
 *
 *     keys/logs/NAME/identity.pem      the first, which genesis names
 *                    identity-2.pem    the second: its file is made before the log announces it
 *
 * So nothing beside the log says which key is in use. A file that lies there unannounced is of a rotation
 * that was cut short, and is the one that the next attempt announces; its key never signed anything.
 */
import { join } from 'node:path';
import { hasCode, SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { LOG_KEY_ALG, type LogKeyPurpose } from '../core/log-key.ts';
import type { LogKeys, SignerMemory } from './log-keys.ts';
import type { Signer } from './signer.ts';

/** The private halves of one log's own keys, whoever holds them. */
export interface LogKeyring {
  /**
   * The signer of the `number`th key of a purpose, which the log announced as `publicKey`. Rejects with
   * `not_found`, and with where it belongs, if it is missing or is another key.
   */
  open(purpose: LogKeyPurpose, number: number, publicKey: PublicKey): Promise<Signer>;

  /**
   * The key that follows those of a purpose that the log announced: made now, unless it is there. Rejects
   * with `not_found`, and with what to do, where only somebody else can make it.
   */
  next(purpose: LogKeyPurpose, announced: readonly PublicKey[]): Promise<Signer>;
}

/** The keys that a log works with, wherever they are held. */
export interface OpenedKeys {
  readonly keys: LogKeyring;
  readonly operator: Signer;
  /** Where they are held by somebody who remembers the log's heads. */
  readonly signerMemory?: SignerMemory | undefined;
}

/** Opens a key file; with `mayCreate` it is made where it is missing. */
export type OpenLogKey = (
  path: string,
  alg: 'ed25519' | 'ecdsa-p256',
  mayCreate?: boolean,
) => Promise<Signer>;

/** Identity keys are changed on demand, so this many are some decades. */
const NUMBERS_LOOKED_AT = 64;

/** A log's keys in files of one folder. */
export class LogKeyFiles implements LogKeyring {
  readonly #folder: string;
  readonly #open: OpenLogKey;

  constructor(folder: string, open: OpenLogKey) {
    this.#folder = folder;
    this.#open = open;
  }

  async open(purpose: LogKeyPurpose, number: number, publicKey: PublicKey): Promise<Signer> {
    const path = this.#path(purpose, number);
    const signer = await this.#open(path, LOG_KEY_ALG[purpose]).catch((cause: unknown) => {
      if (!hasCode(cause, 'not_found')) throw cause;
      const rule = `the log announced key ${publicKey.keyid}: bring it back from a backup`;
      throw new SteleError('not_found', `${path}: it is missing, and ${rule}`, { cause });
    });
    checkIs(signer, publicKey, path);
    return signer;
  }

  next(purpose: LogKeyPurpose, announced: readonly PublicKey[]): Promise<Signer> {
    return this.#open(this.#path(purpose, announced.length + 1), LOG_KEY_ALG[purpose], true);
  }

  /** Every key of a purpose that lies there, for whoever cannot ask the log which ones it announced. */
  async held(purpose: LogKeyPurpose): Promise<Signer[]> {
    const held: Signer[] = [];
    for (let number = 1; number <= NUMBERS_LOOKED_AT; number++) {
      try {
        held.push(await this.#open(this.#path(purpose, number), LOG_KEY_ALG[purpose]));
      } catch (error) {
        // One that has ended may have been taken away.
        if (!hasCode(error, 'not_found')) throw error;
      }
    }
    return held;
  }

  #path(purpose: LogKeyPurpose, number: number): string {
    return join(this.#folder, `${purpose}${number === 1 ? '' : `-${number}`}.pem`);
  }
}

/** Keys that are there already, one of each purpose. */
export function keyringOf(keys: Pick<LogKeys, 'identity' | 'anchor'>): LogKeyring {
  const held: { readonly [purpose in LogKeyPurpose]?: Signer } = keys;
  const get = async (purpose: LogKeyPurpose, number: number): Promise<Signer> => {
    const signer = number === 1 ? held[purpose] : undefined;
    if (signer !== undefined) return signer;
    throw new SteleError('not_found', `there is no ${purpose} key ${number}`);
  };
  return {
    open: async (purpose, number, publicKey) => {
      const signer = await get(purpose, number);
      checkIs(signer, publicKey, `${purpose} key ${number}`);
      return signer;
    },
    next: (purpose, announced) => get(purpose, announced.length + 1),
  };
}

function checkIs(signer: Signer, { keyid }: PublicKey, where: string): void {
  if (signer.publicKey.keyid === keyid) return;
  throw new SteleError(
    'not_found',
    `${where}: it is key ${signer.publicKey.keyid}, and the log announced ${keyid}: bring that one back ` +
      'from a backup',
  );
}
