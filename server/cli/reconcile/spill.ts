/**
 * Pieces of bytes that are read once more later, in order: in memory while they are few, else in a file that is gone
 * with the process. Reading ends the writing.
 */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { invariant } from '../../core/errors.ts';

/** A folder for spills, made when the first one needs it. */
export class SpillFolder {
  readonly #parent: string;
  #dir: string | undefined;
  #files = 0;

  constructor(parent = tmpdir()) {
    this.#parent = parent;
  }

  create(): number {
    this.#dir ??= mkdtempSync(join(this.#parent, 'stele-reconcile-'));
    const path = join(this.#dir, String(this.#files++));
    const file = openSync(path, 'wx+', 0o600);
    // Nobody else needs its name, and so nothing is left of it whatever ends the process.
    rmSync(path);
    return file;
  }

  close(): void {
    if (this.#dir !== undefined) rmSync(this.#dir, { recursive: true, force: true });
    this.#dir = undefined;
  }
}

const READ_BYTES = 1_048_576;

export class Spill {
  readonly #folder: SpillFolder;
  readonly #memoryBytes: number;
  /** One for all pieces: many small ones would take several times their size. */
  #buffer = new Uint8Array(0);
  #bytes = 0;
  #file: number | undefined;
  #written = 0;

  constructor(folder: SpillFolder, memoryBytes: number) {
    this.#folder = folder;
    this.#memoryBytes = memoryBytes;
  }

  get isEmpty(): boolean {
    return this.#written + this.#bytes === 0;
  }

  /** A piece is its length in four bytes and itself. */
  push(piece: Uint8Array): void {
    const end = this.#bytes + 4 + piece.length;
    if (end > this.#buffer.length) this.#grow(end);
    new DataView(this.#buffer.buffer).setUint32(this.#bytes, piece.length);
    this.#buffer.set(piece, this.#bytes + 4);
    this.#bytes = end;
    if (this.#bytes > this.#memoryBytes) this.#flush();
  }

  *pieces(): Generator<Uint8Array> {
    let held = new Uint8Array(0);
    for (const chunk of this.#chunks()) {
      const joined: Uint8Array = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      let at = 0;
      for (;;) {
        if (joined.length - at < 4) break;
        const length = new DataView(joined.buffer, joined.byteOffset + at, 4).getUint32(0);
        if (joined.length - at < 4 + length) break;
        yield joined.subarray(at + 4, at + 4 + length);
        at += 4 + length;
      }
      held = Uint8Array.from(joined.subarray(at));
    }
    invariant(held.length === 0, 'what was spilled is read back whole');
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
    this.#buffer = new Uint8Array(0);
    this.#bytes = 0;
    this.#written = 0;
  }

  *#chunks(): Generator<Uint8Array> {
    if (this.#file !== undefined) {
      for (let at = 0; at < this.#written; ) {
        const chunk = new Uint8Array(Math.min(READ_BYTES, this.#written - at));
        const read = readSync(this.#file, chunk, 0, chunk.length, at);
        invariant(read > 0, 'a spill is as long as was written');
        yield chunk.subarray(0, read);
        at += read;
      }
    }
    yield this.#buffer.subarray(0, this.#bytes);
  }

  #grow(least: number): void {
    const larger = new Uint8Array(Math.max(least, 2 * this.#buffer.length, 1_024));
    larger.set(this.#buffer.subarray(0, this.#bytes));
    this.#buffer = larger;
  }

  #flush(): void {
    this.#file ??= this.#folder.create();
    const bytes = this.#buffer.subarray(0, this.#bytes);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at);
    this.#written += bytes.length;
    this.#bytes = 0;
  }
}
