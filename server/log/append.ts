/**
 * The append path: from admitted entries to answers (P1, P2, P3).
 *
 *     pool ──▶ decide ──▶ grow ──▶ sign ──▶ content ──▶ commit ──▶ high water ──▶ answers
 *              repeats,   in       head     vault       one fsync  not synced
 *              chains     memory
 *
 * Everything that is admitted while one batch is being written becomes the next batch; there is no
 * timer, so at low load the latency is one durable commit. Up to `commit` everything can be thrown
 * away: nobody has been promised anything. After it the batch is part of the log, and a crash loses
 * only answers: a submitter who asks again gets the same index as a repeat.
 */
import { equalBytes } from '../core/bytes.ts';
import { formatCheckpoint } from '../core/checkpoint.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { leafHash } from '../core/merkle.ts';
import type { FullTile, Tree } from '../core/tree.ts';
import { type LeafIndex, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { Head, LogStore } from '../storage/store.ts';
import type { Admitted } from './admit.ts';
import type { Clock } from './clock.ts';
import { type Decision, decide } from './decide.ts';
import type { LookupSlice, Lookups } from './lookups.ts';
import type { Meter } from './meter.ts';
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
  readonly clock: Clock;
  /** The signed note for a checkpoint's text. */
  readonly sign: (text: string) => Promise<string>;
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

interface Waiting<C extends StagedContent> {
  readonly item: Item<C>;
  readonly sinceMs: number;
  readonly answer: (submitted: Submitted) => void;
}

/** A batch that is ready to be written, and what becomes true once it is. */
interface Prepared {
  readonly before: Head | undefined;
  readonly head: Head;
  readonly tree: Tree;
  readonly tiles: readonly FullTile[];
  readonly fresh: readonly { readonly admitted: Admitted; readonly index: LeafIndex }[];
  readonly draft: SourceDraft;
  readonly slice: LookupSlice;
}

export class Appender<C extends StagedContent> {
  readonly #ports: AppendPorts<C>;
  readonly #limits: AppendLimits;
  #tree: Tree;
  #head: Head | undefined;
  #pool: Waiting<C>[] = [];
  #poolBytes = 0;
  #running: Promise<void> | undefined;
  /** A batch whose commit may or may not have happened; settled before anything else is done. */
  #unsettled: Prepared | undefined;
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

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
  }

  async #drain(): Promise<void> {
    // What arrives in the same turn of the event loop shares the first batch.
    await Promise.resolve();
    while (this.#pool.length > 0) {
      const batch = this.#take();
      const answers = await this.#append(batch.map((waiting) => waiting.item));
      for (const [i, waiting] of batch.entries()) {
        const answer = answers[i];
        invariant(answer !== undefined, 'every item of a batch has an answer');
        waiting.answer(answer);
      }
    }
    this.#running = undefined;
  }

  /** The next batch. A control record ends it: it changes the rules for what comes after. */
  #take(): Waiting<C>[] {
    let count = 0;
    let bytes = 0;
    for (const { item } of this.#pool) {
      if (count >= BATCH_ENTRIES_MAX || (count > 0 && bytes >= BATCH_BYTES_MAX)) break;
      count++;
      bytes += item.admitted.bytes.length;
      if (item.admitted.control) break;
    }
    const batch = this.#pool.slice(0, count);
    this.#pool = this.#pool.slice(count);
    this.#poolBytes -= bytes;
    return batch;
  }

  async #append(items: readonly Item<C>[]): Promise<Submitted[]> {
    let answers: Submitted[];
    try {
      answers = await this.#tryAppend(items);
    } catch (error) {
      const refusal = this.#refusal(error);
      answers = items.map(() => refusal);
    }
    for (const [i, item] of items.entries()) {
      if (answers[i] instanceof SteleError) await this.#discard(item.content);
    }
    return answers;
  }

  async #tryAppend(items: readonly Item<C>[]): Promise<Submitted[]> {
    if (this.#stopped !== undefined) throw this.#stopped;
    await this.#settle();
    this.#ports.checkSpace();
    const draft = this.#ports.sources.draft();
    const decisions = await decide(
      items.map((item) => item.admitted),
      treeSize(this.#tree.size),
      { ...this.#ports, draft },
    );
    const prepared = await this.#prepare(items, decisions, draft);

    // Content first: a crash here leaves content without an entry, which is swept, and never an
    // entry whose content was promised and is missing.
    const contents = items.flatMap((item, i) =>
      item.content === undefined || decisions[i] instanceof SteleError ? [] : [item.content],
    );
    if (contents.length > 0) await this.#ports.commitContent(contents);

    if (prepared !== undefined) {
      await this.#commit(prepared);
      this.#adopt(prepared);
    }
    const head = this.#head;
    return decisions.map((decision) => {
      if (decision instanceof SteleError) return decision;
      invariant(head !== undefined, 'an accepted entry is under a head');
      return { ...decision, head };
    });
  }

  /** Grows the tree and signs its head; nothing if every item was a repeat or a refusal. */
  async #prepare(
    items: readonly Item<C>[],
    decisions: readonly Decision[],
    draft: SourceDraft,
  ): Promise<Prepared | undefined> {
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
    const root = tree.root();
    const text = formatCheckpoint({ origin: this.#ports.origin, size: tree.size, root });
    const head: Head = {
      size: tree.size,
      root,
      timeMs: Math.max(this.#ports.clock.now(), this.#head?.timeMs ?? 0),
      checkpoint: await this.#ports.sign(text),
    };
    const slice = this.#ports.lookups.next(this.#tree.size, fresh.length);
    return { before: this.#head, head, tree, tiles, fresh, draft, slice };
  }

  async #commit(prepared: Prepared): Promise<void> {
    const { before, head, tiles, fresh, draft, slice } = prepared;
    const begin = leafIndex(before?.size ?? 0);
    // Set before the write and cleared by what proves its outcome, so that nothing that goes wrong in
    // between can be forgotten.
    this.#unsettled = prepared;
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
        },
        before,
      );
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      const outcome = await this.#readOutcome(prepared);
      if (outcome === 'committed') return;
      this.#unsettled = undefined;
      throw error;
    }
    this.#ports.meter?.committed(fresh.length, performance.now() - begunMs);
  }

  /** From here on the batch is part of the log. */
  #adopt(prepared: Prepared): void {
    const { head, tree, tiles, fresh, draft, slice } = prepared;
    this.#unsettled = undefined;
    this.#tree = tree;
    this.#head = head;
    this.#ports.sources.apply(draft);
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
    this.#ports.remember(head);
  }

  /** Finds out what became of a batch whose commit reported a failure that could not be looked into. */
  async #settle(): Promise<void> {
    const prepared = this.#unsettled;
    if (prepared === undefined) return;
    if ((await this.#readOutcome(prepared)) === 'committed') this.#adopt(prepared);
    this.#unsettled = undefined;
  }

  async #readOutcome(prepared: Prepared): Promise<'committed' | 'unchanged'> {
    const stored = await this.#ports.store.readHead();
    if (stored?.checkpoint === prepared.head.checkpoint) return 'committed';
    if (stored?.checkpoint === prepared.before?.checkpoint) return 'unchanged';
    const stop = new SteleError(
      'split_view',
      `the stored head has size ${stored?.size ?? 0} and was not made by this process, whose own has ` +
        `${prepared.before?.size ?? 0}: somebody else appends to this log, so it signs nothing more`,
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
