/** How does the proxy say that it, and not the provider, answers? As a problem document [RFC 9457]. */
import { type Code, hasCode, SteleError } from '../core/errors.ts';
import { errorForm } from './error-form.ts';
import { PolicyBlocked, UpstreamFailed } from './failures.ts';
import { SyncFailed } from './journal/journal.ts';

/** Failures of the way to the provider; these are not codes of the log. */
export type GatewayCode = 'upstream_unreachable' | 'upstream_timeout' | 'not_supported' | 'blocked';

export interface Problem {
  readonly status: number;
  readonly code: Code | GatewayCode;
  readonly title: string;
  readonly detail: string;
  readonly retryAfterS?: number;
}

const STATUS: Partial<Record<Code, number>> = {
  malformed: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  too_large: 413,
  pushback: 429,
  storage: 503,
};

const TITLE: Partial<Record<Code, string>> = {
  malformed: 'Malformed',
  unauthenticated: 'No valid token',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  too_large: 'Too large',
  pushback: 'Too much at once',
  storage: 'The call cannot be recorded, so it was not made',
};

const UPSTREAM_TIMEOUT: Problem = {
  status: 504,
  code: 'upstream_timeout',
  title: 'The provider did not answer in time',
  detail: 'upstream: nothing came for the idle time',
};

const UPSTREAM_UNREACHABLE: Problem = {
  status: 502,
  code: 'upstream_unreachable',
  title: 'The provider cannot be reached',
  detail: 'upstream: no connection, or it broke before an answer began',
};

/** An expected outcome says why; anything else only that it went wrong here. */
export function problemOf(error: unknown): Problem {
  if (error instanceof UpstreamFailed) {
    return error.transport === 'timeout' ? UPSTREAM_TIMEOUT : UPSTREAM_UNREACHABLE;
  }
  if (error instanceof SyncFailed) {
    return { status: 503, code: 'storage', title: TITLE.storage ?? '', detail: 'the proxy stops' };
  }
  if (error instanceof PolicyBlocked) {
    return { status: 403, code: 'blocked', title: 'Blocked by policy', detail: error.message };
  }
  if (!(error instanceof SteleError)) {
    return {
      status: 500,
      code: 'storage',
      title: 'Internal error',
      detail: 'the call failed here',
    };
  }
  const retry = error.retryAfterS ?? (hasCode(error, 'storage') ? 5 : undefined);
  return {
    status: STATUS[error.code] ?? 500,
    code: error.code,
    title: TITLE[error.code] ?? 'Refused',
    detail: error.message,
    ...(retry === undefined ? {} : { retryAfterS: retry }),
  };
}

/** The document, with an `error` that the client of the provider at `url` shows (`error-form.ts`). */
export function problemBody(problem: Problem, url: string): Buffer {
  const { status, code, title, detail } = problem;
  const type = `urn:stele:error:${code}`;
  return Buffer.from(
    `${JSON.stringify({ type, title, status, detail, code, ...errorForm(url, problem) })}\n`,
  );
}

export function problemHeaders(problem: Problem, body: Uint8Array): string[] {
  const headers = ['Content-Type', 'application/problem+json', 'Content-Length', `${body.length}`];
  headers.push('Cache-Control', 'no-store');
  if (problem.code === 'unauthenticated') headers.push('WWW-Authenticate', 'Bearer');
  if (problem.retryAfterS !== undefined) headers.push('Retry-After', String(problem.retryAfterS));
  return headers;
}
