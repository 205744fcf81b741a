/**
 * Copying and hashing files of a backup. Whatever the disk refuses is a `storage` error with the path:
 * a backup is a command, and a failed fsync ends it like any other failure.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SteleError } from '../core/errors.ts';

/** How many bytes, and which. */
export interface Sum {
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

const PIECE_BYTES = 1_048_576;

/** Copies a file to a name that must not exist, for its owner alone; nothing if there is none. Synced. */
export async function copyFile(from: string, to: string): Promise<Sum | undefined> {
  const source = await openIfThere(from);
  if (source === undefined) return undefined;
  try {
    const target = await told(to, () => open(to, 'wx', 0o600));
    try {
      const sum = await pump(source, from, (piece) => told(to, () => writeAll(target, piece)));
      await told(to, () => target.sync());
      return sum;
    } finally {
      await target.close();
    }
  } finally {
    await source.close();
  }
}

/** Reads a file to its end; nothing if there is none. */
export async function sumOf(path: string): Promise<Sum | undefined> {
  const file = await openIfThere(path);
  if (file === undefined) return undefined;
  try {
    return await pump(file, path, async () => {});
  } finally {
    await file.close();
  }
}

export async function syncPath(path: string): Promise<void> {
  const folder = await told(path, () => open(path, 'r'));
  try {
    await told(path, () => folder.sync());
  } finally {
    await folder.close();
  }
}

/** Makes a folder and what is missing above it, for its owner alone. */
export async function makeFolder(path: string): Promise<void> {
  await told(path, () => mkdir(path, { recursive: true, mode: 0o700 }));
}

/** What is in a folder, by name; nothing in one that is not there. */
export async function namesIn(path: string) {
  try {
    const found = await readdir(path, { withFileTypes: true });
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw refused(path, error);
  }
}

/**
 * Every path below a folder that is no folder, relative to it, in order of names. Folders that `enters`
 * does not want are left out.
 */
export async function* filesBelow(
  root: string,
  enters: (folder: string) => boolean = () => true,
  folder = '',
): AsyncGenerator<Below> {
  for (const entry of await namesIn(join(root, folder))) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (!entry.isDirectory()) yield { path, isFile: entry.isFile() };
    else if (enters(path)) yield* filesBelow(root, enters, path);
  }
}

export interface Below {
  readonly path: string;
  /** A link or a device is none. */
  readonly isFile: boolean;
}

/** Does `work` for all of them, some at a time; the first failure ends it. */
export async function someAtATime<T>(
  items: AsyncIterable<T> | Iterable<T>,
  atATime: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  try {
    for await (const item of items) {
      if (running.size >= atATime) await Promise.race(running);
      const one: Promise<void> = work(item).then(() => {
        running.delete(one);
      });
      running.add(one);
    }
    await Promise.all(running);
  } catch (error) {
    // Nothing is left behind that still writes.
    await Promise.allSettled(running);
    throw error;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw refused(path, error);
  }
}

async function pump(
  file: FileHandle,
  path: string,
  take: (piece: Uint8Array) => Promise<void>,
): Promise<Sum> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(PIECE_BYTES);
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await told(path, () => file.read(buffer, 0, buffer.length, bytes));
    if (bytesRead === 0) return { bytes, sha256: hash.digest('hex') };
    const piece = buffer.subarray(0, bytesRead);
    hash.update(piece);
    await take(piece);
    bytes += bytesRead;
  }
}

async function writeAll(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let at = 0; at < piece.length; ) {
    at += (await file.write(piece, at, piece.length - at)).bytesWritten;
  }
}

async function told<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw refused(path, error);
  }
}

export function refused(path: string, cause: unknown): Error {
  if (cause instanceof SteleError) return cause;
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === undefined) return cause instanceof Error ? cause : new Error(String(cause));
  const why = code === 'ENOSPC' || code === 'EDQUOT' ? `the disk is full (${code})` : code;
  return new SteleError('storage', `${path}: ${why}`, { cause });
}
