/**
 * The key database: which content files there are, the wrapped data key of each, and which records
 * were erased.
 *
 * It is also the vault's list of intentions: a row is written before its file gets its name, and
 * deleted after the file is gone. So no file has a name without a row, and whoever cleans up asks
 * here instead of walking folders. A row whose file does not exist is a commit that never finished.
 *
 * Each method is one transaction and on disk when it is done: `synchronous = FULL`. Deleted keys are
 * overwritten in the file (`secure_delete`), and `erase` empties the write-ahead log, which still
 * held them.
 *
 * The fsync of an addition, for each batch with content, is a thread's matter where there is one (`key-writer.ts`). All
 * others run on the calling thread: they are rare. Who adds and who deletes take turns, so neither waits for the other's lock.
 */
import { SteleError, shown } from '../core/errors.ts';
import { type Db, openForWriting, storageError } from '../storage/sqlite/database.ts';
import type { KeyWriter } from './key-writer.ts';

export const STATE = { stored: 0, settled: 1, erased: 2 } as const;
export type State = (typeof STATE)[keyof typeof STATE];

export interface FileRow {
  readonly seq: number;
  readonly record: Uint8Array;
  readonly number: number;
  readonly source: string;
  readonly recordId: string;
  readonly state: State;
  readonly storedMs: number;
  /** Nothing once the content was erased. */
  readonly wrapped: Uint8Array | null;
}

export interface NewFile {
  readonly record: Uint8Array;
  readonly source: string;
  readonly recordId: string;
  readonly wrapped: Uint8Array;
}

/** Where a new file goes; nothing if its record was erased in the meantime. */
export type Placement = Pick<FileRow, 'seq' | 'number'> | undefined;

export interface KeyTable {
  /** The record's files that can be opened, newest first. */
  files(record: Uint8Array): FileRow[];
  isErased(record: Uint8Array): boolean;
  /** Adds rows in order, and marks the rows `touched` as stored at `nowMs`. */
  add(files: readonly NewFile[], touched: readonly number[], nowMs: number): Promise<Placement[]>;
  /** Rows after `after` that are erased, or stored at `untilMs` or before and not settled. */
  unsettled(after: number, untilMs: number, limit: number): FileRow[];
  settle(seqs: readonly number[]): void;
  remove(seqs: readonly number[]): void;
  /** Destroys the record's keys and refuses new ones; the rows whose files must go. */
  erase(record: Uint8Array, nowMs: number): FileRow[];
  close(): Promise<void>;
}

export interface KeyTableOptions {
  readonly path: string;
  readonly origin: string;
  /** A wrapped known key, for a new database. */
  readonly newCheck: () => Uint8Array;
  /** Throws unless our key-encryption key made this. */
  readonly check: (kekCheck: Uint8Array) => void;
  /** The thread that adds; without one additions run here. */
  readonly writer?: KeyWriter | undefined;
}

export class SqliteKeys implements KeyTable {
  readonly #path: string;
  readonly #db: Db;
  readonly #run: ReturnType<typeof prepare>;
  readonly #writer: KeyWriter | undefined;

  private constructor(path: string, db: Db, writer: KeyWriter | undefined) {
    this.#path = path;
    this.#db = db;
    this.#run = prepare(db);
    this.#writer = writer;
  }

  /** Refuses a database of another log, or one that another key-encryption key made. */
  static open(options: KeyTableOptions): SqliteKeys {
    const { path, origin } = options;
    const db = openTable(path);
    try {
      const found = db.prepare('SELECT origin, kek_check FROM vault').get() as
        | { origin: string; kek_check: Uint8Array }
        | undefined;
      if (found === undefined) {
        const insert = 'INSERT INTO vault (one, origin, kek_check) VALUES (1, ?, ?)';
        db.prepare(insert).run(origin, options.newCheck());
      } else if (found.origin !== origin) {
        const rule = `its key database belongs to ${shown(found.origin, 255)}`;
        throw new SteleError('conflict', `the vault of ${shown(origin, 255)}: ${rule}`);
      } else {
        options.check(new Uint8Array(found.kek_check));
      }
      return new SqliteKeys(path, db, options.writer);
    } catch (error) {
      db.close();
      throw storageError(error, path);
    }
  }

  files(record: Uint8Array): FileRow[] {
    return this.#guard(() => this.#run.files.all(record, STATE.erased).map(toRow));
  }

  isErased(record: Uint8Array): boolean {
    return this.#guard(() => this.#run.isErased.get(record) !== undefined);
  }

