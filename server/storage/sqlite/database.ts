/**
 * Opening a SQLite file the way every part of Stele opens one.
 *
 * `synchronous = FULL` is set explicitly on every connection that writes: better-sqlite3 is compiled
 * with NORMAL for WAL mode, under which a commit is not on disk when it returns and a power failure
 * loses it (P1).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import { SteleError } from '../../core/errors.ts';

export type Db = Database.Database;

/**
 * KiB of pages that a connection keeps: the many logs of an instance have two each, and better-sqlite3 is
 * compiled with 16 MB. What does not fit is in the system's page cache, which is shared.
 */
const CACHE_KIB = 1_024;

const MIGRATIONS = fileURLToPath(new URL('../../../migrations/', import.meta.url));

export type Schema = 'sqlite' | 'instance' | 'vault';

/** Bytes of a write-ahead log that are kept for the next commits. */
export const WAL_BYTES_KEPT = 67_108_864;

/** Opens for writing, creates the file where it is missing, and brings its schema up to date. */
export function openForWriting(path: string, schema: Schema): Db {
  const db = new Database(path, { timeout: 5_000 });
  try {
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('foreign_keys = ON');
    // What a long reader let grow is given back once it is gone.
    db.pragma(`journal_size_limit = ${WAL_BYTES_KEPT}`);
    db.pragma('trusted_schema = OFF');
    db.pragma(`cache_size = -${CACHE_KIB}`);
    migrate(db, schema);
    return db;
  } catch (error) {
    db.close();
    throw storageError(error, path);
  }
}

/** Throws `storage` unless the file's schema is the one that this release reads. */
export function checkSchema(db: Db, schema: Schema): void {
  const { has, known } = schemaIn(db, schema);
  if (has === known) return;
  const way =
    has < known ? 'start its server once, which brings it up to date' : 'use a newer release';
  throw new SteleError(
    'storage',
    `${db.name} has schema ${has}, and this release reads ${known}: ${way}`,
  );
}

/** Opens for reading only. The file must exist. */
export function openForReading(path: string): Db {
  try {
    const db = new Database(path, { readonly: true, fileMustExist: true, timeout: 5_000 });
    db.pragma('trusted_schema = OFF');
    db.pragma(`cache_size = -${CACHE_KIB}`);
    return db;
  } catch (error) {
    throw storageError(error, path);
  }
}

/**
 * Applies the numbered migrations that the file has not seen, each in a transaction that also records
 * it. A file from a newer release is refused: going back is a restore, not a migration.
 */
function migrate(db: Db, schema: Schema): void {
  db.exec(
    'CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT',
  );
  const applied = db.prepare('SELECT number FROM migration ORDER BY number').pluck().all();
  const files = migrationsOf(schema);
  if (applied.length > files.length) {
    throw new SteleError(
      'storage',
      `${db.name} has schema ${applied.length}; this release knows ${files.length}: use a newer release`,
    );
  }
  for (const [i, name] of files.entries()) {
    if (i < applied.length) continue;
    const sql = readFileSync(join(MIGRATIONS, schema, name), 'utf8');
    db.transaction(() => {
      db.exec(sql);
      db.prepare('INSERT INTO migration (number, name) VALUES (?, ?)').run(i + 1, name);
    }).immediate();
  }
}

function migrationsOf(schema: Schema): string[] {
  return readdirSync(join(MIGRATIONS, schema))
    .filter((name) => /^\d{4}_[a-z0-9_]+\.sql$/.test(name))
    .sort();
}

/** How many migrations a file has seen, and how many this release knows. */
interface SchemaSeen {
  readonly has: number;
  readonly known: number;
}

function schemaIn(db: Db, schema: Schema): SchemaSeen {
  const has = db.prepare('SELECT count(*) FROM migration').pluck().get() as number;
  return { has, known: migrationsOf(schema).length };
}

export function schemaOf(path: string, schema: Schema): SchemaSeen {
  const db = openForReading(path);
  try {
    return schemaIn(db, schema);
  } catch (error) {
    throw storageError(error, path);
  } finally {
    db.close();
  }
}

/**
 * A failed fsync. What the kernel then holds for the file is unknown, and a later fsync may report
 * success although data is gone, so nobody goes on from here: the process ends, and the next start
 * hashes what is stored before it signs (P9).
 */
export class FsyncFailed extends Error {
  constructor(path: string, options: { readonly cause: unknown }) {
    super(`fsync failed for ${path}: the process ends, since what is on disk is unknown`, options);
    this.name = 'FsyncFailed';
  }
}

/** Turns what SQLite threw into ours. What is already ours passes through. */
export function storageError(error: unknown, path: string): Error {
  if (error instanceof SteleError || error instanceof FsyncFailed) return error;
  const code = error instanceof Database.SqliteError ? error.code : undefined;
  if (code === 'SQLITE_IOERR_FSYNC' || code === 'SQLITE_IOERR_DIR_FSYNC') {
    return new FsyncFailed(path, { cause: error });
  }
  const reason = error instanceof Error ? error.message : String(error);
  const full = code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_WRITE';
  return new SteleError('storage', `${path}: ${reason}`, {
    cause: error,
    ...(full ? { retryAfterS: 30 } : {}),
  });
}
