/**
 * Which status and title does each code have?
 *
 * The two tables do not compile until a new code is in them. `docs/errors.md` says what each code
 * means to the one who gets it, and a test compares the two.
 */
import { type Code, type ErrorOptions, SteleError, shown } from '../core/errors.ts';

export const STATUS = {
  malformed: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  not_yet: 404,
  conflict: 409,
  too_large: 413,
  unverified: 422,
  frozen: 423,
  pushback: 429,
  storage: 503,
  split_view: 503,
} as const satisfies Record<Code, number>;

export const TITLE = {
  malformed: 'Malformed',
  unauthenticated: 'No valid token',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  not_yet: 'Not there yet',
  conflict: 'Contradicts what is there',
  too_large: 'Too large',
  unverified: 'Does not verify',
  frozen: 'The log takes no more entries',
  pushback: 'Too much at once',
  storage: 'Storage refused',
  split_view: 'Two histories under one origin',
} as const satisfies Record<Code, string>;

export interface RefusalOptions extends ErrorOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Members of the problem document beside those that every one has [RFC 9457 §3.2]. */
  readonly members?: Readonly<Record<string, object>>;
}

/** A refusal that HTTP itself defines: a code of ours under HTTP's own status, with its headers. */
export class Refusal extends SteleError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, object>>;

  constructor(code: Code, message: string, options: RefusalOptions = {}) {
    super(code, message, options);
    this.status = options.status ?? STATUS[code];
    this.headers = options.headers ?? {};
    this.members = options.members ?? {};
  }
}

export function methodNotAllowed(method: string, allow: string): Refusal {
  return new Refusal('malformed', `method: ${shown(method)} where the route takes ${allow}`, {
    status: 405,
    headers: { allow },
  });
}

export function lengthRequired(): Refusal {
  return new Refusal('malformed', 'body: neither content-length nor chunked', { status: 411 });
}

export function unsupportedType(header: string, value: string, rule: string): Refusal {
  return new Refusal('malformed', `${header}: ${shown(value)} where the route takes ${rule}`, {
    status: 415,
  });
}

/** [RFC 6750 §3] A 401 names the scheme. */
export function unauthenticated(message: string): Refusal {
  return new Refusal('unauthenticated', message, {
    headers: { 'www-authenticate': 'Bearer realm="stele"' },
  });
}
