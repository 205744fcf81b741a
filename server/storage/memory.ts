/**
 * A log store in memory, for tests and for what need not survive. It keeps the contract, except that
 * "durable" means "until the process ends".
 */
import { equalBytes, toHex } from '../core/bytes.ts';
import type { SignedTreeHead } from '../core/ct.ts';
import { SteleError } from '../core/errors.ts';
import type { Hash, LeafIndex, TreeSize } from '../core/units.ts';
import {
  type Batch,
  CANDIDATES_MAX,
  type Head,
  type LogStore,
  type LookupKind,
  NO_USAGE,
  otherHeadKept,
  type SeqRange,
  type StagedBatch,
  type StoredSource,
  type StoreSize,
  treeHeadGoesBack,
  type UnsignedHead,
  type Usage,
} from './store.ts';

interface MemorySource {
  readonly name: string;
  keyid: string;
  forks: number;
  readonly records: Map<number, LeafIndex>;
}

export class MemoryStore implements LogStore {
  #head: Head | undefined;
  #staged: StagedBatch | undefined;
  #usage = NO_USAGE;
  readonly #entries: Uint8Array[] = [];
  readonly #tiles = new Map<string, Uint8Array>();
  readonly #lookups = new Map<string, Set<LeafIndex>>();
  #indexed = 0 as TreeSize;
  readonly #control: LeafIndex[] = [];
  readonly #sources = new Map<string, MemorySource>();
  readonly #published = new Map<number, Head>();
  readonly #kept = new Map<number, Head>();
  readonly #treeHeads = new Map<string, SignedTreeHead>();

  async readHead(): Promise<Head | undefined> {
    return this.#head;
  }

  async readUsage(): Promise<Usage> {
    return this.#usage;
  }

