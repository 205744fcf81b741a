/**
 * Which ids does each of two sides have, when either has more than memory holds?
 *
 * Both sides' ids go into parts by their hash, so that equal ones meet in one part, and one part at a time is looked at.
 * What is found out is a few bits for each row and each record; everything else is read back when it is shown.
 *
 *     rows    ──▶ part 0 │ part 1 │ … ◀── records, each under every id it may be known by
 *                    ▼ in turn
 *     bits of rows and records ──▶ only here · only there · repeated
 */
import { hash } from 'node:crypto';
import { concat, parseUtf8, utf8 } from '../../core/bytes.ts';
import { Spill, type SpillFolder } from './spill.ts';

const PARTS = 256;

/** Of one part; all together stay below 32 MiB. */
const PART_BYTES = 131_072;

const ROW = 0;
const RECORD = 1;

/** What is known of a row or a record. */
export const MATCHED = 1;
/** More rows have its id than records do, and it is not the first of them. */
export const REPEATED = 2;
/** More records have its id than rows do, and it is not the first of them. */
export const SHARED = 4;

export class Match {
  readonly #parts: readonly Spill[];
  readonly #rows = new Bits();
  readonly #records = new Bits();

  constructor(folder: SpillFolder) {
    this.#parts = Array.from({ length: PARTS }, () => new Spill(folder, PART_BYTES));
  }

  /** Rows and records are numbered from 0. */
  row(number: number, id: string): void {
    this.#add(ROW, number, id);
  }

  record(number: number, ids: ReadonlySet<string>): void {
    for (const id of ids) this.#add(RECORD, number, id);
  }

  /** Compares everything that was added. */
  compare(): void {
    for (const part of this.#parts) {
      if (part.isEmpty) continue;
      const rows = new Map<string, number[]>();
      const records = new Map<string, number[]>();
      for (const piece of part.pieces()) {
        const { side, number, id } = decode(piece);
        const of = side === ROW ? rows : records;
        const known = of.get(id);
        if (known === undefined) of.set(id, [number]);
        else known.push(number);
      }
      part.close();
      for (const [id, numbers] of rows) this.#meet(numbers, records.get(id) ?? []);
    }
  }

  ofRow(number: number): number {
    return this.#rows.get(number);
  }

  ofRecord(number: number): number {
    return this.#records.get(number);
  }

  close(): void {
    for (const part of this.#parts) part.close();
  }

  #meet(rows: readonly number[], records: readonly number[]): void {
    if (records.length > 0) for (const row of rows) this.#rows.set(row, MATCHED);
    for (const record of records) this.#records.set(record, MATCHED);
    // As many on one side as on the other are attempts that share an id.
    if (rows.length > records.length) {
      for (const row of rows.slice(Math.max(1, records.length))) this.#rows.set(row, REPEATED);
    } else {
      for (const record of records.slice(rows.length)) this.#records.set(record, SHARED);
    }
  }

  #add(side: number, number: number, id: string): void {
    const bytes = utf8(id);
    const head = new Uint8Array(9);
    const view = new DataView(head.buffer);
    view.setUint8(0, side);
    view.setFloat64(1, number);
    const part = hash('sha256', bytes, 'buffer')[0] ?? 0;
    this.#parts[part]?.push(concat(head, bytes));
  }
}

function decode(piece: Uint8Array) {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.length);
  return {
    side: view.getUint8(0),
    number: view.getFloat64(1),
    id: parseUtf8(piece.subarray(9), 'id'),
  };
}

/** A byte for each number, in blocks that are made when they are needed. */
class Bits {
  readonly #blocks: Uint8Array[] = [];

  set(number: number, bits: number): void {
    const at = Math.floor(number / BLOCK);
    let block = this.#blocks[at];
    if (block === undefined) {
      block = new Uint8Array(BLOCK);
      this.#blocks[at] = block;
    }
    const offset = number % BLOCK;
    block[offset] = (block[offset] ?? 0) | bits;
  }

  get(number: number): number {
    return this.#blocks[Math.floor(number / BLOCK)]?.[number % BLOCK] ?? 0;
  }
}

const BLOCK = 65_536;
