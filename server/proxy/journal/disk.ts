/**
 * What the spool needs from a disk, and Node's file system as one.
 *
 * Everything the proxy writes or deletes goes through this port, so that a test can make any step fail.
 * Names are relative to one folder, which belongs to the spool alone. Files are 0600, the folder 0700.
 */
import { constants, writevSync } from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
} from 'node:fs/promises';
import { join } from 'node:path';

export interface SpoolFile {
  /** Writes all of `buffers` from `at` on. If it rejects, bytes from `at` on are undefined. */
  write(buffers: readonly Uint8Array[], at: number): Promise<void>;
  /** Resolves when everything written is on disk. If it rejects, nobody knows what is. */
  sync(): Promise<void>;
  /** Up to `length` bytes from `at` on; fewer only at the end of the file. */
  read(at: number, length: number): Promise<Uint8Array>;
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

export interface SpoolDisk {
  list(): Promise<readonly { readonly name: string; readonly bytes: number }[]>;
  /** A new file; rejects if the name is taken. The name is durable after `syncFolder`. */
  create(name: string): Promise<SpoolFile>;
  open(name: string): Promise<SpoolFile>;
  remove(name: string): Promise<void>;
  syncFolder(): Promise<void>;
  /** Bytes that an unprivileged process may still write. */
  freeBytes(): Promise<number>;
  /** The whole of a small file, or nothing if there is none. */
  readSmall(name: string): Promise<Uint8Array | undefined>;
  /** Puts a small file in the place of the old one, durably and never half. */
  replaceSmall(name: string, bytes: Uint8Array): Promise<void>;
}

/** Opens, and makes where missing, the folder `dir`. */
export async function openDisk(dir: string): Promise<SpoolDisk> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const at = (name: string) => join(dir, name);
  const syncFolder = async () => {
    const folder = await open(dir, constants.O_RDONLY);
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  };
  return {
    async list() {
      const names = (await readdir(dir, { withFileTypes: true })).filter((e) => e.isFile());
      return Promise.all(
        names.map(async ({ name }) => ({ name, bytes: (await stat(at(name))).size })),
      );
    },
    async create(name) {
      return spoolFile(await open(at(name), 'wx+', 0o600));
    },
    async open(name) {
      return spoolFile(await open(at(name), 'r+'));
    },
    remove: (name) => rm(at(name)),
    syncFolder,
    async freeBytes() {
      const { bavail, bsize } = await statfs(dir);
      return bavail * bsize;
    },
    async readSmall(name) {
      try {
        return new Uint8Array(await readFile(at(name)));
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    async replaceSmall(name, bytes) {
      const draft = `${name}.draft`;
      const file = await open(at(draft), 'w', 0o600);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(at(draft), at(name));
      await syncFolder();
    },
  };
}

/** The system's name of a failure, "ENOSPC", or nothing for any other error. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/** Bytes that are written without leaving this thread. */
const FEW_BYTES = 32_768;

/** One writev takes at most this many buffers on Linux (IOV_MAX). */
const BUFFERS_MAX = 1_024;

function spoolFile(file: FileHandle): SpoolFile {
  return {
    async write(buffers, at) {
      let position = at;
      for (let i = 0; i < buffers.length; i += BUFFERS_MAX) {
        const part = buffers.slice(i, i + BUFFERS_MAX);
        position += await writeAll(file, part, position);
      }
    },
    // fdatasync: the file's length is metadata that it writes too; the times are not needed.
    sync: () => file.datasync(),
    async read(at, length) {
      const bytes = Buffer.allocUnsafe(length);
      let read = 0;
      while (read < length) {
        const { bytesRead } = await file.read(bytes, read, length - read, at + read);
        if (bytesRead === 0) break;
        read += bytesRead;
      }
      return bytes.subarray(0, read);
    },
    truncate: (length) => file.truncate(length),
    close: () => file.close(),
  };
}

async function writeAll(file: FileHandle, buffers: Uint8Array[], at: number): Promise<number> {
  const total = buffers.reduce((sum, b) => sum + b.length, 0);
  // A few go into the system's memory in less time than it takes to hand them to another thread and hear of it.
  let bytesWritten =
    total <= FEW_BYTES
      ? writevSync(file.fd, buffers, at)
      : (await file.writev(buffers, at)).bytesWritten;
  if (bytesWritten === total) return total;
  // A short write is legal. It is rare, so the rest may be copied together.
  const whole = Buffer.concat(buffers);
  while (bytesWritten < total) {
    const more = await file.write(whole, bytesWritten, total - bytesWritten, at + bytesWritten);
    if (more.bytesWritten === 0) throw new Error(`wrote 0 of ${total - bytesWritten} bytes`);
    bytesWritten += more.bytesWritten;
  }
  return total;
}
