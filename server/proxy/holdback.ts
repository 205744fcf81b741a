/**
 * Which bytes of an answer may go to the client, and which must wait until the record is safe (P7)?
 *
 * No complete answer may leave before what is needed to record it is on disk. What makes an answer complete
 * depends on its form:
 *
 *   events   the byte that completes a terminal event: the line end of its data, its last bracket. The provider's
 *            reader says where (a cut); everything before it goes at once, so that no token is late.
 *   other    the last byte. Which one is last shows only at the end, so one byte is always kept back.
 *   empty    the head itself. The forwarder holds it; nothing passes here.
 *
 * An answer whose length was declared is complete with its last byte, whatever its form.
 */

export class HoldBack {
  readonly #declared: number | undefined;
  #received = 0;
  #held: Uint8Array[] = [];

  constructor(declared: number | undefined) {
    this.#declared = declared;
  }

  /**
   * Takes the next bytes of the answer, with its form as far as it is known and the offset of the first cut among
   * them; returns those that may go now, in order. Behind a cut nothing goes before `release`.
   */
  push(chunk: Uint8Array, form: 'events' | 'other', cut?: number): Uint8Array[] {
    if (chunk.length === 0) return [];
    const before = this.#received;
    this.#received += chunk.length;
    if (form === 'events' && this.#held.length > 0) {
      this.#held.push(chunk);
      return [];
    }
    let end = form === 'other' ? chunk.length - 1 : Math.min(cut ?? chunk.length, chunk.length);
    if (this.#declared !== undefined && this.#received >= this.#declared) {
      end = Math.min(end, Math.max(0, this.#declared - 1 - before));
    }
    const free = this.#held.splice(0);
    if (end > 0) free.push(chunk.subarray(0, end));
    if (end < chunk.length) this.#held.push(chunk.subarray(end));
    return free;
  }

  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** All that is held, once it is safe. */
  release(): Uint8Array[] {
    return this.#held.splice(0);
  }
}
