/** What the signer that holds the logs' keys remembers of their heads, as one of the memories (P2). */
import { type Asking, newestOf } from '../keys/remote/remote-keys.ts';
import type { Known, Memory } from './memories.ts';

export class SignerHeads implements Memory {
  readonly kind = 'signer';
  /** Where it cannot be asked it does not sign either, so nobody has to be kept from signing. */
  readonly isLocal = false;
  readonly #signer: Asking;

  constructor(signer: Asking) {
    this.#signer = signer;
  }

  placeOf(): string {
    return this.#signer.path;
  }

  async recall(origin: string): Promise<Known | undefined> {
    const newest = await newestOf(this.#signer, origin);
    return newest && { ...newest, origin };
  }
}
