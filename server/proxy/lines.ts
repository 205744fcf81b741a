/**
 * Which values does a stream of JSON lines hold?
 *
 *     {"message":{…},"done":true}⏎
 *                               ↑ where `watch` is asked, and what a cut points at
 *
 * [NDJSON] A value a line, LF or CRLF; empty lines mean nothing. There are readers that take a value where its
 * last bracket closes, and do not wait for the end of the line; some take one that is spread over lines. So a
 * value ends there for us as well, and one without brackets with its line.
 */
import { Brackets } from './brackets.ts';
import { EVENT_BYTES_MAX, type EventSink, type Framer, ValueBytes } from './framing.ts';

const LF = 10;

export class LineParser implements Framer {
  readonly isBroken = false;
  readonly #value: ValueBytes;
  readonly #brackets = new Brackets();

  constructor(sink: EventSink, bytesMax = EVENT_BYTES_MAX) {
    this.#value = new ValueBytes(sink, bytesMax);
  }

  get hasInvalidUtf8(): boolean {
    return this.#value.hasInvalidUtf8;
  }

  push(chunk: Uint8Array): number[] {
    const cuts: number[] = [];
    let begin = 0;
    for (let i = 0; i < chunk.length; i++) {
      if (!this.#ends(chunk[i] as number)) continue;
      this.#value.push(chunk.subarray(begin, i + 1));
      begin = i + 1;
      if (this.#value.give(false)) cuts.push(i);
    }
    this.#value.push(chunk.subarray(begin));
    return cuts;
  }

  end(): void {
    this.#value.give(true);
  }

  /** Whether a value, or what is in the place of one, ends with this byte. */
  #ends(byte: number): boolean {
    if (byte !== LF) return this.#brackets.closes(byte);
    // Between the parts of a value it is a space. A text has none in it, so this one broke off.
    if (this.#brackets.depth > 0 && !this.#brackets.inText) return false;
    this.#brackets.clear();
    return true;
  }
}
