/**
 * Trying again what another moment may allow.
 *
 * A submission may be repeated as often as one likes: the same statement by the same key gets the first
 * entry's index (P3). So a lost answer is asked for again, not given up.
 */
import { SteleError } from '../core/errors.ts';

export interface RetryOptions {
  /** Attempts in all. */
  readonly attempts?: number;
  /** The longest wait between two of them. */
  readonly maxWaitMs?: number;
  /** Fails at once where the server asks for a longer wait than this. */
  readonly maxAskedS?: number;
  readonly signal?: AbortSignal | undefined;
  readonly wait?: (ms: number) => Promise<void>;
  /** From 0 to 1. */
  readonly random?: () => number;
}

const FIRST_WAIT_MS = 100;

/** Codes of refusals that pass. */
const PASSING = new Set<string>(['pushback', 'storage', 'not_yet']);

/** Whether the same may succeed in a moment. */
export function isPassing(error: unknown): error is SteleError {
  return error instanceof SteleError && PASSING.has(error.code);
}

/**
 * Runs `work` until it succeeds, fails for good, or has had its attempts. Waits twice as long each
 * time, at random within that (or a crowd that was refused together comes back together), and never
 * less than the server asked for.
 */
export async function retrying<T>(work: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const { attempts = 6, maxWaitMs = 10_000, random = Math.random, signal } = options;
  const { maxAskedS = Number.POSITIVE_INFINITY } = options;
  const wait = options.wait ?? ((ms) => sleep(ms, signal));
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isPassing(error) || attempt >= attempts || signal?.aborted) throw error;
      if ((error.retryAfterS ?? 0) > maxAskedS) throw error;
      await wait(backOffMs(attempt, error, { maxWaitMs, random }));
    }
  }
}

/**
 * Milliseconds to wait after so many failed attempts: twice as long each time, at random within that, and
 * never less than the server asked for.
 */
export function backOffMs(
  failures: number,
  error: unknown,
  { maxWaitMs, random }: { readonly maxWaitMs: number; readonly random: () => number },
): number {
  const backOff = FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 32) * (0.5 + random());
  const asked = (error instanceof SteleError ? (error.retryAfterS ?? 0) : 0) * 1000;
  return Math.max(asked, Math.min(backOff, maxWaitMs));
}

/** Ends early, without an error, when `signal` is aborted: the next attempt sees it. */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const timer = setTimeout(end, ms);
    function end(): void {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    }
    signal?.addEventListener('abort', end);
  });
}
