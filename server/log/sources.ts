/**
 * Sources and their chains.
 *
 * A source numbers its records from 0 by 1, and each names the hash of the one before. Records may come
 * late, so a chain is a set of runs; what lies between two runs is a hole. A hole is never a reason to
 * lose evidence: with `continuity: flag` everything is accepted and holes and forks are made visible,
 * with `require` a record that does not continue its chain is refused with the value that would.
 *
 * A batch is judged on a draft, so that a commit that fails leaves nothing behind here.
 */
import { equalBytes, parseBase64url, sha256, toBase64url } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import type { Hash, LeafIndex } from '../core/units.ts';
import type { LogStore, SeqRange, SourceChange } from '../storage/store.ts';

export type Continuity = 'flag' | 'require';

/** The part of a record that its chain is about. */
export interface Link {
  readonly source: string;
  readonly seq: number;
  /** SHA-256 of the payload of the record before, base64url; null for the first. */
  readonly prev: string | null;
  /** SHA-256 of this record's payload. */
  readonly digest: Hash;
  readonly keyid: string;
  /** Sequence numbers that this record, a gap record, declares lost: [begin, end). */
  readonly lost: SeqRange | undefined;
}

/** What a chain needs to know of a record that is already logged. */
export interface Neighbor {
  readonly digest: Hash;
  readonly prev: string | null;
}

interface SourceState {
  readonly keyid: string;
  readonly forks: number;
  /** One past the highest sequence number. */
  readonly next: number;
  /** The newest links, by sequence number, so that a steady source is never read back. */
  readonly recent: ReadonlyMap<number, Neighbor>;
}

const RECENT_MAX = 4;
const CACHED_SOURCES_MAX = 10_000;

/** Reads the record that a stored sequence number stands for. */
export type ReadNeighbor = (index: LeafIndex) => Promise<Neighbor>;

export class Sources {
  readonly #store: LogStore;
  readonly #readNeighbor: ReadNeighbor;
  readonly #cache = new Map<string, SourceState>();

  constructor(store: LogStore, readNeighbor: ReadNeighbor) {
    this.#store = store;
    this.#readNeighbor = readNeighbor;
  }

  /** A view in which the records of one batch can be judged in order. */
  draft(): SourceDraft {
    return new SourceDraft((name) => this.#state(name), this.#store, this.#readNeighbor);
  }

  /** The draft's batch is committed. */
  apply(draft: SourceDraft): void {
    for (const [name, state] of draft.states()) {
      this.#cache.delete(name);
      this.#cache.set(name, state);
    }
    for (const name of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_SOURCES_MAX) break;
      this.#cache.delete(name);
    }
  }

  /** Forgets what is cached, after a commit whose outcome was unknown. */
  clear(): void {
    this.#cache.clear();
  }

  /** Where a source's next record goes: one past the highest number, and the hash of that record. */
  async tip(name: string): Promise<{ readonly seq: number; readonly prev: string | null }> {
    return this.draft().tip(name);
  }

  async #state(name: string): Promise<SourceState | undefined> {
    const cached = this.#cache.get(name);
    if (cached !== undefined) return cached;
    const stored = await this.#store.readSource(name);
    return stored && { ...stored, recent: new Map() };
  }
}

export class SourceDraft {
  readonly #read: (name: string) => Promise<SourceState | undefined>;
  readonly #store: LogStore;
  readonly #readNeighbor: ReadNeighbor;
  readonly #states = new Map<string, SourceState>();
  /** The records taken, by sequence number: of a number that is taken twice, the first. */
  readonly #records = new Map<string, Map<number, Neighbor & { readonly index: LeafIndex }>>();

  constructor(
    read: (name: string) => Promise<SourceState | undefined>,
    store: LogStore,
    readNeighbor: ReadNeighbor,
  ) {
    this.#read = read;
    this.#store = store;
    this.#readNeighbor = readNeighbor;
  }

  states(): ReadonlyMap<string, SourceState> {
    return this.#states;
  }

