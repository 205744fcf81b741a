/**
 * Which values does a stream of JSON lines hold?
 *
 *     {"message":{…},"done":true}⏎
 *                                ↑ where `watch` is asked, and what a cut points at
 *
 * [NDJSON] A value a line, LF or CRLF; empty lines mean nothing. A last line without its end is given too.
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

const LF = 10;

export class LineParser implements Framer {
  readonly isBroken = false;
  readonly #sink: EventSink;
  readonly #bytesMax: number;
  readonly #text = new Utf8Text();
  readonly #line = new Growing();
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
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, begin)) {
      this.#keep(chunk.subarray(begin, end));
      if (this.#endLine(false)) cuts.push(end);
      begin = end + 1;
    }
    this.#keep(chunk.subarray(begin));
    return cuts;
  }

  end(): void {
    this.#endLine(true);
  }

  #keep(bytes: Uint8Array): void {
    const room = this.#bytesMax - this.#line.length;
    if (!this.#isOversized && bytes.length <= room) {
      this.#line.push(bytes);
      return;
    }
    this.#isOversized = true;
    const head = HEAD_BYTES - this.#line.length;
    if (head > 0) this.#line.push(bytes.subarray(0, head));
  }

  #endLine(isFinal: boolean): boolean {
    const bytes = this.#line.peek();
    const data = this.#isOversized ? this.#text.head(bytes) : this.#text.decode(bytes).trim();
    const event = eventOf(data, this.#isOversized);
    this.#line.clear();
    this.#isOversized = false;
    if (event.data === '') return false;
    const isCut = this.#sink.watch(event);
    this.#sink.event(event, isFinal);
    return isCut;
  }
}
