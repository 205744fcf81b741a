/**
 * What does a command's exit status say? 0: it holds, or it was done. 1: it does not hold. 2: it could
 * not be told, or not be done.
 *
 * The table does not compile until a new code is in it.
 */
import { type Code, SteleError } from '../core/errors.ts';

export const HOLDS = 0;
export const FAILS = 1;
export const UNKNOWN = 2;

export type Status = typeof HOLDS | typeof FAILS | typeof UNKNOWN;

export const EXIT = {
  malformed: FAILS,
  unverified: FAILS,
  conflict: FAILS,
  split_view: FAILS,
  too_large: FAILS,
  unauthenticated: UNKNOWN,
  forbidden: UNKNOWN,
  not_found: UNKNOWN,
  not_yet: UNKNOWN,
  frozen: UNKNOWN,
  pushback: UNKNOWN,
  storage: UNKNOWN,
} as const satisfies Record<Code, Status>;

/** What to do about it, where the message itself cannot know. */
export const ADVICE: { readonly [code in Code]?: string } = {
  unauthenticated: 'give a token that is good here with --token or STELE_TOKEN',
  pushback: 'try again in a moment',
};

/** A command line or a file given with it that cannot be used: nothing was found out and nothing done. */
export class Unusable extends Error {
  constructor(message: string, options?: { readonly cause: unknown }) {
    super(message, options);
    this.name = 'Unusable';
  }
}

export function exitOf(error: unknown): Status {
  return error instanceof SteleError ? EXIT[error.code] : UNKNOWN;
}