  changes(): SourceChange[] {
    return [...this.#records].map(([name, records]) => {
      const state = this.#states.get(name);
      return {
        name,
        keyid: state?.keyid ?? '',
        forks: state?.forks ?? 0,
        records: [...records].map(([seq, { index }]) => ({ seq, index })),
      };
    });
  }

  async tip(name: string): Promise<{ readonly seq: number; readonly prev: string | null }> {
    const state = await this.#of(name);
    const seq = state?.next ?? 0;
    if (seq === 0) return { seq: 0, prev: null };
    const last = await this.#neighbor(name, state, seq - 1);
    return { seq, prev: last === undefined ? null : toBase64url(last.digest) };
  }

  /**
   * Judges one record without taking it: `forbidden` if the source belongs to another key, `conflict`
   * if `require` holds and the chain is not continued. `owner` is the key that a hand-over in the log
   * names for this source, if there was one. In a log that `follows` another a chain goes on from there:
   * its first record here may have any number.
   */
  async check(
    link: Link,
    continuity: Continuity,
    { owner, follows }: { readonly owner: string | undefined; readonly follows: boolean },
  ): Promise<void> {
    const state = await this.#of(link.source);
    const holder = owner ?? state?.keyid;
    if (holder !== undefined && holder !== link.keyid) {
      throw new SteleError(
        'forbidden',
        `source ${shown(link.source)} belongs to key ${holder}, not to key ${link.keyid}`,
      );
    }
    if (continuity === 'flag') return;
    if (state === undefined && follows) return;
    const next = state?.next ?? 0;
    const closes = link.lost !== undefined && link.lost.begin <= next && link.lost.end >= link.seq;
    if (link.seq > next && !closes) {
      throw new SteleError(
        'conflict',
        `source ${shown(link.source)}: seq ${link.seq} leaves a hole; the log requires ${next}`,
      );
    }
    const wrong = await this.#contradiction(link, state);
    if (wrong !== undefined) throw new SteleError('conflict', wrong);
  }

  /** Takes a record that will be committed at `index`. */
  async add(link: Link, index: LeafIndex): Promise<void> {
    const state = await this.#of(link.source);
    const fork = (await this.#contradiction(link, state)) !== undefined;
    const recent = new Map(state?.recent);
    // A fork may claim a number that is taken: neighbors are held to the first record of a number, which
    // is read back where it is not remembered.
    if (!fork) recent.set(link.seq, { digest: link.digest, prev: link.prev });
    for (const seq of recent.keys()) {
      if (recent.size <= RECENT_MAX) break;
      recent.delete(seq);
    }
    this.#states.set(link.source, {
      keyid: link.keyid,
      forks: (state?.forks ?? 0) + (fork ? 1 : 0),
      next: Math.max(state?.next ?? 0, link.seq + 1),
      recent,
    });
    const records = this.#records.get(link.source) ?? new Map();
    if (!records.has(link.seq))
      records.set(link.seq, { index, digest: link.digest, prev: link.prev });
    this.#records.set(link.source, records);
  }

  /** In words, why this record does not fit the neighbors that are known; nothing if it does. */
  async #contradiction(link: Link, state: SourceState | undefined): Promise<string | undefined> {
    const { source, seq, prev } = link;
    const where = `source ${shown(source)}, seq ${seq}`;
    if ((await this.#neighbor(source, state, seq)) !== undefined) {
      return `${where} is already taken by another record`;
    }
    if (seq === 0 && prev !== null) return `${where}: prev must be null`;
    const before = seq === 0 ? undefined : await this.#neighbor(source, state, seq - 1);
    if (before !== undefined && !isDigest(prev, before.digest)) {
      return `${where}: prev is ${shown(String(prev))}; the record before has ${toBase64url(before.digest)}`;
    }
    const after = await this.#neighbor(source, state, seq + 1);
    if (after !== undefined && !isDigest(after.prev, link.digest)) {
      return `${where}: the record after names ${shown(String(after.prev))}; this one has ${toBase64url(link.digest)}`;
    }
    return undefined;
  }

  async #neighbor(
    name: string,
    state: SourceState | undefined,
    seq: number,
  ): Promise<Neighbor | undefined> {
    // What a steady source asks about is either just logged or beyond everything logged.
    if (state === undefined || seq >= state.next) return undefined;
    const known = state.recent.get(seq) ?? this.#records.get(name)?.get(seq);
    if (known !== undefined) return known;
    const index = await this.#store.findSeq(name, seq);
    return index === undefined ? undefined : this.#readNeighbor(index);
  }

  async #of(name: string): Promise<SourceState | undefined> {
    const drafted = this.#states.get(name);
    if (drafted !== undefined) return drafted;
    const state = await this.#read(name);
    if (state !== undefined) this.#states.set(name, state);
    return state;
  }
}

function isDigest(text: string | null, digest: Hash): boolean {
  return text !== null && equalBytes(parseBase64url(text, 'prev'), digest);
}

/** The holes between a source's runs, from sequence number `begin` on. */
export function holesOf(ranges: readonly SeqRange[], begin = 0): SeqRange[] {
  const holes: SeqRange[] = [];
  let at = begin;
  for (const range of ranges) {
    if (range.begin > at) holes.push({ begin: at, end: range.begin });
    at = range.end;
  }
  return holes;
}

/** SHA-256 of a record's payload: what the next record's `prev` names. */
export function payloadDigest(payload: Uint8Array): Hash {
  return sha256(payload);
}
