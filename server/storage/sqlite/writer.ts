/**
 * The writing half of a SQLite log store: what happens inside a writer thread. One commit is one
 * transaction is one fsync.
 */
import { SteleError } from '../../core/errors.ts';
import { otherHeadKept, type SeqRange, treeHeadGoesBack, type Usage } from '../store.ts';
import type { Chunk } from './chunk.ts';
import { type Db, openForWriting } from './database.ts';

/** A head as it crosses between threads and into rows. */
export interface HeadRow {
  readonly size: number;
  readonly root: Uint8Array;
  readonly timeMs: number;
  readonly checkpoint: string;
}

/** A tree head of RFC 6962 as it crosses between threads and into rows. */
export interface TreeHeadRow {
  readonly logId: Uint8Array;
  readonly timeMs: number;
  readonly size: number;
  readonly root: Uint8Array;
  readonly signature: Uint8Array;
}

export interface SourceRow {
  readonly name: string;
  readonly keyid: string;
  readonly forks: number;
  /** seq, index, seq, index … */
  readonly records: Float64Array;
}

/** A batch packed for the journey: few large buffers instead of many small ones. */
export interface PackedBatch {
  readonly chunks: readonly Chunk[];
  readonly tiles: readonly { readonly id: number; readonly data: Uint8Array }[];
  /** kind, prefix, index, kind, prefix, index … */
  readonly lookups: Float64Array;
  readonly indexed: number;
  readonly control: readonly number[];
  readonly sources: readonly SourceRow[];
  readonly head: HeadRow;
  readonly usage: Usage;
  readonly expected: HeadRow | undefined;
}

/** A batch to be staged, packed for the journey. */
export interface PackedStage {
  readonly begin: number;
  readonly entries: Uint8Array;
  readonly head: Omit<HeadRow, 'checkpoint'>;
  readonly expected: HeadRow | undefined;
}

export class LogWriter {
  readonly #db: Db;
  readonly #commit: (batch: PackedBatch) => void;
  readonly #stage: (stage: PackedStage) => void;
  readonly #publish: (head: HeadRow) => void;
  readonly #keep: (head: HeadRow) => void;
  readonly #keepTreeHead: (head: TreeHeadRow) => void;

  constructor(path: string) {
    this.#db = openForWriting(path, 'sqlite');
    this.#commit = prepareCommit(this.#db);
    this.#stage = prepareStage(this.#db);
    this.#publish = preparePublish(this.#db);
    this.#keep = prepareKeep(this.#db);
    this.#keepTreeHead = prepareTreeHead(this.#db);
  }

  /** All of the batch, or nothing and a `conflict` where the stored head is not the expected one. */
  commit(batch: PackedBatch): void {
    this.#commit(batch);
  }

  stage(stage: PackedStage): void {
    this.#stage(stage);
  }

  publish(head: HeadRow): void {
    this.#publish(head);
  }

  /** `conflict` where another head of this size is kept. */
  keep(head: HeadRow): void {
    this.#keep(head);
  }

  /** `conflict` unless it is later than the one of the same log ID. */
  keepTreeHead(head: TreeHeadRow): void {
    this.#keepTreeHead(head);
  }

  close(): void {
    this.#db.close();
  }
}

/** Throws `conflict` where another head is stored than the expected one; tells whether there is any. */
function prepareCheckHead(db: Db): (expected: HeadRow | undefined) => boolean {
  const readHead = db.prepare('SELECT size, checkpoint FROM head WHERE one = 1');
  return (expected) => {
    const stored = readHead.get() as { size: number; checkpoint: string } | undefined;
    if (stored?.checkpoint === expected?.checkpoint) return stored !== undefined;
    throw new SteleError(
      'conflict',
      `the stored head has size ${stored?.size ?? 0}, not ${expected?.size ?? 0}`,
    );
  };
}

