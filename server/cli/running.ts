/**
 * Where does the server of a data folder listen? It writes that down in `running.json` once it does,
 * and takes it away when it stops. After a kill the file stays behind and names an address where
 * nobody answers; who needs to know for sure asks the folder's lock.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Running {
  /** Addresses without a slash at their end. */
  readonly server: string;
  readonly proxy?: string | undefined;
  readonly pid: number;
}

export function writeRunning(data: string, running: Running): void {
  writeFileSync(join(data, 'running.json'), `${JSON.stringify(running)}\n`, { mode: 0o600 });
}

export function readRunning(data: string): Running | undefined {
  let text: string;
  try {
    text = readFileSync(join(data, 'running.json'), 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    const { server, proxy, pid } = JSON.parse(text) as Partial<Running>;
    return typeof server === 'string' && typeof pid === 'number'
      ? { server, proxy, pid }
      : undefined;
  } catch {
    // Cut short by a crash while it was written: as good as none.
    return undefined;
  }
}

export function removeRunning(data: string): void {
  rmSync(join(data, 'running.json'), { force: true });
}
