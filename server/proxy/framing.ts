/**
 * How are a stream's events framed in its bytes?
 *
 *     sse            data: {…}⏎⏎                     [WHATWG HTML §9.2.6]   `sse.ts`
 *     ndjson         {…}⏎                            a line each            `lines.ts`
 *     json-array     [{…},{…}]                       one body in pieces     `json-array.ts`
 *     eventstream    length, headers, payload, CRC   [AWS event stream]     `eventstream.ts`
 *
 * Every reader of one gives the same events, and says where a byte is that completes one which the sink asked
 * for. Memory is bounded: of an event over the bound only the beginning is kept.
 */
import { Growing } from './growing.ts';

export interface StreamEvent {
  readonly name: string | undefined;
  /** All data lines, joined by LF; of an event over the bound only the first characters. */
  readonly data: string;
  /** The data line read last, for those who follow the data as it grows. */
  readonly line: string;
  readonly lines: number;
  readonly isOversized: boolean;
}

export interface EventSink {
  /** What came of the event is complete but for one byte; true to have a cut at that byte. */
  watch(event: StreamEvent): boolean;
  /** The event is over. `isFinal` says that the stream ended inside of it. */
  event(event: StreamEvent, isFinal: boolean): void;
  /** What is around all events is closed, so that none can follow; true to have a cut at that byte. */
  close(): boolean;
}

export interface Framer {
  /** Reads the next bytes; returns the offsets in `chunk`, rising, of the bytes that the sink wants to wait. */
  push(chunk: Uint8Array): number[];
  /** The stream is over: what is left is given as a last event. */
  end(): void;
  readonly hasInvalidUtf8: boolean;
  /** Whether the frames could not be followed any further. */
  readonly isBroken: boolean;
}

/** Data of one event. Past it only the beginning is kept, enough to see what kind of event it is. */
export const EVENT_BYTES_MAX = 16_777_216;

export const HEAD_BYTES = 1_024;

/** An event whose data came in one piece. */
export function eventOf(data: string, isOversized: boolean, name?: string): StreamEvent {
  return { name, data, line: data, lines: 1, isOversized };
}

/** The bytes of one value of a stream as they come; of a value over the bound only the beginning. */
export class ValueBytes {
  readonly #sink: EventSink;
  readonly #bytesMax: number;
  readonly #text = new Utf8Text();
  readonly #bytes = new Growing();
  #isOversized = false;

  constructor(sink: EventSink, bytesMax: number) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  get hasInvalidUtf8(): boolean {
    return this.#text.hasInvalid;
  }

  push(bytes: Uint8Array): void {
    const room = this.#bytesMax - this.#bytes.length;
    if (!this.#isOversized && bytes.length <= room) {
      this.#bytes.push(bytes);
      return;
    }
    this.#isOversized = true;
    const head = HEAD_BYTES - this.#bytes.length;
    if (head > 0) this.#bytes.push(bytes.subarray(0, head));
  }

  /** Gives what came to the sink as an event, if it is more than space; true if a cut is wanted. */
  give(isFinal: boolean): boolean {
    const bytes = this.#bytes.peek();
    const text = this.#isOversized ? this.#text.head(bytes) : this.#text.decode(bytes);
    const event = eventOf(text.trim(), this.#isOversized);
    this.#bytes.clear();
    this.#isOversized = false;
    if (event.data === '') return false;
    const isCut = this.#sink.watch(event);
    this.#sink.event(event, isFinal);
    return isCut;
  }
}

/** Text of a stream that ought to be UTF-8. */
export class Utf8Text {
  readonly #strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #lenient = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });
  #hasInvalid = false;

  get hasInvalid(): boolean {
    return this.#hasInvalid;
  }

  decode(bytes: Uint8Array): string {
    try {
      return this.#strict.decode(bytes);
    } catch {
      // The official clients go on with replacement characters; the reader is told that it did happen.
      this.#hasInvalid = true;
      return this.#lenient.decode(bytes);
    }
  }

  /** The beginning of something longer, which may end inside a character. */
  head(bytes: Uint8Array): string {
    return this.#lenient.decode(bytes.subarray(0, HEAD_BYTES));
  }
}