function prepareCommit(db: Db): (batch: PackedBatch) => void {
  const checkHead = prepareCheckHead(db);
  const unstage = prepareUnstage(db);
  const insertHead = db.prepare(
    `INSERT INTO head (one, size, root, time_ms, checkpoint, bytes, day, day_entries, day_bytes)
     VALUES (1, @size, @root, @timeMs, @checkpoint, @bytes, @day, @dayEntries, @dayBytes)`,
  );
  const updateHead = db.prepare(
    `UPDATE head SET size = @size, root = @root, time_ms = @timeMs, checkpoint = @checkpoint,
       bytes = @bytes, day = @day, day_entries = @dayEntries, day_bytes = @dayBytes WHERE one = 1`,
  );
  const insertChunk = db.prepare('INSERT INTO chunk (begin, count, data) VALUES (?, ?, ?)');
  const insertTile = db.prepare('INSERT INTO tile (id, data) VALUES (?, ?)');
  const insertLookup = db.prepare(
    'INSERT OR IGNORE INTO lookup (kind, prefix, idx) VALUES (?, ?, ?)',
  );
  // What does not change is not written: every page that is has to reach the disk.
  const setIndexed = db.prepare(
    'UPDATE lookup_progress SET indexed = @indexed WHERE one = 1 AND indexed <> @indexed',
  );
  const insertControl = db.prepare('INSERT INTO control (idx) VALUES (?)');
  const putSource = prepareSource(db);

  return db.transaction((batch: PackedBatch) => {
    const hasHead = checkHead(batch.expected);
    unstage(batch.head);
    for (const { begin, count, data } of batch.chunks) insertChunk.run(begin, count, data);
    for (const { id, data } of batch.tiles) insertTile.run(id, data);
    const { lookups } = batch;
    for (let i = 0; i < lookups.length; i += 3) {
      insertLookup.run(lookups[i], lookups[i + 1], lookups[i + 2]);
    }
    setIndexed.run({ indexed: batch.indexed });
    for (const index of batch.control) insertControl.run(index);
    for (const source of batch.sources) putSource(source);
    (hasHead ? updateHead : insertHead).run({ ...batch.head, ...batch.usage });
  }).immediate;
}

function prepareStage(db: Db): (stage: PackedStage) => void {
  const checkHead = prepareCheckHead(db);
  const put = db.prepare(
    'INSERT OR REPLACE INTO staged (one, begin, size, root, time_ms, entries) VALUES (1, ?, ?, ?, ?, ?)',
  );
  return db.transaction(({ begin, entries, head, expected }: PackedStage) => {
    checkHead(expected);
    put.run(begin, head.size, head.root, head.timeMs, entries);
  }).immediate;
}

/** Takes the staged batch away, if there is one; throws `conflict` if another is about to be committed. */
function prepareUnstage(db: Db): (committed: HeadRow) => void {
  const read = db.prepare('SELECT size, root FROM staged WHERE one = 1');
  const remove = db.prepare('DELETE FROM staged WHERE one = 1');
  return ({ size, root }) => {
    const staged = read.get() as { size: number; root: Buffer } | undefined;
    if (staged === undefined) return;
    if (staged.size !== size || !staged.root.equals(root)) {
      throw new SteleError(
        'conflict',
        `a batch of size ${staged.size} is staged, and not this one of size ${size}`,
      );
    }
    remove.run();
  };
}

