/**
 * How does an ended call become a signed record in its source's chain?
 *
 * One loop takes everything that waits: it gives out seq and prev in order, builds the records, has them
 * signed, and writes the record frames under one commit. Only then are they handed to the submitter, so
 * a record that the log has seen is never made again with another seq. If anything fails, the chain
 * stays where it was and the same calls are taken again.
 *
 * Signing is one call for the whole batch (`signAll`): here is where a window signature goes.
 *
 * When the log ends, the same loop makes what waits anew for the next one, before anything else
 * (`rolling.ts`): there is one chain, and one hand that writes it.
 */

import { remade } from '../client/remake.ts';
import { signEntry } from '../client/sign.ts';
import { sha256, toBase64url, toHex, utf8 } from '../core/bytes.ts';
import { decodeEntry } from '../core/entry.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { type Record as AuditRecord, formatRecord, parseRecord } from '../core/record.ts';
import { RECORD_TYPE } from '../core/statement.ts';
import { uuidv7 } from '../core/uuid.ts';
import type { Signer } from '../keys/signer.ts';
import type { Backlog } from './backlog.ts';
import { type Clock, timestampUs } from './clock.ts';
import { bytesOf, type EndedCall, type GapFacts, type Job, unreadable } from './jobs.ts';
import { errorCode } from './journal/disk.ts';
import { FRAME, NO_CALL } from './journal/frame.ts';
import { SyncFailed } from './journal/journal.ts';
import { FieldSealer } from './journal/seal.ts';
import type { ProxyLogger } from './logger.ts';
import { type BuiltCall, buildCall, buildMinimal } from './record.ts';
import {
  type BodyRef,
  decodeRecordFrame,
  encodeRecordFrame,
  type RecordMeta,
} from './record-frame.ts';
import type { Chain } from './recover.ts';
import { planRoll, type RolledFrame, type Rolling } from './rolling.ts';
import type { SpoolContext } from './spool.ts';
import { SpooledCall } from './spooled.ts';

export interface RecorderOptions {
  readonly context: SpoolContext;
  readonly chain: Chain;
  readonly signer: Signer;
  readonly clock: Clock;
  /** Names this start of the process. */
  readonly instance: string;
  readonly software: string;
  readonly retentionClass: string;
  /** Pause after a failure of the signer or the disk. */
  readonly retryMs: number;
  /** Records that were made for a log that has ended without them. */
  readonly rolling: Rolling;
  /** How long an ended call waits for others, so that their records are made together. */
  readonly gatherMs: number;
  readonly logger: ProxyLogger;
  /** The record frame is on disk. */
  readonly recorded: (position: number, draft: Draft) => void;
}

/** A record on its way. */
export interface Draft {
  readonly payload: Uint8Array;
  readonly meta: RecordMeta;
  readonly disclosures: Uint8Array;
  /** The call that this gap stands for. */
  readonly drops?: string;
  readonly spooled?: SpooledCall;
}

/** A roll that was asked for. */
interface Roll {
  readonly to: string;
  readonly backlog: Backlog;
  readonly unlogged: readonly number[];
  resolve(lost: readonly number[]): void;
  reject(error: unknown): void;
}

/** Records made and signed together. */
const BATCH_MAX = 64;

/** Calls, and bytes of their bodies, whose facts stay in memory while they wait; the rest are read back. */
const LIVE_MAX = 256;
const LIVE_BYTES_MAX = 67_108_864;

/** Calls that wait for the signer or the disk, beyond which no new call is taken. */
const WAITING_MAX = 65_536;

/** Plain bytes of a content frame. */
const PIECE_BYTES = 262_144;

