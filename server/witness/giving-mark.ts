/**
 * How is it noticed that a witness was put back to an earlier state? By a file outside the data folder that has
 * how many transactions let cosignatures out. A database that counts fewer is from before: what it would
 * cosign could contradict what was cosigned since, so it cosigns nothing.
 *
 * It is written after the commit and before any answer, and not synced: after a power failure it may be behind,
 * which is safe. Each key has a file of its own, as another key has said nothing yet.
 */
import { closeSync, constants, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, toHex, utf8 } from '../core/bytes.ts';
import { parseDecimal } from '../core/decimal.ts';
import { SteleError } from '../core/errors.ts';
import type { VerifierKey } from '../core/verifier-key.ts';

/** One write of a whole block, so that a killed process never leaves half a number behind. */
const BLOCK_BYTES = 512;

export class WitnessMark {
  readonly path: string;
  readonly #folder: string;
  #file: number | undefined;
  #highest: number;

  constructor(folder: string, key: VerifierKey) {
    this.#folder = folder;
    this.path = join(folder, `witness-${toHex(sha256(utf8(key.text)))}`);
    this.#highest = this.#recall();
  }

  /** What is known outside the database. */
  get commits(): number {
    return this.#highest;
  }

  remember(commits: number): void {
    if (commits <= this.#highest) return;
    const block = Buffer.alloc(BLOCK_BYTES, '\n');
    block.write(String(commits));
    try {
      mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
      this.#file ??= openSync(this.path, constants.O_RDWR | constants.O_CREAT, 0o600);
      writeSync(this.#file, block, 0, block.length, 0);
    } catch (cause) {
      throw new SteleError('storage', `${this.path}: it cannot be written`, {
        cause,
        retryAfterS: 30,
      });
    }
    this.#highest = commits;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #recall(): number {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return 0;
      throw new SteleError('storage', `${this.path}: it cannot be read`, { cause });
    }
    // Killed after the file was made and before it was written: nothing is remembered, which is safe.
    if (/^[\0\s]*$/.test(text)) return 0;
    try {
      return parseDecimal(text.trimEnd(), 'commits');
    } catch (cause) {
      throw new SteleError('storage', `${this.path}: it is damaged`, { cause });
    }
  }
}
