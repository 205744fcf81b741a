/**
 * Which bytes of an answer may go to the client, and which must wait until the record is safe (P7)?
 *
 * No complete answer may leave before what is needed to record it is on disk. What makes an answer complete
 * depends on its form:
 *
 *   events   the byte that completes a terminal event: the line end of its data, its last bracket. The provider's
 *            reader says where (a cut); everything before it goes at once, so that no token is late.
 *   body     the last byte that is no space, since there are clients that take JSON where its last bracket closes.
 *            Which one is last shows only at the end, so the last so far is always kept back.
 *   coded    the last bytes of a compressed body: the very last are a checksum, and a client that decodes as it
 *            reads has the content without them.
 *   empty    the head itself. The forwarder holds it; nothing passes here.
 *
 * An answer whose length was declared is complete with its last byte, whatever its form.
 */

export type AnswerForm = 'events' | 'body' | 'coded';

/** More space than this behind a body is nobody's, and goes on but for its last byte. */
const SPACE_BYTES_MAX = 4_096;

/** [RFC 1952] 8 bytes of trailer, behind what a flush and an empty last block cost; other codings need fewer. */
const CODED_BYTES = 64;

export class HoldBack {
  readonly #declared: number | undefined;
  #received = 0;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #hasBegun = false;

  constructor(declared: number | undefined) {
    this.#declared = declared;
  }

  /**
   * Takes the next bytes of the answer, with its form as far as it is known and the offset of the first cut among
   * them; returns those that may go now, in order. Behind a cut nothing goes before `release`.
   */
  push(chunk: Uint8Array, form: AnswerForm, cut?: number): Uint8Array[] {
    if (chunk.length === 0) return [];
    const wasHolding = this.isHolding;
    this.#received += chunk.length;
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    let waiting = this.#heldBytes;
    if (form === 'coded') waiting = CODED_BYTES;
    else if (form === 'body') waiting = this.#behindBody(chunk);
    else if (!wasHolding) waiting = chunk.length - Math.min(cut ?? chunk.length, chunk.length);
    if (this.#declared !== undefined) {
      waiting = Math.max(waiting, this.#received - this.#declared + 1);
    }
    return this.#take(this.#heldBytes - waiting);
  }

  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** All that is held, once it is safe. */
  release(): Uint8Array[] {
    return this.#take(this.#heldBytes);
  }

  /** How many bytes there are from the last one on that is no space. */
  #behindBody(chunk: Uint8Array): number {
    const last = chunk.findLastIndex((byte) => !isSpace(byte));
    this.#hasBegun ||= last >= 0;
    // Space before a body keeps its connection open, and is not kept waiting.
    if (!this.#hasBegun) return 1;
    const bytes = last >= 0 ? chunk.length - last : this.#heldBytes;
    return bytes > SPACE_BYTES_MAX ? 1 : bytes;
  }

  /** The first bytes of those that are held; none for a number below 1. */
  #take(bytes: number): Uint8Array[] {
    const taken: Uint8Array[] = [];
    for (let left = bytes; left > 0; ) {
      const [first] = this.#held;
      if (first === undefined) break;
      if (first.length > left) this.#held[0] = first.subarray(left);
      else this.#held.shift();
      const piece = first.subarray(0, left);
      taken.push(piece);
      left -= piece.length;
      this.#heldBytes -= piece.length;
    }
    return taken;
  }
}

/** [RFC 8259 §2] */
function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
