/**
 * How are an answer's bytes turned into values for a format to read?
 *
 *     a stream of events    `StreamReader`: events as they come, with a cut at each terminal one
 *     everything else       `BodyReader`: collected up to a bound, decoded and parsed at the end
 *
 * How events are framed says the content type, and where that says nothing, the format whose stream was asked
 * for. Server-sent events that say nothing of themselves, or that they are JSON, are told by their first byte. A
 * compressed stream is read like a body: its events cannot be told from its bytes, so nothing can be
 * said about cuts, and every piece of it waits for the disk instead.
 */
import { decodeContent, isIdentity } from '../decode.ts';
import { type Framing, framerOf } from '../framers.ts';
import type { Framer, StreamEvent } from '../framing.ts';
import { Growing } from '../growing.ts';
import { Skimmer } from '../skim.ts';
import { type Answer, errorIn, type Fold } from './answer.ts';
import type { ResponseFacts, ResponseInfo, ResponseReader, Terminated } from './provider.ts';
import { EventValue, type Terminal, terminalOf } from './terminal.ts';
import { members, parseLenient } from './values.ts';

/** Bodies that are parsed, before and after their content coding is undone; of larger ones all but the long texts. */
const BODY_BYTES_MAX = 8_388_608;

const FRAMING_OF: readonly (readonly [RegExp, Framing])[] = [
  [/^text\/event-stream\b/, 'sse'],
  [/^application\/(?:x-)?(?:ndjson|jsonl|jsonlines|json-lines)\b/, 'ndjson'],
  [/^application\/vnd\.amazon\.eventstream\b/, 'eventstream'],
];

/** `sse-or-body` shows in its first byte what it is. */
type Form = Framing | 'sse-or-body' | 'body';

/** `framing` is that of the format's streams. */
export function readResponse(
  info: ResponseInfo,
  answer: Answer,
  fold: Fold,
  framing: Framing = 'sse',
): ResponseReader {
  const coding = info.headers['content-encoding'];
  const form = formOf(info, framing);
  const options = { answer, fold, coding, form, isError: info.status >= 400 };
  return isIdentity(coding) ? readerOf(options) : new BodyReader(options);
}

function formOf({ headers, status, request }: ResponseInfo, framing: Framing): Form {
  const type = (headers['content-type'] ?? '').trim().toLowerCase();
  const known = FRAMING_OF.find(([form]) => form.test(type));
  if (known !== undefined) return known[1];
  if (status >= 300) return 'body';
  const isJson = /^[a-z]+\/(?:[a-z0-9.-]+\+)?json\b/.test(type);
  const wasAsked = request?.stream === true;
  if (framing === 'sse') {
    // Compressed, every JSON would have to wait as if it were one.
    const mayBe = isIdentity(headers['content-encoding']) && (isJson || type === '');
    return wasAsked || mayBe ? 'sse-or-body' : 'body';
  }
  // Clients that asked for a stream read one, whatever its content type says.
  return wasAsked && !(isJson && framing === 'eventstream') ? framing : 'body';
}

interface ReaderOptions {
  readonly answer: Answer;
  readonly fold: Fold;
  readonly form: Form;
  readonly coding: string | undefined;
  readonly isError: boolean;
}

/** For bytes that are not coded. */
function readerOf(options: ReaderOptions): ResponseReader {
  const { answer, fold, form } = options;
  if (form === 'body') return new BodyReader(options);
  if (form === 'sse-or-body') return new EitherReader(options);
  return new StreamReader(answer, fold, form);
}

/** What may come before the first byte that tells, of either: space, and a byte-order mark. */
const BLANK: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20, 0xef, 0xbb, 0xbf]);

/** [WHATWG HTML §9.2.6] data, event, id, retry, or a comment; JSON begins with none of them. */
const SSE_BEGINS: ReadonlySet<number> = new Set(Array.from('deir:', (one) => one.charCodeAt(0)));

/** An answer whose first byte tells whether it is a stream of events. */
class EitherReader implements ResponseReader {
  readonly #options: ReaderOptions;
  #reader: ResponseReader | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** Space makes no answer complete, so none of it is kept back. */
  get isStream(): boolean {
    return this.#reader?.isStream ?? true;
  }

  get hasHiddenEnds(): boolean {
    return this.#reader?.hasHiddenEnds ?? false;
  }

  get hasEnd(): boolean {
    return this.#reader?.hasEnd ?? false;
  }

  push(chunk: Uint8Array): readonly number[] {
    if (this.#reader !== undefined) return this.#reader.push(chunk);
    const begin = chunk.findIndex((byte) => !BLANK.has(byte));
    if (begin < 0) return [];
    const form = SSE_BEGINS.has(chunk[begin] as number) ? 'sse' : 'body';
    this.#reader = readerOf({ ...this.#options, form });
    return this.#reader.push(chunk.subarray(begin)).map((cut) => begin + cut);
  }

  end(how: 'eof' | 'cut'): ResponseFacts {
    return (this.#reader ?? new BodyReader({ ...this.#options, form: 'body' })).end(how);
  }
}

class StreamReader implements ResponseReader {
  readonly isStream = true;
  readonly #answer: Answer;
  readonly #fold: Fold;
  readonly #framer: Framer;
  readonly #isClosing: boolean;
  #value = new EventValue();
  #terminal: Terminal | undefined;
  #terminated: Terminal | undefined;
  #events = 0;
  #parsed = false;
  #hasEnd = false;

  constructor(answer: Answer, fold: Fold, framing: Framing) {
    this.#answer = answer;
    this.#fold = fold;
    this.#isClosing = framing === 'json-array';
    this.#framer = framerOf(framing, {
      watch: (event) => this.#watch(event),
      event: (event, isFinal) => this.#event(event, isFinal),
      close: () => this.#close(),
    });
  }

