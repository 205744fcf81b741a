/**
 * A span and the events beside it are reported in two requests, and are one call: who waits for whom?
 *
 *     span ───┐
 *             ├─▶ one record, and both requests are answered
 *     event ──┘
 *
 * What comes first waits for a moment for what belongs to it, with its request open. So nothing that waits has
 * been promised: if the process dies, both are sent again, and meet again. What comes later than that is no part
 * of the record any more, and becomes an `annotation` that names it, with all that it said.
 *
 * Nobody waits for what never comes: a span only where events came from its service lately, and for a little
 * while after a service was first heard of, when nobody knows yet.
 */
import type { Became } from './writer.ts';

/** Of what is reported of a call: its span, the event that has all, the last of several, or another of them. */
export type Part = 'span' | 'details' | 'choice' | 'part';

export interface Half {
  readonly part: Part;
  /** What names the call: trace and span. */
  readonly call: string;
  /** Who reported it: what others of the same service do is to be expected of it too. */
  readonly service: string;
  /** Whether it says all by itself, so that at first nothing more is waited for. */
  readonly isWhole: boolean;
  readonly identity: string;
}

export interface JoinOptions<H extends Half> {
  /** Milliseconds that the first half waits; 0: nothing waits. */
  readonly windowMs: number;
  readonly now: () => number;
  /** Does `work` after so many milliseconds, unless it is told not to. */
  readonly later: (ms: number, work: () => void) => () => void;
  readonly write: (log: string, halves: readonly H[]) => Promise<Became>;
}

/** Calls that wait at one time; past it nothing waits. Their requests' bodies are bounded elsewhere. */
const WAITING_MAX = 20_000;

/** Calls that were written lately: what comes of them now is late, and waits for nothing. */
const RECENT_MAX = 20_000;

/** Services that are remembered. */
const SERVICES_MAX = 10_000;

/** After so long without a word of a kind, no more of it is expected. */
const EXPECTED_MS = 600_000;

/** For so long after its first word it is not known what a service reports. */
const UNKNOWN_MS = 120_000;

/** Halves of one call; more come as late ones. */
const HALVES_MAX = 256;

interface Waiting<H> {
  readonly halves: H[];
  readonly outcome: Promise<Became>;
  release(): void;
}

interface Habits {
  readonly since: number;
  span: number;
  event: number;
}

export class JoinRoom<H extends Half> {
  readonly #options: JoinOptions<H>;
  readonly #waiting = new Map<string, Waiting<H>>();
  readonly #habits = new Map<string, Habits>();
  readonly #recent = new Set<string>();
  #isOpen = true;

  constructor(options: JoinOptions<H>) {
    this.#options = options;
  }

  /** Calls that wait for their other half. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Resolves when the call is on record, alone or with its other half. */
  add(log: string, half: H): Promise<Became> {
    const habits = this.#heard(log, half);
    const key = `${log} ${half.call}`;
    const waiting = this.#waiting.get(key);
    if (waiting !== undefined) {
      // Sent again before it was answered.
      if (waiting.halves.some(({ identity }) => identity === half.identity)) return waiting.outcome;
      const isSecond = half.part === 'span' && waiting.halves.some(({ part }) => part === 'span');
      if (!isSecond && waiting.halves.length < HALVES_MAX) {
        waiting.halves.push(half);
        if (isTogether(waiting.halves)) waiting.release();
        return waiting.outcome;
      }
    } else if (this.#mayWait && !this.#recent.has(key) && this.#expectsMore(half, habits)) {
      return this.#wait(log, key, half).outcome;
    }
    return this.#write(log, key, [half]);
  }

  /** Nobody waits any more, from here on. */
  close(): void {
    this.#isOpen = false;
    for (const waiting of [...this.#waiting.values()]) waiting.release();
  }

  get #mayWait(): boolean {
    return this.#isOpen && this.#options.windowMs > 0 && this.#waiting.size < WAITING_MAX;
  }

  #wait(log: string, key: string, half: H): Waiting<H> {
    const { later, windowMs } = this.#options;
    const { promise, resolve } = Promise.withResolvers<Became>();
    const halves = [half];
    const cancel = later(windowMs, () => waiting.release());
    const waiting: Waiting<H> = {
      halves,
      outcome: promise,
      release: () => {
        if (this.#waiting.get(key) !== waiting) return;
        this.#waiting.delete(key);
        cancel();
        resolve(this.#write(log, key, halves));
      },
    };
    this.#waiting.set(key, waiting);
    return waiting;
  }

  #write(log: string, key: string, halves: readonly H[]): Promise<Became> {
    this.#recent.add(key);
    for (const oldest of this.#recent) {
      if (this.#recent.size <= RECENT_MAX) break;
      this.#recent.delete(oldest);
    }
    return this.#options.write(log, halves);
  }

  #expectsMore({ part, isWhole }: H, { since, span, event }: Habits): boolean {
    // One message of several says little without the rest.
    if (part === 'choice' || part === 'part') return true;
    const now = this.#options.now();
    const other = part === 'span' ? event : span;
    return now - other < EXPECTED_MS || (!isWhole && now - since < UNKNOWN_MS);
  }

  #heard(log: string, { service, part }: H): Habits {
    const now = this.#options.now();
    const key = `${log} ${service}`;
    const never = Number.NEGATIVE_INFINITY;
    const known = this.#habits.get(key) ?? { since: now, span: never, event: never };
    const before = { ...known };
    if (part === 'span') known.span = now;
    else known.event = now;
    // The one heard of last is the last to be forgotten.
    this.#habits.delete(key);
    this.#habits.set(key, known);
    for (const oldest of this.#habits.keys()) {
      if (this.#habits.size <= SERVICES_MAX) break;
      this.#habits.delete(oldest);
    }
    return before;
  }
}

/** Whether a call's halves are all that there will be of it. */
function isTogether(halves: readonly Half[]): boolean {
  const has = (part: Part) => halves.some((half) => half.part === part);
  return has('span') && (has('details') || has('choice'));
}
