/**
 * How do records get from the journal into the log, in order, however long the log is away?
 *
 * A few records are in flight at once; they are started in order and the log takes holes, which the next
 * ones fill. Whatever may pass (no answer, pushback, storage, a token to be fixed) is tried again, with growing
 * pauses, for as long as it takes: the records wait on disk. A refusal for good is believed only of the
 * record at the head of the line, since one behind it may have been refused for want of the head; the entry
 * is then set aside and the line goes on. `forbidden` may pass too, when somebody registers the key, so
 * it counts as final only after `patienceMs`.
 *
 * A log that has ended answers `frozen` for what it does not have. Then it is asked, in order and without content,
 * what it has of the rest: an answer may have been lost. At most as many as are ever in flight can be
 * missing in front of one that was sent, so once so many are, nothing behind them was.
 */
import { BadAnswer } from '../client/problem.ts';
import { type Code, hasCode, SteleError } from '../core/errors.ts';
import type { Backlog } from './backlog.ts';
import type { ProxyLogger } from './logger.ts';

/** Asking again changes nothing. */
const FOR_GOOD: ReadonlySet<Code> = new Set([
  'malformed',
  'forbidden',
  'unverified',
  'conflict',
  'too_large',
]);

const PAUSE_MS_MAX = 30_000;

/** Records in flight at once, in this release and in any that may have written the journal. */
export const IN_FLIGHT_MAX = 64;

export interface SubmitterOptions {
  readonly backlog: Backlog;
  readonly inFlight: number;
  /** The first pause; it doubles with each failure. */
  readonly retryMs: number;
  /** How long a record that is forbidden is tried again. */
  readonly patienceMs: number;
  readonly nowMs: () => number;
  /** Sends the record at this position, alone or with its content. It is in the log, on disk there, when this resolves. */
  readonly send: (position: number, signal: AbortSignal, alone: boolean) => Promise<void>;
  /** The record is in the log: takes it out of the backlog. */
  readonly logged: (position: number) => Promise<void>;
  /** Refused for good: sets the entry aside, durably, and takes it out of the backlog. */
  readonly refused: (position: number, error: SteleError) => Promise<void>;
  /** The log has ended, and has neither the records at these positions, the first that wait, nor any behind them. */
  readonly ended: (unlogged: readonly number[]) => Promise<void>;
  readonly random: (bytes: number) => Uint8Array;
  readonly logger: ProxyLogger;
}

export class Submitter {
  readonly #options: SubmitterOptions;
  readonly #stop = new AbortController();
  #failures = 0;
  #retryAfterMs = 0;
  #forbiddenSinceMs: number | undefined;
  #lastError: string | undefined;
  #running: Promise<void> | undefined;
  #woken = false;
  #wakeUp: () => void = () => {};
  readonly #rounds: (() => void)[] = [];
  /** Positions of records that a log does not have, and will not: it has ended. */
  readonly #unlogged = new Set<number>();

  constructor(options: SubmitterOptions) {
    this.#options = options;
  }

