/**
 * What the vault needs from a file system, as a port: every step that can fail or be interrupted is one
 * method here, so that tests can stop the vault at each of them.
 *
 * Anything that the disk refuses is a `storage` error, after which nothing was accepted. A failed
 * fsync is `FsyncFailed` instead: what is on disk is then unknown, a retry may report success
 * although data is gone, and the process has to end (P9).
 */
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { concat } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';

export { FsyncFailed };

/** A file that is being written from its beginning to its end. */
export interface Output {
  write(parts: readonly Uint8Array[]): Promise<void>;
  /** Durable when it resolves. Rejects with `FsyncFailed`, and then the process must end. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Input {
  readonly size: number;
  /** Exactly these bytes, or `storage` where the file is shorter. */
  read(begin: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface Files {
  /** Makes one folder; one that exists is fine. */
  makeFolder(path: string): Promise<void>;
  /** The names in a folder. */
  list(path: string): Promise<string[]>;
  /** Makes a file that must not exist, readable by its owner only. */
  create(path: string): Promise<Output>;
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a folder durable. Rejects with `FsyncFailed`. */
  syncFolder(path: string): Promise<void>;
  /** Removes a file; one that is not there is fine. */
  remove(path: string): Promise<void>;
  /** Whether there is a file or a folder of that name. */
  exists(path: string): Promise<boolean>;
  /** Nothing where there is no such file. */
  open(path: string): Promise<Input | undefined>;
}

/** Seconds after which a submitter may ask again when the disk refused: room is made by hand. */
const RETRY_AFTER_S = 30;

/** The message names the step and the reason, never a path: it may be shown to a submitter. */
export function refused(step: string, cause: unknown): Error {
  if (cause instanceof SteleError || cause instanceof FsyncFailed) return cause;
  const code = errno(cause);
  if (code === undefined) return cause instanceof Error ? cause : new Error(String(cause));
  return new SteleError('storage', `the vault could not ${step}: ${code}`, {
    cause,
    retryAfterS: RETRY_AFTER_S,
  });
}

function errno(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw refused(name, cause);
  }
}

/** Runs `work` and turns one expected errno into a value. */
async function unless<T>(code: string, work: () => Promise<T>, otherwise: T): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (errno(error) === code) return otherwise;
    throw error;
  }
}

async function sync(handle: FileHandle, path: string): Promise<void> {
  try {
    await handle.sync();
  } catch (cause) {
    throw new FsyncFailed(path, { cause });
  }
}

function output(handle: FileHandle, path: string): Output {
  return {
    write: (parts) =>
      step('write content', async () => {
        // Many small parts, and one call for all of them: a call costs more than copying them does.
        const bytes = parts.length === 1 ? (parts[0] as Uint8Array) : concat(...parts);
        for (let at = 0; at < bytes.length; ) {
          const { bytesWritten } = await handle.write(bytes, at, bytes.length - at);
          at += bytesWritten;
        }
      }),
    sync: () => sync(handle, path),
    close: () => step('close a file', () => handle.close()),
  };
}

function input(handle: FileHandle, size: number): Input {
  return {
    size,
    read: (begin, length) =>
      step('read content', async () => {
        const bytes = new Uint8Array(length);
        for (let at = 0; at < length; ) {
          const { bytesRead } = await handle.read(bytes, at, length - at, begin + at);
          if (bytesRead === 0) {
            throw new SteleError('storage', `a content file ends at ${begin + at}: cut short`);
          }
          at += bytesRead;
        }
        return bytes;
      }),
    close: () => step('close a file', () => handle.close()),
  };
}

export const nodeFiles: Files = {
  makeFolder: (path) =>
    step('make a folder', () => unless('EEXIST', () => mkdir(path, { mode: 0o700 }), undefined)),

  list: (path) => step('list a folder', () => readdir(path)),

  create: (path) => step('make a file', async () => output(await open(path, 'wx', 0o600), path)),

  rename: (from, to) => step('name a file', () => rename(from, to)),

  syncFolder: async (path) => {
    const handle = await step('open a folder', () => open(path, 'r'));
    try {
      await sync(handle, path);
    } finally {
      await handle.close();
    }
  },

  remove: (path) => step('remove a file', () => unless('ENOENT', () => unlink(path), undefined)),

  exists: (path) =>
    step('look for a file', () => unless('ENOENT', () => stat(path).then(() => true), false)),

  open: (path) =>
    step('open content', async () => {
      const handle = await unless('ENOENT', () => open(path, 'r'), undefined);
      return handle === undefined ? undefined : input(handle, (await handle.stat()).size);
    }),
};
