/**
 * One source: a journal, a chain of records, and a log that they go to.
 *
 *     calls ─▶ spool ─▶ journal ◀─ recorder ─▶ backlog ─▶ submitter ─▶ log
 *
 * A source has a folder of its own:
 *
 *     0000000000000000.journal …   segments
 *     source.json                  the source's id, to notice that a journal was lost
 *     unrecorded                   in posture observe: how many calls went through unrecorded
 *     refused-SEQ-ID.journal       entries the log refused for good, with their calls' sealed frames
 *
 * Its id is the configured name and a random part: a journal that is lost with everything that
 * remembers it can then never lead to two records with one seq.
 */

import type { LogClient } from '../client/client.ts';
import type { Content } from '../client/multipart.ts';
import { toHex, utf8 } from '../core/bytes.ts';
import { hasCode, invariant, SteleError } from '../core/errors.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { Signer } from '../keys/signer.ts';
import type { Keyring } from '../vault/keyring.ts';
import { Backlog } from './backlog.ts';
import type { Clock } from './clock.ts';
import type { Draft } from './drafts.ts';
import type { BeginFacts, EndFacts } from './facts.ts';
import { chainToGoOn, remember } from './identity.ts';
import type { IntendedCall } from './intent.ts';
import { Intents } from './intents.ts';
import type { EndedCall } from './jobs.ts';
import type { SpoolDisk } from './journal/disk.ts';
import { FRAME, NO_CALL } from './journal/frame.ts';
import { Journal, type SyncFailed } from './journal/journal.ts';
import type { ProxyLogger } from './logger.ts';
import { Mender } from './mend.ts';
import { Missed } from './missed.ts';
import { readSubmission, setAside } from './outgoing.ts';
import type { RequestFacts } from './providers/provider.ts';
import { Recorder } from './recorder.ts';
import {
  type Chain,
  findRecords,
  type Reason,
  type Recovered,
  type RefusedFrame,
  recover,
  runsOf,
  type Unexplained,
} from './recover.ts';
import { Rolling } from './rolling.ts';
import type { SourceLimits, SourceState } from './source-state.ts';
import { CallSpool, Linger, type SpoolContext } from './spool.ts';
import type { SpooledCall } from './spooled.ts';
import { Submitter } from './submit.ts';

/** What a source needs of a log. */
export interface LogPort extends Pick<LogClient, 'sources'> {
  /** Resolves with the entry's leaf index once it is on disk in the log, also if the log had it already. */
  submit(entry: Uint8Array, content?: Content, signal?: AbortSignal): Promise<number>;
}

/** The logs of a series, one after the other. */
export interface SeriesPort {
  /** The log of this origin. It need not be there now. */
  log(origin: string): LogPort;

  /**
   * The origin of the log that goes on where this one ended. Rejects with `not_yet` while it is being made, and
   * as long as it cannot be told or proven with whatever keeps it from that.
   */
  next(origin: string): Promise<string>;
}

export interface SourceOptions {
  readonly disk: SpoolDisk;
  /** Of the log that the configuration names: the first of the series that this source writes to. */
  readonly origin: string;
  readonly series: SeriesPort;
  /** The readable part of the source's id. */
  readonly name: string;
  /** The key that signs the records of a source of this id in the log of this origin. */
  readonly signerOf: (origin: string, source: string) => Promise<Signer>;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  readonly logger: ProxyLogger;
  readonly software: string;
  readonly retentionClass: string;
  /** Whether calls of an upstream go on while they cannot be recorded. */
  readonly isObserved: boolean;
  readonly onFatal: (error: SyncFailed) => void;
  /** Told of bytes of bodies that went through. */
  readonly passed: (bytes: number) => void;
  readonly limits: SourceLimits;
}

const BLOCK_RECORDS = 4_096;
const LOADED_MAX = 65_536;
const RECENT_MAX = 256;

/** A segment this large is worth another when room is short. */
const ROTATED_BYTES = 1_048_576;

/** Has the log of this origin give a source to another key. */
type HandOver = (origin: string, source: string) => Promise<void>;

/** How long a change of keys waits for the log to take what the key before signed, and how often. */
const CHANGE_MS = 60_000;
const DRAINS_MAX = 3;

/** Asking for the end of a lost source is no hurry: this many times the usual pause. */
const LOST_RETRIES = 20;

