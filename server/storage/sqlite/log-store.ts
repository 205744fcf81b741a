/**
 * A log in one SQLite file: reads on this thread from a read-only connection, commits through a writer
 * thread. A read that begins after a commit resolved sees that commit.
 */
import type { SignedTreeHead } from '../../core/ct.ts';
import { SteleError } from '../../core/errors.ts';
import type { Hash, LeafIndex, TreeSize } from '../../core/units.ts';
import {
  type Batch,
  CANDIDATES_MAX,
  type Head,
  LOOKUP,
  type LogStore,
  type LookupKind,
  NO_USAGE,
  type SeqRange,
  type StagedBatch,
  type StoredSource,
  type StoreSize,
  type Usage,
} from '../store.ts';
import { type Chunk, packChunks, packEntries, unpackChunk } from './chunk.ts';
import { checkSchema, type Db, openForReading, storageError } from './database.ts';
import type { HeadRow, PackedBatch } from './writer.ts';
import type { WriterPool } from './writer-pool.ts';

/** Tile rows are keyed by level · 2^46 + index: 2^46 tiles of 256 leaves are more than 2^53 leaves. */
export function tileRowid(level: number, index: number): number {
  return level * 2 ** 46 + index;
}

export class SqliteStore implements LogStore {
  readonly #path: string;
  readonly #db: Db;
  readonly #writers: WriterPool | undefined;
  readonly #read: ReturnType<typeof prepareReads>;

  private constructor(path: string, writers: WriterPool | undefined) {
    this.#path = path;
    this.#writers = writers;
    this.#db = openForReading(path);
    try {
      // The first look into the file: here it shows whether it is a database at all.
      if (writers === undefined) checkSchema(this.#db, 'sqlite');
      this.#read = prepareReads(this.#db);
    } catch (error) {
      this.#db.close();
      throw storageError(error, path);
    }
  }

  /** Opens for reading and writing; the file is created where it is missing. */
  static async open(path: string, writers: WriterPool): Promise<SqliteStore> {
    await writers.open(path);
    return new SqliteStore(path, writers);
  }

  /** Opens a file that exists, for reading only: audits and exports beside or without a server. */
  static openReadOnly(path: string): SqliteStore {
    return new SqliteStore(path, undefined);
  }

  async readHead(): Promise<Head | undefined> {
    return this.#guard(() => toHead(this.#read.head.get()));
  }

  async readUsage(): Promise<Usage> {
    return this.#guard(() => (this.#read.usage.get() as Usage | undefined) ?? NO_USAGE);
  }

  async readSize(): Promise<StoreSize> {
    return this.#guard(() => this.#read.size.get() as StoreSize);
  }

  async readTiles(
    tiles: readonly { readonly level: number; readonly index: number }[],
  ): Promise<Uint8Array[]> {
    return this.#guard(() =>
      tiles.map(({ level, index }) => {
        const data = this.#read.tile.get(tileRowid(level, index)) as Uint8Array | undefined;
        if (data === undefined) {
          throw new SteleError('storage', `tile ${level}/${index} is missing`);
        }
        return data;
      }),
    );
  }