  /** Why the last attempt failed, until one succeeds. */
  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** There is something to submit. */
  wake(): void {
    if (this.#stop.signal.aborted) return;
    this.#woken = true;
    this.#wakeUp();
    this.#running ??= this.#run();
  }

  /** Resolves when nothing waits, when the log takes nothing, when it is closed, or after `ms`. */
  async drain(ms: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    let isLate = false;
    late.then(() => (isLate = true)).catch(() => {});
    const { signal } = this.#stop;
    while (
      !isLate &&
      !signal.aborted &&
      this.#options.backlog.count > 0 &&
      this.#lastError === undefined
    ) {
      await Promise.race([late, this.#roundEnded()]);
    }
    clearTimeout(timer);
  }

  /** Gives up what is in flight: it stays in the journal. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#wakeUp();
    await this.#running;
    for (const resolve of this.#rounds.splice(0)) resolve();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#woken = false;
      const moved = await this.#round();
      for (const resolve of this.#rounds.splice(0)) resolve();
      if (moved === 'all') continue;
      if (moved === 'none' && !this.#woken) await this.#until(undefined);
      if (moved === 'failed') await this.#until(this.#pauseMs());
    }
  }

  #roundEnded(): Promise<void> {
    return new Promise((resolve) => this.#rounds.push(resolve));
  }

  /** Sends the first few records that wait. */
  async #round(): Promise<'all' | 'none' | 'failed'> {
    const { send, logged, refused, logger } = this.#options;
    try {
      const positions = await this.#next();
      if (positions.length === 0) return (await this.#rolled()) ? 'all' : 'none';
      const { signal } = this.#stop;
      const alone = this.#unlogged.size > 0;
      const sent = await Promise.allSettled(positions.map((p) => send(p, signal, alone)));
      let waits: SteleError | Error | undefined;
      for (const [i, result] of sent.entries()) {
        const position = positions[i] as number;
        if (result.status === 'fulfilled') {
          await logged(position);
          this.#failures = 0;
          this.#forbiddenSinceMs = undefined;
          this.#lastError = undefined;
          continue;
        }
        const error: unknown = result.reason;
        if (hasCode(error, 'frozen')) {
          this.#unlogged.add(position);
          continue;
        }
        if (waits === undefined && this.#isFinal(error)) {
          await refused(position, error);
          continue;
        }
        // Behind one that waits, a refusal may only mean that the one before is missing.
        waits ??= error instanceof Error ? error : new Error(String(error));
      }
      if (waits === undefined) return 'all';
      this.#failed(waits);
      return 'failed';
    } catch (error) {
      // The journal itself cannot be read or written now; nothing was promised, nothing is lost.
      this.#failed(error instanceof Error ? error : new Error(String(error)));
      logger.error({ error: this.#lastError }, 'records cannot be read from the journal');
      return 'failed';
    }
  }

  /** The first few that wait; of a log that has ended, those that it may have and was not asked for yet. */
  async #next(): Promise<number[]> {
    const { backlog, inFlight } = this.#options;
    const unlogged = this.#unlogged;
    const isEnough = unlogged.size >= IN_FLIGHT_MAX;
    const last = isEnough ? Math.max(...unlogged) : Number.POSITIVE_INFINITY;
    const head = await backlog.head(unlogged.size + inFlight);
    const unknown = head.filter((position) => position < last && !unlogged.has(position));
    return unknown.slice(0, inFlight);
  }

  /** Whether there was a log that has ended, from which what waits has gone on to the next. */
  async #rolled(): Promise<boolean> {
    if (this.#unlogged.size === 0) return false;
    await this.#options.ended([...this.#unlogged].sort((a, b) => a - b));
    this.#unlogged.clear();
    this.#failures = 0;
    this.#lastError = undefined;
    return true;
  }

  #isFinal(error: unknown): error is SteleError {
    if (!(error instanceof SteleError) || !FOR_GOOD.has(error.code)) return false;
    // What the log answered is no refusal, but nothing that can be believed: whether it has the record
    // is not known.
    if (error instanceof BadAnswer) return false;
    if (error.code !== 'forbidden') return true;
    const now = this.#options.nowMs();
    // Once it is final, it is final for all that waited meanwhile.
    this.#forbiddenSinceMs ??= now;
    return now - this.#forbiddenSinceMs >= this.#options.patienceMs;
  }

  #failed(error: Error): void {
    this.#failures++;
    this.#lastError = error.message;
    this.#retryAfterMs = error instanceof SteleError ? (error.retryAfterS ?? 0) * 1_000 : 0;
    if (this.#stop.signal.aborted) return;
    const facts = { error: error.message, waiting: this.#options.backlog.count };
    this.#options.logger.warn(facts, 'the log takes no records now; they wait in the journal');
  }

  /** Doubles with each failure; a random half of it keeps many proxies from coming back together. */
  #pauseMs(): number {
    const doubled = this.#options.retryMs * 2 ** Math.min(this.#failures - 1, 16);
    const full = Math.min(PAUSE_MS_MAX, Math.max(doubled, this.#retryAfterMs));
    const jitter = (this.#options.random(1)[0] ?? 0) / 256;
    return full / 2 + (full / 2) * jitter;
  }

  /** Resolves after `ms`, or when woken if there is no time; at once when stopped. */
  #until(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      if (this.#stop.signal.aborted) return resolve();
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
      this.#wakeUp = () => {
        // New records are no reason to hurry a log that is away.
        if (timer !== undefined && !this.#stop.signal.aborted) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
