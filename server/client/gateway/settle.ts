/**
 * What becomes of the entries of a round, by what the log said of each?
 *
 * A refusal is believed only of the first that is not logged: one behind it may have been refused for want of
 * the one before, which a log that is strict about chains says as `conflict`. What nobody judged is sent
 * again, byte for byte: no answer, an answer that cannot be believed, a full queue or disk. And what only an
 * operator can mend, such as a token that has ended or a key that is not registered, is waited for a while.
 */
import { type Code, SteleError } from '../../core/errors.ts';
import { BadAnswer } from '../problem.ts';

export type Fate<T> =
  | { readonly kind: 'logged'; readonly logged: T }
  /** For good: its number is lost. */
  | { readonly kind: 'refused'; readonly error: SteleError }
  /** It was not judged, or by an answer that does not count. Without an error it may be sent at once. */
  | { readonly kind: 'again'; readonly error: SteleError | undefined }
  /** Its log has ended, and does not have it. */
  | { readonly kind: 'ended'; readonly error: SteleError }
  /** It was refused because a number before it is lost: it needs another one, behind a gap record. */
  | { readonly kind: 'renumber'; readonly error: SteleError };

export interface Heard<T> {
  readonly outcome: T | SteleError;
  /** It was sent while one before it was still under way. */
  readonly unsure: boolean;
  /** It has a number in the chain: it is a record. */
  readonly isChained: boolean;
  /** A number before its own is lost, and no gap record says so yet. */
  readonly isBehindLost: boolean;
}

/** Not judged by anybody. */
const PASSING: ReadonlySet<Code> = new Set(['pushback', 'storage', 'not_yet', 'split_view']);

/** Refusals of a whole request, or of a key, that an operator may lift. */
const LIFTABLE: ReadonlySet<Code> = new Set(['unauthenticated', 'forbidden', 'not_found']);

/** One fate for each, in order. `isPatient` says whether a refusal that may be lifted is still waited for. */
export function fatesOf<T>(
  heard: readonly Heard<T>[],
  isPatient: (code: Code) => boolean,
): Fate<T>[] {
  let isOpen = false;
  let isLost = false;
  // A log that took one behind it minds no hole: there a conflict is about the statement itself.
  const last = heard.findLastIndex((one) => one.isChained && !(one.outcome instanceof SteleError));
  return heard.map(({ outcome, unsure, isChained, isBehindLost }, i): Fate<T> => {
    if (!(outcome instanceof SteleError)) return { kind: 'logged', logged: outcome };
    const { code } = outcome;
    if (code === 'frozen') return { kind: 'ended', error: outcome };
    const isPassing = outcome instanceof BadAnswer || PASSING.has(code);
    if (isPassing || (LIFTABLE.has(code) && isPatient(code))) {
      isOpen = true;
      return { kind: 'again', error: outcome };
    }
    if (unsure || isOpen) {
      isOpen = true;
      return { kind: 'again', error: undefined };
    }
    if (code === 'conflict' && i > last && (isLost || isBehindLost)) {
      return { kind: 'renumber', error: outcome };
    }
    isLost ||= isChained;
    return { kind: 'refused', error: outcome };
  });
}