  async readEntries(begin: LeafIndex, end: TreeSize): Promise<Uint8Array[]> {
    return this.#guard(() => {
      const entries: Uint8Array[] = [];
      if (begin >= end) return entries;
      for (const row of this.#read.chunks.iterate(begin, end)) {
        const chunk = row as Chunk;
        if (chunk.begin > begin + entries.length) break;
        const part = unpackChunk(chunk);
        entries.push(...part.slice(Math.max(0, begin - chunk.begin), end - chunk.begin));
      }
      if (entries.length !== end - begin) {
        throw new SteleError('storage', `entry ${begin + entries.length} is missing`);
      }
      return entries;
    });
  }

  async findCandidates(kind: LookupKind, prefixes: readonly number[]): Promise<LeafIndex[][]> {
    return this.#guard(() => {
      const found: LeafIndex[][] = prefixes.map(() => []);
      const limit = prefixes.length * CANDIDATES_MAX + 1;
      const rows = this.#read.candidates.all(JSON.stringify(prefixes), LOOKUP[kind], limit);
      for (const [at, index] of rows as [number, LeafIndex][]) {
        // Where the limit cut the answer off, one prefix alone has more than it may.
        if (found[at]?.push(index) === CANDIDATES_MAX + 1) {
          throw new SteleError('storage', `over ${CANDIDATES_MAX} candidates under one prefix`);
        }
      }
      for (const indexes of found) indexes.sort((a, b) => a - b);
      return found;
    });
  }

  async readIndexed(): Promise<TreeSize> {
    return this.#guard(() => this.#read.indexed.get() as TreeSize);
  }

  async readControl(): Promise<LeafIndex[]> {
    return this.#guard(() => this.#read.control.all() as LeafIndex[]);
  }

  async readSource(name: string): Promise<StoredSource | undefined> {
    return this.#guard(() => this.#toSource(this.#read.source.get(name)));
  }

  async readSources(after: string | undefined, limit: number): Promise<StoredSource[]> {
    return this.#guard(() =>
      this.#read.sources
        .all(after ?? '', limit)
        .map((row) => this.#toSource(row))
        .filter((source) => source !== undefined),
    );
  }

  async readRanges(source: string, limit: number): Promise<SeqRange[]> {
    return this.#guard(() => this.#read.ranges.all(source, limit) as SeqRange[]);
  }

  async findSeq(source: string, seq: number): Promise<LeafIndex | undefined> {
    return this.#guard(() => this.#read.seq.get(source, seq) as LeafIndex | undefined);
  }

  async commit(batch: Batch, expected: Head | undefined): Promise<void> {
    await this.#writer().commit(this.#path, pack(batch, expected));
  }

  async stage(batch: StagedBatch, expected: Head | undefined): Promise<void> {
    const { size, root, timeMs } = batch.head;
    await this.#writer().stage(this.#path, {
      begin: batch.begin,
      entries: packEntries(batch.entries),
      head: { size, root, timeMs },
      expected: expected === undefined ? undefined : toRow(expected),
    });
  }

  async readStaged(): Promise<StagedBatch | undefined> {
    return this.#guard(() => {
      // Asked for once, when the log is opened.
      const row = this.#db.prepare('SELECT * FROM staged WHERE one = 1').get();
      return row === undefined ? undefined : toStaged(row);
    });
  }

  async publish(head: Head): Promise<void> {
    await this.#writer().publish(this.#path, toRow(head));
  }

  async readPublished(size?: TreeSize): Promise<Head | undefined> {
    return this.#guard(() => {
      if (size === undefined) return toHead(this.#read.published.get());
      return toHead(this.#read.keptAt.get(size) ?? this.#read.publishedAt.get(size));
    });
  }

  async keep(head: Head): Promise<void> {
    await this.#writer().keep(this.#path, toRow(head));
  }

  async readKept(below: number, limit: number): Promise<Head[]> {
    return this.#guard(() => this.#read.kept.all(below, limit).flatMap((row) => toHead(row) ?? []));
  }

  async readFirstPublished(): Promise<Head | undefined> {
    return this.#guard(() => toHead(this.#read.publishedFirst.get()));
  }

  async keepTreeHead(logId: Hash, head: SignedTreeHead): Promise<void> {
    const { timeMs, size, root, signature } = head;
    const row = { logId, timeMs, size, root, signature };
    await this.#writer().keepTreeHead(this.#path, row);
  }

  async readTreeHead(logId: Hash): Promise<SignedTreeHead | undefined> {
    // Prepared when it is asked for: who opens a file for reading only may open one without this table.
    return this.#guard(() => toTreeHead(this.#db.prepare(SELECT_TREE_HEAD).get(logId)));
  }

  async close(): Promise<void> {
    this.#db.close();
    await this.#writers?.closeLog(this.#path);
  }

  #writer(): WriterPool {
    if (this.#writers === undefined) {
      throw new SteleError('storage', `${this.#path} is open for reading only`);
    }
    return this.#writers;
  }

  #toSource(row: unknown): StoredSource | undefined {
    if (row === undefined) return undefined;
    const { name, keyid, forks, next } = row as StoredSource;
    return { name, keyid, forks, next };
  }

  #guard<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw storageError(error, this.#path);
    }
  }
}

const SELECT_TREE_HEAD = 'SELECT time_ms, size, root, signature FROM tree_head WHERE log_id = ?';

/** The last run ends where the next record goes. */
const SELECT_SOURCE = `SELECT name, keyid, forks, coalesce(
    (SELECT end FROM source_range WHERE source = source.id ORDER BY begin DESC LIMIT 1), 0
  ) AS next FROM source`;

