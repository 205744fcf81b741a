/**
 * How much does a log take? As much as its rules say: entries a second, bytes a day.
 *
 * Only what is logged counts, so a refusal, an error and a repeat cost nobody anything. A batch is judged
 * on a draft, like its chains: a commit that fails leaves nothing behind here. The day's count is stored
 * with the head, so that a restart gives nothing back.
 *
 * A second's worth may come at once and then fills up again, at the rule's rate. Days are of UTC.
 */
import { SteleError } from '../core/errors.ts';
import type { Usage } from '../storage/store.ts';
import type { Clock } from './clock.ts';
import type { Rules } from './registry.ts';

type Limits = Pick<Rules, 'entries_per_second' | 'bytes_per_day'>;

const DAY_MS = 86_400_000;

export class Quota {
  readonly #clock: Clock;
  #usage: Usage;
  /** Entries that were taken of the present second's worth, draining at the rule's rate. */
  #level = 0;
  #levelMs: number;

  constructor(clock: Clock, usage: Usage) {
    this.#clock = clock;
    this.#usage = usage;
    this.#levelMs = clock.now();
  }

  /** What was logged so far, as of the last commit. */
  get usage(): Usage {
    return this.#usage;
  }

  /** Throws `pushback` if not even one small entry would be taken now. */
  check(limits: Limits): void {
    this.draft().take(1, limits);
  }

  /** A view in which the entries of one batch can be counted in order. */
  draft(): QuotaDraft {
    const now = this.#clock.now();
    const elapsedMs = Math.max(0, now - this.#levelMs);
    return new QuotaDraft(now, today(this.#usage, now), { level: this.#level, elapsedMs });
  }

  /** The draft's batch is committed. */
  apply(draft: QuotaDraft): void {
    this.#usage = draft.usage;
    this.#level = draft.level;
    this.#levelMs = draft.nowMs;
  }
}

export class QuotaDraft {
  readonly nowMs: number;
  readonly #elapsedMs: number;
  #usage: Usage;
  #level: number;
  #drained = false;

  constructor(nowMs: number, usage: Usage, rate: { readonly level: number; elapsedMs: number }) {
    this.nowMs = nowMs;
    this.#usage = usage;
    this.#level = rate.level;
    this.#elapsedMs = rate.elapsedMs;
  }

  get usage(): Usage {
    return this.#usage;
  }

  get level(): number {
    return this.#level;
  }

  /** Takes an entry that gateways sent, or throws `pushback`; the log's own records have no limits. */
  take(bytes: number, limits: Limits = {}): void {
    const { entries_per_second: perSecond, bytes_per_day: perDay } = limits;
    if (perSecond !== undefined) this.#takeOfSecond(perSecond);
    const dayBytes = this.#usage.dayBytes + bytes;
    if (perDay !== undefined && dayBytes > perDay) throw this.#dayIsFull(perDay, bytes);
    if (perSecond !== undefined) this.#level += 1;
    this.#usage = {
      day: this.#usage.day,
      dayEntries: this.#usage.dayEntries + 1,
      dayBytes,
      bytes: this.#usage.bytes + bytes,
    };
  }

  #takeOfSecond(perSecond: number): void {
    if (!this.#drained) {
      this.#level = Math.max(0, this.#level - (this.#elapsedMs / 1_000) * perSecond);
      this.#drained = true;
    }
    if (this.#level + 1 <= perSecond) return;
    throw new SteleError(
      'pushback',
      `the log takes ${perSecond} entries a second, and has taken as many`,
      { retryAfterS: 1 },
    );
  }

  #dayIsFull(perDay: number, bytes: number): SteleError {
    const left = DAY_MS - (this.nowMs % DAY_MS);
    return new SteleError(
      'pushback',
      `the log takes ${perDay} bytes a day and has ${this.#usage.dayBytes} of today: ${bytes} more are too many`,
      { retryAfterS: Math.ceil(left / 1_000) },
    );
  }
}

/** The usage as it stands at a time of day: on another day than the last entry's, nothing was logged yet. */
function today(usage: Usage, nowMs: number): Usage {
  const day = Math.floor(nowMs / DAY_MS);
  // A clock that was set back does not open a day a second time.
  return day <= usage.day ? usage : { ...usage, day, dayEntries: 0, dayBytes: 0 };
}
