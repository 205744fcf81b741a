/**
 * Which values does one JSON array hold that comes in pieces?
 *
 *     [{"candidates":[…]},⏎{"candidates":[…]}]
 *                       ↑ `watch`           ↑ `close`
 *
 * Gemini streams so where it is not asked for events. Brackets are counted in bytes, outside of texts: none of
 * them occurs inside another UTF-8 character. What is no array is given as the one value that it is.
 */
import {
  EVENT_BYTES_MAX,
  type EventSink,
  eventOf,
  type Framer,
  HEAD_BYTES,
  Utf8Text,
} from './framing.ts';
import { Growing } from './growing.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;

export class JsonArrayParser implements Framer {
  readonly isBroken = false;
  readonly #sink: EventSink;
  readonly #bytesMax: number;
  readonly #text = new Utf8Text();
  readonly #value = new Growing();
  #state: 'before' | 'inside' | 'after' = 'before';
  #isArray = false;
  /** Brackets open inside the value that is being read. */
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #isOversized = false;

  constructor(sink: EventSink, bytesMax = EVENT_BYTES_MAX) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  get hasInvalidUtf8(): boolean {
    return this.#text.hasInvalid;
  }

  push(chunk: Uint8Array): number[] {
    const cuts: number[] = [];
    let begin = 0;
    for (let i = 0; i < chunk.length && this.#state !== 'after'; i++) {
      const byte = chunk[i] as number;
      if (this.#inString) {
        this.#inText(byte);
      } else if (byte === QUOTE) {
        this.#inString = true;
      } else if (byte === OPEN || byte === OPEN_LIST) {
        if (this.#depth === 0) begin = i;
        this.#open(byte);
      } else if (byte === CLOSE || byte === CLOSE_LIST) {
        const isValue = this.#depth === 1;
        if (isValue) this.#keep(chunk.subarray(begin, i + 1));
        if (this.#close()) cuts.push(i);
      }
    }
    if (this.#depth > 0) this.#keep(chunk.subarray(begin));
    return cuts;
  }

  end(): void {
    if (this.#value.length > 0) this.#give(true);
  }

  #inText(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#inString = false;
  }

  #open(byte: number): void {
    if (this.#state === 'before' && byte === OPEN_LIST) this.#isArray = true;
    else this.#depth++;
    this.#state = 'inside';
  }

  /** True if a cut is wanted at this bracket. */
  #close(): boolean {
    if (this.#state === 'before') return false;
    if (this.#depth > 1) {
      this.#depth--;
      return false;
    }
    const isValue = this.#depth === 1;
    this.#depth = 0;
    const isCut = isValue && this.#give(false);
    if (isValue && this.#isArray) return isCut;
    this.#state = 'after';
    return this.#sink.close() || isCut;
  }

  #give(isFinal: boolean): boolean {
    const bytes = this.#value.peek();
    const data = this.#isOversized ? this.#text.head(bytes) : this.#text.decode(bytes);
    const event = eventOf(data, this.#isOversized);
    this.#value.clear();
    this.#isOversized = false;
    const isCut = this.#sink.watch(event);
    this.#sink.event(event, isFinal);
    return isCut;
  }

  #keep(bytes: Uint8Array): void {
    const room = this.#bytesMax - this.#value.length;
    if (!this.#isOversized && bytes.length <= room) {
      this.#value.push(bytes);
      return;
    }
    this.#isOversized = true;
    const head = HEAD_BYTES - this.#value.length;
    if (head > 0) this.#value.push(bytes.subarray(0, head));
  }
}
