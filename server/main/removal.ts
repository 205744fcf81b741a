/**
 * What is left of a log whose time is over? Its row, its access log, and what the state folder remembers;
 * all else is removed here. With the vault's key database gone, what a backup still has of its content
 * opens no more.
 *
 * Each step may have been done before: a removal that was cut short is done again from the beginning.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { SteleError } from '../core/errors.ts';
import { syncFolder } from './files.ts';

/** The keys of content go first: whatever else a crash leaves, it opens nothing. */
function pathsOf(data: string, name: string): string[] {
  const files = (db: string) => [db, `${db}-wal`, `${db}-shm`];
  return [
    ...files(join(data, 'vault-keys', `${name}.db`)),
    join(data, 'vault', name),
    ...files(join(data, 'logs', `${name}.db`)),
    join(data, 'keys', 'logs', name),
  ];
}

export async function removeLogFiles(data: string, name: string): Promise<void> {
  try {
    for (const path of pathsOf(data, name)) await rm(path, { recursive: true, force: true });
    syncFolder(join(data, 'logs'));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new SteleError('storage', `log ${name}: its files could not be removed (${code})`, {
      cause,
    });
  }
}
