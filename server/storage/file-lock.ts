/**
 * Does another process use this?
 *
 * The lock is SQLite's, which the system releases however a process dies; a file with a process id in it
 * would outlive one.
 */
import Database from 'better-sqlite3';
import { SteleError } from '../core/errors.ts';

export interface FileLock {
  release(): void;
}

/** Holds the lock of this file until `release`; throws `conflict` with `busy` while another process has it. */
export function lockFile(path: string, busy: string): FileLock {
  let db: Database.Database | undefined;
  try {
    db = new Database(path, { timeout: 0 });
    db.pragma('journal_mode = DELETE');
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db?.close();
    const isBusy = cause instanceof Database.SqliteError && cause.code.startsWith('SQLITE_BUSY');
    throw new SteleError(
      isBusy ? 'conflict' : 'storage',
      isBusy ? busy : `${path}: it cannot be locked`,
      { cause },
    );
  }
  const held = db;
  return { release: () => void held.close() };
}
