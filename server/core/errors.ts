/**
 * What can go wrong, as one closed list of codes.
 *
 * Core knows no HTTP and no exit status: `http/errors.ts` and `cli/exit.ts` hold one table each that
 * maps every code, and neither compiles until a new code is in it. A message is lower case and carries
 * the value and the rule: "leaf 9 is not in a tree of 9".
 */

export const CODES = [
  'malformed', // the bytes break a format's rules
  'unauthenticated', // no credential, or none that is known
  'forbidden', // a known caller, key or source that may not do this
  'not_found', // it does not exist
  'not_yet', // it does not exist yet, and may later
  'conflict', // it contradicts what is already there
  'too_large', // over a bound that is stated in the message
  'unverified', // a signature, proof or commitment does not hold
  'frozen', // the log takes no more entries
  'pushback', // too much at once; try again later
  'storage', // the disk or database refused; nothing was accepted
  'split_view', // two histories under one origin
] as const;

export type Code = (typeof CODES)[number];

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Whole seconds after which it is worth trying again. */
  readonly retryAfterS?: number;
}

/** An outcome that callers are expected to handle, told apart by `code`. */
export class SteleError extends Error {
  readonly code: Code;
  readonly retryAfterS: number | undefined;

  constructor(code: Code, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SteleError';
    this.code = code;
    this.retryAfterS = options.retryAfterS;
  }
}

/** A broken promise of our own code. Nobody recovers from it. */
export class Bug extends Error {
  constructor(rule: string) {
    super(`broken invariant: ${rule}`);
    this.name = 'Bug';
  }
}

/** Throws a `Bug` unless `holds`. */
export function invariant(holds: boolean, rule: string): asserts holds {
  if (!holds) throw new Bug(rule);
}

/** `what` names the place, `rule` the value and the rule that it breaks. */
export function malformed(what: string, rule: string, options: ErrorOptions = {}): SteleError {
  return new SteleError('malformed', `${what}: ${rule}`, options);
}

/** A signature, proof or commitment that does not hold, with the place and the reason. */
export function unverified(what: string, rule: string, options: ErrorOptions = {}): SteleError {
  return new SteleError('unverified', `${what}: ${rule}`, options);
}

/**
 * What is said is by nobody whom the reader's trust file knows, so that none of it counts. It may be right
 * for a reader with another trust file, which is why it is told apart from what is wrong.
 */
export class NoTrust extends SteleError {
  constructor(what: string, rule: string, options: ErrorOptions = {}) {
    super('unverified', `${what}: ${rule}`, options);
    this.name = 'NoTrust';
  }
}

/** Whether `error` is an expected outcome of the given code. */
export function hasCode(error: unknown, code: Code): error is SteleError {
  return error instanceof SteleError && error.code === code;
}

/** At most `max` characters of a stranger's text, quoted, for use inside a message. */
export function shown(text: string, max = 80): string {
  return JSON.stringify(text.length > max ? `${text.slice(0, max)}…` : text);
}
