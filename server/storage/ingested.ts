/** Which records were made of what was ingested: the memory of the other ways in (`server/ingest`). */
import type { Db } from './sqlite/database.ts';

export interface IngestedRow {
  /** 16 bytes that stand for a report. */
  readonly fingerprint: Uint8Array;
  /** The id of the record that it is in. */
  readonly record: string;
}

/** Rows that are dropped with one write of others: more than most add, so that the table does not grow for ever. */
const DROPPED_AT_ONCE = 4_096;

export class Ingested {
  readonly #run: <T>(work: () => T) => T;
  readonly #select: ReturnType<typeof prepare>['select'];
  readonly #write: ReturnType<typeof prepare>['write'];

  constructor(db: Db, run: <T>(work: () => T) => T) {
    this.#run = run;
    const { select, write } = prepare(db);
    this.#select = select;
    this.#write = write;
  }

  /** The record that a report is in, or was to be in: the row is written before the record is. */
  find(fingerprint: Uint8Array): string | undefined {
    return this.#run(() => this.#select.get(fingerprint)) as string | undefined;
  }

  /** Notes all of these in one durable write, and drops what was noted before `sinceMs`. */
  note(rows: readonly IngestedRow[], nowMs: number, sinceMs: number): void {
    this.#run(() => this.#write.immediate(rows, nowMs, sinceMs));
  }
}

function prepare(db: Db) {
  const put = db.prepare(
    `INSERT INTO ingested (fingerprint, record, noted_ms) VALUES (?, ?, ?)
     ON CONFLICT (fingerprint) DO UPDATE SET record = excluded.record`,
  );
  // In the order in which they were written: the first ones are the oldest.
  const drop = db.prepare(
    'DELETE FROM ingested WHERE noted_ms < ? AND id IN (SELECT id FROM ingested ORDER BY id LIMIT ?)',
  );
  const write = db.transaction((rows: readonly IngestedRow[], nowMs: number, sinceMs: number) => {
    for (const { fingerprint, record } of rows) put.run(fingerprint, record, nowMs);
    drop.run(sinceMs, DROPPED_AT_ONCE);
  });
  return { select: db.prepare('SELECT record FROM ingested WHERE fingerprint = ?').pluck(), write };
}
