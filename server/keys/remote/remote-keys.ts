/**
 * The keys of a log that a signer holds, for whoever would use keys in files.
 *
 * What the signer gives is checked before it goes on: a signature that does not hold would be found only by
 * the readers of the log, or by its own next start.
 */
import { SteleError } from '../../core/errors.ts';
import type { PublicKey } from '../../core/keys.ts';
import { type Hash, type TreeSize, treeSize } from '../../core/units.ts';
import { checkSignatureNative } from '../engine.ts';
import type { HeadRoot, SignerMemory } from '../log-keys.ts';
import type { Signer } from '../signer.ts';
import type { SignerConnection } from './connection.ts';
import type { Purpose, PurposeKey } from './protocol.ts';

/** What is used of a connection. */
export type Asking = Pick<SignerConnection, 'ask' | 'checkThere' | 'onReturn' | 'path'>;

/** The public keys that the signer holds for an origin. Rejects with `storage` if it cannot be asked. */
export async function keysOf(signer: Asking, origin: string): Promise<readonly PurposeKey[]> {
  const answer = await signer.ask({ op: 'keys', origin });
  if (answer.kind !== 'keys') throw unexpected(answer.kind);
  return answer.keys;
}

/** The same, for a log that is being created: made where the signer may make them. */
export async function createKeys(signer: Asking, origin: string): Promise<readonly PurposeKey[]> {
  const answer = await signer.ask({ op: 'create', origin });
  if (answer.kind !== 'keys') throw unexpected(answer.kind);
  return answer.keys;
}

/** The newest head of an origin that the signer took; nothing if it knows none. */
export async function newestOf(signer: Asking, origin: string): Promise<HeadRoot | undefined> {
  const answer = await signer.ask({ op: 'newest', origin });
  if (answer.kind !== 'newest') throw unexpected(answer.kind);
  return answer.newest;
}

export class RemoteSigner implements Signer {
  readonly publicKey: PublicKey;
  readonly #signer: Asking;
  readonly #origin: string;
  readonly #purpose: Purpose;

  constructor(signer: Asking, origin: string, purpose: Purpose, publicKey: PublicKey) {
    this.publicKey = publicKey;
    this.#signer = signer;
    this.#origin = origin;
    this.#purpose = purpose;
  }

  async sign(message: Uint8Array): Promise<Uint8Array> {
    const { keyid } = this.publicKey;
    const purpose = this.#purpose;
    const answer = await this.#signer.ask({
      op: 'sign',
      origin: this.#origin,
      purpose,
      keyid,
      message,
    });
    if (answer.kind !== 'signature') throw unexpected(answer.kind);
    try {
      checkSignatureNative(this.publicKey, message, answer.signature);
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      const rule = `its signature by key ${keyid} does not hold`;
      throw new SteleError('storage', `the signer at ${this.#signer.path}: ${rule}`, { cause });
    }
    return answer.signature;
  }

  /** The connection is everybody's. */
  async close(): Promise<void> {}
}

/** A signer takes heads one after the other, so a proof from its newest head is asked for again at most once. */
const PROOFS_MAX = 3;

export class RemoteMemory implements SignerMemory {
  readonly #signer: Asking;
  readonly #origin: string;
  /** The size of the head that it took last, as far as is known. */
  #newest = treeSize(0);

  constructor(signer: Asking, origin: string) {
    this.#signer = signer;
    this.#origin = origin;
  }

  checkThere(): void {
    this.#signer.checkThere();
  }

  onReturn(listener: () => void): () => void {
    return this.#signer.onReturn(listener);
  }

  async extend(head: HeadRoot, prove: (from: TreeSize) => Promise<readonly Hash[]>): Promise<void> {
    let from = this.#newest < head.size ? this.#newest : treeSize(0);
    for (let i = 0; i < PROOFS_MAX; i++) {
      const proof = from === 0 ? [] : await prove(from);
      const answer = await this.#signer.ask({
        op: 'extend',
        origin: this.#origin,
        head,
        from,
        proof,
      });
      if (answer.kind === 'taken') {
        this.#newest = head.size;
        return;
      }
      if (answer.kind !== 'prove_from') throw unexpected(answer.kind);
      from = answer.from;
    }
    throw new SteleError(
      'storage',
      `the signer at ${this.#signer.path} asks for a proof from ${from}, ${PROOFS_MAX} times over: somebody ` +
        'else has it sign for this log',
      { retryAfterS: 30 },
    );
  }
}

function unexpected(kind: string): SteleError {
  return new SteleError('storage', `the signer answers with ${kind} what was not asked`);
}
