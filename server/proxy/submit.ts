/**
 * How do records get from the journal into the log, in order, however long the log is away?
 *
 * A few records are in flight at once; they are started in order, and the log takes holes, which those still on
 * their way fill. Whatever may pass (no answer, pushback, storage, a token to be fixed) is tried again, with growing
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
  /** Something is to be sent, or one that was sent has arrived or failed. */
  #stir: () => void = () => {};
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
    this.#stir();
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

  /** Sends what waits, in order and a few at a time, until nothing waits or one is not taken. */
  async #round(): Promise<'all' | 'none' | 'failed'> {
    const { refused, logger } = this.#options;
    try {
      const failed = await this.#flight();
      if (failed.length === 0) return (await this.#rolled()) ? 'all' : 'none';
      let waits: Error | undefined;
      for (const { position, error } of failed) {
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

  /**
   * Keeps `inFlight` records on their way, the next one as soon as one has arrived, so that a large one delays only
   * itself. Since they are started in order, no more than are in flight can be missing in front of one that was sent.
   * After one that is not taken no other is started. Returns those that were not, in order.
   */
  async #flight(): Promise<{ readonly position: number; readonly error: unknown }[]> {
    const { send, inFlight } = this.#options;
    const { signal } = this.#stop;
    const flying = new Map<number, Promise<void>>();
    const failed: { readonly position: number; readonly error: unknown }[] = [];
    const landed: (() => Promise<void>)[] = [];
    const launch = (position: number) => {
      const land = (after: () => Promise<void> | void) => {
        landed.push(async () => {
          flying.delete(position);
          await after();
        });
        this.#stir();
      };
      const sent = send(position, signal, this.#unlogged.size > 0).then(
        () => land(() => this.#arrived(position)),
        (error: unknown) =>
          land(() => {
            if (hasCode(error, 'frozen')) this.#unlogged.add(position);
            else failed.push({ position, error });
          }),
      );
      flying.set(position, sent);
    };
    try {
      for (;;) {
        this.#woken = false;
        for (const after of landed.splice(0)) await after();
        if (failed.length === 0 && !signal.aborted && flying.size < inFlight) {
          for (const position of await this.#next(flying)) launch(position);
        }
        if (landed.length > 0 || this.#woken) continue;
        if (flying.size === 0) break;
        await new Promise<void>((resolve) => {
          this.#stir = resolve;
        });
      }
    } finally {
      await Promise.all(flying.values());
    }
    return failed.sort((a, b) => a.position - b.position);
  }

  async #arrived(position: number): Promise<void> {
    await this.#options.logged(position);
    this.#failures = 0;
    this.#forbiddenSinceMs = undefined;
    this.#lastError = undefined;
  }

  /** The next few to send; of a log that has ended, those that it may have and was not asked for yet. */
  async #next(flying: ReadonlyMap<number, unknown>): Promise<number[]> {
    const { backlog, inFlight } = this.#options;
    const unlogged = this.#unlogged;
    const isEnough = unlogged.size >= IN_FLIGHT_MAX;
    const last = isEnough ? Math.max(...unlogged) : Number.POSITIVE_INFINITY;
    const head = await backlog.head(unlogged.size + inFlight);
    const unknown = head.filter((p) => p < last && !unlogged.has(p) && !flying.has(p));
    return unknown.slice(0, inFlight - flying.size);
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
