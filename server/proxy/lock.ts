/**
 * Does another process use this folder?
 *
 * Two proxies on one spool would give out the same sequence numbers. The lock is SQLite's, which the system
 * releases however a process dies; a file with a process id in it would outlive one.
 */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { SteleError } from '../core/errors.ts';

export function lockSpool(dir: string): { release(): void } {
  const db = new Database(join(dir, 'lock.db'), { timeout: 0 });
  try {
    db.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    db.close();
    throw new SteleError('conflict', `spool ${dir}: another process uses it`, { cause });
  }
  return { release: () => void db.close() };
}
