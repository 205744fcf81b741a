/**
 * How many calls has a caller left? So many a minute, evenly, with as many at once as a minute has; and so
 * many in progress at one time.
 *
 * One number for each caller says when its allowance would be whole again [GCRA]. Callers are those of the
 * file, so the table is as long as that at most; it starts anew with the process.
 */
import { CALLERS_MAX, type Caller } from '../../callers/callers.ts';
import { SteleError } from '../../core/errors.ts';

const MINUTE_MS = 60_000;

/** A limit on calls in progress has no time at which there is room again. */
const BUSY_RETRY_S = 1;

export class Allowances {
  readonly #nowMs: () => number;
  /** When everything that was taken is paid off. */
  readonly #wholeAtMs = new Map<string, number>();
  readonly #inProgress = new Map<string, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Takes one call; gives what is to be called when it is over. Throws `pushback` with the time to wait. */
  take({ id, calls_per_minute: perMinute, calls_at_once: atOnce }: Caller): () => void {
    const running = this.#inProgress.get(id) ?? 0;
    if (atOnce !== undefined && running >= atOnce) {
      throw new SteleError('pushback', `caller ${id}: ${running} calls are in progress`, {
        retryAfterS: BUSY_RETRY_S,
      });
    }
    if (perMinute !== undefined) this.#takeOf(id, perMinute);
    this.#inProgress.set(id, running + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      const left = (this.#inProgress.get(id) ?? 1) - 1;
      if (left === 0) this.#inProgress.delete(id);
      else this.#inProgress.set(id, left);
    };
  }

  #takeOf(id: string, perMinute: number): void {
    const now = this.#nowMs();
    const step = MINUTE_MS / perMinute;
    // A clock that was set back must not lock anybody out for longer than a minute.
    const wholeAt = Math.min(Math.max(this.#wholeAtMs.get(id) ?? now, now), now + MINUTE_MS);
    const waitMs = wholeAt + step - (now + MINUTE_MS);
    // Fractions of a step are rounding, and no debt.
    if (waitMs > step * 1e-6) {
      throw new SteleError('pushback', `caller ${id}: ${perMinute} calls a minute are its limit`, {
        retryAfterS: Math.max(1, Math.ceil(waitMs / 1_000)),
      });
    }
    this.#wholeAtMs.set(id, wholeAt + step);
    if (this.#wholeAtMs.size > 2 * CALLERS_MAX) this.#forget(now);
  }

  /** Whoever has its whole allowance again needs no number. */
  #forget(now: number): void {
    for (const [id, at] of this.#wholeAtMs) if (at <= now) this.#wholeAtMs.delete(id);
  }
}