function prepareSource(db: Db): (source: SourceRow) => void {
  const find = db.prepare('SELECT id, keyid, forks FROM source WHERE name = ?');
  const upsert = db
    .prepare(
      `INSERT INTO source (name, keyid, forks) VALUES (?, ?, ?)
       ON CONFLICT (name) DO UPDATE SET keyid = excluded.keyid, forks = excluded.forks
       RETURNING id`,
    )
    .pluck();
  const insertRecord = db.prepare(
    'INSERT OR IGNORE INTO source_record (source, seq, idx) VALUES (?, ?, ?)',
  );
  const before = db.prepare(
    'SELECT begin, end FROM source_range WHERE source = ? AND begin <= ? ORDER BY begin DESC LIMIT 1',
  );
  const after = db.prepare(
    'SELECT begin, end FROM source_range WHERE source = ? AND begin > ? AND begin <= ?',
  );
  const extend = db.prepare('UPDATE source_range SET end = ? WHERE source = ? AND begin = ?');
  const insert = db.prepare('INSERT INTO source_range (source, begin, end) VALUES (?, ?, ?)');
  const remove = db.prepare('DELETE FROM source_range WHERE source = ? AND begin = ?');

  /** Adds the run [begin, end), joined to every run it meets: its numbers may be taken, if it forks. */
  function addRun(id: number, begin: number, end: number): void {
    const left = before.get(id, begin) as SeqRange | undefined;
    if (left !== undefined && left.end >= end) return;
    let joinedEnd = end;
    for (const met of after.all(id, begin, end) as SeqRange[]) {
      remove.run(id, met.begin);
      joinedEnd = Math.max(joinedEnd, met.end);
    }
    if (left !== undefined && left.end >= begin) extend.run(joinedEnd, id, left.begin);
    else insert.run(id, begin, joinedEnd);
  }

  return ({ name, keyid, forks, records }) => {
    const known = find.get(name) as { id: number; keyid: string; forks: number } | undefined;
    const same = known?.keyid === keyid && known.forks === forks;
    const id = same ? known.id : (upsert.get(name, keyid, forks) as number);
    const distinct = new Set<number>();
    for (let i = 0; i < records.length; i += 2) {
      distinct.add(records[i] as number);
      insertRecord.run(id, records[i], records[i + 1]);
    }
    const seqs = [...distinct].sort((a, b) => a - b);
    // Usually one run: a batch holds consecutive records of a source. Sequence numbers that are
    // already there (a fork) are runs of their own and change nothing.
    for (let i = 0; i < seqs.length; ) {
      const begin = seqs[i] as number;
      let end = begin;
      while (seqs[i] === end) {
        end++;
        i++;
      }
      addRun(id, begin, end);
    }
  };
}

function preparePublish(db: Db): (head: HeadRow) => void {
  const upsert = db.prepare(
    `INSERT INTO published (hour, size, root, time_ms, checkpoint) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (hour) DO UPDATE SET size = excluded.size, root = excluded.root,
       time_ms = excluded.time_ms, checkpoint = excluded.checkpoint
     WHERE excluded.size >= published.size`,
  );
  return (head) => {
    const hour = Math.floor(head.timeMs / 3_600_000);
    upsert.run(hour, head.size, head.root, head.timeMs, head.checkpoint);
  };
}

/** Of a head that is kept already its note alone changes: lines were added to it. */
function prepareKeep(db: Db): (head: HeadRow) => void {
  const upsert = db.prepare(
    `INSERT INTO kept (size, root, time_ms, checkpoint) VALUES (@size, @root, @timeMs, @checkpoint)
     ON CONFLICT (size) DO UPDATE SET checkpoint = excluded.checkpoint WHERE excluded.root = kept.root`,
  );
  return (head) => {
    if (upsert.run(head).changes === 0) throw otherHeadKept(head.size);
  };
}

function prepareTreeHead(db: Db): (head: TreeHeadRow) => void {
  const upsert = db.prepare(
    `INSERT INTO tree_head (log_id, time_ms, size, root, signature)
     VALUES (@logId, @timeMs, @size, @root, @signature)
     ON CONFLICT (log_id) DO UPDATE SET time_ms = excluded.time_ms, size = excluded.size,
       root = excluded.root, signature = excluded.signature
     WHERE excluded.time_ms > tree_head.time_ms AND excluded.size >= tree_head.size`,
  );
  return (head) => {
    if (upsert.run(head).changes === 0) throw treeHeadGoesBack(head);
  };
}
