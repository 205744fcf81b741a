/**
 * What rules and modules say about a request: the words of the record's `policy.events` for what is judged here.
 *
 * A verdict is what was found, an action what was done about it.
 */
import type { Json } from '../../core/json.ts';
import { int, list, object, oneOf, pattern, read, type Shaped, text } from '../../core/schema.ts';

export const VERDICTS = ['pass', 'flag', 'violation', 'error'] as const;
export const ACTIONS = ['none', 'warn', 'redact', 'block'] as const;

/** More than a record lists would be one commitment to all of them. */
export const EVENTS_MAX = 64;

export const ruleId = pattern(
  /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/,
  '1 to 64 letters, digits, ".", "_" and "-", beginning with a letter or digit',
);
export const category = pattern(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'a lower-case word');
/** For the caller. */
export const message = text(500);

const event = object(
  { rule: ruleId, verdict: oneOf(VERDICTS), action: oneOf(ACTIONS) },
  {
    category,
    score_milli: int(0, 1_000),
    /** Why, sealed: it may quote what was found. */
    reason: text(1_000),
    /** What a caller whose call is blocked is told. */
    message,
  },
);

const events = list(event, EVENTS_MAX);

export type RuleEvent = Shaped<typeof event>;

/** Events that a module gave; throws `malformed`. */
export function readEvents(value: Json, what: string): readonly RuleEvent[] {
  return read(events, value, what);
}

export interface Judgment {
  readonly events: readonly RuleEvent[];
  /** How often each rule replaced something. */
  readonly replaced: readonly { readonly rule: string; readonly count: number }[];
  /** What goes on in place of the request's body, where that was changed. */
  readonly body?: Uint8Array;
}

/** The call that is judged, without its body. */
export interface JudgedCall {
  readonly upstream: string;
  readonly method: string;
  /** Behind the upstream's name, without the query. */
  readonly path: string;
  readonly tenant: string;
  /** What calls: `service`, `user`, `agent`, `unknown`. */
  readonly kind: string;
}
