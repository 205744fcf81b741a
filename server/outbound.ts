/**
 * One request to somebody outside: an answer of bounded length within a deadline, or why there is none.
 *
 * Only addresses from the configuration are asked, never one that a request or an answer names, so
 * redirects are not followed (P8).
 */
import { SteleError } from './core/errors.ts';

export interface Asked {
  readonly method?: 'GET' | 'POST';
  readonly body?: Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  /** Bytes of answer beyond which it is refused with `too_large`. */
  readonly maxBytes: number;
  /** Milliseconds for the whole exchange. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Whatever the status: what it means is for the caller. */
export interface Answered {
  readonly status: number;
  readonly bytes: Uint8Array;
  readonly header: (name: string) => string | null;
  /** Seconds of a `retry-after`. */
  readonly retryAfterS: number | undefined;
}

export class Outbound {
  readonly #userAgent: string;
  readonly #fetch: typeof fetch;

  /** `contact` is for those who are asked: an address or a page of the operator. */
  constructor(version: string, contact?: string, via: typeof fetch = fetch) {
    this.#userAgent = `stele/${version}${contact === undefined ? '' : ` (${contact})`}`;
    this.#fetch = via;
  }

  /** Throws `storage` where there is no whole answer: whether the request took effect is then unknown. */
  async ask(url: string, asked: Asked): Promise<Answered> {
    const { method = 'GET', body, headers, maxBytes, timeoutMs, signal } = asked;
    const deadline = AbortSignal.timeout(timeoutMs);
    try {
      const response = await this.#fetch(url, {
        method,
        redirect: 'manual',
        signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
        headers: { 'user-agent': this.#userAgent, ...headers },
        ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer> }),
      });
      const bytes = await readBounded(response.body, maxBytes);
      const header = (name: string) => response.headers.get(name);
      return {
        status: response.status,
        bytes,
        header,
        retryAfterS: retryAfterOf(header('retry-after'), Date.now()),
      };
    } catch (cause) {
      if (cause instanceof SteleError) throw cause;
      const { host } = new URL(url);
      const reason = deadline.aborted ? `no answer within ${timeoutMs} ms` : reasonOf(cause);
      throw new SteleError('storage', `${host}: ${reason}`, { cause });
    }
  }
}

/** A body of at most `max` bytes; `too_large` beyond. */
export async function readBounded(
  body: ReadableStream<Uint8Array> | null,
  max: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > max) throw new SteleError('too_large', `the answer has more than ${max} bytes`);
    parts.push(chunk);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** The innermost reason of a failed fetch: "connect ECONNREFUSED …" says more than "fetch failed". */
export function reasonOf(error: unknown): string {
  let at = error;
  for (let depth = 0; depth < 4 && at instanceof Error && at.cause !== undefined; depth++) {
    at = at.cause;
  }
  if (!(at instanceof Error)) return String(at);
  const code = 'code' in at ? String(at.code) : '';
  return at.message || code || at.name;
}

const RETRY_AFTER_MAX_S = 3_600;
const HTTP_DATE = /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/;

/** Seconds of a `retry-after`, given as a number or a date, at most an hour [RFC 9110 §10.2.3]. */
export function retryAfterOf(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const seconds = /^[0-9]{1,9}$/.test(header) ? Number(header) : secondsUntil(header, nowMs);
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(seconds, 0), RETRY_AFTER_MAX_S);
}

function secondsUntil(date: string, nowMs: number): number {
  return HTTP_DATE.test(date) ? Math.ceil((Date.parse(date) - nowMs) / 1_000) : Number.NaN;
}
