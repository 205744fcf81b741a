/**
 * The file of callers on disk: read for a proxy, and changed by commands beside it.
 *
 * A change is whole or not there at all, and two commands wait for one another. A proxy looks at each call
 * whether the file is another one than it read, so that a token that was taken back opens nothing from the
 * next call on; that look costs some microseconds. A file that cannot be read or understood lets nobody in:
 * who was taken back by it is not known.
 */
import { readFileSync, statSync } from 'node:fs';
import { SteleError } from '../core/errors.ts';
import { lockFile } from '../storage/file-lock.ts';
import { markOf, writeWhole } from '../storage/files.ts';
import {
  CALLERS_BYTES_MAX,
  CALLERS_MAX,
  type Caller,
  formatCallers,
  parseCallers,
} from './callers.ts';

/** Callers by the hash of their token, as the file has them now. */
export class CallerFile {
  readonly path: string;
  #seen = '';
  #byHash: ReadonlyMap<string, Caller> = new Map();
  #error: SteleError | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** The caller whose token has this hash, in lower-case hex. Throws `storage` while the file is no good. */
  find(hash: string): Caller | undefined {
    this.check();
    return this.#byHash.get(hash);
  }

  /** Reads the file again if it has changed. Throws `storage` if it is no good. */
  check(): void {
    const seen = markOf(this.path);
    if (seen !== this.#seen) this.#read(seen);
    if (this.#error !== undefined) throw this.#error;
  }

  #read(seen: string): void {
    try {
      this.#byHash = new Map(readCallers(this.path).map((caller) => [caller.hash, caller]));
      this.#error = undefined;
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      // Strangers hear of it, and what is quoted may be a token that somebody put in the wrong place (P10).
      const reason = message.replaceAll(this.path, 'the file').replace(/"(?:[^"\\]|\\.)*"/g, '"…"');
      this.#byHash = new Map();
      this.#error = new SteleError('storage', `callers: nobody is let in: ${reason}`, {
        cause,
        retryAfterS: 5,
      });
    }
    this.#seen = seen;
  }
}

/** The callers of a file; none where there is no file. */
export function readCallers(path: string): readonly Caller[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  if (stat.size > CALLERS_BYTES_MAX) {
    throw new SteleError('too_large', `${path}: ${stat.size} bytes, at most ${CALLERS_BYTES_MAX}`);
  }
  return parseCallers(new Uint8Array(readFileSync(path)), path);
}

/** Reads the file, has it changed, and writes it. Throws `conflict` while another process does. */
export function changeCallers(
  path: string,
  change: (callers: readonly Caller[]) => readonly Caller[],
): void {
  const lock = lockFile(`${path}.lock`, `${path}: another process changes it, try again`);
  try {
    const next = change(readCallers(path));
    if (next.length > CALLERS_MAX) {
      throw new SteleError('too_large', `${path}: ${next.length} callers, at most ${CALLERS_MAX}`);
    }
    writeWhole(path, formatCallers(next), 0o600);
  } finally {
    lock.release();
  }
}
