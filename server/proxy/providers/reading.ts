/**
 * How are an answer's bytes turned into values for a format to read?
 *
 *     text/event-stream     `StreamReader`: events as they come, with a cut at each terminal one
 *     everything else       `BodyReader`: collected up to a bound, decoded and parsed at the end
 *
 * A compressed stream is read like a body: its events cannot be told from its bytes, so nothing can be
 * said about cuts, and the proxy keeps back the last byte instead.
 */
import { decodeContent, isIdentity } from '../decode.ts';
import { Growing } from '../growing.ts';
import { type SseEvent, SseParser } from '../sse.ts';
import { type Answer, errorIn, type Fold } from './answer.ts';
import type { ResponseFacts, ResponseInfo, ResponseReader, Terminated } from './provider.ts';
import { EventValue, type Terminal, terminalOf } from './terminal.ts';
import { members, parseLenient } from './values.ts';

/** Bodies that are parsed, before and after their content coding is undone. */
const BODY_BYTES_MAX = 16_777_216;

export function readResponse(info: ResponseInfo, answer: Answer, fold: Fold): ResponseReader {
  const type = (info.headers['content-type'] ?? '').trim().toLowerCase();
  const coding = info.headers['content-encoding'];
  const isJson = /^[a-z]+\/(?:[a-z0-9.-]+\+)?json\b/.test(type);
  const wasAsked = info.request?.stream === true && info.status < 300;
  // Clients that asked for a stream read one, whatever its content type says.
  const isEvents = type.startsWith('text/event-stream') || (wasAsked && !isJson);
  if (isEvents && isIdentity(coding)) return new StreamReader(answer, fold);
  return new BodyReader({ answer, fold, coding, isEvents, isError: info.status >= 400 });
}

class StreamReader implements ResponseReader {
  readonly isStream = true;
  readonly #answer: Answer;
  readonly #fold: Fold;
  readonly #parser: SseParser;
  #value = new EventValue();
  #terminal: Terminal | undefined;
  #terminated: Terminal | undefined;
  #events = 0;
  #parsed = false;

  constructor(answer: Answer, fold: Fold) {
    this.#answer = answer;
    this.#fold = fold;
    this.#parser = new SseParser({
      watch: (event) => this.#watch(event),
      event: (event, isFinal) => this.#event(event, isFinal),
    });
  }

  push(chunk: Uint8Array): readonly number[] {
    return this.#parser.push(chunk);
  }

  end(how: 'eof' | 'cut'): ResponseFacts {
    this.#parser.end();
    if (this.#parser.hasInvalidUtf8) this.#answer.flags.add('invalid-utf8');
    const terminated: Terminated = this.#terminated ?? (how === 'eof' ? 'eof-clean' : 'eof-cut');
    const isWhole = this.#terminated !== undefined && this.#terminated !== 'error-event';
    this.#fold.finish?.(isWhole);
    return {
      ...this.#answer.facts(),
      parsed: this.#parsed,
      stream: { events: this.#events, terminated },
      complete: isWhole && !this.#answer.flags.has('message-restarted'),
    };
  }

  #watch(event: SseEvent): boolean {
    const value = this.#value.after(event);
    this.#terminal = terminalOf(event, value) ?? this.#terminal;
    return (
      this.#terminal !== undefined &&
      (event.lines === 1 || event.isOversized || value !== undefined)
    );
  }

  #event(event: SseEvent, isFinal: boolean): void {
    const value = this.#value.after(event);
    const terminal = this.#terminal;
    this.#value = new EventValue();
    this.#terminal = undefined;
    // The rest of an event that broke off is no event.
    if (isFinal && value === undefined && terminal !== 'done') return;
    const { flags } = this.#answer;
    if (isFinal) flags.add('final-event-without-blank-line');
    this.#events++;
    if (this.#terminated !== undefined && this.#terminated !== 'error-event') {
      flags.add('events-after-end');
      return;
    }
    this.#terminated ??= terminal;
    if (event.isOversized) flags.add('event-too-large');
    else if (value === undefined && terminal !== 'done') flags.add('invalid-event');
    if (value === undefined) return;
    this.#parsed = true;
    const { error } = members(value);
    if (terminal === 'error-event') this.#answer.fail(error ?? value);
    this.#fold.event(value, event.name);
  }
}

interface BodyOptions {
  readonly answer: Answer;
  readonly fold: Fold;
  readonly coding: string | undefined;
  readonly isEvents: boolean;
  readonly isError: boolean;
}

class BodyReader implements ResponseReader {
  readonly isStream = false;
  readonly #options: BodyOptions;
  readonly #bytes = new Growing();
  #isTooLarge = false;

  constructor(options: BodyOptions) {
    this.#options = options;
  }

  push(chunk: Uint8Array): readonly number[] {
    this.#isTooLarge ||= this.#bytes.length + chunk.length > BODY_BYTES_MAX;
    if (this.#isTooLarge) this.#bytes.clear();
    else this.#bytes.push(chunk);
    return [];
  }

  end(how: 'eof' | 'cut'): ResponseFacts {
    const { answer, fold, isEvents, isError } = this.#options;
    const content = this.#content();
    if (isEvents) {
      const stream = new StreamReader(answer, fold);
      if (content !== undefined) stream.push(content);
      return stream.end(how);
    }
    const value = content === undefined ? undefined : parseLenient(this.#text(content));
    const { error } = members(value);
    if (isError || error) answer.fail(error ?? errorIn(value));
    if (!isError && value !== undefined) fold.body(value);
    return {
      ...answer.facts(),
      parsed: value !== undefined,
      // An error page is whole where its connection ends; an answer has to be one.
      complete: how === 'eof' && (isError || value !== undefined || !answer.hasMessages),
    };
  }

  #content(): Uint8Array | undefined {
    const { answer, coding } = this.#options;
    if (this.#isTooLarge) {
      answer.flags.add('body-too-large');
      return undefined;
    }
    const content = decodeContent(this.#bytes.peek(), coding, BODY_BYTES_MAX);
    if (content === undefined) answer.flags.add('undecodable-content');
    return content;
  }

  #text(content: Uint8Array): string {
    const text = new TextDecoder('utf-8', { fatal: false, ignoreBOM: false }).decode(content);
    // Only bytes that are no UTF-8, or the character itself, decode to U+FFFD.
    if (text.includes('\ufffd') && !isUtf8(content)) this.#options.answer.flags.add('invalid-utf8');
    return text;
  }
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
