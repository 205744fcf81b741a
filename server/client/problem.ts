/**
 * What a server answered, as the error that it stands for: what it refuses itself, and what cannot be
 * believed.
 */
import { parseUtf8 } from '../core/bytes.ts';
import { CODES, SteleError } from '../core/errors.ts';

/**
 * An answer that breaks its form, or that proves something else than what was asked. Whether the request
 * took effect is not known; the same may be asked again.
 */
export class BadAnswer extends SteleError {
  constructor(rule: string, cause?: unknown) {
    super('unverified', `answer: ${rule}`, { cause });
    this.name = 'BadAnswer';
  }
}

/** What `judge` makes of an answer. Whatever it finds wrong is the server's doing. */
export function believed<T>(judge: () => T): T {
  try {
    return judge();
  } catch (error) {
    if (error instanceof SteleError) throw new BadAnswer(error.message, error);
    throw error;
  }
}

/** The error of a problem document; nothing if it is none of ours: then something between us and the server spoke. */
export function parseProblem(bytes: Uint8Array): SteleError | undefined {
  let document: unknown;
  try {
    document = JSON.parse(parseUtf8(bytes, 'problem'));
  } catch {
    return undefined;
  }
  if (typeof document !== 'object' || document === null) return undefined;
  const { code, detail, retry_after } = document as { readonly [member: string]: unknown };
  const known = CODES.find((c) => c === code);
  if (known === undefined) return undefined;
  const message = typeof detail === 'string' ? detail.slice(0, DETAIL_CHARS_MAX) : known;
  const retryAfterS = secondsOf(retry_after);
  return new SteleError(known, message, retryAfterS === undefined ? {} : { retryAfterS });
}

const DETAIL_CHARS_MAX = 1_000;
const RETRY_AFTER_S_MAX = 3_600;

/** Whole seconds, at most an hour: a longer time is somebody else's business. */
export function secondsOf(value: unknown): number | undefined {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) return undefined;
  return Math.min(value, RETRY_AFTER_S_MAX);
}