export class Recorder {
  readonly #options: RecorderOptions;
  #signer: Signer;
  readonly #jobs: Job[] = [];
  /** As of the last record frame that is on disk, and as of the last that was appended. */
  #chain: Chain;
  #appended: Chain;
  #running: Promise<void> | undefined;
  #lastError: string | undefined;
  #liveBytes = 0;
  #stopped = false;
  #paused = false;
  #stopWaiting: () => void = () => {};
  #roll: Roll | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#signer = options.signer;
    this.#chain = options.chain;
    this.#appended = options.chain;
  }

  /** What a new segment begins with. */
  get appendedChain(): Chain {
    return this.#appended;
  }

  get waiting(): number {
    return this.#jobs.length;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Throws `pushback` while too many calls wait to be recorded. */
  checkRoom(): void {
    if (this.#jobs.length < WAITING_MAX) return;
    throw new SteleError('pushback', `recorder: ${WAITING_MAX} calls wait for their record`, {
      retryAfterS: 5,
    });
  }

  call(call: EndedCall): void {
    const bytes = call.live === undefined ? 0 : bytesOf(call);
    if (this.#jobs.length >= LIVE_MAX || this.#liveBytes + bytes > LIVE_BYTES_MAX) {
      call.live = undefined;
    }
    if (call.live !== undefined) this.#liveBytes += bytes;
    this.#add({ kind: 'call', call });
  }

  gap(gap: GapFacts): void {
    this.#add({ kind: 'gap', gap });
  }

  heartbeat(): void {
    // One that waits says the same as two.
    if (this.#jobs.some((job) => job.kind === 'heartbeat')) return;
    this.#add({ kind: 'heartbeat' });
  }

  /** Takes up what an earlier process left to be made anew. */
  start(): void {
    if (this.#options.rolling.count > 0) this.#wake();
  }

  /**
   * The log has ended, and has none of the first records of `backlog`, which are at these positions: from here on
   * records are made for the log `to`, and all that waits is made anew for it. Resolves, with the numbers that
   * are lost by that, when this is on disk; what waits for the old log has left `backlog` by then.
   */
  roll(to: string, backlog: Backlog, unlogged: readonly number[]): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      invariant(this.#roll === undefined, 'one log ends after the other');
      this.#roll = { to, backlog, unlogged, resolve, reject };
      this.#wake();
    });
  }

  /** The key that signs the next records. */
  get signer(): Signer {
    return this.#signer;
  }

  /**
   * Makes no record of what is new until `resume`, once the batch in hand is done: calls that end meanwhile
   * wait. What a log that has ended does not have is made anew all the same.
   */
  async pause(): Promise<void> {
    this.#paused = true;
    this.#stopWaiting();
    await this.idle();
  }

  /** Goes on, and signs with `signer` from here on. */
  resume(signer: Signer): void {
    this.#signer = signer;
    this.#paused = false;
    if (this.#hasWork) this.#wake();
  }

  /** Resolves when there is nothing to do, or when it was stopped. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /** Ends after the batch in hand; what waits is found in the journal by the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopWaiting();
    await this.idle();
  }

  #add(job: Job): void {
    this.#jobs.push(job);
    this.#wake();
  }

  #wake(): void {
    if (this.#stopped) {
      this.#endRoll(new SteleError('storage', 'recorder: it is stopped'));
      return;
    }
    if (this.#hasWork) this.#running ??= this.#run();
  }

  get #hasWork(): boolean {
    const isRolling = this.#roll !== undefined || this.#options.rolling.count > 0;
    return isRolling || (this.#jobs.length > 0 && !this.#paused);
  }

  async #run(): Promise<void> {
    while (this.#hasWork && !this.#stopped) {
      // The answer that is being released goes out first, and records that come soon share a commit
      // here and in the log. Nobody waits for them: what they are made from is on disk.
      await this.#pause(this.#options.gatherMs);
      try {
        // What was made before comes before what is made now, in the chain as in time.
        if (this.#options.rolling.count > 0) await this.#remake();
        else if (this.#roll !== undefined) await this.#rollOver(this.#roll);
        else await this.#batch(this.#nextJobs());
        this.#lastError = undefined;
      } catch (error) {
        this.#appended = this.#chain;
        this.#lastError = error instanceof Error ? error.message : String(error);
        // Whoever asked for the roll asks again.
        this.#endRoll(error);
        if (error instanceof SyncFailed) break;
        const waiting = this.#jobs.length;
        this.#options.logger.error(
          { error: this.#lastError, waiting },
          'records cannot be made now',
        );
        await this.#pause(this.#options.retryMs);
      }
    }
    this.#running = undefined;
    if (this.#stopped) this.#endRoll(new SteleError('storage', 'recorder: it is stopped'));
  }

  #endRoll(error: unknown): void {
    this.#roll?.reject(error);
    this.#roll = undefined;
  }

  async #rollOver({ to, backlog, unlogged, resolve }: Roll): Promise<void> {
    const { context, rolling } = this.#options;
    const plan = await planRoll(context.journal, backlog, this.#chain, unlogged);
    const { next, prev, late, lost } = plan;
    const frame: RolledFrame = { log: to, ...plan };
    context.journal.append(FRAME.rolled, NO_CALL, utf8(JSON.stringify(frame)));
    this.#appended = { ...this.#chain, log: to, next, prev };
    await context.journal.commit();
    // A crash before this: the old log is asked again what it has. After it: all that waits is made anew, by
    // this process or the next.
    this.#chain = this.#appended;
    rolling.begin(backlog, late);
    this.#roll = undefined;
    resolve(lost);
  }

  /** Makes some records anew for the log of the chain. Nobody has seen what is made for it before it is on disk. */
  async #remake(): Promise<void> {
    const { rolling, recorded, logger } = this.#options;
    const positions = await rolling.head(BATCH_MAX);
    const drafts: Draft[] = [];
    const unreadable: number[] = [];
    let chain = this.#chain;
    for (const position of positions) {
      try {
        const draft = await this.#again(position, chain);
        drafts.push(draft);
        chain = after(chain, draft);
      } catch (error) {
        // A disk that fails now may not fail later; a frame that is damaged never will be whole.
        if (errorCode(error) !== undefined || !(error instanceof SteleError)) throw error;
        logger.error({ position, error: error.message }, 'a record cannot be read back');
        unreadable.push(position);
      }
    }
    const made = await this.#write(drafts, this.#options.context.journal.generation);
    this.#chain = chain;
    for (const position of positions) rolling.done(position);
    for (const [i, position] of made.entries()) recorded(position, drafts[i] as Draft);
    for (const _ of unreadable) this.gap({ reason: 'unreadable-record', count: 1 });
  }

  /** The record at this position, for the chain's log: under its own number, unless the chain is past that. */
  async #again(position: number, chain: Chain): Promise<Draft> {
    const { journal } = this.#options.context;
    const { meta, entry, disclosures } = decodeRecordFrame((await journal.read(position)).payload);
    const old = decodeEntry(entry).payload;
    const seq = Math.max(meta.seq, chain.next);
    const prev = seq === chain.next ? chain.prev : parseRecord(old).source.prev;
    const payload = formatRecord(remade(old, { log: chain.log, seq, prev }));
    const digest = toBase64url(sha256(payload));
    return {
      payload,
      meta: { ...meta, log: chain.log, seq, digest, instead_of: position },
      disclosures,
    };
  }

  /** The first few that wait, with as much content as memory is meant to hold; at least one. */
  #nextJobs(): Job[] {
    let bytes = 0;
    let n = 0;
    for (const job of this.#jobs.slice(0, BATCH_MAX)) {
      bytes += job.kind === 'call' ? bytesOf(job.call) : 0;
      if (n > 0 && bytes > LIVE_BYTES_MAX) break;
      n++;
    }
    return this.#jobs.slice(0, n);
  }

  async #batch(jobs: readonly Job[]): Promise<void> {
    const { context, recorded } = this.#options;
    const { generation } = context.journal;
    const drafts: Draft[] = [];
    let chain = this.#chain;
    for (const job of jobs) {
      const draft = await this.#draft(job, chain);
      drafts.push(draft);
      chain = after(chain, draft);
    }
    const positions = await this.#write(drafts, generation);
    // A crash before this: the same calls get the same seqs at the next start, and nobody has seen
    // these signatures. After it: they are submitted, by this process or the next.
    this.#chain = chain;
    for (const job of this.#jobs.splice(0, jobs.length)) {
      if (job.kind === 'call' && job.call.live !== undefined) this.#liveBytes -= bytesOf(job.call);
    }
    for (const [i, position] of positions.entries()) {
      recorded(position, drafts[i] as Draft);
    }
  }

  /** Signs these records and writes their frames, all under one commit. Returns their positions. */
  async #write(drafts: readonly Draft[], generation: number): Promise<number[]> {
    const { journal } = this.#options.context;
    const entries = await this.#signAll(drafts);
    // Content that was appended for these drafts and is lost must not be named by a record.
    if (journal.generation !== generation) {
      throw new SteleError('storage', 'journal: frames of these records were lost', {
        retryAfterS: 1,
      });
    }
    const positions = drafts.map((draft, i) => {
      const entry = entries[i] as Uint8Array;
      const { meta, disclosures } = draft;
      const call = meta.kind === 'inference' ? meta.record_id : NO_CALL;
      const payload = encodeRecordFrame({ meta, entry, disclosures });
      const position = journal.append(FRAME.record, call, payload);
      if (draft.drops !== undefined) journal.append(FRAME.dropped, draft.drops, new Uint8Array(0));
      this.#appended = after(this.#appended, draft);
      return position;
    });
    await journal.commit();
    return positions;
  }

  #signAll(drafts: readonly Draft[]): Promise<Uint8Array[]> {
    return Promise.all(drafts.map(({ payload }) => signEntry(this.#signer, RECORD_TYPE, payload)));
  }

  async #draft(job: Job, chain: Chain): Promise<Draft> {
    if (job.kind !== 'call') return this.#plainDraft(job, chain);
    try {
      return await this.#callDraft(job, chain);
    } catch (error) {
      // A disk that fails now may not fail later; a frame that does not open never will.
      if (errorCode(error) !== undefined) throw error;
      const { recordId } = job.call;
      const rule = error instanceof Error ? error.message : String(error);
      this.#options.logger.error(
        { record_id: recordId, error: rule },
        'a call cannot be read back',
      );
      return { ...this.#plainDraft(unreadable(job.call), chain), drops: recordId };
    }
  }

  #plainDraft(job: Exclude<Job, { kind: 'call' }>, chain: Chain): Draft {
    const { clock, random } = { ...this.#options, ...this.#options.context };
    const nowUs = clock.nowUs();
    const record_id = uuidv7(Math.floor(nowUs / 1_000), random(10));
    const common = {
      schema: 'stele.record/1',
      log: chain.log,
      record_id,
      source: this.#source(chain, []),
      time: {
        received: timestampUs(nowUs),
        clock: { source: 'system', max_error_us: clock.maxErrorUs() },
      },
    } as const;
    const seq = chain.next;
    let record: AuditRecord;
    const { source: id, log } = chain;
    let meta: Omit<RecordMeta, 'digest'> = { kind: job.kind, record_id, source: id, log, seq };
    if (job.kind === 'heartbeat') {
      record = { ...common, kind: 'heartbeat', heartbeat: { seq } };
    } else {
      const { reason, source = chain.source, seqs, time, count, damage, replaces } = job.gap;
      const gap = {
        reason,
        source,
        seq_from: seqs?.from ?? seq,
        seq_to: seqs?.to ?? seq,
        ...(time === undefined
          ? {}
          : { time_from: timestampUs(time.fromUs), time_to: timestampUs(time.toUs) }),
        ...(count === undefined ? {} : { count }),
      };
      record = { ...common, kind: 'gap', gap };
      const own = source === chain.source ? seqs : undefined;
      meta = {
        ...meta,
        ...(damage === undefined ? {} : { damage }),
        ...(replaces === undefined ? {} : { replaces }),
        ...(own === undefined ? {} : { explains: { from: own.from, to: own.to + 1 } }),
      };
    }
    const payload = formatRecord(record);
    const digest = toBase64url(sha256(payload));
    return { payload, meta: { ...meta, digest }, disclosures: new Uint8Array(0) };
  }

  async #callDraft(job: Extract<Job, { kind: 'call' }>, chain: Chain): Promise<Draft> {
    const { context, logger } = this.#options;
    const { call } = job;
    const { recordId, beginPosition } = call;
    const spooled =
      call.live?.spooled ?? (await SpooledCall.open(context, recordId, beginPosition));
    const end = call.live?.end ?? (await spooled.end(call.endPosition));
    const from = {
      spooled,
      end,
      live: call.live,
      log: chain.log,
      source: this.#source(chain, end.truncated ?? []),
      retentionClass: this.#options.retentionClass,
      random: context.random,
    };
    let built: BuiltCall;
    let payload: Uint8Array;
    try {
      built = await buildCall(from);
      payload = formatRecord(built.record);
      invariant(payload.length <= PAYLOAD_BYTES_MAX, 'a record fits an entry');
    } catch (error) {
      if (errorCode(error) !== undefined) throw error;
      // What was read out of the bodies does not fit a record. The bodies themselves always do.
      const reason = error instanceof Error ? error.message : String(error);
      logger.error(
        { record_id: call.recordId, error: reason },
        'a record is made without its details',
      );
      built = await buildMinimal(from);
      payload = formatRecord(built.record);
    }
    const bodies = [...built.bodies, ...this.#contentFrames(spooled, built)];
    const text = new TextEncoder().encode(built.disclosures.join('\n'));
    const meta: RecordMeta = {
      kind: 'inference',
      record_id: call.recordId,
      source: chain.source,
      log: chain.log,
      seq: chain.next,
      digest: toBase64url(sha256(payload)),
      begin: call.beginPosition,
      end: call.endPosition,
      bodies,
    };
    const disclosures = spooled.seal.seal('disclosures', text, context.random);
    return { payload, meta, disclosures, spooled };
  }

  /** Values too large for a disclosure go into frames of their own, like bodies. */
  #contentFrames(spooled: SpooledCall, built: BuiltCall): BodyRef[] {
    const { journal, random, origin } = this.#options.context;
    return built.content.map(({ field, bytes }) => {
      const sealed_as = `${field} ${toHex(random(8))}`;
      const sealer = new FieldSealer(spooled.dataKey, {
        origin,
        recordId: spooled.recordId,
        field: sealed_as,
      });
      const frames: number[] = [];
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const sealed = sealer.next(bytes.subarray(at, at + PIECE_BYTES));
        frames.push(journal.append(FRAME.content, spooled.recordId, sealed));
      }
      return { field, of: 'content' as const, bytes: bytes.length, frames, sealed_as };
    });
  }

  #source(chain: Chain, truncated: readonly string[]) {
    return {
      id: chain.source,
      instance: this.#options.instance,
      seq: chain.next,
      prev: chain.prev,
      provenance: 'observed' as const,
      completeness: truncated.length === 0 ? ('full' as const) : ('truncated' as const),
      software: this.#options.software,
      ...(truncated.length === 0 ? {} : { truncated_fields: truncated }),
    };
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#stopWaiting = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The chain behind a record that was made for it. */
function after(chain: Chain, { meta }: Draft): Chain {
  return { ...chain, next: meta.seq + 1, prev: meta.digest };
}

/** The payload's share of an entry of 65,535 bytes; signatures and framing take less than the rest. */
const PAYLOAD_BYTES_MAX = 60_000;