  async readSize(): Promise<StoreSize> {
    const bytes = this.#entries.reduce((sum, entry) => sum + entry.length, 0);
    return { bytes, sources: this.#sources.size };
  }

  async readTiles(tiles: readonly { level: number; index: number }[]): Promise<Uint8Array[]> {
    return tiles.map(({ level, index }) => {
      const bytes = this.#tiles.get(`${level}/${index}`);
      if (bytes === undefined) throw new SteleError('storage', `tile ${level}/${index} is missing`);
      return bytes;
    });
  }

  async readEntries(begin: LeafIndex, end: TreeSize): Promise<Uint8Array[]> {
    if (end > this.#entries.length) {
      throw new SteleError('storage', `entry ${this.#entries.length} is missing`);
    }
    return this.#entries.slice(begin, end);
  }

  async findCandidates(kind: LookupKind, prefixes: readonly number[]): Promise<LeafIndex[][]> {
    return prefixes.map((prefix) => {
      const found = [...(this.#lookups.get(`${kind}/${prefix}`) ?? [])].sort((a, b) => a - b);
      if (found.length > CANDIDATES_MAX) {
        throw new SteleError('storage', `over ${CANDIDATES_MAX} candidates under one prefix`);
      }
      return found;
    });
  }

  async readIndexed(): Promise<TreeSize> {
    return this.#indexed;
  }

  async readControl(): Promise<LeafIndex[]> {
    return [...this.#control];
  }

  async readSource(name: string): Promise<StoredSource | undefined> {
    const source = this.#sources.get(name);
    return source === undefined
      ? undefined
      : {
          name,
          keyid: source.keyid,
          forks: source.forks,
          next: rangesOf(source.records).at(-1)?.end ?? 0,
        };
  }

  async readRanges(source: string, limit: number): Promise<SeqRange[]> {
    return rangesOf(this.#sources.get(source)?.records ?? new Map()).slice(0, limit);
  }

  async readSources(after: string | undefined, limit: number): Promise<StoredSource[]> {
    const names = [...this.#sources.keys()].sort().filter((n) => after === undefined || n > after);
    const found = await Promise.all(names.slice(0, limit).map((n) => this.readSource(n)));
    return found.filter((s) => s !== undefined);
  }

  async findSeq(source: string, seq: number): Promise<LeafIndex | undefined> {
    return this.#sources.get(source)?.records.get(seq);
  }

  async commit(batch: Batch, expected: Head | undefined): Promise<void> {
    this.#checkHead(expected);
    const staged = this.#staged?.head;
    if (staged !== undefined && !isSameHead(staged, batch.head)) {
      throw new SteleError(
        'conflict',
        `a batch of size ${staged.size} is staged, and not this one of size ${batch.head.size}`,
      );
    }
    this.#entries.push(...batch.entries);
    for (const tile of batch.tiles) this.#tiles.set(`${tile.level}/${tile.index}`, tile.bytes);
    for (const { kind, prefix, index } of batch.lookups) {
      const key = `${kind}/${prefix}`;
      this.#lookups.set(key, (this.#lookups.get(key) ?? new Set()).add(index));
    }
    this.#indexed = batch.indexed;
    this.#control.push(...batch.control);
    for (const change of batch.sources) {
      const source = this.#sources.get(change.name) ?? {
        name: change.name,
        keyid: change.keyid,
        forks: 0,
        records: new Map<number, LeafIndex>(),
      };
      source.keyid = change.keyid;
      source.forks = change.forks;
      for (const { seq, index } of change.records) {
        if (!source.records.has(seq)) source.records.set(seq, index);
      }
      this.#sources.set(change.name, source);
    }
    this.#head = batch.head;
    this.#staged = undefined;
    this.#usage = batch.usage;
  }

  async stage(batch: StagedBatch, expected: Head | undefined): Promise<void> {
    this.#checkHead(expected);
    this.#staged = batch;
  }

  async readStaged(): Promise<StagedBatch | undefined> {
    return this.#staged;
  }

  async publish(head: Head): Promise<void> {
    this.#published.set(Math.floor(head.timeMs / 3_600_000), head);
  }

  async readPublished(size?: TreeSize): Promise<Head | undefined> {
    const kept = [...this.#published.values()];
    if (size !== undefined) return this.#kept.get(size) ?? kept.find((h) => h.size === size);
    return kept.reduce<Head | undefined>(
      (a, b) => (a !== undefined && a.size > b.size ? a : b),
      undefined,
    );
  }

  async readFirstPublished(): Promise<Head | undefined> {
    return [...this.#published.values()].sort((a, b) => a.size - b.size)[0];
  }

  async keep(head: Head): Promise<void> {
    const kept = this.#kept.get(head.size);
    if (kept !== undefined && !isSameHead(kept, head)) throw otherHeadKept(head.size);
    this.#kept.set(head.size, kept === undefined ? head : { ...head, timeMs: kept.timeMs });
  }

  async readKept(below: number, limit: number): Promise<Head[]> {
    const sizes = [...this.#kept.keys()].filter((size) => size < below).sort((a, b) => b - a);
    return sizes.slice(0, limit).flatMap((size) => this.#kept.get(size) ?? []);
  }

  async keepTreeHead(logId: Hash, head: SignedTreeHead): Promise<void> {
    const kept = this.#treeHeads.get(toHex(logId));
    if (kept !== undefined && (head.timeMs <= kept.timeMs || head.size < kept.size)) {
      throw treeHeadGoesBack(head);
    }
    this.#treeHeads.set(toHex(logId), head);
  }

  async readTreeHead(logId: Hash): Promise<SignedTreeHead | undefined> {
    return this.#treeHeads.get(toHex(logId));
  }

  async close(): Promise<void> {}

  #checkHead(expected: Head | undefined): void {
    if (this.#head?.checkpoint === expected?.checkpoint) return;
    throw new SteleError(
      'conflict',
      `the stored head has size ${this.#head?.size ?? 0}, not ${expected?.size ?? 0}`,
    );
  }
}

function rangesOf(records: ReadonlyMap<number, LeafIndex>): SeqRange[] {
  const ranges: { begin: number; end: number }[] = [];
  for (const seq of [...records.keys()].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.end === seq) last.end++;
    else ranges.push({ begin: seq, end: seq + 1 });
  }
  return ranges;
}

function isSameHead(a: UnsignedHead, b: UnsignedHead): boolean {
  return a.size === b.size && equalBytes(a.root, b.root);
}
