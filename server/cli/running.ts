/**
 * Where does the server of a data folder listen? It writes that down in `running.json` once it does,
 * and takes it away when it stops. After a kill the file stays behind and names an address where
 * nobody answers; who needs to know for sure asks the folder's lock.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Running {
  /** Addresses without a slash at their end. */
  readonly server: string;
  readonly proxy?: string | undefined;
  readonly pid: number;
  /** SHA-256 of the certificate that the server shows, where it has TLS: only that one is talked to. */
  readonly certificate?: string | undefined;
}

/** Whole or as it was: it is written again while commands read it, when the certificate was replaced. */
export function writeRunning(data: string, running: Running): void {
  const draft = join(data, 'running.json.new');
  writeFileSync(draft, `${JSON.stringify(running)}\n`, { mode: 0o600 });
  renameSync(draft, join(data, 'running.json'));
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
    const { server, proxy, pid, certificate } = JSON.parse(text) as Partial<Running>;
    return typeof server === 'string' && typeof pid === 'number'
      ? { server, proxy, pid, certificate }
      : undefined;
  } catch {
    // Cut short by a crash while it was written: as good as none.
    return undefined;
  }
}

export function removeRunning(data: string): void {
  rmSync(join(data, 'running.json'), { force: true });
}
