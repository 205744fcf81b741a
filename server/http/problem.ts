/**
 * How is an error said over HTTP? As a problem document [RFC 9457] with our `code` in it.
 *
 * An expected outcome carries its message. Anything else is our own fault: the answer says only the
 * request id, under which the log has the rest (P10).
 */
import { hasCode, SteleError } from '../core/errors.ts';
import { Refusal, STATUS, TITLE } from './errors.ts';

export const PROBLEM_TYPE = 'application/problem+json';

/** Seconds after which to ask again, where whoever refused did not know better. */
const RETRY_AFTER_S: { readonly [code: string]: number } = {
  pushback: 1,
  storage: 5,
  not_yet: 1,
};

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly code?: string;
  readonly retry_after?: number;
  readonly request_id?: string;
  /** What RFC 6962 clients show: the detail, or the title where there is none. */
  readonly error_message?: string;
}

/** Characters of a `detail`: a message quotes its input briefly, and nothing longer leaves anyway. */
export const DETAIL_CHARS_MAX = 1_000;

/** The status that an error is answered with. */
export function statusOf(error: unknown): number {
  if (!(error instanceof SteleError)) return 500;
  return error instanceof Refusal ? error.status : STATUS[error.code];
}

/** Whether an error is for something that the caller did. A full queue is not: it may be anybody's. */
export function isCallersDoing(error: unknown): boolean {
  const status = statusOf(error);
  return status < 500 && status !== STATUS.pushback;
}

export function problemOf(error: unknown, requestId: string): Problem {
  if (!(error instanceof SteleError)) {
    return {
      type: 'about:blank',
      title: 'Internal error',
      status: statusOf(error),
      request_id: requestId,
    };
  }
  const retry = error.retryAfterS ?? RETRY_AFTER_S[error.code];
  return {
    type: `urn:stele:error:${error.code}`,
    title: TITLE[error.code],
    status: statusOf(error),
    detail: error.message.slice(0, DETAIL_CHARS_MAX),
    code: error.code,
    ...(retry === undefined ? {} : { retry_after: retry }),
    ...(error instanceof Refusal ? error.members : {}),
  };
}

/** The same for RFC 6962 clients, which know no problem documents. */
export function withMessage(problem: Problem): Problem {
  return { ...problem, error_message: problem.detail ?? problem.title };
}

/** The headers of a problem's answer: never cached, whatever the route had set. */
export function problemHeaders(error: unknown, problem: Problem): Record<string, string> {
  return {
    'content-type': PROBLEM_TYPE,
    'cache-control': 'no-store',
    ...(problem.retry_after === undefined ? {} : { 'retry-after': String(problem.retry_after) }),
    ...(error instanceof Refusal ? error.headers : {}),
  };
}

/** Why a disk refuses, and where it lies, is for those who hold a token; a stranger hears that it does. */
export function forStranger(error: unknown): unknown {
  if (!hasCode(error, 'storage') && !hasCode(error, 'split_view')) return error;
  // What the edge itself says is made for them.
  if (error instanceof Refusal) return error;
  const { code, retryAfterS } = error;
  const rule = "the reason is in the server's log";
  return new SteleError(code, rule, retryAfterS === undefined ? {} : { retryAfterS });
}
