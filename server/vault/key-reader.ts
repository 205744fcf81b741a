/**
 * Reading a vault's key database beside the process that owns it: which content files are there, for
 * whoever copies or checks them. Each page is a short transaction of its own, so nothing is held up.
 */
import { type Db, openForReading, storageError } from '../storage/sqlite/database.ts';
import { COLUMNS, type FileRow, STATE, toRow } from './keys.ts';

const PAGE_ROWS = 1_024;

export class KeyReader {
  readonly #path: string;
  readonly #db: Db;

  constructor(path: string) {
    this.#path = path;
    this.#db = openForReading(path);
  }

  /** What the vault was made with: its log's origin, and a wrapped known key. Nothing if it was cut short. */
  about(): { readonly origin: string; readonly kekCheck: Uint8Array } | undefined {
    return this.#guard(() => {
      const row = this.#db.prepare('SELECT origin, kek_check FROM vault').get();
      if (row === undefined) return undefined;
      const { origin, kek_check } = row as { origin: string; kek_check: Uint8Array };
      return { origin, kekCheck: new Uint8Array(kek_check) };
    });
  }

  /** Every content file that has a key, by its number. */
  *files(): Generator<FileRow> {
    const page = this.#guard(() =>
      this.#db.prepare(
        `SELECT ${COLUMNS} FROM content_file WHERE seq > ? AND state <> ${STATE.erased}
         ORDER BY seq LIMIT ${PAGE_ROWS}`,
      ),
    );
    for (let after = -1; ; ) {
      const rows = this.#guard(() => page.all(after).map(toRow));
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < PAGE_ROWS) return;
      after = last.seq;
    }
  }

  /** The row as it is now; nothing once it was erased or swept. */
  file(seq: number): FileRow | undefined {
    return this.#guard(() => {
      const row = this.#db
        .prepare(`SELECT ${COLUMNS} FROM content_file WHERE seq = ? AND state <> ${STATE.erased}`)
        .get(seq);
      return row === undefined ? undefined : toRow(row);
    });
  }

  close(): void {
    this.#db.close();
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.#path);
    }
  }
}
