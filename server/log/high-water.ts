/**
 * The high-water file: a memory, outside the data folder, of the largest head that was ever signed for
 * an answer (P2).
 *
 * It lies in the state folder, named by the SHA-256 of the origin, so that a data folder that is copied
 * back from yesterday meets a file that knows better. It is written after the commit and before the
 * answer, and not synced: after a power failure it may be behind, which is safe; it is never ahead.
 *
 *     ┌───────────────────────────────┬─────────────────────────────┐
 *     │ origin LF size LF root LF  LF…│ — the log's own line LF  LF…│
 *     └────────── 512 bytes ──────────┴────────── 1,024 ────────────┘
 *
 * The head has a disk's sector to itself, so that no failure leaves half of it. The line after it is what
 * makes it a proof for others; if a power failure tears the two apart it does not verify, and no more.
 */
import { closeSync, constants, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { formatCheckpoint, parseCheckpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';
import type { Known, Memory } from './memories.ts';

/** One write of whole blocks, so that a killed process never leaves half a head behind. */
const HEAD_BYTES = 512;
const FILE_BYTES = 1_536;

export class HighWater implements Memory {
  readonly kind = 'high-water';
  readonly isLocal = true;
  readonly #folder: string;
  /** Files that are being written, by origin. */
  readonly #files = new Map<string, number>();

  /** `folder` is made when there is something to note. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  placeOf(origin: string): string {
    return join(this.#folder, toHex(sha256(utf8(origin))));
  }

  async recall(origin: string): Promise<Known | undefined> {
    const path = this.placeOf(origin);
    let bytes: Buffer;
    try {
      bytes = readFileSync(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new SteleError('storage', `${path}: the high-water file cannot be read`, { cause });
    }
    const text = bytes.subarray(0, HEAD_BYTES).toString('utf8');
    // Killed after the file was made and before it was written, or by a power failure that lost the block:
    // nothing is remembered, which is safe.
    if (/^[\0\s]*$/.test(text)) return undefined;
    const body = text.trimEnd().concat('\n');
    try {
      const head = parseCheckpoint(body);
      if (head.origin !== origin) throw new SteleError('storage', `it is of ${head.origin}`);
      const lines = bytes.subarray(HEAD_BYTES).toString('utf8').trimEnd();
      return lines === '' ? head : { ...head, note: `${body}\n${lines}\n` };
    } catch (cause) {
      const rule = cause instanceof Error ? cause.message : String(cause);
      throw new SteleError('storage', `${path}: the high-water file is damaged: ${rule}`, {
        cause,
      });
    }
  }

  remember(head: Known): void {
    const path = this.placeOf(head.origin);
    const body = formatCheckpoint(head);
    const block = Buffer.alloc(FILE_BYTES, '\n');
    const line = head.note?.startsWith(`${body}\n`) ? head.note.slice(body.length + 1) : '';
    if (Buffer.byteLength(body) > HEAD_BYTES) {
      throw new SteleError('storage', `${path}: a head is over ${HEAD_BYTES} bytes`);
    }
    block.write(body, 'utf8');
    // A line that has no room is left out: it proves something to others and guards nothing here.
    if (Buffer.byteLength(line) <= FILE_BYTES - HEAD_BYTES) block.write(line, HEAD_BYTES, 'utf8');
    try {
      writeSync(this.#open(head.origin, path), block, 0, block.length, 0);
    } catch (cause) {
      throw new SteleError('storage', `${path}: the high-water file cannot be written`, {
        cause,
        retryAfterS: 30,
      });
    }
  }

  release(origin: string): void {
    const file = this.#files.get(origin);
    if (file === undefined) return;
    this.#files.delete(origin);
    closeSync(file);
  }

  #open(origin: string, path: string): number {
    const known = this.#files.get(origin);
    if (known !== undefined) return known;
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#files.set(origin, file);
    return file;
  }
}
