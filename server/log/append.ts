/**
 * The append path: from admitted entries to answers (P1, P2, P3).
 *
 *     pool ──▶ decide ──▶ grow ──▶ content ──▶ (stage) ──▶ sign ──▶ commit ──▶ high water ──▶ answers
 *              repeats,   in       vault        one fsync   head     one fsync  not synced
 *              chains     memory
 *
 * Everything that is admitted while one batch is being written becomes the next batch; there is no
 * timer, so at low load the latency is one durable commit. Up to `commit` everything can be thrown
 * away: nobody has been promised anything. After it the batch is part of the log, and a crash loses
 * only answers: a submitter who asks again gets the same index as a repeat.
 *
 * Where the keys are held by somebody who remembers which heads there were (`SignerMemory`), that is not so:
 * the head of a batch that was thrown away would be remembered, and no other batch of its size could ever be
 * signed. So there the batch is staged first, whole and durable, and a staged batch is brought to its
 * end before anything else is appended, byte for byte the same. What is on disk when the process dies:
 *
 *     died before     content      staged   signer remembers   log    the next start
 *     content         none         none     the last head      old    knows nothing of it
 *     stage           an orphan    none     the last head      old    the sweep removes the content
 *     signing         there        there    the last head      old    has it signed, and commits it
 *     commit          there        there    the new head       old    has it signed again, and commits it
 *     answers         there        none     the new head       new    has nothing to do
 *
 * In every line the submitter has no answer, asks again, and is taken for new or for a repeat.
 */
