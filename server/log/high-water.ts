/**
 * The high-water file: a memory, outside the data folder, of the largest head that was ever signed for
 * an answer (P2).
 *
 * It lies in the state folder, named by the SHA-256 of the origin, so that a data folder that is copied
 * back from yesterday meets a file that knows better. It is written after the commit and before the
 * answer, and not synced: after a power failure it may be behind, which is safe; it is never ahead.
 */
import { closeSync, constants, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { type Checkpoint, formatCheckpoint, parseCheckpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';

/** One write of one block, so that a killed process never leaves half a line behind. */
const BLOCK_BYTES = 512;

export class HighWater {
  readonly path: string;
  #file: number | undefined;

  constructor(folder: string, origin: string) {
    this.path = join(folder, toHex(sha256(utf8(origin))));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** What is remembered; nothing if no head of this origin was ever noted. */
  read(): Checkpoint | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new SteleError('storage', `${this.path}: the high-water file cannot be read`, {
        cause,
      });
    }
    // Killed after the file was made and before it was written, or by a power failure that lost the block:
    // nothing is remembered, which is safe.
    if (/^[\0\s]*$/.test(text)) return undefined;
    return parseCheckpoint(text.trimEnd().concat('\n'));
  }

  /** Notes a head that is committed and about to be answered with. */
  write(head: Checkpoint): void {
    const block = Buffer.alloc(BLOCK_BYTES, '\n');
    const text = formatCheckpoint(head);
    if (block.write(text, 'utf8') < Buffer.byteLength(text)) {
      throw new SteleError('storage', `${this.path}: a head is over ${BLOCK_BYTES} bytes`);
    }
    try {
      this.#file ??= openSync(this.path, constants.O_RDWR | constants.O_CREAT, 0o600);
      writeSync(this.#file, block, 0, block.length, 0);
    } catch (cause) {
      throw new SteleError('storage', `${this.path}: the high-water file cannot be written`, {
        cause,
        retryAfterS: 30,
      });
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