function prepareReads(db: Db) {
  return {
    // One statement for a whole batch: ten times faster than one for each prefix.
    candidates: db
      .prepare(
        `SELECT wanted.key, lookup.idx FROM json_each(?) AS wanted
         CROSS JOIN lookup ON lookup.kind = ? AND lookup.prefix = wanted.value LIMIT ?`,
      )
      .raw(),
    head: db.prepare('SELECT size, root, time_ms, checkpoint FROM head WHERE one = 1'),
    usage: db.prepare(
      'SELECT bytes, day, day_entries AS dayEntries, day_bytes AS dayBytes FROM head WHERE one = 1',
    ),
    size: db.prepare(
      `SELECT page_count * page_size AS bytes, (SELECT count(*) FROM source) AS sources
       FROM pragma_page_count(), pragma_page_size()`,
    ),
    tile: db.prepare('SELECT data FROM tile WHERE id = ?').pluck(),
    chunks: db.prepare(
      `SELECT begin, count, data FROM chunk
       WHERE begin >= (SELECT max(begin) FROM chunk WHERE begin <= ?) AND begin < ? ORDER BY begin`,
    ),
    indexed: db.prepare('SELECT indexed FROM lookup_progress WHERE one = 1').pluck(),
    control: db.prepare('SELECT idx FROM control ORDER BY idx').pluck(),
    source: db.prepare(`${SELECT_SOURCE} WHERE name = ?`),
    sources: db.prepare(`${SELECT_SOURCE} WHERE name > ? ORDER BY name LIMIT ?`),
    ranges: db.prepare(
      `SELECT begin, end FROM source_range
       WHERE source = (SELECT id FROM source WHERE name = ?) ORDER BY begin LIMIT ?`,
    ),
    seq: db
      .prepare(
        `SELECT idx FROM source_record WHERE source = (SELECT id FROM source WHERE name = ?)
         AND seq = ? ORDER BY idx LIMIT 1`,
      )
      .pluck(),
    published: db.prepare(
      'SELECT size, root, time_ms, checkpoint FROM published ORDER BY size DESC, hour DESC LIMIT 1',
    ),
    publishedFirst: db.prepare(
      'SELECT size, root, time_ms, checkpoint FROM published ORDER BY size, hour LIMIT 1',
    ),
    kept: db.prepare(
      'SELECT size, root, time_ms, checkpoint FROM kept WHERE size < ? ORDER BY size DESC LIMIT ?',
    ),
    keptAt: db.prepare('SELECT size, root, time_ms, checkpoint FROM kept WHERE size = ?'),
    publishedAt: db.prepare(
      'SELECT size, root, time_ms, checkpoint FROM published WHERE size = ? ORDER BY hour LIMIT 1',
    ),
  };
}

function toHead(row: unknown): Head | undefined {
  if (row === undefined) return undefined;
  const head = row as { size: number; root: Uint8Array; time_ms: number; checkpoint: string };
  return {
    size: head.size as TreeSize,
    root: new Uint8Array(head.root) as Hash,
    timeMs: head.time_ms,
    checkpoint: head.checkpoint,
  };
}

function toStaged(row: unknown): StagedBatch {
  const { begin, size, root, time_ms, entries } = row as {
    begin: LeafIndex;
    size: TreeSize;
    root: Uint8Array;
    time_ms: number;
    entries: Uint8Array;
  };
  return {
    begin,
    entries: unpackChunk({ begin, count: size - begin, data: entries }),
    head: { size, root: new Uint8Array(root) as Hash, timeMs: time_ms },
  };
}

function toTreeHead(row: unknown): SignedTreeHead | undefined {
  if (row === undefined) return undefined;
  const head = row as { time_ms: number; size: number; root: Uint8Array; signature: Uint8Array };
  return {
    timeMs: head.time_ms,
    size: head.size as TreeSize,
    root: new Uint8Array(head.root) as Hash,
    signature: new Uint8Array(head.signature),
  };
}

function toRow(head: Head): HeadRow {
  const { size, root, timeMs, checkpoint } = head;
  return { size, root, timeMs, checkpoint };
}

function pack(batch: Batch, expected: Head | undefined): PackedBatch {
  const lookups = new Float64Array(batch.lookups.length * 3);
  for (const [i, { kind, prefix, index }] of batch.lookups.entries()) {
    lookups[3 * i] = LOOKUP[kind];
    lookups[3 * i + 1] = prefix;
    lookups[3 * i + 2] = index;
  }
  return {
    chunks: packChunks(batch.begin, batch.entries),
    tiles: batch.tiles.map(({ level, index, bytes }) => ({
      id: tileRowid(level, index),
      data: bytes,
    })),
    lookups,
    indexed: batch.indexed,
    control: batch.control,
    sources: batch.sources.map(({ records, ...source }) => ({
      ...source,
      records: Float64Array.from(records.flatMap(({ seq, index }) => [seq, index])),
    })),
    head: toRow(batch.head),
    usage: batch.usage,
    expected: expected === undefined ? undefined : toRow(expected),
  };
}
