/**
 * When was this data folder backed up last? The state folder remembers: a backup is taken beside the data
 * folder, which it only reads.
 */
import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { writeWhole } from '../storage/files.ts';
import { refused } from './files.ts';

export interface LastBackup {
  /** The data folder, and where the backup went. */
  readonly data: string;
  readonly folder: string;
  readonly id: string;
  readonly time: string;
}

function placeOf(state: string, data: string): string {
  return join(state, 'backups', `${toHex(sha256(utf8(realpathSync(data))))}.json`);
}

/** Throws `storage` where the state folder cannot be written: the backup is as good without it. */
export function noteBackup(state: string, backup: LastBackup): void {
  const path = placeOf(state, backup.data);
  try {
    mkdirSync(join(state, 'backups'), { recursive: true, mode: 0o700 });
    writeWhole(path, `${JSON.stringify(backup)}\n`, 0o600);
  } catch (error) {
    throw refused(path, error);
  }
}

/** Nothing where none is known of. */
export function lastBackup(state: string, data: string): LastBackup | undefined {
  const path = placeOf(state, data);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw refused(path, error);
  }
  try {
    const { folder, id, time } = JSON.parse(text) as LastBackup;
    if (Number.isFinite(Date.parse(time))) return { data, folder, id, time };
  } catch {
    // Said below: what is not JSON and what has no time are the same mistake.
  }
  throw new SteleError('storage', `${path}: it does not say when the last backup was`);
}