import { equalBytes } from '../core/bytes.ts';
import { formatCheckpoint } from '../core/checkpoint.ts';
import type { Entry } from '../core/entry.ts';
import { hasCode, invariant, SteleError } from '../core/errors.ts';
import { leafHash } from '../core/merkle.ts';
import type { FullTile, Tree } from '../core/tree.ts';
import { type LeafIndex, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { Head, LogStore, StagedBatch, UnsignedHead } from '../storage/store.ts';
import { type Admitted, describeStored } from './admit.ts';
import type { Clock } from './clock.ts';
import { type Decision, decide } from './decide.ts';
import type { LookupSlice, Lookups } from './lookups.ts';
import type { Meter } from './meter.ts';
import type { Quota, QuotaDraft } from './quota.ts';
import type { Registry } from './registry.ts';
import type { SourceDraft, Sources } from './sources.ts';

/** Content that was staged beside an entry: see `server/vault`. */
export interface StagedContent {
  discard(): Promise<void>;
}

export interface Item<C extends StagedContent> {
  readonly admitted: Admitted;
  readonly content?: C;
}

/** A control record that says where it stands itself: it is made once its index is known. */
export type MakeControl = (index: LeafIndex) => Promise<Admitted>;

/** Where an entry is, under a head that covers it. */
export interface Logged {
  readonly index: LeafIndex;
  readonly repeat: boolean;
  readonly head: Head;
}

export type Submitted = Logged | SteleError;

export interface AppendPorts<C extends StagedContent> {
  readonly origin: string;
  readonly store: LogStore;
  readonly lookups: Lookups;
  readonly sources: Sources;
  readonly registry: Registry;
  readonly quota: Quota;
  readonly clock: Clock;
  /** The signed note for a checkpoint's text. `last` is the control record that ends the batch, if one does. */
  readonly sign: (text: string, head: UnsignedHead, last: Control | undefined) => Promise<string>;
  /** Where heads are remembered by whoever signs them: has the head taken that is to be signed next. */
  readonly memory?:
    | {
        readonly checkThere: () => void;
        readonly extend: (grown: Pick<Prepared, 'head' | 'tree' | 'tiles'>) => Promise<void>;
      }
    | undefined;
  /** Makes staged content durable, all of it, before the entries it belongs to. */
  readonly commitContent: (contents: readonly C[]) => Promise<void>;
  /** Remembers a head outside the data folder. */
  readonly remember: (head: Head) => void;
  /** Throws `storage` while the disk is too full to accept anything. */
  readonly checkSpace: () => void;
  /** The process must end: what is on disk is unknown. */
  readonly fatal: (error: Error) => void;
  /** A batch is committed: `tiles` are the ones it completed. */
  readonly committed: (head: Head, tiles: readonly FullTile[]) => void;
  readonly meter?: Meter | undefined;
}

export interface AppendLimits {
  /** Bytes of entries that may wait. */
  readonly queueBytes: number;
  /** Milliseconds that the oldest waiting entry may have waited when another arrives. */
  readonly queueAgeMs: number;
}

export const DEFAULT_APPEND_LIMITS: AppendLimits = { queueBytes: 67_108_864, queueAgeMs: 5_000 };

/** A batch is one transaction: bounded, so that one commit does not keep thousands waiting. */
const BATCH_BYTES_MAX = 16_777_216;
const BATCH_ENTRIES_MAX = 16_384;

/** A control record in its place. */
export interface Control {
  readonly entry: Entry;
  readonly index: LeafIndex;
}

interface Waiting<C extends StagedContent> {
  readonly item: Item<C> | MakeControl;
  readonly sinceMs: number;
  readonly answer: (submitted: Submitted) => void;
}

/** A batch that is ready to be written, and what becomes true once it is. */
interface Prepared {
  readonly before: Head | undefined;
  readonly head: UnsignedHead;
  readonly tree: Tree;
  readonly tiles: readonly FullTile[];
  readonly fresh: readonly { readonly admitted: Admitted; readonly index: LeafIndex }[];
  readonly draft: SourceDraft;
  readonly quota: QuotaDraft;
  readonly slice: LookupSlice;
}

/** A batch that has begun to be signed or written, until it is known what became of it. */
interface Unsettled {
  readonly prepared: Prepared;
  /** Its head may be remembered by whoever signs: it has to become the log's. */
  readonly isStaged: boolean;
  /** Its head, once it is signed. */
  head?: Head;
  /** Why it is not settled yet, if that was tried. */
  reason?: SteleError;
}

export class Appender<C extends StagedContent> {
  readonly #ports: AppendPorts<C>;
  readonly #limits: AppendLimits;
  #tree: Tree;
  #head: Head | undefined;
  #pool: Waiting<C>[] = [];
  #poolBytes = 0;
  #running: Promise<void> | undefined;
  /** A batch that may or may not be signed or committed; settled before anything else is done. */
  #unsettled: Unsettled | undefined;
  /** Why nothing is accepted any more, if so. */
  #stopped: SteleError | undefined;

  constructor(ports: AppendPorts<C>, tree: Tree, head: Head | undefined, limits: AppendLimits) {
    this.#ports = ports;
    this.#tree = tree;
    this.#head = head;
    this.#limits = limits;
  }

  get tree(): Tree {
    return this.#tree;
  }

  get head(): Head | undefined {
    return this.#head;
  }

  /** Bytes of entries that wait for the next batch. */
  get waitingBytes(): number {
    return this.#poolBytes;
  }

  /** Why the log accepts nothing, or nothing if it does. */
  get stopped(): SteleError | undefined {
    return this.#stopped;
  }

  /** Refuses everything from now on, for the reason given. Reads go on. */
  stop(reason: SteleError): void {
    this.#stopped ??= reason;
  }

  /** Throws `pushback` if what waits already is more, or older, than it may be. */
  checkRoom(): void {
    if (this.#stopped !== undefined) throw this.#stopped;
    this.#ports.checkSpace();
    this.#ports.memory?.checkThere();
    const oldest = this.#pool[0];
    const age = oldest === undefined ? 0 : this.#ports.clock.now() - oldest.sinceMs;
    if (this.#poolBytes < this.#limits.queueBytes && age < this.#limits.queueAgeMs) return;
    throw this.#pushback(age);
  }

  /**
   * One answer per item, in order, each after its batch is durable or refused. Never rejects. Many may
   * have found room at once, before any of them was admitted: what is too much by now is pushed back.
   */
  submit(items: readonly Item<C>[]): Promise<Submitted[]> {
    const sinceMs = this.#ports.clock.now();
    const answers = items.map(async (item) => {
      if (this.#poolBytes >= this.#limits.queueBytes) {
        const refusal = this.#pushback(sinceMs - (this.#pool[0]?.sinceMs ?? sinceMs));
        await this.#discard(item.content);
        return refusal;
      }
      return new Promise<Submitted>((answer) => {
        this.#pool.push({ item, sinceMs, answer });
        this.#poolBytes += item.admitted.bytes.length;
      });
    });
    this.#running ??= this.#drain();
    return Promise.all(answers);
  }

  /** Appends a control record that is made when its turn has come, in a batch of its own. Never rejects. */
  submitControl(make: MakeControl): Promise<Submitted> {
    const sinceMs = this.#ports.clock.now();
    const submitted = new Promise<Submitted>((answer) => {
      this.#pool.push({ item: make, sinceMs, answer });
    });
    this.#running ??= this.#drain();
    return submitted;
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  /**
   * Takes up a batch that was staged and not committed before the process ended. Nothing is signed here:
   * `settle`, or the next batch, brings it to its end. Throws `storage` if it is not what was staged.
   */
  async resume({ begin, entries, head }: StagedBatch): Promise<void> {
    const fresh = entries.map((bytes, i) => ({
      admitted: describeStored(bytes, this.#ports.origin),
      index: leafIndex(begin + i),
    }));
    const { tree, tiles } = this.#tree.append(fresh.map(({ admitted }) => admitted.leafHash));
    if (tree.size !== head.size || !equalBytes(tree.root(), head.root)) {
      throw new SteleError(
        'storage',
        `the batch that was staged for size ${head.size} does not lead there from ${this.#tree.size}`,
      );
    }
    const draft = this.#ports.sources.draft();
    const quota = this.#ports.quota.draft();
    for (const { admitted, index } of fresh) {
      // It was let in when it was staged.
      quota.take(admitted.bytes.length);
      if (admitted.link !== undefined) await draft.add(admitted.link, index);
    }
    const slice = this.#ports.lookups.next(this.#tree.size, fresh.length);
    const prepared = { before: this.#head, head, tree, tiles, fresh, draft, quota, slice };
    this.#unsettled = { prepared, isStaged: true };
  }

  /**
   * Brings a batch that is not settled to its end now, if that can be done, and otherwise resolves to the
   * reason. Never rejects.
   */
  async settle(): Promise<SteleError | undefined> {
    if (this.#unsettled !== undefined) {
      this.#running ??= this.#drain();
      await this.idle();
    }
    return this.#unsettled?.reason;
  }

  /** Whether a record is in a batch that is on its way into the log, whatever happens. */
  isStaged(recordId: string, source: string): boolean {
    if (this.#unsettled?.isStaged !== true) return false;
    return this.#unsettled.prepared.fresh.some(
      ({ admitted: { record } }) => record?.record_id === recordId && record.source.id === source,
    );
  }

  async #drain(): Promise<void> {
    // What arrives in the same turn of the event loop shares the first batch.
    await Promise.resolve();
    // The first batch is empty where there was only something to settle.
    do {
      const batch = this.#take();
      const answers = await this.#append(batch.map((waiting) => waiting.item));
      for (const [i, waiting] of batch.entries()) {
        const answer = answers[i];
        invariant(answer !== undefined, 'every item of a batch has an answer');
        waiting.answer(answer);
      }
    } while (this.#pool.length > 0);
    this.#running = undefined;
  }

  /** The next batch. A control record ends it: it changes the rules for what comes after. */
  #take(): Waiting<C>[] {
    let count = 0;
    let bytes = 0;
    for (const { item } of this.#pool) {
      if (count >= BATCH_ENTRIES_MAX || (count > 0 && bytes >= BATCH_BYTES_MAX)) break;
      if (typeof item === 'function') {
        // Alone, it is at the index that the tree has now.
        if (count === 0) count = 1;
        break;
      }
      count++;
      bytes += item.admitted.bytes.length;
      if (item.admitted.control) break;
    }
    const batch = this.#pool.slice(0, count);
    this.#pool = this.#pool.slice(count);
    this.#poolBytes -= bytes;
    return batch;
  }

  async #append(items: readonly (Item<C> | MakeControl)[]): Promise<Submitted[]> {
    let answers: Submitted[];
    try {
      answers = await this.#tryAppend(items);
    } catch (error) {
      const refusal = this.#refusal(error);
      if (this.#unsettled !== undefined) this.#unsettled.reason = refusal;
      answers = items.map(() => refusal);
    }
    for (const [i, item] of items.entries()) {
      if (typeof item === 'function') continue;
      if (answers[i] instanceof SteleError) await this.#discard(item.content);
    }
    return answers;
  }

  async #tryAppend(waiting: readonly (Item<C> | MakeControl)[]): Promise<Submitted[]> {
    if (this.#stopped !== undefined) throw this.#stopped;
    await this.#settle();
    this.#ports.checkSpace();
    this.#ports.memory?.checkThere();
    const items: Item<C>[] = [];
    for (const item of waiting) {
      if (typeof item !== 'function') items.push(item);
      else items.push({ admitted: await item(leafIndex(this.#tree.size)) });
    }
    const draft = this.#ports.sources.draft();
    const quota = this.#ports.quota.draft();
    const decisions = await decide(
      items.map((item) => item.admitted),
      treeSize(this.#tree.size),
      { ...this.#ports, draft, quota },
    );
    const prepared = this.#prepare(items, decisions, { draft, quota });

    // Content first: a crash here leaves content without an entry, which is swept, and never an
    // entry whose content was promised and is missing. Once the batch is staged it has its entries.
    const contents = items.flatMap((item, i) =>
      item.content === undefined || decisions[i] instanceof SteleError ? [] : [item.content],
    );
    if (contents.length > 0) await this.#ports.commitContent(contents);

    if (prepared !== undefined) {
      const isStaged = this.#ports.memory !== undefined;
      if (isStaged) await this.#stage(prepared);
      await this.#finish({ prepared, isStaged });
    }
    const head = this.#head;
    return decisions.map((decision) => {
      if (decision instanceof SteleError) return decision;
      invariant(head !== undefined, 'an accepted entry is under a head');
      return { ...decision, head };
    });
  }

  /** Grows the tree; nothing if every item was a repeat or a refusal. */
  #prepare(
    items: readonly Item<C>[],
    decisions: readonly Decision[],
    drafts: Pick<Prepared, 'draft' | 'quota'>,
  ): Prepared | undefined {
    const fresh: { admitted: Admitted; index: LeafIndex }[] = [];
    for (const [i, { admitted }] of items.entries()) {
      const decision = decisions[i];
      if (decision === undefined || decision instanceof SteleError || decision.repeat) continue;
      // Hashed again from the bytes that will be stored: a bit that flipped since admission must not
      // get under a signature.
      const again = leafHash(admitted.bytes);
      invariant(
        equalBytes(again, admitted.leafHash),
        'an entry does not change before it is stored',
      );
      fresh.push({ admitted, index: decision.index });
    }
    if (fresh.length === 0) return undefined;
    const { tree, tiles } = this.#tree.append(fresh.map(({ admitted }) => admitted.leafHash));
    const head: UnsignedHead = {
      size: tree.size,
      root: tree.root(),
      timeMs: Math.max(this.#ports.clock.now(), this.#head?.timeMs ?? 0),
    };
    const slice = this.#ports.lookups.next(this.#tree.size, fresh.length);
    return { before: this.#head, head, tree, tiles, fresh, ...drafts, slice };
  }

  /**
   * A failure here may leave the batch staged. Nobody was asked to sign it, so the next one takes its place,
   * or the next start has it signed: to who submitted it both are as if the answer had been lost.
   */
  async #stage({ before, head, fresh }: Prepared): Promise<void> {
    const begin = leafIndex(before?.size ?? 0);
    const entries = fresh.map(({ admitted }) => admitted.bytes);
    try {
      await this.#ports.store.stage({ begin, entries, head }, before);
    } catch (error) {
      if (hasCode(error, 'conflict')) await this.#readOutcome(before);
      throw error;
    }
  }

  /** Signs, commits and adopts a batch. */
  async #finish(unsettled: Unsettled): Promise<void> {
    // Set before the first step and cleared by what proves the outcome, so that nothing that goes wrong in
    // between can be forgotten.
    this.#unsettled = unsettled;
    const head = unsettled.head ?? (await this.#sign(unsettled));
    await this.#commit(unsettled, head);
    this.#adopt(unsettled.prepared, head);
  }

  async #sign(unsettled: Unsettled): Promise<Head> {
    const { prepared, isStaged } = unsettled;
    const { size, root } = prepared.head;
    try {
      // After this, only this batch can ever be the one of its size. It is staged, so it will be.
      await this.#ports.memory?.extend(prepared);
      const text = formatCheckpoint({ origin: this.#ports.origin, size, root });
      const last = prepared.fresh.at(-1);
      const control =
        last?.admitted.control === true
          ? { entry: last.admitted.entry, index: last.index }
          : undefined;
      const checkpoint = await this.#ports.sign(text, prepared.head, control);
      unsettled.head = { ...prepared.head, checkpoint };
      return unsettled.head;
    } catch (error) {
      if (!isStaged) this.#unsettled = undefined;
      if (hasCode(error, 'split_view')) this.stop(error);
      throw error;
    }
  }

  async #commit({ prepared, isStaged }: Unsettled, head: Head): Promise<void> {
    const { before, tiles, fresh, draft, quota, slice } = prepared;
    const begin = leafIndex(before?.size ?? 0);
    const begunMs = performance.now();
    try {
      await this.#ports.store.commit(
        {
          begin,
          entries: fresh.map(({ admitted }) => admitted.bytes),
          tiles,
          lookups: slice.lookups,
          indexed: slice.indexed,
          control: fresh.flatMap(({ admitted, index }) => (admitted.control ? [index] : [])),
          sources: draft.changes(),
          head,
          usage: quota.usage,
        },
        before,
      );
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      if ((await this.#readOutcome(before, head)) === 'committed') return;
      if (!isStaged) this.#unsettled = undefined;
      throw error;
    }
    this.#ports.meter?.committed(fresh.length, performance.now() - begunMs);
  }

  /**
   * From here on the batch is part of the log, and its head is given out: to nobody before it is remembered
   * outside the data folder (P2). Where that fails the batch stays unsettled, and this is tried again.
   */
  #adopt(prepared: Prepared, head: Head): void {
    this.#ports.remember(head);
    const { tree, tiles, fresh, draft, quota, slice } = prepared;
    this.#unsettled = undefined;
    this.#tree = tree;
    this.#head = head;
    this.#ports.sources.apply(draft);
    this.#ports.quota.apply(quota);
    this.#ports.lookups.wrote(slice);
    for (const { admitted, index } of fresh) {
      this.#ports.lookups.add(
        {
          leafHash: admitted.leafHash,
          statement: admitted.statement,
          recordId: admitted.record?.record_id,
        },
        index,
      );
      if (admitted.control) this.#ports.registry.apply(admitted.entry, index);
    }
    this.#ports.committed(head, tiles);
  }

  /**
   * Finds out what became of a batch whose commit reported a failure that could not be looked into. One that
   * is not there is forgotten, unless its head may be remembered elsewhere: then it goes in now.
   */
  async #settle(): Promise<void> {
    const unsettled = this.#unsettled;
    if (unsettled === undefined) return;
    const { prepared, isStaged, head } = unsettled;
    if (head !== undefined && (await this.#readOutcome(prepared.before, head)) === 'committed') {
      this.#adopt(prepared, head);
    } else if (isStaged) await this.#finish(unsettled);
    else this.#unsettled = undefined;
  }

  /** Whether the stored head is `head` or still the one before; anything else stops the log (P2). */
  async #readOutcome(before: Head | undefined, head?: Head): Promise<'committed' | 'unchanged'> {
    const stored = await this.#ports.store.readHead();
    if (head !== undefined && stored?.checkpoint === head.checkpoint) return 'committed';
    if (stored?.checkpoint === before?.checkpoint) return 'unchanged';
    const stop = new SteleError(
      'split_view',
      `the stored head has size ${stored?.size ?? 0} and was not made by this process, whose own has ` +
        `${before?.size ?? 0}: somebody else appends to this log, so it signs nothing more`,
    );
    this.stop(stop);
    throw stop;
  }

  #pushback(age: number): SteleError {
    return new SteleError(
      'pushback',
      `${this.#poolBytes} bytes are waiting, the oldest for ${age} ms; at most ` +
        `${this.#limits.queueBytes} bytes and ${this.#limits.queueAgeMs} ms may`,
      { retryAfterS: 1 },
    );
  }

  #refusal(error: unknown): SteleError {
    if (error instanceof SteleError) return error;
    // Anything else is a broken promise of our own or of the disk: the process ends (P9), and the
    // next start looks at what is stored.
    const cause = error instanceof Error ? error : new Error(String(error));
    this.stop(new SteleError('storage', 'the log stopped after an internal error', { cause }));
    this.#ports.fatal(cause);
    return new SteleError('storage', 'the log stopped after an internal error', { cause });
  }

  async #discard(content: C | undefined): Promise<void> {
    try {
      await content?.discard();
    } catch (error) {
      // Staged bytes that cannot be removed now are swept later; they must not hide the refusal.
      if (!(error instanceof SteleError)) this.#refusal(error);
    }
  }
}

/** The size that a log has at this moment. */
export function sizeOf(head: Head | undefined): TreeSize {
  return treeSize(head?.size ?? 0);
}
