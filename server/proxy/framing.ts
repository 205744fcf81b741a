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
