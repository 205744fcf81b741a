/**
 * What does a large JSON body say besides its long texts?
 *
 *     {"model":"m","messages":[{"content":[{"image_url":{"url":"data:image/png;base64,iVBORw0KGgo…
 *     ──────────────────────────── kept ────────────────────────────┘ 40 MB of this are not
 *
 * A request with pictures is large because of a few texts in it. Cut short they leave a small body of the same
 * form, from which model, parameters and counts are read as ever; what it says in full is not to be had from
 * it. Bytes come in pieces of any size, and memory is bounded: a body that is large for another reason is
 * not read.
 */
import { Growing } from './growing.ts';

/** Enough of a text for ids, names and the beginning of an address. */
const TEXT_BYTES_MAX = 1_024;

const KEPT_BYTES_MAX = 4_194_304;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const UNICODE = 0x75;

export class Skimmer {
  readonly #kept = new Growing();
  readonly #bytesMax: number;
  #isTooLarge = false;
  #inText = false;
  /** Bytes of the text so far, and what is still to come of an escape that has begun. */
  #textBytes = 0;
  #escape = 0;
  #isEscaped = false;
  #isCut = false;

  constructor(bytesMax = KEPT_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  push(chunk: Uint8Array): void {
    let begin = 0;
    let i = 0;
    while (i < chunk.length) {
      if (this.#isCut) {
        begin = this.#skip(chunk, i);
        if (this.#isCut) return;
        // The closing quote.
        this.#inText = false;
        i = begin + 1;
        continue;
      }
      const byte = chunk[i] as number;
      if (this.#inText && this.#textBytes >= TEXT_BYTES_MAX && this.#mayCut(byte)) {
        this.#keep(chunk.subarray(begin, i));
        this.#isCut = true;
        continue;
      }
      this.#step(byte);
      i++;
    }
    this.#keep(chunk.subarray(begin));
  }

  /** The body with its long texts cut short; nothing if that is still too much. */
  end(): Uint8Array | undefined {
    return this.#isTooLarge ? undefined : this.#kept.peek();
  }

  #step(byte: number): void {
    if (!this.#inText) {
      if (byte === QUOTE) {
        this.#inText = true;
        this.#textBytes = 0;
      }
      return;
    }
    this.#textBytes++;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      if (byte === UNICODE) this.#escape = 4;
    } else if (this.#escape > 0) this.#escape--;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#inText = false;
  }

  /** Not inside an escape, and not inside a character: those go on with bytes of the form 10xxxxxx. */
  #mayCut(next: number): boolean {
    return !this.#isEscaped && this.#escape === 0 && (next & 0xc0) !== 0x80;
  }

  /** Where the rest of a text ends: at its closing quote, which is kept. */
  #skip(chunk: Uint8Array, from: number): number {
    let i = from;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      i++;
    }
    // Searched for natively; a quote behind a backslash is one more.
    while (i < chunk.length) {
      const quote = chunk.indexOf(QUOTE, i);
      const end = quote < 0 ? chunk.length : quote;
      const slash = chunk.subarray(i, end).indexOf(BACKSLASH);
      if (slash < 0) {
        if (quote >= 0) this.#isCut = false;
        return end;
      }
      i += slash + 2;
    }
    this.#isEscaped = i > chunk.length;
    return chunk.length;
  }

  #keep(bytes: Uint8Array): void {
    this.#isTooLarge ||= this.#kept.length + bytes.length > this.#bytesMax;
    if (this.#isTooLarge) this.#kept.clear();
    else this.#kept.push(bytes);
  }
}