  get hasHiddenEnds(): boolean {
    return this.#framer.isBroken;
  }

  get hasEnd(): boolean {
    return this.#hasEnd;
  }

  push(chunk: Uint8Array): readonly number[] {
    return this.#framer.push(chunk);
  }

  end(how: 'eof' | 'cut'): ResponseFacts {
    this.#framer.end();
    const { flags, hasMessages } = this.#answer;
    if (this.#framer.hasInvalidUtf8) flags.add('invalid-utf8');
    if (this.#framer.isBroken) flags.add('invalid-event');
    const terminated: Terminated = this.#terminated ?? (how === 'eof' ? 'eof-clean' : 'eof-cut');
    const isWhole = this.#isWhole(how, hasMessages);
    this.#fold.finish?.(isWhole);
    return {
      ...this.#answer.facts(),
      parsed: this.#parsed,
      stream: { events: this.#events, terminated },
      complete: isWhole && !flags.has('message-restarted'),
    };
  }

  /** By its end mark; by its own word, in a format without one; and of what is not known, by its connection. */
  #isWhole(how: 'eof' | 'cut', isKnown: boolean): boolean {
    if (this.#terminated === 'error-event' || this.#framer.isBroken) return false;
    const isEnded = this.#terminated !== undefined;
    if (!isKnown) return isEnded || how === 'eof';
    if (this.#fold.isWhole === undefined) return isEnded;
    return this.#fold.isWhole() && (isEnded || !this.#isClosing);
  }

  #watch(event: StreamEvent): boolean {
    const value = this.#value.after(event);
    this.#terminal =
      terminalOf(event, value) ?? this.#fold.terminal?.(value, event.name) ?? this.#terminal;
    const mayEnd = this.#terminal !== undefined || this.#fold.mayEnd?.(value) === true;
    const isRead = event.lines === 1 || event.isOversized || value !== undefined;
    this.#hasEnd ||= mayEnd && isRead;
    // One that is too large to be read may be the last as well; nobody here knows.
    return (mayEnd && isRead) || event.isOversized;
  }

  #event(event: StreamEvent, isFinal: boolean): void {
    const value = this.#value.after(event);
    const terminal = this.#terminal;
    this.#value = new EventValue();
    this.#terminal = undefined;
    // The rest of an event that broke off is no event.
    if (isFinal && value === undefined && terminal !== 'done') return;
    const { flags } = this.#answer;
    if (isFinal) flags.add('final-event-without-blank-line');
    this.#events++;
    const isOver = this.#terminated !== undefined && this.#terminated !== 'error-event';
    if (isOver && this.#fold.trailing?.has(event.name ?? '') !== true) {
      flags.add('events-after-end');
      return;
    }
    this.#terminated ??= terminal;
    if (event.isOversized) flags.add('event-too-large');
    else if (value === undefined && terminal !== 'done') flags.add('invalid-event');
    if (value === undefined) return;
    this.#parsed = true;
    const { error } = members(value);
    // Where the format itself finds the error, it is inside.
    this.#fold.event(value, event.name);
    if (terminal === 'error-event') this.#answer.fail(error ?? value);
  }

  #close(): boolean {
    this.#terminated ??= 'done';
    this.#hasEnd = true;
    return true;
  }
}

class BodyReader implements ResponseReader {
  readonly isStream = false;
  readonly hasHiddenEnds: boolean;
  readonly hasEnd = false;
  readonly #options: ReaderOptions;
  readonly #bytes = new Growing();
  #skimmer: Skimmer | undefined;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.hasHiddenEnds = options.form !== 'body';
  }

  push(chunk: Uint8Array): readonly number[] {
    if (this.#skimmer === undefined && this.#bytes.length + chunk.length > BODY_BYTES_MAX) {
      this.#skimmer = new Skimmer();
      this.#skimmer.push(this.#bytes.peek());
      this.#bytes.clear();
    }
    if (this.#skimmer === undefined) this.#bytes.push(chunk);
    else this.#skimmer.push(chunk);
    return [];
  }

  end(how: 'eof' | 'cut'): ResponseFacts {
    const { answer, fold, form, isError } = this.#options;
    const content = this.#content();
    if (form !== 'body') {
      const stream = readerOf({ ...this.#options, coding: undefined });
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
    if (this.#skimmer !== undefined) {
      answer.flags.add('body-too-large');
      return isIdentity(coding) ? this.#skimmer.end() : undefined;
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
