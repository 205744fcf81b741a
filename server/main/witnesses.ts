/**
 * When is a log shown to its witnesses? As soon as it has grown, but each no more often than was agreed with it;
 * once a day while it does not grow, so that its newest cosignature never gets old; and when somebody asks for it.
 */
import type { Config } from '../config.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { checkWitnesses } from '../core/policy.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import type { Logs } from '../log/logs.ts';
import { ACCESS_SUFFIX } from '../log/names.ts';
import { Outbound } from '../outbound.ts';
import type { InstanceStore } from '../storage/instance.ts';
import { Asking, REFRESH_MS, type WitnessedLog } from '../witness/asking.ts';
import { type Scheduling, scheduled } from './scheduled.ts';
import type { ShownTo } from './shown.ts';

export interface WitnessesOptions extends Scheduling {
  readonly config: Config;
  readonly version: string;
  readonly shown: ShownTo;
  readonly logs: Pick<Logs, 'use' | 'list' | 'listAll' | 'visibilityOf'>;
  readonly store: InstanceStore;
  /** The way out, where it is not the usual one. */
  readonly outbound?: Pick<Outbound, 'ask'>;
}

/** Logs whose cosignatures are old are looked for this often. */
const EVERY_HOUR = '17 * * * *';
/** Milliseconds by which that may come later, so that many instances do not come at once. */
const JITTER_MS = 600_000;
/** Milliseconds between two looks at what is due, while something is on its way. */
const LOOK_MS = 1_000;
/** Milliseconds after which it is tried again where something here failed. */
const AGAIN_MS = 60_000;
/** The longest time without a look. */
const LOOK_MS_MAX = 3_600_000;
/** Milliseconds that somebody who asks is kept waiting at most. */
const NOW_MS = 25_000;
const DAY_MS = 86_400_000;
/** A share of the interval by which a log comes later, at random, so that many do not come at once. */
const JITTER = 0.05;

/** The work of asking witnesses, for as long as a server runs. */
export class Witnesses {
  readonly #options: WitnessesOptions;
  readonly #asking: Asking;
  /** When each log that has grown is to be shown. */
  readonly #due = new Map<string, number>();
  /** When each may be shown again. */
  readonly #nextMs = new Map<string, number>();
  /** Planning is done by one at a time. */
  #planning: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #closed = false;
  readonly #ends: (() => Promise<void>)[] = [];

