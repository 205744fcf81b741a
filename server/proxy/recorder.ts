/**
 * How does an ended call become a signed record in its source's chain?
 *
 * One loop takes everything that waits: it gives out seq and prev in order, builds the records, has them
 * signed, and writes the record frames under one commit. Only then are they handed to the submitter, so
 * a record that a log has seen is never made again for it with another seq. If anything fails, the chain
 * stays where it was and the same calls are taken again.
 *
 * A batch of one is signed alone, a larger one under one window signature: so under load a signature, here and
 * in the log that checks it, is for many. A batch is of one log and by one key, and so is its window. What was signed
 * is written before anybody sees it, so a crash in between signs the same numbers again and nobody has two.
 *
 * When the log ends, the same loop makes what waits anew for the next one, before anything else
 * (`rolling.ts`): there is one chain, and one hand that writes it.
 */

import { signEntry, signWindow } from '../client/sign.ts';
import { utf8 } from '../core/bytes.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { RECORD_TYPE } from '../core/statement.ts';
import type { Signer } from '../keys/signer.ts';
import type { Backlog } from './backlog.ts';
import { type Draft, Drafter, type DrafterOptions } from './drafts.ts';
import type { IntendedCall } from './intent.ts';
import { bytesOf, type EndedCall, type GapFacts, type Job } from './jobs.ts';
import { errorCode } from './journal/disk.ts';
import { FRAME, NO_CALL } from './journal/frame.ts';
import { SyncFailed } from './journal/journal.ts';
import { encodeRecordFrame } from './record-frame.ts';
import type { Chain } from './recover.ts';
import { planRoll, type RolledFrame, type Rolling } from './rolling.ts';

export interface RecorderOptions extends DrafterOptions {
  readonly chain: Chain;
  readonly signer: Signer;
  /** Pause after a failure of the signer or the disk. */
  readonly retryMs: number;
  /** Records that were made for a log that has ended without them. */
  readonly rolling: Rolling;
  /** How long an ended call waits for others, so that their records are made together. */
  readonly gatherMs: number;
  /** The record frame is on disk. */
  readonly recorded: (position: number, draft: Draft) => void;
}

/** A roll that was asked for. */
interface Roll {
  readonly to: string;
  readonly backlog: Backlog;
  readonly unlogged: readonly number[];
  resolve(lost: readonly number[]): void;
  reject(error: unknown): void;
}

/** Records made and signed together: a path in a window of so many is six hashes. */
const BATCH_MAX = 64;

/** Calls, and bytes of their bodies, whose facts stay in memory while they wait; the rest are read back. */
const LIVE_MAX = 256;
const LIVE_BYTES_MAX = 67_108_864;

/** Calls that wait for the signer or the disk, beyond which no new call is taken. */
const WAITING_MAX = 65_536;

export class Recorder {
  readonly #options: RecorderOptions;
  #signer: Signer;
  readonly #drafter: Drafter;
  readonly #jobs: Job[] = [];
  /** As of the last record frame that is on disk, and as of the last that was appended. */
  #chain: Chain;
  #appended: Chain;
  #running: Promise<void> | undefined;
  #lastError: string | undefined;
  #liveBytes = 0;
  #stopped = false;
  #paused = false;
  #isGathering = false;
  #stopWaiting: () => void = () => {};
  #roll: Roll | undefined;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#signer = options.signer;
    this.#drafter = new Drafter(options);
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

  /** A call waits for this one, so nothing waits for company. */
  intend(intent: IntendedCall): void {
    this.#add({ kind: 'intent', intent });
    if (this.#isGathering) this.#stopWaiting();
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
      await this.#gather();
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
    const lost: GapFacts[] = [];
    let unreadable = 0;
    let chain = this.#chain;
    for (const position of positions) {
      try {
        const draft = await this.#drafter.again(position, chain);
        // Between two records that keep their numbers is what cannot be read back.
        const seqs = { from: chain.next, to: draft.meta.seq - 1 };
        const count = draft.meta.seq - chain.next;
        if (count > 0) lost.push({ reason: 'unreadable-record', seqs, count });
        unreadable = Math.max(0, unreadable - count);
        drafts.push(draft);
        chain = after(chain, draft);
      } catch (error) {
        // A disk that fails now may not fail later; a frame that is damaged never will be whole.
        if (errorCode(error) !== undefined || !(error instanceof SteleError)) throw error;
        logger.error({ position, error: error.message }, 'a record cannot be read back');
        unreadable++;
      }
    }
    const made = await this.#write(drafts, this.#options.context.journal.generation);
    this.#chain = chain;
    for (const position of positions) rolling.done(position);
    for (const [i, position] of made.entries()) recorded(position, drafts[i] as Draft);
    for (const gap of lost) this.gap(gap);
    // What stood at the end left no number behind: the next record has it.
    if (unreadable > 0) this.gap({ reason: 'unreadable-record', count: unreadable });
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
      const draft = await this.#drafter.draft(job, chain);
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

  async #signAll(drafts: readonly Draft[]): Promise<Uint8Array[]> {
    const [first] = drafts;
    if (first === undefined) return [];
    if (drafts.length === 1) return [await signEntry(this.#signer, RECORD_TYPE, first.payload)];
    const { log } = first.meta;
    invariant(
      drafts.every(({ meta }) => meta.log === log),
      'a window is good in one log',
    );
    const statements = drafts.map(({ payload }) => ({ payloadType: RECORD_TYPE, payload }));
    return signWindow(this.#signer, log, statements);
  }

  async #gather(): Promise<void> {
    if (this.#jobs.some(({ kind }) => kind === 'intent')) return;
    this.#isGathering = true;
    await this.#pause(this.#options.gatherMs);
    this.#isGathering = false;
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
