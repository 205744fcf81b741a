/**
 * Is what is stored of a log still what was signed? Every entry and every tile is read and hashed again, up to
 * the newest signed head, at a pace that disturbs nobody.
 *
 * A disk forgets quietly: an entry that nobody asks for can be damaged for years. Nothing is signed over it
 * meanwhile that is false, since tiles carry the tree on; but the log promises to have it (P4). Whoever
 * finds it first should be the log itself.
 */
import { hasCode } from '../core/errors.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import type { LeafIndex, TreeSize } from '../core/units.ts';
import { HASH_BYTES } from '../core/units.ts';
import { audit } from './audit/audit.ts';
import type { AuditReader, TileWanted } from './audit/reader.ts';
import type { Pace } from './pace.ts';

export interface TreeChecked {
  /** Entries that were hashed. */
  readonly size: number;
  /** What is damaged, in words with its place: the first hundred. */
  readonly damage: readonly string[];
}

export interface CheckOptions {
  readonly reader: AuditReader;
  readonly origin: string;
  readonly pace: Pace;
  readonly progress: (done: number, size: number) => void;
}

/** Rejects with `storage` where it could not be told, because the file could not be read at all. */
export async function checkTree(options: CheckOptions): Promise<TreeChecked> {
  try {
    return await derive(options);
  } catch (error) {
    // Without a head, or without the first entry, there is nothing that the rest could be held to.
    if (!hasCode(error, 'unverified') && !hasCode(error, 'malformed')) throw error;
    return { size: 0, damage: [error.message] };
  }
}

async function derive({ reader, origin, pace, progress }: CheckOptions): Promise<TreeChecked> {
  const report = await audit({
    reader: new PacedReader(reader, pace),
    origin,
    known: [],
    checker: undefined,
    progress,
  });
  const damage = report.findings
    .filter(({ severity }) => severity === 'fail')
    .map(({ index, what }) => (index === undefined ? what : `entry ${index}: ${what}`));
  return { size: report.size, damage };
}

const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

class PacedReader implements AuditReader {
  readonly #reader: AuditReader;
  readonly #pace: Pace;

  constructor(reader: AuditReader, pace: Pace) {
    this.#reader = reader;
    this.#pace = pace;
  }

  get hasPartialTiles(): boolean {
    return this.#reader.hasPartialTiles;
  }

  checkpoint(): Promise<Uint8Array> {
    return this.#reader.checkpoint();
  }

  otherHeads(): Promise<readonly Uint8Array[]> {
    return this.#reader.otherHeads();
  }

  control(): Promise<readonly LeafIndex[] | undefined> {
    return this.#reader.control();
  }

  async *entries(begin: LeafIndex, end: TreeSize): AsyncGenerator<readonly Uint8Array[]> {
    for await (const piece of this.#reader.entries(begin, end)) {
      await this.#pace.spend(piece.reduce((sum, { length }) => sum + length, 0));
      yield piece;
    }
  }

  async tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]> {
    await this.#pace.spend(wanted.length * TILE_BYTES);
    return await this.#reader.tiles(wanted);
  }
}
