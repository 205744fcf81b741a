/**
 * A signer's memory on disk: one file for each origin, named by the SHA-256 of the origin.
 *
 *     ┌──────── 4,096 bytes ────────┬──────── 4,096 bytes ────────┐
 *     │ stele signer memory v1      │ the same, as it was before  │
 *     │ origin, size, root          │                             │
 *     │ time of the last tree head  │                             │
 *     │ number of this writing      │                             │
 *     │ SHA-256 of the lines above  │                             │
 *     └─────────────────────────────┴─────────────────────────────┘
 *
 * The two pages are written in turn, so that a power failure in the middle of one leaves the other, and each
 * writing is on disk before it resolves. What is read is written again before it is relied on: after a
 * failed fsync the file may read as it never was on disk.
 *
 * A crash while a page is written leaves the old one or the new one, and both are right: the signature for
 * which it was written had not left.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { formatCheckpoint, parseCheckpoint } from '../../core/tree-head.ts';
import type { HeadStore, Remembered } from './head-book.ts';

const TITLE = 'stele signer memory v1';
const PAGE_BYTES = 4_096;

/** Files kept open; a log that signs needs its own each time. */
const OPEN_MAX = 256;

/** A failed fsync: what is on disk is unknown, so nobody goes on from here, and the process ends (P9). */
export class HeadSyncFailed extends Error {
  constructor(path: string, options: { readonly cause: unknown }) {
    super(`fsync failed for ${path}: the process ends, since what is on disk is unknown`, options);
    this.name = 'HeadSyncFailed';
  }
}

interface Page extends Remembered {
  /** How often this file was written; the larger one is newer. */
  readonly number: number;
}

interface OpenFile {
  readonly handle: FileHandle;
  /** The number of the newest page that is known to be good, and where it lies: 0 or 1. */
  number: number;
  at: number;
}

/** A file that is kept open, and how many are writing to it now. */
interface Kept {
  readonly file: Promise<OpenFile>;
  users: number;
}

export class HeadFiles implements HeadStore {
  readonly #folder: string;
  /** By origin, in the order of their last use. */
  readonly #files = new Map<string, Kept>();

  /** Makes `folder` where there is none. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  async read(origin: string): Promise<Remembered | undefined> {
    const path = this.#pathOf(origin);
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return undefined;
      throw unusable(path, 'read', cause);
    }
    let pages: Pages;
    try {
      pages = await readPages(handle, path, origin);
    } finally {
      await handle.close();
    }
    if (pages.newest === undefined) return undefined;
    const { newest, treeHeadMs } = pages.newest;
    await this.write(origin, { newest, treeHeadMs });
    return { newest, treeHeadMs };
  }

  async write(origin: string, remembered: Remembered): Promise<void> {
    const path = this.#pathOf(origin);
    const kept = this.#keep(origin, path);
    kept.users++;
    try {
      await writePage(await kept.file, path, origin, remembered);
    } finally {
      kept.users--;
    }
    await this.#closeOldest();
  }

  async close(): Promise<void> {
    const files = [...this.#files.values()];
    this.#files.clear();
    await Promise.all(files.map(({ file }) => closeFile(file)));
  }

  #pathOf(origin: string): string {
    return join(this.#folder, toHex(sha256(utf8(origin))));
  }

  #keep(origin: string, path: string): Kept {
    const kept = this.#files.get(origin) ?? { file: this.#open(origin, path), users: 0 };
    // The last one used is the last in the map.
    this.#files.delete(origin);
    this.#files.set(origin, kept);
    kept.file.catch(() => this.#files.delete(origin));
    return kept;
  }

  async #closeOldest(): Promise<void> {
    for (const [origin, { file, users }] of this.#files) {
      if (this.#files.size <= OPEN_MAX) break;
      if (users > 0) continue;
      this.#files.delete(origin);
      await closeFile(file);
    }
  }

  async #open(origin: string, path: string): Promise<OpenFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r+').catch((cause: unknown) => {
        if (codeOf(cause) !== 'ENOENT') throw cause;
        return this.#create(path);
      });
      const { newest, at } = await readPages(handle, path, origin);
      return { handle, number: newest?.number ?? 0, at };
    } catch (cause) {
      await handle?.close();
      if (cause instanceof SteleError || cause instanceof HeadSyncFailed) throw cause;
      throw unusable(path, 'opened', cause);
    }
  }

  /** Two empty pages, whose room and whose name are on disk before anything is written into them. */
  async #create(path: string): Promise<FileHandle> {
    const handle = await open(path, 'wx+', 0o600);
    try {
      await handle.write(Buffer.alloc(2 * PAGE_BYTES), 0, 2 * PAGE_BYTES, 0);
    } catch (error) {
      // A full disk: what is left is as good as nothing, and is made again when there is room.
      await handle.close();
      await unlink(path);
      throw error;
    }
    try {
      await handle.sync();
      syncFolder(this.#folder);
    } catch (cause) {
      throw new HeadSyncFailed(path, { cause });
    }
    return handle;
  }
}

