/**
 * Where is it? By leaf hash, by record id, by source. What the look-ups give are candidates; each is
 * read and compared in full.
 */
import { equalBytes } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import { leafHash } from '../core/merkle.ts';
import type { Hash, LeafIndex } from '../core/units.ts';
import type { LogStore, SeqRange } from '../storage/store.ts';
import { identify } from './decide.ts';
import { hashPrefix, type Lookups, recordPrefix } from './lookups.ts';
import type { Reader } from './reader.ts';
import type { Registry } from './registry.ts';
import { holesOf } from './sources.ts';

/** A source as `LOG/v1/sources` tells it. */
export interface SourceInfo {
  readonly id: string;
  /** The gateway key that it belongs to. */
  readonly keyid: string;
  /** One past the highest sequence number. */
  readonly next: number;
  /** Where its chain begins here: 0 but in a log that follows another. */
  readonly begin: number;
  /** The first holes of its chain, ascending. */
  readonly holes: readonly SeqRange[];
  /** Whether there are more holes than are listed. */
  readonly moreHoles: boolean;
  readonly forks: number;
}

/** Holes listed per source: a gateway that skips numbers on purpose must not fill an answer. */
const HOLES_LISTED_MAX = 100;

export class Finder {
  readonly #store: LogStore;
  readonly #lookups: Lookups;
  readonly #reader: Reader;
  readonly #registry: Registry;

  constructor(store: LogStore, lookups: Lookups, reader: Reader, registry: Registry) {
    this.#store = store;
    this.#lookups = lookups;
    this.#reader = reader;
    this.#registry = registry;
  }

  /** The index of the first entry with this leaf hash; `not_found` if there is none. */
  async leaf(hash: Hash): Promise<LeafIndex> {
    const [candidates] = await this.#lookups.find('leaf', [hashPrefix(hash)]);
    for (const index of candidates ?? []) {
      if (equalBytes(leafHash(await this.#reader.entry(index)), hash)) return index;
    }
    throw new SteleError('not_found', 'no entry has this leaf hash');
  }

  /** The index of a record. Without `source` an id that several sources used is a `conflict`. */
  async record(recordId: string, source?: string): Promise<LeafIndex> {
    const [candidates] = await this.#lookups.find('record', [recordPrefix(recordId)]);
    const found: LeafIndex[] = [];
    for (const index of candidates ?? []) {
      const what = identify(await this.#reader.entry(index), index);
      const matches = source === undefined || what.source === source;
      if (what.recordId === recordId && matches) found.push(index);
    }
    const [first, ...others] = found;
    if (first === undefined) {
      throw new SteleError('not_found', `record ${shown(recordId)} is not in this log`);
    }
    if (others.length > 0) {
      throw new SteleError(
        'conflict',
        `record id ${recordId} was used by ${found.length} sources: name one with ?source=`,
      );
    }
    return first;
  }

  /** A page of sources by name, after `after`. */
  async sources(after: string | undefined, limit: number): Promise<SourceInfo[]> {
    const stored = await this.#store.readSources(after, limit);
    return Promise.all(
      stored.map(async ({ name, keyid, forks, next }) => {
        const ranges = await this.#store.readRanges(name, HOLES_LISTED_MAX + 1);
        const begin = this.#registry.previous === undefined ? 0 : (ranges[0]?.begin ?? 0);
        const holes = holesOf(ranges, begin);
        return {
          id: name,
          keyid: this.#registry.ownerOf(name) ?? keyid,
          begin,
          next,
          holes: holes.slice(0, HOLES_LISTED_MAX),
          moreHoles: (ranges.at(-1)?.end ?? 0) < next || holes.length > HOLES_LISTED_MAX,
          forks,
        };
      }),
    );
  }
}