  async add(
    files: readonly NewFile[],
    touched: readonly number[],
    nowMs: number,
  ): Promise<Placement[]> {
    if (this.#writer !== undefined) return this.#writer.add(this.#path, files, touched, nowMs);
    return this.#guard(() => this.#run.add(files, touched, nowMs));
  }

  unsettled(after: number, untilMs: number, limit: number): FileRow[] {
    return this.#guard(() =>
      this.#run.unsettled.all(after, STATE.erased, untilMs, limit).map(toRow),
    );
  }

  settle(seqs: readonly number[]): void {
    this.#guard(() => this.#run.settle(seqs));
  }

  remove(seqs: readonly number[]): void {
    this.#guard(() => this.#run.remove(seqs));
  }

  erase(record: Uint8Array, nowMs: number): FileRow[] {
    return this.#guard(() => {
      const rows = this.#run.erase(record, nowMs);
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
      return rows;
    });
  }

  async close(): Promise<void> {
    try {
      await this.#writer?.release(this.#path);
    } finally {
      this.#db.close();
    }
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.#path);
    }
  }
}

/** The same table for the thread that adds to it. */
export class KeyAdder {
  readonly #db: Db;
  readonly #run: ReturnType<typeof prepare>;

  /** The database must have been opened by `SqliteKeys` before. */
  constructor(path: string) {
    this.#db = openTable(path);
    this.#run = prepare(this.#db);
  }

  add(files: readonly NewFile[], touched: readonly number[], nowMs: number): Placement[] {
    return this.#run.add(files, touched, nowMs);
  }

  close(): void {
    this.#db.close();
  }
}

function openTable(path: string): Db {
  const db = openForWriting(path, 'vault');
  db.pragma('secure_delete = ON');
  return db;
}

export const COLUMNS = 'seq, record, number, source, record_id, state, stored_ms, wrapped';

function prepare(db: Db) {
  const isErased = db.prepare('SELECT 1 FROM erased WHERE record = ?');
  const next = db
    .prepare('SELECT coalesce(max(number) + 1, 0) FROM content_file WHERE record = ?')
    .pluck();
  const insert = db.prepare(
    `INSERT INTO content_file (record, number, source, record_id, state, stored_ms, wrapped)
     VALUES (?, ?, ?, ?, ${STATE.stored}, ?, ?)`,
  );
  const touch = db.prepare('UPDATE content_file SET stored_ms = ? WHERE seq = ?');
  const settle = db.prepare(
    `UPDATE content_file SET state = ${STATE.settled} WHERE seq = ? AND state = ${STATE.stored}`,
  );
  const remove = db.prepare('DELETE FROM content_file WHERE seq = ?');
  const destroy = db.prepare(
    `UPDATE content_file SET state = ${STATE.erased}, wrapped = NULL WHERE record = ?`,
  );
  const refuse = db.prepare('INSERT OR IGNORE INTO erased (record, erased_ms) VALUES (?, ?)');
  const all = db.prepare(`SELECT ${COLUMNS} FROM content_file WHERE record = ?`);

  return {
    isErased,
    files: db.prepare(
      `SELECT ${COLUMNS} FROM content_file WHERE record = ? AND state <> ? ORDER BY number DESC`,
    ),
    // `state <> 1` is spelled out so that SQLite takes the partial index.
    unsettled: db.prepare(
      `SELECT ${COLUMNS} FROM content_file
       WHERE state <> 1 AND seq > ? AND (state = ? OR stored_ms <= ?) ORDER BY seq LIMIT ?`,
    ),
    add: db.transaction(
      (files: readonly NewFile[], touched: readonly number[], nowMs: number): Placement[] => {
        for (const seq of touched) touch.run(nowMs, seq);
        return files.map(({ record, source, recordId, wrapped }) => {
          if (isErased.get(record) !== undefined) return undefined;
          const number = next.get(record) as number;
          const { lastInsertRowid } = insert.run(record, number, source, recordId, nowMs, wrapped);
          return { seq: Number(lastInsertRowid), number };
        });
      },
    ).immediate,
    settle: db.transaction((seqs: readonly number[]) => {
      for (const seq of seqs) settle.run(seq);
    }).immediate,
    remove: db.transaction((seqs: readonly number[]) => {
      for (const seq of seqs) remove.run(seq);
    }).immediate,
    erase: db.transaction((record: Uint8Array, nowMs: number): FileRow[] => {
      refuse.run(record, nowMs);
      destroy.run(record);
      return all.all(record).map(toRow);
    }).immediate,
  };
}

export function toRow(row: unknown): FileRow {
  const { record_id, stored_ms, ...rest } = row as Omit<FileRow, 'recordId' | 'storedMs'> & {
    record_id: string;
    stored_ms: number;
  };
  return { ...rest, recordId: record_id, storedMs: stored_ms };
}
