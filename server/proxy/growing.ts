/**
 * Bytes that come in pieces of any size, put together in one buffer.
 *
 * A list of pieces would cost a hundred bytes of memory for each piece of one byte. The buffer doubles
 * instead, and a caller that has its own bound asks `length` before it pushes.
 */
import { free } from '../core/free.ts';

const KEPT_BYTES_MAX = 65_536;

export class Growing {
  #buffer = new Uint8Array(256);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    const needed = this.#length + bytes.length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#length));
      free(this.#buffer);
      this.#buffer = larger;
    }
    this.#buffer.set(bytes, this.#length);
    this.#length = needed;
  }

  /** What came so far; good until the next call. */
  peek(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Starts again, and gives a large buffer back. */
  clear(): void {
    if (this.#buffer.length > KEPT_BYTES_MAX) {
      free(this.#buffer);
      this.#buffer = new Uint8Array(256);
    }
    this.#length = 0;
  }
}
