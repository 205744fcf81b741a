/**
 * Which events does a binary stream by AWS hold?
 *
 *     ┌ prelude ────────────────┐
 *     total    headers   CRC-32    headers      payload      CRC-32
 *     4 bytes  4 bytes   4 bytes   …            …            4 bytes, of all before
 *                                                                  ↑ the last byte, what a cut points at
 *
 * [AWS event stream encoding] Integers are big-endian. A header is a name and a typed value; what is told apart
 * here is text. `:message-type` says whether the payload is an event, named by `:event-type`, or an exception.
 * Both checksums are checked: behind one that fails nothing can be followed any more.
 *
 * An exception is given as an event `error` with the members of OpenAI's errors, and the payload of
 * `InvokeModelWithResponseStream`, base64 in a member `bytes`, as what it holds.
 */
import { crc32 } from 'node:zlib';
import {
  EVENT_BYTES_MAX,
  type EventSink,
  eventOf,
  type Framer,
  type StreamEvent,
  Utf8Text,
} from './framing.ts';
import { Growing } from './growing.ts';
import { members, parseLenient, textOf } from './providers/values.ts';

const PRELUDE = 12;
const CHECKSUM = 4;

/** [AWS event stream encoding] Headers of one message. */
const HEADERS_MAX = 131_072;

/** Bytes of a header's value, by its type; of 6 and 7, bytes and text, the length comes first. */
const FIXED: readonly (number | undefined)[] = [0, 0, 1, 2, 4, 8, undefined, undefined, 8, 16];
const TEXT = 7;

export class EventStreamParser implements Framer {
  readonly #sink: EventSink;
  readonly #bytesMax: number;
  readonly #text = new Utf8Text();
  readonly #frame = new Growing();
  #total: number | undefined;
  #received = 0;
  #crc = 0;
  #isBroken = false;

  constructor(sink: EventSink, bytesMax = EVENT_BYTES_MAX) {
    this.#sink = sink;
    this.#bytesMax = bytesMax;
  }

  get hasInvalidUtf8(): boolean {
    return this.#text.hasInvalid;
  }

  get isBroken(): boolean {
    return this.#isBroken;
  }

  push(chunk: Uint8Array): number[] {
    const cuts: number[] = [];
    let at = 0;
    while (at < chunk.length && !this.#isBroken) {
      const wanted = (this.#total ?? PRELUDE) - this.#received;
      const piece = chunk.subarray(at, at + wanted);
      at += piece.length;
      this.#take(piece);
      if (piece.length < wanted) break;
      if (this.#total === undefined) this.#readPrelude();
      else if (this.#endFrame()) cuts.push(at - 1);
    }
    return cuts;
  }

  /** A frame that broke off is no event. */
  end(): void {
    if (this.#received > 0) this.#isBroken = true;
    this.#frame.clear();
  }

  /** Keeps a frame up to the bound; of a longer one the headers, and the checksum goes on. */
  #take(piece: Uint8Array): void {
    const body = (this.#total ?? Number.POSITIVE_INFINITY) - CHECKSUM - this.#received;
    if (body > 0) this.#crc = crc32(piece.subarray(0, body), this.#crc);
    const room = this.#isOversized ? this.#headersEnd - this.#frame.length : piece.length;
    this.#frame.push(piece.subarray(0, Math.max(0, room)));
    // The checksum itself is always kept.
    if (this.#isOversized && piece.length > Math.max(0, body)) {
      this.#frame.push(piece.subarray(Math.max(0, body)));
    }
    this.#received += piece.length;
  }

  get #isOversized(): boolean {
    return (this.#total ?? 0) > this.#bytesMax;
  }

  get #headersEnd(): number {
    return PRELUDE + viewOf(this.#frame.peek()).getUint32(4);
  }

  #readPrelude(): void {
    const view = viewOf(this.#frame.peek());
    const total = view.getUint32(0);
    const headers = view.getUint32(4);
    const isSound =
      crc32(this.#frame.peek().subarray(0, 8)) === view.getUint32(8) &&
      headers <= HEADERS_MAX &&
      total >= PRELUDE + headers + CHECKSUM;
    if (isSound) this.#total = total;
    else this.#isBroken = true;
  }

  #endFrame(): boolean {
    const frame = this.#frame.peek();
    const crc = viewOf(frame).getUint32(frame.length - CHECKSUM);
    const event = crc === this.#crc ? this.#read(frame) : undefined;
    this.#isBroken = event === undefined;
    this.#frame.clear();
    this.#total = undefined;
    this.#received = 0;
    this.#crc = 0;
    if (event === undefined) return false;
    const isCut = this.#sink.watch(event);
    this.#sink.event(event, false);
    return isCut;
  }

  #read(frame: Uint8Array): StreamEvent | undefined {
    const end = this.#headersEnd;
    const headers = this.#headers(frame.subarray(PRELUDE, end));
    if (headers === undefined) return undefined;
    const payload = this.#isOversized
      ? ''
      : this.#text.decode(frame.subarray(end, frame.length - CHECKSUM));
    const type = headers.get(':message-type') ?? 'event';
    if (type === 'event') {
      return eventOf(contentOf(payload), this.#isOversized, headers.get(':event-type'));
    }
    const error = {
      type: headers.get(':exception-type') ?? headers.get(':error-code') ?? type,
      message: textOf(members(parseLenient(payload)).message) ?? headers.get(':error-message'),
    };
    return eventOf(JSON.stringify({ error }), false, 'error');
  }

  /** The headers that are text; nothing if they do not end where they should. */
  #headers(bytes: Uint8Array): ReadonlyMap<string, string> | undefined {
    const found = new Map<string, string>();
    const view = viewOf(bytes);
    let at = 0;
    while (at < bytes.length) {
      const nameEnd = at + 1 + (bytes[at] as number);
      const type = bytes[nameEnd];
      if (type === undefined || type >= FIXED.length) return undefined;
      let begin = nameEnd + 1;
      let length = FIXED[type];
      if (length === undefined) {
        if (begin + 2 > bytes.length) return undefined;
        length = view.getUint16(begin);
        begin += 2;
      }
      if (begin + length > bytes.length) return undefined;
      if (type === TEXT) {
        const name = this.#text.decode(bytes.subarray(at + 1, nameEnd));
        found.set(name, this.#text.decode(bytes.subarray(begin, begin + length)));
      }
      at = begin + length;
    }
    return found;
  }
}

/** What a payload says, taken out of its wrapping where it has one. */
function contentOf(payload: string): string {
  if (!payload.includes('"bytes":"')) return payload;
  const { bytes } = members(parseLenient(payload));
  if (typeof bytes !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(bytes)) return payload;
  return Buffer.from(bytes, 'base64').toString();
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
