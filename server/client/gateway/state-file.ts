/**
 * A gateway's state in a file: replaced as a whole, and on disk before the write counts.
 *
 *     write FILE.new, sync it │ rename it to FILE │ sync the folder
 *
 * A crash before the rename is on disk leaves the old state, one after it the new one. A lock beside it keeps
 * a second process out; the system releases it however a process dies.
 */
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SteleError } from '../../core/errors.ts';
import { type FileLock, lockFile } from '../../storage/file-lock.ts';
import { formatState, parseState, type State, type StateStore } from './state.ts';

/** The system calls, replaced by tests. */
export interface StateDisk {
  readonly open: typeof open;
  readonly rename: typeof rename;
}

/** A sync failed: what is on disk is not known, and asking again can lie. The process should end. */
export class StateUnknown extends Error {
  constructor(path: string, cause: unknown) {
    super(`gateway state ${path}: a sync failed, so what is on disk is not known`, { cause });
    this.name = 'StateUnknown';
  }
}

export class StateFile implements StateStore {
  readonly #path: string;
  readonly #lock: FileLock;
  readonly #disk: StateDisk;
  #failed: StateUnknown | undefined;

  private constructor(path: string, lock: FileLock, disk: StateDisk) {
    this.#path = path;
    this.#lock = lock;
    this.#disk = disk;
  }

  /** Throws `conflict` while another process has it. */
  static open(path: string, disk: StateDisk = { open, rename }): StateFile {
    const lock = lockFile(`${path}.lock`, `gateway state ${path}: another process uses it`);
    return new StateFile(path, lock, disk);
  }

  async read(): Promise<State | undefined> {
    try {
      return parseState(new Uint8Array(await readFile(this.#path)));
    } catch (error) {
      if (error instanceof SteleError) {
        const rule = 'move it away, and name its source as the one that is replaced';
        throw new SteleError('malformed', `${this.#path}: ${error.message}; ${rule}`, {
          cause: error,
        });
      }
      if (isMissing(error)) return undefined;
      throw refused(this.#path, error);
    }
  }

  async write(state: State): Promise<void> {
    if (this.#failed !== undefined) throw this.#failed;
    const fresh = `${this.#path}.new`;
    try {
      const file = await this.#disk.open(fresh, 'w', 0o600);
      try {
        await file.writeFile(formatState(state));
        await this.#sync(() => file.sync());
      } finally {
        await file.close();
      }
      await this.#disk.rename(fresh, this.#path);
      const folder = await this.#disk.open(dirname(this.#path), 'r');
      try {
        await this.#sync(() => folder.sync());
      } finally {
        await folder.close();
      }
    } catch (error) {
      if (error instanceof StateUnknown) throw error;
      throw refused(this.#path, error);
    }
  }

  async close(): Promise<void> {
    this.#lock.release();
  }

  async #sync(sync: () => Promise<void>): Promise<void> {
    try {
      await sync();
    } catch (cause) {
      this.#failed = new StateUnknown(this.#path, cause);
      throw this.#failed;
    }
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function refused(path: string, cause: unknown): SteleError {
  const { code } = cause as NodeJS.ErrnoException;
  return new SteleError('storage', `gateway state ${path}: ${code ?? String(cause)}`, {
    cause,
    retryAfterS: 5,
  });
}
