/**
 * What is known about an answer so far, whichever format it has.
 *
 * A format's `Fold` reads events or a whole body into one of these; `facts` closes it. What is not known
 * is absent. Once anything of the text is missing, there is no normalized form and no tool call: a part
 * of an answer must not pass for all of it.
 */
import type { Json } from '../../core/json.ts';
import { Budget, Message } from './draft.ts';
import { Filters } from './filters.ts';
import type { Flag, ProviderError, ResponseFacts } from './provider.ts';
import type { Terminal } from './terminal.ts';
import type { UsageReader } from './usage.ts';
import { isObject, labelOf, members, textOf } from './values.ts';

/** What a format does with what it is given, in an `Answer` that it shares with its reader. */
export interface Fold {
  /** One event of a stream, parsed. */
  event(value: unknown, name: string | undefined): void;
  /** A whole body, parsed, of a call that succeeded. */
  body(value: unknown): void;
  /** The stream is over; `isWhole` says by a proper end. */
  finish?(isWhole: boolean): void;
  /** Whether this event ends the answer, by a mark of this format alone. */
  terminal?(value: unknown, name: string | undefined): Terminal | undefined;
  /**
   * In formats without an end mark: whether the answer may be whole with this event, so that the last byte of
   * it has to wait (P7).
   */
  mayEnd?(value: unknown): boolean;
  /** In formats without an end mark: whether the answer is whole by its own word. */
  isWhole?(): boolean;
  /** Names of events that may follow the end mark. */
  readonly trailing?: ReadonlySet<string>;
}

export type AnswerFacts = Omit<ResponseFacts, 'parsed' | 'stream' | 'complete'>;

/** Choices are requested by number; this many is more than any provider makes. */
export const CHOICES_MAX = 1_024;

const MESSAGE_CHARS_MAX = 1_024;

/** With these the text is not all there. */
const LOSSES: readonly Flag[] = ['event-too-large', 'body-too-large', 'invalid-utf8'];

export class Answer {
  id: string | undefined;
  served: string | undefined;
  serviceTier: string | undefined;
  systemFingerprint: string | undefined;
  isRefused = false;
  error: ProviderError | undefined;
  /** The kind of error, where the answer's headers name it. */
  errorType: string | undefined;
  /** Some formats have no messages, and so nothing to normalize. */
  hasMessages = true;
  readonly messages: Message[] = [];
  readonly usage: UsageReader;
  readonly filters = new Filters();
  readonly flags = new Set<Flag>();
  readonly #budget = new Budget();

  constructor(usage: UsageReader) {
    this.usage = usage;
  }

  message(): Message {
    const message = new Message(this.#budget);
    // A message that the budget does not cover is not kept.
    if (this.#budget.take(256)) this.messages.push(message);
    return message;
  }

  /** Members that several formats share; the last word counts, an empty one does not. */
  labels(value: unknown): void {
    const { id, model, service_tier, system_fingerprint } = members(value);
    this.id = labelOf(id) ?? this.id;
    this.served = labelOf(model) ?? this.served;
    this.serviceTier = labelOf(service_tier) ?? this.serviceTier;
    this.systemFingerprint = labelOf(system_fingerprint) ?? this.systemFingerprint;
  }

  /** A filter of the provider ended the answer. */
  filtered(): void {
    this.isRefused = true;
    this.filters.stopped();
  }

  fail(error: unknown): void {
    this.error ??= { ...(this.errorType && { type: this.errorType }), ...errorOf(error) };
    this.filters.readError(error);
  }

  facts(): AnswerFacts {
    if (this.#budget.isSpent) this.flags.add('normalized-too-large');
    if (this.usage.hasMismatch) this.flags.add('usage-mismatch');
    const isLossy = this.#budget.isSpent || LOSSES.some((flag) => this.flags.has(flag));
    const normalized = isLossy ? undefined : this.#normalized('content');
    const reasoning = isLossy ? undefined : this.#normalized('reasoning');
    const usage = this.usage.usage();
    return {
      ...(this.id !== undefined && { id: this.id }),
      ...(this.served !== undefined && { served: this.served }),
      ...(this.serviceTier !== undefined && { serviceTier: this.serviceTier }),
      ...(this.systemFingerprint !== undefined && { systemFingerprint: this.systemFingerprint }),
      ...(this.messages.length > 0 && { choices: this.messages.length }),
      finishReasons: this.messages.flatMap((message) => labelOf(message.finish) ?? []),
      refused: this.isRefused,
      toolCalls: isLossy ? [] : this.messages.flatMap((message) => message.toolCalls()),
      ...(usage !== undefined && { usage }),
      ...(normalized !== undefined && { normalized }),
      ...(reasoning !== undefined && { reasoning }),
      ...(this.error !== undefined && { error: this.error }),
      policyEvents: this.filters.events(),
      flags: [...this.flags].sort(),
    };
  }

  #normalized(which: 'content' | 'reasoning'): Json | undefined {
    const of =
      which === 'content'
        ? this.messages
        : this.messages.filter((m) => m.parts.some((part) => part.type === 'reasoning'));
    if (of.length === 0) return undefined;
    const messages: Json[] = [];
    for (const message of of) {
      const json = message.toJson(which);
      if (json === undefined) {
        this.flags.add('not-normalizable');
        return undefined;
      }
      messages.push(json);
    }
    return { messages };
  }
}

/** `error` objects of OpenAI, Anthropic and Google, and the plain texts that others send in their place. */
export function errorOf(value: unknown): ProviderError {
  const { type, code, message, Message, status } = members(value);
  const text = textOf(message) ?? textOf(Message) ?? textOf(value);
  const kind = labelOf(type) ?? labelOf(textOf(status));
  const label = labelOf(code);
  return {
    ...(kind !== undefined && { type: kind }),
    ...(label !== undefined && { code: label }),
    ...(text !== undefined && { message: text.slice(0, MESSAGE_CHARS_MAX).toWellFormed() }),
  };
}

/** What is wrong, in a body that says so: its `error`, or the body itself. */
export function errorIn(body: unknown): unknown {
  const { error, detail } = members(body);
  return error ?? (isObject(body) ? (detail ?? body) : undefined);
}