  constructor(options: WitnessesOptions) {
    this.#options = options;
    const { config, shown, logs, store, logger } = options;
    this.#asking = new Asking({
      rows: store.witnesses,
      witnesses: shown.witnesses,
      shownTo: (log) => this.#shownTo(log),
      intervalMs: (witness) => this.#intervalMs(witness),
      use: (name, work) => logs.use(name, (log) => work(checkedLog(log, shown))),
      outbound: options.outbound ?? new Outbound(options.version, config.anchor.contact),
      timeoutMs: config.witnesses.timeoutMs,
      check: checkSignatureNative,
      now: Date.now,
      random: Math.random,
      alarm: (message, about) => logger.error(about, message),
    });
    this.#letGo();
    if (shown.witnesses.length === 0) return;
    shown.onGrown = (log) => this.#grown(log);
    this.#ends.push(
      scheduled(EVERY_HOUR, 'looking for old cosignatures', async () => this.#lookForOld(), {
        ...options,
        jitterMs: JITTER_MS,
      }),
    );
    // What grew before the last stop is not remembered, so all of them are looked at once.
    for (const log of this.#all()) this.#due.set(log, Date.now());
    this.#wakeAt(Date.now());
  }

  /** Shows the newest head of a log now, and resolves when each witness has answered or some time is over. */
  async now(log: string): Promise<void> {
    if (this.#options.shown.witnesses.length === 0) {
      throw new SteleError(
        'conflict',
        'no witness is configured: see witnesses.policy in stele.yaml',
      );
    }
    if (this.#shownTo(log).size === 0) {
      throw new SteleError(
        'conflict',
        `log ${log} is shown to no witness: name it in witnesses.logs`,
      );
    }
    await this.#plan(log, { now: true });
    this.#options.store.witnesses.hurry(log, Date.now());
    this.#wakeAt(Date.now() + LOOK_MS);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, NOW_MS);
    try {
      await Promise.race([this.#asking.work(), over]);
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.shown.onGrown = undefined;
    clearTimeout(this.#timer);
    await this.#planning;
    await this.#asking.close();
    for (const end of this.#ends) await end();
  }

  /**
   * What witnesses were asked that are in no policy any more, and what such a one only said against a log: whoever
   * took it out has seen to that.
   */
  #letGo(): void {
    const { shown, store, logs } = this.#options;
    const { witnesses: rows } = store;
    const asked = shown.witnesses.map(({ name }) => name);
    rows.giveUp(asked, Date.now());
    for (const log of logs.listAll().flatMap(({ name }) => [name, name + ACCESS_SUFFIX])) {
      for (const { witness, evidence } of rows.evidence(log)) {
        const { proven } = JSON.parse(evidence) as { readonly proven: boolean };
        if (!proven && !this.#shownTo(log).has(witness)) rows.letGo(log, witness, Date.now());
      }
    }
  }

  #intervalMs(witness: string): number {
    const { rates, perDay } = this.#options.config.witnesses;
    return Math.ceil(DAY_MS / (rates.get(witness) ?? perDay));
  }

  #shownTo(log: string): ReadonlySet<string> {
    const visibility = this.#options.logs.visibilityOf(log);
    if (visibility === undefined) return new Set();
    return this.#options.shown.namesOf({ name: log, visibility });
  }

  /** Every log that is shown. */
  #all(): string[] {
    const { logs, config } = this.#options;
    const named = [...config.witnesses.logs, ...config.witnesses.of.map(({ log }) => log)];
    const names = new Set([...logs.list().map(({ name }) => name), ...named]);
    return [...names].filter((name) => this.#shownTo(name).size > 0);
  }

  #grown(log: string): void {
    this.#schedule(log, Math.max(Date.now(), this.#nextMs.get(log) ?? 0));
  }

  #schedule(log: string, atMs: number): void {
    if (this.#closed || (this.#due.get(log) ?? Number.POSITIVE_INFINITY) <= atMs) return;
    this.#due.set(log, atMs);
    this.#wakeAt(atMs);
  }

  #lookForOld(): void {
    const { witnesses: rows } = this.#options.store;
    const oldMs = Date.now() - REFRESH_MS;
    for (const log of this.#all()) {
      const isOld = [...this.#shownTo(log)].some(
        (witness) => (rows.seen(log, witness)?.timeMs ?? 0) <= oldMs,
      );
      if (isOld) this.#grown(log);
    }
  }

  #wakeAt(atMs: number): void {
    if (this.#closed || atMs >= this.#timerMs) return;
    clearTimeout(this.#timer);
    this.#timerMs = atMs;
    const waitMs = Math.min(Math.max(atMs - Date.now(), 0), LOOK_MS_MAX);
    this.#timer = setTimeout(() => this.#look(), waitMs);
    // It keeps no process alive.
    this.#timer.unref();
  }

  /** Plans what is due, and goes on with what is on its way; nobody waits for either. */
  #look(): void {
    this.#timerMs = Number.POSITIVE_INFINITY;
    void this.#lookNow().catch((error: unknown) => this.#failed(error));
  }

  async #lookNow(): Promise<void> {
    const due = [...this.#due].filter(([, atMs]) => atMs <= Date.now());
    for (const [log] of due) {
      if (this.#closed) return;
      this.#due.delete(log);
      try {
        await this.#plan(log);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        if (!hasCode(error, 'not_found')) {
          this.#options.logger.warn({ err: error, log }, 'no head of it is shown to witnesses');
          this.#schedule(log, Date.now() + AGAIN_MS);
        }
      }
    }
    if (this.#closed) return;
    void this.#asking.work().catch((error: unknown) => this.#failed(error));
    const nextMs = Math.min(
      this.#options.store.witnesses.nextDueMs() ?? Number.POSITIVE_INFINITY,
      ...this.#due.values(),
    );
    if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(Math.max(nextMs, Date.now() + LOOK_MS));
  }

  /** What goes wrong here is said and tried again; a failed fsync, or a broken promise of our own, ends the process (P9). */
  #failed(error: unknown): void {
    const { logger, fatal } = this.#options;
    if (!(error instanceof SteleError)) fatal(error as Error);
    logger.error({ err: error }, 'asking witnesses failed; it is tried again');
    this.#wakeAt(Date.now() + AGAIN_MS);
  }

  /** Plans for a log, and notes when the next of its witnesses may be asked. */
  async #plan(log: string, options: { readonly now?: boolean } = {}): Promise<void> {
    const planned = this.#planning.then(() => this.#asking.plan(log, options));
    this.#planning = planned.then(
      () => undefined,
      () => undefined,
    );
    const { nextMs, leftMs } = await planned;
    const laterMs = Math.random() * JITTER * (DAY_MS / this.#options.config.witnesses.perDay);
    this.#nextMs.set(log, nextMs + laterMs);
    if (leftMs !== undefined) this.#schedule(log, leftMs + laterMs);
  }
}

/** The log, unless one of its witnesses is itself. */
function checkedLog<L extends WitnessedLog & Parameters<ShownTo['of']>[0]>(
  log: L,
  shown: ShownTo,
): L {
  const witnesses = shown.of(log)?.policy.witnesses ?? [];
  checkWitnesses(
    witnesses,
    log.ownKeys().map(({ key }) => key),
  );
  return log;
}
