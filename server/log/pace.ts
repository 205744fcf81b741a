/**
 * How fast may work go that nobody waits for? At so many bytes a second, on average and over any while:
 * what was not used is not saved up, so that no pause is followed by a rush.
 */
export interface PaceOptions {
  readonly bytesPerSecond: number;
  /** Milliseconds that only go forward. */
  readonly now: () => number;
  readonly sleep: (ms: number) => Promise<void>;
}

export class Pace {
  readonly #options: PaceOptions;
  /** When what was spent so far is paid for. */
  #paidMs = Number.NEGATIVE_INFINITY;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Resolves when so many bytes more may have been read. */
  async spend(bytes: number): Promise<void> {
    const { bytesPerSecond, now, sleep } = this.#options;
    const nowMs = now();
    this.#paidMs = Math.max(this.#paidMs, nowMs) + (1_000 * bytes) / bytesPerSecond;
    if (this.#paidMs > nowMs) await sleep(this.#paidMs - nowMs);
  }
}
