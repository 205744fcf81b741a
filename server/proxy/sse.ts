/**
 * Which events does a stream of server-sent events hold, and where exactly does each line end?
 *
 * The bytes are a provider's. They are forwarded as they came; this reads a copy. Lines are found in
 * bytes and not in text: LF and CR never occur inside another UTF-8 character, so an offset is exact
 * however the bytes were cut into chunks.
 *
 *     data: {"type":"message_stop"}\r\n\r\n
 *                                  ↑ where `watch` is asked, and what a cut points at
 *
 * [WHATWG HTML §9.2.6] One byte-order mark; LF, CRLF or CR; comments; several data lines joined by LF.
 * An event without its final blank line is given too, marked as such: some providers end that way.
 */
import {
  EVENT_BYTES_MAX,
  type EventSink,
  type Framer,
  HEAD_BYTES,
  type StreamEvent,
  Utf8Text,
} from './framing.ts';
import { Growing } from './growing.ts';

/** What a data line costs besides its bytes, so that a million empty ones are bounded too. */
const LINE_COST = 64;
const LF = 10;
const CR = 13;

export class SseParser implements Framer {
  readonly isBroken = false;
  readonly #sink: EventSink;
  readonly #bytesMax: number;
  readonly #text = new Utf8Text();
  readonly #line = new Growing();
  #isFirstLine = true;
  #isAfterCr = false;
  #name: string | undefined;
  #data = '';
  #lastLine = '';
  #lines = 0;
  #cost = 0;
  #isOversized = false;

  constructor(sink: EventSink, bytesMax = EVENT_BYTES_MAX) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  get hasInvalidUtf8(): boolean {
    return this.#text.hasInvalid;
  }

  /** Reads the next bytes; returns the offsets in `chunk` of the line ends that `watch` asked for. */
  push(chunk: Uint8Array): number[] {
    const cuts: number[] = [];
    let begin = 0;
    if (this.#isAfterCr && chunk.length > 0) {
      this.#isAfterCr = false;
      if (chunk[0] === LF) begin = 1;
    }
    let lf = chunk.indexOf(LF, begin);
    let cr = chunk.indexOf(CR, begin);
    while (lf >= 0 || cr >= 0) {
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr;
      if (this.#endLine(chunk.subarray(begin, end))) cuts.push(end);
      begin = end + 1;
      if (end === cr) {
        if (begin === chunk.length) this.#isAfterCr = true;
        else if (chunk[begin] === LF) begin++;
      }
      // Each is searched for again only once it has been passed: one pass over the chunk for both.
      if (lf >= 0 && lf < begin) lf = chunk.indexOf(LF, begin);
      if (cr >= 0 && cr < begin) cr = chunk.indexOf(CR, begin);
    }
    this.#keep(chunk.subarray(begin));
    return cuts;
  }

  /** The stream is over: what is left is given as a last event. */
  end(): void {
    if (this.#line.length > 0) this.#field(this.#line.peek());
    this.#line.clear();
    if (this.#lines > 0) this.#dispatch(true);
  }

  #keep(bytes: Uint8Array): void {
    if (this.#cost + this.#line.length + bytes.length <= this.#bytesMax) {
      this.#line.push(bytes);
      return;
    }
    this.#isOversized = true;
    const room = HEAD_BYTES - this.#line.length;
    if (room > 0) this.#line.push(bytes.subarray(0, room));
  }

  /** Takes the rest of a line; true if a cut is wanted at its end. */
  #endLine(rest: Uint8Array): boolean {
    let line = rest;
    if (this.#line.length > 0 || this.#cost + rest.length > this.#bytesMax) {
      this.#keep(rest);
      line = this.#line.peek();
    }
    const isCut = this.#field(line);
    this.#line.clear();
    return isCut;
  }

  #field(bytes: Uint8Array): boolean {
    let line = bytes;
    if (this.#isFirstLine) {
      this.#isFirstLine = false;
      if (line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf) line = line.subarray(3);
    }
    if (line.length === 0) {
      this.#dispatch(false);
      return false;
    }
    const colon = line.indexOf(58);
    const end = colon < 0 ? line.length : colon;
    const isEvent = equalsAscii(line.subarray(0, end), 'event');
    if (!isEvent && !equalsAscii(line.subarray(0, end), 'data')) return false;
    const begin = end + (line[end + 1] === 32 ? 2 : 1);
    if (isEvent) this.#name = this.#text.decode(line.subarray(begin)) || undefined;
    else this.#addData(line.subarray(begin));
    return this.#lines > 0 && this.#sink.watch(this.#event());
  }

  #addData(value: Uint8Array): void {
    this.#cost += value.length + LINE_COST;
    if (this.#cost > this.#bytesMax) this.#isOversized = true;
    this.#lastLine = this.#isOversized ? '' : this.#text.decode(value);
    if (!this.#isOversized) {
      this.#data += (this.#lines > 0 ? '\n' : '') + this.#lastLine;
    } else if (this.#lines === 0) {
      this.#data = this.#text.head(value);
    } else if (this.#data.length > HEAD_BYTES) {
      this.#data = this.#data.slice(0, HEAD_BYTES);
    }
    this.#lines++;
  }

  #event(): StreamEvent {
    return {
      name: this.#name,
      data: this.#data,
      line: this.#lastLine,
      lines: this.#lines,
      isOversized: this.#isOversized,
    };
  }

  #dispatch(isFinal: boolean): void {
    const event = this.#event();
    this.#name = undefined;
    this.#data = '';
    this.#lastLine = '';
    this.#lines = 0;
    this.#cost = 0;
    this.#isOversized = false;
    if (event.lines > 0) this.#sink.event(event, isFinal);
  }
}

function equalsAscii(bytes: Uint8Array, text: string): boolean {
  if (bytes.length !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[i] !== text.charCodeAt(i)) return false;
  return true;
}
