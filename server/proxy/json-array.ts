/**
 * Which values does one JSON array hold that comes in pieces?
 *
 *     [{"candidates":[…]},⏎{"candidates":[…]}]
 *                       ↑ `watch`           ↑ `close`
 *
 * Gemini streams so where it is not asked for events. What is no array is given as the one value that it is.
 */
import { Brackets } from './brackets.ts';
import { EVENT_BYTES_MAX, type EventSink, type Framer, ValueBytes } from './framing.ts';

const OPEN_LIST = 0x5b;

export class JsonArrayParser implements Framer {
  readonly isBroken = false;
  readonly #sink: EventSink;
  readonly #value: ValueBytes;
  readonly #brackets = new Brackets();
  /** How many brackets are open around a value; nothing before the first one. */
  #around: 0 | 1 | undefined;
  #isOver = false;

  constructor(sink: EventSink, bytesMax = EVENT_BYTES_MAX) {
    this.#sink = sink;
    this.#value = new ValueBytes(sink, bytesMax);
  }

  get hasInvalidUtf8(): boolean {
    return this.#value.hasInvalidUtf8;
  }

  push(chunk: Uint8Array): number[] {
    const cuts: number[] = [];
    let begin = 0;
    for (let i = 0; i < chunk.length && !this.#isOver; i++) {
      const byte = chunk[i] as number;
      const before = this.#brackets.depth;
      const isOver = this.#brackets.closes(byte);
      const { depth } = this.#brackets;
      if (depth === before) continue;
      this.#around ??= byte === OPEN_LIST ? 1 : 0;
      if (before === this.#around && depth > before) begin = i;
      const isValue = depth === this.#around && depth < before;
      if (isValue) this.#value.push(chunk.subarray(begin, i + 1));
      const isCut = isValue && this.#value.give(false);
      this.#isOver = isOver;
      if ((isOver && this.#sink.close()) || isCut) cuts.push(i);
    }
    if (this.#brackets.depth > (this.#around ?? 0)) this.#value.push(chunk.subarray(begin));
    return cuts;
  }

  end(): void {
    this.#value.give(true);
  }
}
