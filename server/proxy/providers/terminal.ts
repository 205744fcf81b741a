/**
 * Does this event end the answer?
 *
 * One rule for every provider, because any of them may be reached through a path that is not known: the
 * event's name and its data's `type` both count, whichever says so. A client that reads it may take the
 * answer for complete, so its line end waits for the disk (P7).
 */
import { Brackets } from '../brackets.ts';
import type { StreamEvent } from '../framing.ts';
import type { Terminated } from './provider.ts';
import { members, parseLenient, textOf } from './values.ts';

export type Terminal = Exclude<Terminated, 'eof-clean' | 'eof-cut'>;

const BY_TYPE: ReadonlyMap<string, Terminal> = new Map([
  ['message_stop', 'message_stop'],
  ['response.completed', 'response.completed'],
  // The answer is over, by its own word, with less than was asked for.
  ['response.incomplete', 'response.completed'],
  ['response.failed', 'error-event'],
  ['error', 'error-event'],
]);

const TYPE = /"type"\s*:\s*"(message_stop|response\.(?:completed|incomplete|failed)|error)"/;

export function terminalOf(event: StreamEvent, value: unknown): Terminal | undefined {
  // Of more lines than one, joining them after each would cost the square of their length.
  if (event.lines === 1 && event.data.trimStart().startsWith('[DONE]')) return 'done';
  const named = BY_TYPE.get(event.name ?? '');
  if (named !== undefined) return named;
  if (event.isOversized) return BY_TYPE.get(TYPE.exec(event.data)?.[1] ?? '');
  const { type, error, object } = members(value);
  const isError = Boolean(error) || object === 'error';
  return BY_TYPE.get(textOf(type) ?? '') ?? (isError ? 'error-event' : undefined);
}

/**
 * The JSON value of the event that is being read. An event's data may be spread over many lines, and
 * after each of them it could be whole; parsing (or even joining) at each would cost the square of its
 * length. So brackets are counted line by line, and it is parsed where the last one closes.
 */
export class EventValue {
  #value: unknown;
  #lines = 0;
  readonly #brackets = new Brackets();
  #hasClosed = false;

  /** The value after this line of the event; nothing while it is not whole. */
  after(event: StreamEvent): unknown {
    if (event.isOversized || event.lines === this.#lines) return this.#value;
    this.#lines = event.lines;
    if (event.lines === 1) this.#value = parseLenient(event.data);
    if (this.#value === undefined && this.#closes(event.line)) {
      if (event.lines > 1) this.#value = parseLenient(event.data);
    }
    return this.#value;
  }

  /** Whether the brackets close in this line, for the first time. */
  #closes(line: string): boolean {
    if (this.#hasClosed) return false;
    for (let i = 0; i < line.length && !this.#hasClosed; i++) {
      this.#hasClosed = this.#brackets.closes(line.charCodeAt(i));
    }
    return this.#hasClosed;
  }
}
