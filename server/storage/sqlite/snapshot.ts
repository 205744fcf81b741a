/**
 * A copy of one SQLite file as it was at one moment, while another process writes to it.
 *
 * One read transaction is held from the first page to the last, so what is written meanwhile goes into
 * the write-ahead log and never into the copy, and nobody who commits waits for us. SQLite's backup
 * without it begins again with each foreign commit, and under load never ends; decision 0080 has what was
 * measured. What is copied goes to the disk in small portions: dirty pages that pile up would otherwise
 * be flushed with somebody's commit.
 *
 * The copy is one file: it has no write-ahead log and can be read where nothing may be written.
 */
import { chmodSync, closeSync, fsyncSync, openSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import Database from 'better-sqlite3';
import { SteleError } from '../../core/errors.ts';
import { type Db, openForReading, storageError } from './database.ts';

/** Pages copied before others may do something: 4 MiB. */
const STEP_PAGES = 1_024;
/** Steps before what was copied is synced. */
const SYNC_STEPS = 4;

export interface SnapshotOptions {
  /** Told how much of the copy is done, in [0, 1]. A throw ends the copying. */
  readonly progress?: (done: number) => void;
  /** Changes the copy before it is closed. */
  readonly edit?: (copy: Db) => void;
}

/** Copies `from` to `to`, which must not exist. When it resolves the bytes are on disk; the name is the caller's. */
export async function snapshot(
  from: string,
  to: string,
  { progress, edit }: SnapshotOptions = {},
): Promise<void> {
  await copyPages(from, to, progress);
  try {
    const copy = new Database(to, { fileMustExist: true });
    try {
      copy.pragma('journal_mode = DELETE');
      edit?.(copy);
    } finally {
      copy.close();
    }
    chmodSync(to, 0o600);
    syncFile(to);
  } catch (error) {
    throw copyError(error, to, to);
  }
}

async function copyPages(
  from: string,
  to: string,
  progress: SnapshotOptions['progress'],
): Promise<void> {
  const db = openForReading(from);
  try {
    // The first read begins the transaction that everything is copied from.
    db.exec('BEGIN');
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    let steps = 0;
    await db.backup(to, {
      progress: ({ totalPages, remainingPages }) => {
        if (++steps % SYNC_STEPS === 0) syncFile(to);
        progress?.(totalPages === 0 ? 0 : 1 - remainingPages / totalPages);
        return STEP_PAGES;
      },
    });
  } catch (error) {
    throw copyError(error, from, to);
  } finally {
    db.close();
  }
}

/** What the target's disk refuses. A failed fsync is no more than that here: nobody relies on the copy yet. */
const REFUSED = /^SQLITE_(FULL|CANTOPEN|IOERR_(WRITE|FSYNC|DIR_FSYNC))/;

function copyError(error: unknown, from: string, to: string): Error {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return storageError(error, from);
  if (code === 'SQLITE_FULL' || code === 'ENOSPC' || code === 'EDQUOT' || isFull(code, to)) {
    return new SteleError('storage', `${to}: the disk is full`, { cause: error, retryAfterS: 30 });
  }
  const reason = error instanceof Error ? error.message : code;
  const isTarget = !code.startsWith('SQLITE_') || REFUSED.test(code);
  return new SteleError('storage', `${isTarget ? to : from}: ${reason}`, { cause: error });
}

/** Not every step of SQLite tells a full disk from a broken one. */
function isFull(code: string, to: string): boolean {
  return code.startsWith('SQLITE_IOERR') && statfsSync(dirname(to)).bavail === 0;
}

function syncFile(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
