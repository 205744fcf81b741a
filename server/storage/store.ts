/**
 * What a log needs from a disk. Implementations share no code, only this contract and its suite,
 * `test/contract/store.ts`.
 *
 * Stored data is not trusted on the way back: callers hash what they read into a signed root. A bad
 * store can stop a log, not forge one.
 */
import type { SignedTreeHead } from '../core/ct.ts';
import { SteleError } from '../core/errors.ts';
import type { Hash, LeafIndex, TreeSize } from '../core/units.ts';

/** A signed tree head. */
export interface Head {
  readonly size: TreeSize;
  readonly root: Hash;
  /** When the log made it, by its own clock: milliseconds since 1970. */
  readonly timeMs: number;
  /** The signed note, as it is served. */
  readonly checkpoint: string;
}

/** How much was logged, in entries' own bytes: all together, and on the day of the newest entry. */
export interface Usage {
  readonly bytes: number;
  /** Days since 1970, UTC. */
  readonly day: number;
  readonly dayEntries: number;
  readonly dayBytes: number;
}

export interface StoredTile {
  readonly level: number;
  readonly index: number;
  /** 8,192 bytes: only full tiles are stored. */
  readonly bytes: Uint8Array;
}

/** What an entry can be found by. The number is stored. */
export const LOOKUP = { leaf: 0, statement: 1, record: 2 } as const;
export type LookupKind = keyof typeof LOOKUP;

export interface Lookup {
  readonly kind: LookupKind;
  /** 52 bits of a hash, as a number. */
  readonly prefix: number;
  readonly index: LeafIndex;
}

/** A run of sequence numbers without a hole: [begin, end). */
export interface SeqRange {
  readonly begin: number;
  readonly end: number;
}

/** A source as it will be after a commit. */
export interface SourceChange {
  readonly name: string;
  readonly keyid: string;
  readonly forks: number;
  /** Records of this source in the batch. */
  readonly records: readonly { readonly seq: number; readonly index: LeafIndex }[];
}

export interface StoredSource {
  readonly name: string;
  readonly keyid: string;
  readonly forks: number;
  /** One past its highest sequence number. */
  readonly next: number;
}

export interface Batch {
  /** The index of the first entry: the size of the head that the batch replaces. */
  readonly begin: LeafIndex;
  readonly entries: readonly Uint8Array[];
  readonly tiles: readonly StoredTile[];
  /** Sorted by kind and prefix. They may belong to earlier entries: look-ups are written behind. */
  readonly lookups: readonly Lookup[];
  /** After this commit, every entry below it can be found by its stored look-ups. */
  readonly indexed: TreeSize;
  readonly control: readonly LeafIndex[];
  readonly sources: readonly SourceChange[];
  readonly head: Head;
  readonly usage: Usage;
}

/** What a log takes up, for whoever asks how large it is. */
export interface StoreSize {
  /** Of its files. */
  readonly bytes: number;
  readonly sources: number;
}

/** A tree head that nobody has signed. */
export type UnsignedHead = Omit<Head, 'checkpoint'>;

/** A batch that is about to be signed: of it, what the log cannot derive again. */
export interface StagedBatch {
  readonly begin: LeafIndex;
  readonly entries: readonly Uint8Array[];
  readonly head: UnsignedHead;
}

export interface LogStore {
  /** The newest committed head; nothing while the log is empty. */
  readHead(): Promise<Head | undefined>;

  /** How much was logged, as of the newest head; nothing at all while the log is empty. */
  readUsage(): Promise<Usage>;
  readSize(): Promise<StoreSize>;

  /** Full tiles, in the order asked. Rejects with `storage` if any is missing: never a short answer. */
  readTiles(
    tiles: readonly { readonly level: number; readonly index: number }[],
  ): Promise<Uint8Array[]>;

  /** The entries [begin, end), all of them, or a rejection with `storage`. */
  readEntries(begin: LeafIndex, end: TreeSize): Promise<Uint8Array[]>;

  /** For each prefix the stored candidates, ascending. At most 64 each; more is a `storage` error. */
  findCandidates(kind: LookupKind, prefixes: readonly number[]): Promise<LeafIndex[][]>;

  /** Every entry below this index is among the stored look-ups. */
  readIndexed(): Promise<TreeSize>;

  /** Indexes of all control records, ascending. */
  readControl(): Promise<LeafIndex[]>;

  readSource(name: string): Promise<StoredSource | undefined>;
  /** A page of sources by name, after `after`. */
  readSources(after: string | undefined, limit: number): Promise<StoredSource[]>;
  /**
   * The first `limit` runs of a source, ascending and never touching: what lies between two of them is
   * a hole.
   */
  readRanges(source: string, limit: number): Promise<SeqRange[]>;
  /** The first entry of a source with this sequence number. */
  findSeq(source: string, seq: number): Promise<LeafIndex | undefined>;

  /**
   * Appends `batch` if the stored head is still `expected`, and otherwise rejects with `conflict` and
   * changes nothing. When the promise resolves the batch is on disk. If it rejects with `storage` the
   * outcome is unknown; the caller reads the head again before anything else. While a batch is staged,
   * only that one is taken, by its size and root, and with its commit it is no longer staged.
   */
  commit(batch: Batch, expected: Head | undefined): Promise<void>;

  /**
   * Keeps `batch` as the only one that may be committed next, in place of one that was staged before.
   * Rejects with `conflict` and changes nothing if the stored head is no longer `expected`. When the promise
   * resolves it is on disk. If it rejects with `storage` either of the two may be staged, or neither.
   */
  stage(batch: StagedBatch, expected: Head | undefined): Promise<void>;
  /** The batch that was staged and never committed; nothing where there is none. */
  readStaged(): Promise<StagedBatch | undefined>;

  /** Keeps a published head in place of an earlier one of the same hour. Durable when it resolves. */
  publish(head: Head): Promise<void>;
  /** The published head of the largest size, or one of exactly `size`: one that is kept for good, if there is. */
  readPublished(size?: TreeSize): Promise<Head | undefined>;
  /** The published head of the smallest size that was kept. */
  readFirstPublished(): Promise<Head | undefined>;

  /**
   * Keeps a head for good, with all that its note has, in place of what was kept of that size before. Durable
   * when it resolves. Rejects with `conflict` and changes nothing where another root is kept there.
   */
  keep(head: Head): Promise<void>;
  /** The first `limit` of the heads that are kept for good and smaller than `below`, the largest first. */
  readKept(below: number, limit: number): Promise<Head[]>;

  /**
   * Keeps the newest tree head of an RFC 6962 log ID, in place of the one before. Durable when it resolves.
   * Rejects with `conflict` and changes nothing unless it is later than the one that is kept, and not smaller.
   * If it rejects with `storage` the outcome is unknown.
   */
  keepTreeHead(logId: Hash, head: SignedTreeHead): Promise<void>;
  /** The tree head that was kept last under this log ID. */
  readTreeHead(logId: Hash): Promise<SignedTreeHead | undefined>;

  close(): Promise<void>;
}

export const NO_USAGE: Usage = { bytes: 0, day: 0, dayEntries: 0, dayBytes: 0 };

/** Candidates under one prefix beyond which a store refuses to answer. */
export const CANDIDATES_MAX = 64;

export function otherHeadKept(size: number): SteleError {
  return new SteleError('conflict', `another head of size ${size} is kept`);
}

export function treeHeadGoesBack({ timeMs, size }: { timeMs: number; size: number }): SteleError {
  return new SteleError(
    'conflict',
    `a tree head of time ${timeMs} and size ${size} is not later than the one that is kept`,
  );
}
