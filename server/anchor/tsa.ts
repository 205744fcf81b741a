/**
 * A time-stamping authority as a target: its word that a head existed at a moment.
 *
 *     request   a query with a nonce, made once and sent the same at every try
 *     ask       POST; what comes back is kept whole. Its time has to be near ours when it comes, since both
 *               clocks are at hand only then
 *     check     every rule of core/rfc3161.ts, by the certificates that are pinned for it, and no time that
 *               is still to come. How long ago it was is not asked: the process may have died in between
 *
 *     no answer, 408, 429, 5xx, one that is no answer of RFC 3161, or
 *     "not now": waiting, no time, a fault                                      the same again later
 *     any other status, or "not so": algorithm, request, policy, extension       no retry helps
 *
 * It sees a digest, our address and the user agent, and so how often heads are shown.
 *
 * [RFC 3161 §3.4] over HTTP.
 */
import { toBase64 } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import { TIMESTAMP_BYTES_MAX } from '../core/limits.ts';
import {
  checkTimestamp,
  makeTimestampQuery,
  parseTimestampQuery,
  parseTimestampResponse,
  type Timestamp,
  type TimestampAuthority,
  type TimestampResponse,
} from '../core/rfc3161.ts';
import type { Answered, Outbound } from '../outbound.ts';
import { type AnchoredHead, type Checked, type Target, TargetError } from './target.ts';

export interface TsaOptions {
  readonly name: string;
  readonly url: string;
  /** Who is believed to be it (`parseTsaRoots`). */
  readonly authorities: readonly TimestampAuthority[];
  readonly outbound: Outbound;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly random: (bytes: number) => Uint8Array;
  readonly timeoutMs?: number;
}

/** By how much its clock may be off ours, and by how much it may itself say that it is off. */
export const CLOCKS_APART_MAX_MS = 300_000;
export const ACCURACY_MAX_MS = 60_000;

/** An authority answers in some hundred milliseconds; busy ones in seconds. */
const TIMEOUT_MS = 15_000;

/** What every authority can hold: some keep a nonce in 64 bits. */
const NONCE_BYTES = 8;

/** Characters of an authority's name in a receipt, which is there for people. */
const HINT_MAX = 1_024;

/** Failures that mean this query, whenever it is sent [RFC 3161 §2.4.2]. */
const LASTING = [
  'badAlg',
  'badRequest',
  'badDataFormat',
  'unacceptedPolicy',
  'unacceptedExtension',
  'addInfoNotAvailable',
];

export class TsaTarget implements Target {
  readonly kind = 'rfc3161';
  readonly name: string;
  readonly #options: TsaOptions;

  constructor(options: TsaOptions) {
    this.name = options.name;
    this.#options = options;
  }

  async request({ text }: AnchoredHead): Promise<Uint8Array> {
    return this.#query(text);
  }

  async ask(request: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const answered = await this.#post(request, signal);
    const { status, bytes } = answered;
    // Most say 200; some that make something new with every query say 201.
    if (status !== 200 && status !== 201) throw refusalOf(this.#host, answered);
    this.#checkGranted(bytes);
    return bytes;
  }

  async check({ text }: AnchoredHead, request: Uint8Array, answer: Uint8Array): Promise<Checked> {
    const { timeMs, authority } = this.#checked(text, request, answer);
    const anchor = {
      type: 'rfc3161',
      v: 1,
      imprint: 'note-text',
      response: toBase64(answer),
      hint: authority.slice(0, HINT_MAX).toWellFormed(),
    };
    return { anchor, timeMs };
  }

  /** A stamp over any bytes, checked: the whole response. Throws `TargetError`, or what is wrong with it. */
  async stamp(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const request = this.#query(message);
    const response = await this.ask(request, signal);
    this.#checked(message, request, response);
    return response;
  }

  get #host(): string {
    return new URL(this.#options.url).host;
  }

  #query(message: Uint8Array): Uint8Array {
    return makeTimestampQuery(message, this.#options.random(NONCE_BYTES));
  }

  async #post(body: Uint8Array, signal: AbortSignal): Promise<Answered> {
    const { outbound, url, timeoutMs = TIMEOUT_MS } = this.#options;
    const headers = {
      'content-type': 'application/timestamp-query',
      accept: 'application/timestamp-reply',
    };
    const maxBytes = TIMESTAMP_BYTES_MAX;
    try {
      return await outbound.ask(url, {
        method: 'POST',
        body,
        headers,
        maxBytes,
        timeoutMs,
        signal,
      });
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      throw new TargetError('retry', cause.message, { cause });
    }
  }

  /** Whether it says that it stamped, and when: nothing of it is believed yet. */
  #checkGranted(bytes: Uint8Array): void {
    const host = this.#host;
    let response: TimestampResponse;
    try {
      response = parseTimestampResponse(bytes);
    } catch (cause) {
      if (!(cause instanceof SteleError)) throw cause;
      throw new TargetError('retry', `${host}: ${cause.message}`, { cause });
    }
    const { status, text, failures, token } = response;
    if (token === undefined) {
      const kind = failures.some((failure) => LASTING.includes(failure)) ? 'refused' : 'retry';
      const why = [...failures, ...(text === '' ? [] : [shown(text, 200)])].join(', ');
      throw new TargetError(kind, `${host} says ${status}${why === '' ? '' : `: ${why}`}`);
    }
    const { timeMs } = token.info;
    const now = this.#options.now();
    if (Math.abs(timeMs - now) > CLOCKS_APART_MAX_MS) {
      throw new TargetError(
        'retry',
        `${host} says that it is ${isoOf(timeMs)} where it is ${isoOf(now)} here: more than ` +
          `${CLOCKS_APART_MAX_MS / 60_000} minutes apart`,
      );
    }
  }

  #checked(message: Uint8Array, request: Uint8Array, response: Uint8Array): Timestamp {
    const { authorities, now } = this.#options;
    const { nonce } = parseTimestampQuery(request);
    return checkTimestamp({
      response,
      message,
      authorities,
      ...(nonce === undefined ? {} : { nonce }),
      untilMs: now() + CLOCKS_APART_MAX_MS,
      accuracyMaxMs: ACCURACY_MAX_MS,
    });
  }
}

function refusalOf(host: string, { status, retryAfterS }: Answered): TargetError {
  const isPassing = status === 408 || status === 429 || (status >= 500 && status !== 501);
  const isRedirect = status >= 300 && status < 400;
  const hint = isRedirect ? '; redirects are not followed: give the address itself' : '';
  return new TargetError(
    isPassing ? 'retry' : 'refused',
    `${host} answered ${status}${hint}`,
    isPassing ? { afterS: retryAfterS } : {},
  );
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
