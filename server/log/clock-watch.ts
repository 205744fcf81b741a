/**
 * Is the clock what heads may be stamped with? It is asked beside one that only goes forward: where the two
 * part by more than a clock drifts or is slewed, somebody has set it.
 *
 * A clock that is right again is steady again after a minute; that it is behind what was signed already is
 * for whoever knows the heads to see.
 */

/** Seconds of difference that are no jump: what is slewed at once, and an hour's worth of that. */
const JUMP_MS = 5_000;
/** Of the time between two looks: NTP slews by 500 millionths, and bad clocks drift as much. */
const DRIFT = 0.001;
/** How long a jump is told of. */
const TOLD_MS = 60_000;

export interface ClockWatchOptions {
  readonly now: () => number;
  /** Milliseconds that only go forward. */
  readonly monotonic: () => number;
}

export class ClockWatch {
  readonly #options: ClockWatchOptions;
  #lastMs: number;
  #lastMonotonicMs: number;
  #jumpedMs = Number.NEGATIVE_INFINITY;

  constructor(options: ClockWatchOptions) {
    this.#options = options;
    this.#lastMs = options.now();
    this.#lastMonotonicMs = options.monotonic();
  }

  /** Looks, and says whether the clock has gone as time has for the last minute. */
  isSteady(): boolean {
    const now = this.#options.now();
    const monotonic = this.#options.monotonic();
    const passed = monotonic - this.#lastMonotonicMs;
    const difference = Math.abs(now - this.#lastMs - passed);
    if (difference > JUMP_MS + DRIFT * passed) this.#jumpedMs = monotonic;
    this.#lastMs = now;
    this.#lastMonotonicMs = monotonic;
    return monotonic - this.#jumpedMs >= TOLD_MS;
  }
}