export class Source {
  readonly #options: SourceOptions;
  readonly #journal: Journal;
  readonly #backlog: Backlog;
  readonly #recorder: Recorder;
  readonly #submitter: Submitter;
  readonly #mender: Mender;
  readonly #missed: Missed;
  readonly #rolling: Rolling;
  readonly #context: SpoolContext;
  /** Calls that have frames and no record: nothing from their begin on may be deleted. */
  readonly #open = new Map<string, number>();
  /** Calls of records that are about to be submitted, by the record's position. */
  readonly #recent = new Map<number, SpooledCall>();
  /** Leaf indexes of records that were just logged. */
  readonly #indexes = new Map<number, number>();
  readonly #intents = new Intents();
  #unexplained: Unexplained;
  #isHealthy = true;
  #heartbeat: NodeJS.Timeout | undefined;
  #closed = false;
  #isChanging = false;

  private constructor(
    options: SourceOptions,
    journal: Journal,
    backlog: Backlog,
    recorder: Recorder,
    context: SpoolContext,
    recovered: Recovered,
    rolling: Rolling,
    missed: Missed,
  ) {
    this.#options = options;
    this.#journal = journal;
    this.#backlog = backlog;
    this.#recorder = recorder;
    this.#context = context;
    this.#rolling = rolling;
    this.#unexplained = recovered.unexplained;
    this.#missed = missed;
    this.#mender = new Mender({
      context,
      recorder,
      missed,
      clock: options.clock,
      logger: options.logger,
      retryMs: options.limits.retryMs,
      probe: () => this.probe(),
    });
    this.#submitter = new Submitter({
      backlog,
      inFlight: options.limits.inFlight,
      send: (position, signal, alone) => this.#send(position, signal, alone),
      logged: (position) => this.#logged(position),
      refused: (position, error) => this.#refused(position, error),
      ended: (unlogged) => this.#rollOver(unlogged),
      retryMs: options.limits.retryMs,
      patienceMs: options.limits.patienceMs,
      nowMs: () => options.clock.nowUs() / 1_000,
      random: options.random,
      logger: options.logger,
    });
  }

  static async open(options: SourceOptions): Promise<Source> {
    const { disk, limits, random } = options;
    let journal: Journal | undefined;
    const backlog = new Backlog({
      blockRecords: BLOCK_RECORDS,
      loadedMax: LOADED_MAX,
      find: (first, last) => findRecords(journal as Journal, first, last),
    });
    const rolling = new Rolling();
    const recovered = await recover(disk, backlog, rolling);
    const { chain, replaces } = await chainToGoOn(options, recovered);
    let recorder: Recorder | undefined;
    journal = await Journal.open({
      disk,
      segments: recovered.scan.segments,
      chain: () => utf8(JSON.stringify((recorder as Recorder).appendedChain)),
      segmentBytes: limits.segmentBytes,
      queueBytes: limits.queueBytes,
      recentBytes: limits.recentBytes,
      floorBytes: limits.floorBytes,
      nowMs: () => options.clock.nowUs() / 1_000,
      onFatal: options.onFatal,
    });
    const { keyring, origin } = options;
    const { passed } = options;
    const context = { journal, keyring, origin, random, linger: new Linger(), passed };
    let source: Source | undefined;
    recorder = new Recorder({
      context,
      chain,
      signer: await options.signerOf(chain.log, chain.source),
      clock: options.clock,
      instance: toHex(random(4)),
      software: options.software,
      retentionClass: options.retentionClass,
      retryMs: limits.retryMs,
      gatherMs: limits.gatherMs,
      rolling,
      logger: options.logger,
      recorded: (position, draft) => source?.recorded(position, draft),
    });
    const { logger } = options;
    const missed = await Missed.open(disk, {
      ...{ random, logger, recorded: recovered.missed },
      isObserved: options.isObserved,
    });
    source = new Source(options, journal, backlog, recorder, context, recovered, rolling, missed);
    await source.#start(recovered, chain, replaces);
    return source;
  }

  /** Begins a call. Throws `storage` or `pushback` while none may begin. */
  begin(recordId: string, facts: BeginFacts): CallSpool {
    this.#checkRoom();
    const spool = new CallSpool(this.#context, recordId, facts);
    this.#open.set(recordId, spool.position);
    return spool;
  }

  /** The request's bytes, read back from the journal; only after its commit. */
  async *requestBytes(spool: CallSpool): AsyncGenerator<Uint8Array> {
    yield* spool.spooled.request(spool.requestPositions);
  }

  /**
   * Resolves when the log has the intent to make this call, whose request is on disk. Rejects with `IntentMissing` if
   * it refuses the intent, or has not taken it in time; the intent is then logged whenever it can be.
   */
  async intend(spool: CallSpool, request: RequestFacts | undefined): Promise<void> {
    const { clock, random, limits } = this.#options;
    const { recordId: call, position, requestPositions, requested, judged, spooled } = spool;
    invariant(requested !== undefined, 'a request is whole before the intent to send it');
    const intent: IntendedCall = {
      recordId: uuidv7(Math.floor(clock.nowUs() / 1_000), random(10)),
      call,
      beginPosition: position,
      requestFrames: [...requestPositions],
      received: requested,
      judged,
      live: { spooled, request },
    };
    this.#recorder.intend(intent);
    try {
      await this.#intents.wait(intent.recordId, limits.intentMs);
    } finally {
      // Calls are bounded, and what they hold; what waits for a log is not.
      intent.live = undefined;
    }
  }

  /** A call's end is on disk. */
  ended(call: EndedCall): void {
    this.#recorder.call(call);
  }

  /** The journal failed under a call: it is ended from what is on disk once that can be written to. */
  broken(spool: CallSpool, facts: EndFacts): void {
    const error = this.#journal.lastFailure;
    const { logger } = this.#options;
    logger.error({ record_id: spool.recordId, error }, 'the journal failed under a call');
    // Without its whole request on disk nothing of it counts.
    if (!spool.isRequestCommitted) this.#open.delete(spool.recordId);
    this.#mender.broken(spool, facts);
  }

  /** A call went through unrecorded (posture observe); a gap will say so. */
  missed(receivedUs: number): void {
    this.#mender.missed(receivedUs);
  }

  /** Something passed that nobody looked at; a gap says when. */
  unseen(time: { readonly fromUs: number; readonly toUs: number }): void {
    this.#recorder.gap({ reason: 'websocket', count: 1, time });
  }

  state(): SourceState {
    const { source, log, next } = this.#recorder.appendedChain;
    const refusing = this.#refusal();
    const logError = this.#submitter.lastError ?? this.#recorder.lastError;
    return {
      source,
      log,
      next_seq: next,
      open_calls: this.#open.size,
      unrecorded: this.#recorder.waiting,
      backlog: this.#unlogged,
      ...(this.#missed.count === 0 ? {} : { missed: this.#missed.count }),
      journal_bytes: this.#journal.bytes,
      ...(refusing === undefined ? {} : { refusing }),
      ...(logError === undefined ? {} : { log_error: logError }),
    };
  }

  /**
   * Has `next` sign from here on. What the key before it signed is in the log before `handOver` gives it the
   * source, so that nothing of it comes too late; calls go on meanwhile, and their records wait. Rejects, and
   * everything is as before, if the log does not take what waits, or refuses the hand-over. Where
   * `next` signs already it is only given the source.
   */
  async changeSigner(next: Signer, handOver: HandOver): Promise<void> {
    const { source, log } = this.#recorder.appendedChain;
    if (this.#recorder.signer.publicKey.keyid === next.publicKey.keyid) {
      return handOver(log, source);
    }
    if (this.#isChanging) {
      throw new SteleError('conflict', `source ${source}: its key is being changed already`);
    }
    this.#isChanging = true;
    let signer = this.#recorder.signer;
    try {
      await this.#recorder.pause();
      await this.#drained();
      await this.#handedOver(handOver);
      signer = next;
    } finally {
      this.#isChanging = false;
      this.#recorder.resume(signer);
    }
  }

  /** Resolves when all that was signed is in the log, and rejects if that takes too long. */
  async #drained(): Promise<void> {
    // A log that ends meanwhile has what waits made anew for the next one, which takes a round more.
    for (let i = 0; i < DRAINS_MAX; i++) {
      await this.#submitter.drain(CHANGE_MS);
      await this.#recorder.idle();
      if (this.#unlogged === 0) break;
    }
    const { source } = this.#recorder.appendedChain;
    if (this.#closed) throw new SteleError('storage', `source ${source} is being closed`);
    if (this.#unlogged === 0) return;
    throw new SteleError(
      'storage',
      `source ${source}: ${this.#unlogged} records that its key signed wait for the log ` +
        `(${this.#submitter.lastError ?? 'it takes its time'})`,
    );
  }

  /** Records on disk that wait for a log. */
  get #unlogged(): number {
    return this.#backlog.count + this.#rolling.count;
  }

  /** Resolves once the log has handed the source over, and rejects once it is certain that it has not. */
  async #handedOver(handOver: HandOver): Promise<void> {
    for (;;) {
      const { source, log } = this.#recorder.appendedChain;
      try {
        return await handOver(log, source);
      } catch (error) {
        // It may be in the log, or on its way into it: a record by the old key could come too late. Asked
        // again, it is done once.
        const mayBeDone = hasCode(error, 'storage') || hasCode(error, 'pushback');
        if (!mayBeDone || this.#closed) throw error;
        this.#report(error, `source ${source}: the hand-over to another key is tried again`);
        await new Promise((resolve) => setTimeout(resolve, this.#options.limits.retryMs));
      }
    }
  }

  /** Whether the journal can be written, by writing to it. */
  async probe(): Promise<void> {
    this.#checkRoom();
    if (this.#journal.lastFailure === undefined) return;
    this.#journal.append(FRAME.dropped, NO_CALL, new Uint8Array(0));
    await this.#journal.commit();
  }

  /**
   * Resolves when every ended call has its record on disk, and what the log takes within `drainMs` is
   * submitted; the rest waits for the next start.
   */
  async close(drainMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#heartbeat);
    this.#intents.end();
    await this.#mender.stop();
    if (this.#recorder.lastError === undefined) await this.#recorder.idle();
    await this.#recorder.stop();
    await this.#missed.close();
    await this.#submitter.drain(drainMs);
    await this.#submitter.close();
    this.#context.linger.flush();
    await this.#journal.close();
  }

  /** Only for the recorder: a record frame is on disk. */
  recorded(position: number, { meta, drops, spooled }: Draft): void {
    this.#backlog.push({ position, begin: meta.begin ?? position });
    if (spooled !== undefined && this.#recent.size < RECENT_MAX)
      this.#recent.set(position, spooled);
    this.#open.delete(drops ?? meta.record_id);
    if (meta.missed !== undefined) this.#mender.recorded(meta.missed);
    if (meta.kind === 'intent') this.#intents.recorded(position, meta.record_id);
    if (meta.replaces !== undefined) {
      this.#remember(undefined).catch((error) => this.#report(error, 'source.json'));
    }
    this.#submitter.wake();
  }

  async #start(recovered: Recovered, chain: Chain, replaces: string | undefined): Promise<void> {
    const { logger, limits } = this.#options;
    for (const call of recovered.openCalls) this.#open.set(call.recordId, call.begin);
    await this.#journal.start();
    await this.#remember(replaces);
    const { scan, damage, headless, openCalls } = recovered;
    const backlog = this.#backlog.count + this.#rolling.count;
    const left = { open_calls: openCalls.length, torn: scan.torn, backlog };
    if (Object.values(left).some((count) => count > 0)) {
      logger.info({ source: chain.source, ...left }, 'the journal has work left from before');
    }
    if (replaces !== undefined) this.#reportLost(replaces);
    if (damage.length > 0) {
      logger.error({ damage, headless }, 'the journal is damaged; a gap goes on record');
      const source = recovered.chain?.source ?? chain.source;
      const count = headless === 0 ? {} : { count: headless };
      this.#recorder.gap({ reason: 'journal-damage', source, damage, ...count });
    }
    this.#recorder.start();
    this.#explain();
    for (const call of openCalls) {
      if (!this.#missed.counts(call.recordId)) await this.#mender.close(call, undefined);
      else {
        this.#journal.append(FRAME.dropped, call.recordId, new Uint8Array(0));
        this.#open.delete(call.recordId);
      }
    }
    await this.#mender.start();
    this.#heartbeat = setInterval(() => this.#recorder.heartbeat(), limits.heartbeatMs);
    this.#heartbeat.unref();
    this.#submitter.wake();
  }

  /** The log knows how far the lost source had got. Until it can be asked, `source.json` remembers the loss. */
  #reportLost(replaces: string): void {
    const { logger, limits } = this.#options;
    logger.error({ replaces }, 'the journal was lost; a new source begins');
    const report = (next: number) => {
      const seqs = { from: next, to: next };
      this.#recorder.gap({ reason: 'journal-lost', source: replaces, seqs, replaces });
    };
    const look = () => {
      this.#log.sources().then(
        (sources) => report(sources.find(({ id }) => id === replaces)?.next ?? 0),
        (error: unknown) => {
          // A token that may only submit is never told.
          if (hasCode(error, 'forbidden') || hasCode(error, 'unauthenticated')) report(0);
          else if (!this.#closed) setTimeout(look, LOST_RETRIES * limits.retryMs).unref();
        },
      );
    };
    look();
  }

  /** The log that records go to now. */
  get #log(): LogPort {
    return this.#options.series.log(this.#recorder.appendedChain.log);
  }

  #remember(replaces: string | undefined): Promise<void> {
    const { source } = this.#recorder.appendedChain;
    return remember(this.#options.disk, source, replaces);
  }

  async #send(position: number, signal: AbortSignal, alone: boolean): Promise<void> {
    const { logger } = this.#options;
    const log = this.#log;
    const recent = this.#recent.get(position);
    const submission = await readSubmission(this.#context, position, logger, recent);
    const { entry, unreadable } = submission;
    const content = alone ? undefined : submission.content;
    const index = await log.submit(entry, content, signal).catch((error: unknown) => {
      const reason = unreadable();
      if (reason === undefined) throw error;
      logger.error({ error: reason.message }, 'a body cannot be read back; the record goes alone');
      return log.submit(entry, undefined, signal);
    });
    this.#indexes.set(position, index);
  }

  async #logged(position: number): Promise<void> {
    const index = this.#indexes.get(position);
    this.#intents.logged(position);
    this.#done(position);
    // Not waited for: a crash before it is on disk submits the record again and gets the same index.
    this.#journal.append(FRAME.logged, NO_CALL, utf8(JSON.stringify({ record: position, index })));
    this.#isHealthy = true;
    this.#explain();
    await this.#release();
  }

  async #refused(position: number, error: SteleError): Promise<void> {
    const meta = await setAside(this.#context, this.#options.disk, position, error);
    const { seq, kind, record_id } = meta;
    const facts = { record_id, seq, kind, code: error.code, error: error.message };
    this.#options.logger.error(facts, 'the log refused an entry for good; it is set aside');
    // What a refused gap explained is unexplained again.
    const seqs = [seq];
    const { from, to } = meta.explains ?? { from: 0, to: 0 };
    for (let explained = from; explained < to; explained++) seqs.push(explained);
    const frame: RefusedFrame = { record: position, seqs };
    this.#journal.append(FRAME.refused, NO_CALL, utf8(JSON.stringify(frame)));
    await this.#journal.commit();
    this.#intents.refused(position, error.message);
    this.#lose(seqs, 'refused');
    // One gap for each run of refusals, written when the log takes records again: a log that
    // refuses everything is not answered with ever more gaps.
    if (this.#isHealthy && kind !== 'gap') this.#explain();
    this.#isHealthy = false;
    this.#done(position);
    await this.#release();
  }

  #done(position: number): void {
    this.#indexes.delete(position);
    this.#recent.delete(position);
    this.#backlog.done(position);
  }

  /** The log has ended: where its series goes on, what it does not have is made anew. */
  async #rollOver(unlogged: readonly number[]): Promise<void> {
    const { series, logger } = this.#options;
    const { log } = this.#recorder.appendedChain;
    const next = await series.next(log);
    const lost = await this.#recorder.roll(next, this.#backlog, unlogged);
    const again = this.#rolling.count;
    logger.info(
      { log, next, again, lost: lost.length },
      'the log has ended; records go to the next',
    );
    // What was logged may go, and nobody comes to say so of the rest.
    for (const position of unlogged) this.#recent.delete(position);
    this.#lose(lost, 'rolled-over');
    this.#explain();
  }

  #lose(seqs: readonly number[], reason: Reason): void {
    this.#unexplained = new Map([
      ...this.#unexplained,
      ...seqs.map((seq): [number, Reason] => [seq, reason]),
    ]);
  }

  /** Gaps for the numbers without a record that have none. */
  #explain(): void {
    const reasons = Map.groupBy(this.#unexplained, ([, reason]) => reason);
    this.#unexplained = new Map();
    for (const [reason, lost] of reasons) {
      for (const { from, to } of runsOf(lost.map(([seq]) => seq))) {
        this.#recorder.gap({ reason, seqs: { from, to }, count: to - from + 1 });
      }
    }
  }

  async #release(): Promise<void> {
    let floor = Math.min(this.#backlog.floor, this.#rolling.floor, this.#journal.tail);
    for (const begin of this.#open.values()) floor = Math.min(floor, begin);
    await this.#journal.release(floor);
    const { isShort, bytes, tail } = this.#journal;
    if (floor < tail || !isShort || bytes < ROTATED_BYTES) return;
    // Where room is short the last segment has to go too, and it can once it is not the last.
    await this.#journal.start();
    await this.#journal.release(tail);
  }

  #checkRoom(): void {
    this.#journal.checkRoom();
    this.#recorder.checkRoom();
    const { spoolBytes } = this.#options.limits;
    if (this.#journal.bytes < spoolBytes) return;
    const rule = `${this.#journal.bytes} bytes wait to be logged, the limit is ${spoolBytes}`;
    throw new SteleError('storage', `journal: ${rule}`, { retryAfterS: 5 });
  }

  #refusal(): string | undefined {
    try {
      this.#checkRoom();
      return this.#journal.lastFailure;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  #report(error: unknown, what: string): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.logger.error({ error: message }, what);
  }
}
