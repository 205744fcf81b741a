/**
 * Finding entries by what they are: leaf hash, statement, record id.
 *
 * A look-up is a 52-bit prefix of a hash; what it finds are candidates, which the asker compares in
 * full. A random-keyed index costs more to write than the entries themselves, so look-ups are written
 * behind: the newest ones live here in memory, and once enough have come together they go to disk
 * sorted, a slice with each commit, so that no single commit pays for all. After a crash the unwritten
 * tail is made again from its entries.
 *
 *     entries   0 ────────────── indexed ───────── flushing ─────────── size
 *               on disk          being written     in memory only
 */
import { sha256, utf8 } from '../core/bytes.ts';
import type { Hash, LeafIndex, TreeSize } from '../core/units.ts';
import type { LogStore, Lookup, LookupKind } from '../storage/store.ts';
import { LOOKUP } from '../storage/store.ts';

/** Entries kept in memory before they are written: a sorted run touches each page once. */
const RUN_ENTRIES = 16_384;

/** Look-ups written with one commit: about 2 ms of work. */
const SLICE = 2_048;

/** Look-ups written for each entry of a larger commit: twice those that it adds, so none pile up. */
const SLICE_PER_ENTRY = 4;

/** 52 bits of a hash as a number: the most that fits a double together with its exactness. */
export function hashPrefix(hash: Hash): number {
  const view = new DataView(hash.buffer, hash.byteOffset, 8);
  return view.getUint32(0) * 2 ** 20 + Math.floor(view.getUint32(4) / 2 ** 12);
}

/**
 * For a record id: 26 bits of its time in units of 65 seconds, then 26 bits of its hash. Ids come in
 * order of time, so writes stay on few pages; the hash keeps a gateway that chooses its ids from piling
 * them up under one prefix.
 */
export function recordPrefix(recordId: string): number {
  const ms = Number.parseInt(recordId.slice(0, 8) + recordId.slice(9, 13), 16);
  const hashed = hashPrefix(sha256(utf8(recordId)));
  return (Math.floor(ms / 65_536) % 2 ** 26) * 2 ** 26 + Math.floor(hashed / 2 ** 26);
}

/** What one entry can be found by. */
export interface Keys {
  readonly leafHash: Hash;
  readonly statement: Hash;
  readonly recordId: string | undefined;
}

/** The look-ups of an entry: a record is found by its id, anything else by its statement. */
export function lookupsOf(keys: Keys, index: LeafIndex): Lookup[] {
  return [
    { kind: 'leaf', prefix: hashPrefix(keys.leafHash), index },
    keys.recordId === undefined
      ? { kind: 'statement', prefix: hashPrefix(keys.statement), index }
      : { kind: 'record', prefix: recordPrefix(keys.recordId), index },
  ];
}

/** What a commit writes of the look-ups. */
export interface LookupSlice {
  readonly lookups: readonly Lookup[];
  readonly indexed: TreeSize;
}

export class Lookups {
  readonly #store: LogStore;
  /** Every look-up that is not known to be on disk. */
  readonly #pending: Record<LookupKind, Map<number, LeafIndex[]>> = {
    leaf: new Map(),
    statement: new Map(),
    record: new Map(),
  };
  /** Look-ups of entries from `#indexed` on that no run has taken yet. */
  #waiting: Lookup[] = [];
  #waitingEntries = 0;
  /** The run that is being written: sorted, with the place up to which it is on disk. */
  #run: { readonly lookups: readonly Lookup[]; readonly end: TreeSize; at: number } | undefined;
  #indexed: TreeSize;

  constructor(store: LogStore, indexed: TreeSize) {
    this.#store = store;
    this.#indexed = indexed;
  }

  /** Candidates for each prefix, from memory and disk, ascending. */
  async find(kind: LookupKind, prefixes: readonly number[]): Promise<LeafIndex[][]> {
    if (prefixes.length === 0) return [];
    const stored = await this.#store.findCandidates(kind, prefixes);
    return prefixes.map((prefix, i) => {
      const onDisk = stored[i] ?? [];
      const inMemory = this.#pending[kind].get(prefix);
      if (inMemory === undefined) return onDisk;
      return [...new Set([...onDisk, ...inMemory])].sort((a, b) => a - b);
    });
  }

  /** Takes note of an entry that is now committed. */
  add(keys: Keys, index: LeafIndex): void {
    for (const lookup of lookupsOf(keys, index)) {
      const indexes = this.#pending[lookup.kind].get(lookup.prefix);
      if (indexes === undefined) this.#pending[lookup.kind].set(lookup.prefix, [index]);
      else indexes.push(index);
      this.#waiting.push(lookup);
    }
    this.#waitingEntries++;
  }

  /**
   * What the next commit should write, for a log of `size` entries before it and `adding` in it. Nothing
   * changes here until `wrote` is told that the commit succeeded.
   */
  next(size: TreeSize, adding: number): LookupSlice {
    if (this.#run === undefined && this.#waitingEntries >= RUN_ENTRIES) {
      this.#run = { lookups: this.#waiting.sort(byKey), end: size, at: 0 };
      this.#waiting = [];
      this.#waitingEntries = 0;
    }
    const run = this.#run;
    if (run === undefined) return { lookups: [], indexed: this.#indexed };
    const count = Math.max(SLICE, SLICE_PER_ENTRY * adding);
    const lookups = run.lookups.slice(run.at, run.at + count);
    const last = run.at + lookups.length >= run.lookups.length;
    return { lookups, indexed: last ? run.end : this.#indexed };
  }

  /** The commit that carried `slice` is on disk. */
  wrote(slice: LookupSlice): void {
    const run = this.#run;
    if (run === undefined) return;
    run.at += slice.lookups.length;
    if (run.at < run.lookups.length) return;
    for (const { kind, prefix, index } of run.lookups) this.#forget(kind, prefix, index);
    this.#indexed = run.end;
    this.#run = undefined;
  }

  #forget(kind: LookupKind, prefix: number, index: LeafIndex): void {
    const left = this.#pending[kind].get(prefix)?.filter((i) => i !== index) ?? [];
    if (left.length > 0) this.#pending[kind].set(prefix, left);
    else this.#pending[kind].delete(prefix);
  }
}

function byKey(a: Lookup, b: Lookup): number {
  return LOOKUP[a.kind] - LOOKUP[b.kind] || a.prefix - b.prefix || a.index - b.index;
}
