/** Heads of our logs that somebody else had taken up, and how far targets were searched for them. */
import type { Db } from './sqlite/database.ts';

export interface StrangerRow {
  readonly log: string;
  /** SHA-256 of the head's text. */
  readonly digest: Uint8Array;
  readonly target: string;
  /** For people. */
  readonly place: string;
  readonly signature: Uint8Array;
  readonly spki: Uint8Array;
  readonly foundMs: number;
}

export class StrangerRows {
  readonly #db: Db;
  readonly #run: <T>(work: () => T) => T;

  /** `run` turns what the database throws into errors of ours. */
  constructor(db: Db, run: <T>(work: () => T) => T) {
    this.#db = db;
    this.#run = run;
  }

  /** Where the last search of a target ended. */
  searched(target: string): Uint8Array | undefined {
    const mark = this.#run(() =>
      this.#db.prepare('SELECT searched FROM anchor_target WHERE name = ?').pluck().get(target),
    ) as Uint8Array | null | undefined;
    return mark ?? undefined;
  }

  /** What a search found, and where it ended, in one step. */
  note(target: string, mark: Uint8Array, found: readonly StrangerRow[]): void {
    const work = this.#db.transaction(() => {
      this.#db
        .prepare(
          `INSERT INTO anchor_target (name, searched) VALUES (?, ?)
           ON CONFLICT (name) DO UPDATE SET searched = excluded.searched`,
        )
        .run(target, mark);
      const insert = this.#db.prepare(
        `INSERT OR IGNORE INTO stranger (log, digest, target, place, signature, spki, found_ms)
         VALUES (@log, @digest, @target, @place, @signature, @spki, @foundMs)`,
      );
      for (const row of found) insert.run(row);
    });
    this.#run(() => work.immediate());
  }

  /** Of a log, the one that was found first. */
  first(log: string): StrangerRow | undefined {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT log, digest, target, place, signature, spki, found_ms AS foundMs FROM stranger
           WHERE log = ? ORDER BY found_ms, digest LIMIT 1`,
        )
        .get(log),
    ) as StrangerRow | undefined;
  }

  /** Every key that heads were shown under, and of which log. */
  keys(): { readonly log: string; readonly spki: Uint8Array }[] {
    return this.#run(() => this.#db.prepare('SELECT DISTINCT log, spki FROM anchor').all()) as {
      log: string;
      spki: Uint8Array;
    }[];
  }

  /** The texts of all heads of a log that were ever to be shown to somebody, the newest first. To be read at once. */
  texts(log: string): Iterable<string> {
    // Nearly always one of the last is wanted, so no index is used: it would be sorted first.
    return this.#run(() =>
      this.#db
        .prepare('SELECT text FROM anchor WHERE +log = ? ORDER BY id DESC')
        .pluck()
        .iterate(log),
    ) as Iterable<string>;
  }
}
