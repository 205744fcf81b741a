/**
 * One request before the rules of its upstream: what of it is looked at, and what follows from what they say?
 *
 * Judged are the bytes that the provider would read, their content coding undone; what goes on in their place is
 * plain. Where they cannot be had (an unknown coding, another charset, too many bytes) the request could not be
 * judged, and the rules file says what becomes of it.
 */
import type { IncomingMessage } from 'node:http';
import { decodeContent } from './decode.ts';
import type { CallerFacts, JudgedFacts } from './facts.ts';
import { PolicyBlocked } from './failures.ts';
import { hasOtherCharset, headerValue, headerValues, type RawHeaders } from './headers.ts';
import { PARSE_BYTES_MAX } from './record.ts';
import type { Route } from './route.ts';
import type { Judge, Judged } from './rules/judge.ts';
import type { JudgedCall, RuleEvent } from './rules/judgment.ts';
import { collect } from './spooled.ts';

export interface Judging {
  readonly facts: Omit<JudgedFacts, 'forwarded'>;
  /** What goes on in place of the body, where that was changed. */
  readonly forwarded: Uint8Array | undefined;
  /** Why nothing goes on. */
  readonly blocked: PolicyBlocked | undefined;
}

/** The rules as they are for one request. */
export class RequestRules {
  readonly #judge: Judge;
  readonly #call: JudgedCall;
  readonly #headers: RawHeaders;

  constructor(judge: Judge, call: JudgedCall, headers: RawHeaders) {
    this.#judge = judge;
    this.#call = call;
    this.#headers = headers;
  }

  /** `body` is the whole of it. */
  async judge(body: Uint8Array): Promise<Judging> {
    if (hasOtherCharset(this.#headers)) return this.#unjudged('its charset is not UTF-8');
    const plain = plainOf(this.#headers, body);
    if (plain === undefined) return this.#unjudged('its content coding cannot be undone');
    return judgingOf(await this.#judge.judge(this.#call, plain), isSigned(this.#headers));
  }

  /** A body of so many bytes that is read back for this, one after the other. */
  async judgeLarge(bytes: number, read: () => AsyncIterable<Uint8Array>): Promise<Judging> {
    if (bytes > PARSE_BYTES_MAX) return this.#unjudged('too large');
    return this.#judge.inTurn(async () => this.judge(await collect(read(), PARSE_BYTES_MAX)));
  }

  #unjudged(reason: string): Judging {
    return judgingOf(this.#judge.unjudged(reason), false);
  }
}

export function rulesFor(
  judge: Judge,
  { upstream, target }: Route,
  { method = 'GET', rawHeaders }: IncomingMessage,
  caller: CallerFacts | undefined,
): RequestRules {
  const path = target.split('?', 1)[0] ?? '';
  const { tenant, kind } = caller ?? { tenant: 'default', kind: 'unknown' };
  return new RequestRules(
    judge,
    { upstream: upstream.name, method, path, tenant, kind },
    rawHeaders,
  );
}

/** Nothing where readers could differ about the coding, or do not know it. */
function plainOf(headers: RawHeaders, body: Uint8Array): Uint8Array | undefined {
  const [coding, another] = headerValues(headers, 'content-encoding');
  return another === undefined ? decodeContent(body, coding, PARSE_BYTES_MAX) : undefined;
}

/** A request whose signature covers its body cannot be changed on the way. */
function isSigned(headers: RawHeaders): boolean {
  return /^AWS4-/i.test(headerValue(headers, 'authorization') ?? '');
}

function judgingOf(judged: Judged, signed: boolean): Judging {
  const { policy, replaced, body } = judged;
  const events =
    signed && body !== undefined ? judged.events.map(blockedInstead) : [...judged.events];
  const { version, digest } = policy;
  const facts = { ...(version === undefined ? {} : { version }), digest, events, replaced };
  const block = events.find(({ action }) => action === 'block');
  const isStuck = signed && body !== undefined && block === undefined;
  if (block === undefined && !isStuck) return { facts, forwarded: body, blocked: undefined };
  const why = block?.message ?? `blocked by rule ${block?.rule ?? 'of a module'}`;
  return { facts, forwarded: undefined, blocked: new PolicyBlocked(why) };
}

function blockedInstead(event: RuleEvent): RuleEvent {
  if (event.action !== 'redact') return event;
  return { ...event, action: 'block', message: 'a signed request cannot be changed' };
}
