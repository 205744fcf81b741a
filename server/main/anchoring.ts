/**
 * Which heads are shown outside, and when: by a schedule, after so many entries, and when somebody asks for it.
 *
 * A log that nobody has opened since it was last looked at has not grown, so it is not opened for this.
 */
import { setImmediate } from 'node:timers/promises';
import { Anchoring } from '../anchor/anchoring.ts';
import { Strangers, strangerError } from '../anchor/strangers.ts';
import type { AnchoredHead, Target } from '../anchor/target.ts';
import type { Config } from '../config.ts';
import { utf8 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { hasCode, SteleError, shown } from '../core/errors.ts';
import { parsePublicKey } from '../core/keys.ts';
import { parseNote } from '../core/note.ts';
import { strikeOut } from '../core/own-heads.ts';
import type { Log } from '../log/log.ts';
import type { Logs } from '../log/logs.ts';
import { boundName } from '../log/names.ts';
import type { InstanceStore } from '../storage/instance.ts';
import type { StrangerRow } from '../storage/strangers.ts';
import { type Scheduling, scheduled } from './scheduled.ts';

export interface AnchorsOptions extends Scheduling {
  readonly config: Config['anchor'];
  readonly targets: readonly Target[];
  readonly logs: Logs;
  readonly store: InstanceStore;
}

/** What is due is done, and what has grown is looked for, this often. */
const EVERY_MINUTE = '* * * * *';
/** Milliseconds by which a scheduled turn may come later, so that many instances do not come at once. */
const JITTER_MS = 60_000;
/** Milliseconds that somebody who asks is kept waiting at most. */
const NOW_MS = 25_000;
/** Milliseconds in which targets are searched before anything is signed; what is left is done by schedule. */
const BEGIN_MS = 10_000;

/** The work of showing heads, for as long as a server runs. */
export class Anchors {
  readonly #options: AnchorsOptions;
  readonly #anchoring: Anchoring;
  readonly #strangers: Strangers;
  readonly #stop = new AbortController();
  readonly #ends: (() => Promise<void>)[];
  /** Logs that were open since they were last planned for; at first, all. */
  #touched: Set<string> | undefined;

  constructor(options: AnchorsOptions) {
    const { config, targets, store, logger } = options;
    this.#options = options;
    this.#anchoring = new Anchoring({
      rows: store.anchors,
      targets,
      head: (log) => this.#head(log),
      now: Date.now,
      random: Math.random,
      alarm: (message, about) => logger.error(about, message),
    });
    this.#strangers = new Strangers({
      rows: store.strangers,
      targets,
      now: Date.now,
      foreign: (log, digests, signal) => this.#foreign(log, digests, signal),
      found: (row) => this.#found(row),
      warn: (message, about) => logger.warn(about, message),
    });
    const everyMinute = () => this.#everyMinute();
    const bySchedule = () => this.#bySchedule();
    this.#ends =
      targets.length === 0
        ? []
        : [
            scheduled(EVERY_MINUTE, 'showing heads to targets', everyMinute, options),
            ...(config.schedule === undefined
              ? []
              : [
                  scheduled(config.schedule, 'showing heads by schedule', bySchedule, {
                    ...options,
                    jitterMs: JITTER_MS,
                  }),
                ]),
          ];
  }

  /** What each target was asked since this process began, and what came of it. */
  get tallies(): Anchoring['tallies'] {
    return this.#anchoring.tallies;
  }

  /**
   * Looks for heads of our logs that somebody else had taken up, before anything is signed. A target that does not
   * answer keeps nobody from starting.
   */
  async begin(): Promise<void> {
    await this.#strangers.look(AbortSignal.any([AbortSignal.timeout(BEGIN_MS), this.#stop.signal]));
  }

  /** Shows the newest head of a log now, and resolves when each target has answered or some time is over. */
  async now(log: string): Promise<void> {
    if (this.#options.targets.length === 0) {
      throw new SteleError('conflict', 'no target is configured: see rekor and tsa in stele.yaml');
    }
    if (!this.#isShown(log)) {
      throw new SteleError('conflict', `log ${log} is not shown outside: name it in anchor.logs`);
    }
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, NOW_MS);
    try {
      await Promise.race([this.#show([log]), over]);
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#anchoring.close();
    for (const end of this.#ends) await end();
  }

  async #everyMinute(): Promise<void> {
    const open = (await this.#options.logs.opened()).filter(({ name }) => this.#isShown(name));
    for (const { name } of open) this.#touched?.add(name);
    const { entries } = this.#options.config;
    if (entries > 0) {
      const sizes = open.map((log) => [log.name, log.head().size] as const);
      await this.#anchoring.planGrown(sizes, entries);
    }
    await this.#anchoring.work();
  }

  async #bySchedule(): Promise<void> {
    const names = this.#touched ?? this.#all();
    this.#touched = new Set();
    await this.#show(names);
  }

  /** A log of which there is another copy shows nothing more, so that is looked at first. */
  async #show(names: Iterable<string>): Promise<void> {
    await this.#strangers.look(this.#stop.signal);
    for (const log of names) await this.#anchoring.plan(log);
    await this.#anchoring.work();
  }

  /** Those of no size of the log's tree. Of a log that is gone, which signs nothing, that is not asked. */
  async #foreign(
    name: string,
    digests: ReadonlySet<string>,
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    const { logs } = this.#options;
    const wanted = new Set(digests);
    if (logs.visibilityOf(name) === undefined) return wanted;
    await logs.use(name, async (log) => {
      const tile = async (index: number, width: number) => {
        // Tiles in memory come at once: others have their turn in between.
        await setImmediate(undefined, { signal });
        return log.tile({ kind: 'hashes', level: 0, index, width });
      };
      await strikeOut(wanted, { origin: log.origin, size: log.head().size, tile });
    });
    return wanted;
  }

  /** Of a log that is not open now, whoever opens it hears of it. */
  async #found(row: StrangerRow): Promise<void> {
    const error = strangerError(row);
    this.#options.logger.error({ err: error, log: row.log, target: row.target }, error.message);
    const open = (await this.#options.logs.opened()).find(({ name }) => name === row.log);
    open?.stop(error);
  }

  /** Every log that is shown. */
  #all(): string[] {
    const { config, logs } = this.#options;
    const listed = logs.list().map(({ name }) => name);
    const named = config.logs.filter((name) => name !== '*' && !listed.includes(name));
    return [...listed, ...named].filter((name) => this.#isShown(name));
  }

  /** One that is named, or one that is not private where all are. */
  #isShown(name: string): boolean {
    const { config, logs } = this.#options;
    const visibility = logs.visibilityOf(name);
    if (visibility === undefined) return false;
    if (config.logs.includes(name)) return true;
    return config.logs.includes('*') && visibility !== 'private' && boundName(name) === name;
  }

  /** A log that is not there, or signs nothing, has no head to show; its trouble is told elsewhere. */
  async #head(name: string): Promise<AnchoredHead | undefined> {
    try {
      return await this.#options.logs.use(name, anchoredHead);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      if (!hasCode(error, 'not_found')) {
        this.#options.logger.warn({ err: error, log: name }, 'no head of it is shown outside');
      }
      return undefined;
    }
  }
}

/** The newest head with the anchor key's line; nothing where it has none. */
async function anchoredHead(log: Log): Promise<AnchoredHead | undefined> {
  if (log.stopped !== undefined) return undefined;
  const { checkpoint } = await log.publishNow();
  const { anchor } = log.verifierKeys();
  const { text, signatures } = parseNote(utf8(checkpoint));
  const line = signatures.find(({ name, keyId }) => name === anchor.name && keyId === anchor.keyId);
  if (line === undefined) return undefined;
  const { origin, size, root } = parseCheckpoint(text);
  if (origin !== log.origin) {
    throw new SteleError('storage', `the published head is of ${shown(origin)}`);
  }
  const key = parsePublicKey('ecdsa-p256', anchor.key);
  return { origin, size, root, text: utf8(text), signature: line.signature, key };
}
