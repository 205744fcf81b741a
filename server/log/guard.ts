/**
 * The start-up guard: one process per data folder, and no folder that is a copy (P2).
 *
 * Two processes on one folder, or one process on each of two copies, would sign two histories under
 * one origin. So, before anything is signed:
 *
 *  1. an exclusive lock on `lock.db` keeps a second process out; any death releases it;
 *  2. the instance database knows the machine and the inode it was written on: a folder that was copied
 *     or restored from a backup has another one, and refuses until `stele restore --accept`;
 *  3. each log asks its memories (`memories.ts`) when it is opened: its high-water file, its witnesses.
 *
 * Known hole: a snapshot of the whole machine, state folder included, undoes all three for a log that no witness and
 * no Rekor log was shown (`anchor/strangers.ts`), or while those are away.
 */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SteleError } from '../core/errors.ts';
import { type FileLock, lockFile } from '../storage/file-lock.ts';
import type { Identity, InstanceStore } from '../storage/instance.ts';

/** Holds the lock until `release`. Throws `conflict` while another process holds it. */
export function lockFolder(folder: string): FileLock {
  const busy = `another process is using the data folder ${folder}: stop it first`;
  return lockFile(join(folder, 'lock.db'), busy);
}

/** The place an instance database is at: machine id where there is one, device and inode. */
export function placeOf(path: string): Omit<Identity, 'originBase'> {
  const { dev, ino } = statSync(path, { bigint: true });
  return { machine: machineId(), device: dev.toString(), inode: ino.toString() };
}

/**
 * Throws `split_view` if the folder was written elsewhere. A changed device alone does not count:
 * devices are renumbered at every boot, and the high-water file still stands guard.
 */
export function checkPlace(instance: Pick<InstanceStore, 'path' | 'identity'>): void {
  const known = instance.identity();
  if (known === undefined) return;
  const here = placeOf(instance.path);
  if (known.machine === here.machine && known.inode === here.inode) return;
  const what = known.machine === here.machine ? 'is a copy' : 'was written on another machine';
  throw new SteleError(
    'split_view',
    `the data folder of ${instance.path} ${what}: if the original still runs, two histories would be ` +
      'signed under one origin. Make sure that it never runs again, then run: stele restore --accept',
  );
}

/** Makes this place the folder's own: the operator says that no other copy will ever sign. */
export function acceptPlace(instance: InstanceStore): void {
  const known = instance.identity();
  if (known === undefined) throw new SteleError('not_found', `${instance.path} is not set up yet`);
  instance.setIdentity({ ...known, ...placeOf(instance.path) });
}

function machineId(): string | undefined {
  for (const path of ['/etc/machine-id', '/var/lib/dbus/machine-id']) {
    try {
      const id = readFileSync(path, 'utf8').trim();
      if (/^[0-9a-f]{32}$/.test(id)) return id;
    } catch (error) {
      // Containers and other systems have no such file; the inode alone is asked there.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return undefined;
}