async function writePage(
  file: OpenFile,
  path: string,
  origin: string,
  remembered: Remembered,
): Promise<void> {
  // The page that is known to be good is never written to, also where the last writing failed.
  const at = 1 - file.at;
  const number = file.number + 1;
  const page = Buffer.alloc(PAGE_BYTES);
  page.write(formatPage(origin, { ...remembered, number }));
  try {
    const { bytesWritten } = await file.handle.write(page, 0, PAGE_BYTES, at * PAGE_BYTES);
    if (bytesWritten !== PAGE_BYTES) throw new Error(`${bytesWritten} bytes were written`);
  } catch (cause) {
    throw unusable(path, 'written', cause);
  }
  try {
    await file.handle.datasync();
  } catch (cause) {
    throw new HeadSyncFailed(path, { cause });
  }
  file.at = at;
  file.number = number;
}

interface Pages {
  readonly newest: Page | undefined;
  readonly at: number;
}

/** The newer of the two pages. One may be torn; both only where somebody else wrote into the file. */
async function readPages(handle: FileHandle, path: string, origin: string): Promise<Pages> {
  const bytes = Buffer.alloc(2 * PAGE_BYTES + 1);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, 0);
  const pages = [0, 1].map((at) =>
    bytes.subarray(
      Math.min(bytesRead, at * PAGE_BYTES),
      Math.min(bytesRead, (at + 1) * PAGE_BYTES),
    ),
  );
  const read = pages.map((page) => tryParse(page, origin));
  const at = (read[1]?.number ?? 0) > (read[0]?.number ?? 0) ? 1 : 0;
  const newest = read[at];
  const isBlank = pages.every((page) => page.every((byte) => byte === 0));
  // Killed before the first page was written: nothing was signed yet.
  if (newest === undefined && !isBlank) {
    throw new SteleError(
      'storage',
      `${path}: what the signer remembered of ${origin} is damaged: bring its state folder back, or start it ` +
        'once without this file, with --expect and the newest checkpoint of the log',
    );
  }
  return { newest, at };
}

function tryParse(page: Buffer, origin: string): Page | undefined {
  try {
    return parsePage(page, origin);
  } catch (error) {
    if (error instanceof SteleError) return undefined;
    throw error;
  }
}

function formatPage(origin: string, { newest, treeHeadMs, number }: Page): string {
  const checkpoint = formatCheckpoint({ origin, ...newest });
  const body = `${TITLE}\n${checkpoint}${treeHeadMs}\n${number}\n`;
  return `${body}${toHex(sha256(utf8(body)))}\n`;
}

function parsePage(page: Buffer, origin: string): Page {
  const what = 'signer memory';
  const text = page.toString('utf8').replace(/\0+$/, '');
  const [, named = '', size = '', root = '', treeHead = '', count = ''] = text.split('\n');
  const { origin: _, ...newest } = parseCheckpoint(`${named}\n${size}\n${root}\n`);
  const parsed = {
    newest,
    treeHeadMs: parseDecimal(treeHead, what),
    number: parseDecimal(count, what),
  };
  if (named !== origin || formatPage(origin, parsed) !== text) {
    throw malformed(what, 'it is torn, or of another origin');
  }
  return parsed;
}

async function closeFile(file: Promise<OpenFile>): Promise<void> {
  // One that was never opened has nothing to close, and whoever opened it was told.
  const opened = await file.catch(() => undefined);
  await opened?.handle.close();
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function unusable(path: string, done: string, cause: unknown): SteleError {
  return new SteleError(
    'storage',
    `${path}: what the signer remembers could not be ${done} (${codeOf(cause) ?? 'unknown'})`,
    { cause, retryAfterS: 30 },
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}
