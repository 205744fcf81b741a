/**
 * Who tried to get past? Refused tokens, for whoever watches the log: at most a line a second, with how many there
 * were, since strangers decide how often this happens. Nothing of what they presented is in it (P10).
 */
import type { ProxyLogger } from '../logger.ts';

const INTERVAL_MS = 1_000;

export class Refusals {
  readonly #logger: ProxyLogger;
  readonly #nowMs: () => number;
  #count = 0;
  #saidMs = Number.NEGATIVE_INFINITY;

  constructor(logger: ProxyLogger, nowMs: () => number) {
    this.#logger = logger;
    this.#nowMs = nowMs;
  }

  note(reason: string, address: string | undefined): void {
    this.#count++;
    const now = this.#nowMs();
    // A clock that was set back must not silence it.
    if (now >= this.#saidMs && now - this.#saidMs < INTERVAL_MS) return;
    this.#logger.warn({ reason, address, count: this.#count }, 'a caller was not let in');
    this.#count = 0;
    this.#saidMs = now;
  }
}
