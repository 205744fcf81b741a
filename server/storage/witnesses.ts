/** What witnesses were asked about heads, and how far each is with each log, in the instance database. */
import type { Db } from './sqlite/database.ts';

/**
 *     planned ──▶ sent ──▶ received ──▶ cosigned
 *     the note    asked    answer:      verified, and part of
 *     is frozen   at least as it came   the head
 *                 once
 *
 * Besides: `superseded` by a newer head before it was answered, which is a hole; `refused`, as the request was;
 * `disputed`, as the witness has another history of the log.
 */
export const COSIGNING_STATES = [
  'planned',
  'sent',
  'received',
  'cosigned',
  'superseded',
  'refused',
  'disputed',
] as const;
export type CosigningState = (typeof COSIGNING_STATES)[number];

/** States from which a row goes on by itself. */
export type OpenCosigning = 'planned' | 'sent' | 'received';

const OPEN = `state IN ('planned', 'sent', 'received')`;

/** Rows of one log and witness that are kept. */
export const COSIGNINGS_KEPT = 1_000;

/** A head as it is shown to a witness: its note has the log's own lines and no others. */
export interface ShownHead {
  readonly size: number;
  readonly root: Uint8Array;
  readonly note: string;
  /** The log's own time of it. */
  readonly headMs: number;
}

export interface CosigningRow extends ShownHead {
  readonly id: number;
  readonly log: string;
  readonly witness: string;
  readonly state: CosigningState;
  readonly answer: Uint8Array | null;
  readonly timeMs: number | null;
  readonly attempts: number;
  readonly dueMs: number;
  readonly reason: string | null;
  readonly plannedMs: number;
  readonly changedMs: number;
}

/** A row without its bytes, for lists. */
export type CosigningSummary = Omit<
  CosigningRow,
  'id' | 'log' | 'root' | 'note' | 'headMs' | 'answer' | 'dueMs'
>;

/** What may change of a row that goes on. What is not named stays. */
export type CosigningChange = Partial<
  Pick<CosigningRow, 'state' | 'answer' | 'attempts' | 'dueMs' | 'reason'>
>;

/** How far a witness is with a log, by its own signatures. What there is not is null. */
export interface SeenRow {
  readonly log: string;
  readonly witness: string;
  readonly size: number | null;
  readonly root: Uint8Array | null;
  readonly note: string | null;
  readonly timeMs: number | null;
  readonly askedMs: number | null;
  readonly asked: number;
  readonly failed: number;
  /** JSON. */
  readonly evidence: string | null;
}

/** The same with what is on its way, and what was given up beyond `size`. */
export interface WitnessProgress extends SeenRow {
  readonly pendingSize: number | null;
  readonly pendingSinceMs: number | null;
  readonly attempts: number | null;
  readonly missed: number;
}

/** What a witness said counts, unless it was let go. */
const HELD = `evidence IS NOT NULL AND evidence ->> '$.let_go' IS NULL`;

const COLUMNS = `id, log, witness, size, root, note, head_ms AS headMs, state, answer, time_ms AS timeMs, attempts,
  due_ms AS dueMs, reason, planned_ms AS plannedMs, changed_ms AS changedMs`;

const SUMMARY = `witness, size, state, time_ms AS timeMs, attempts, reason, planned_ms AS plannedMs,
  changed_ms AS changedMs`;

const SEEN = `log, witness, size, root, note, time_ms AS timeMs, asked_ms AS askedMs, asked, failed, evidence`;

const CHANGED = {
  state: 'state',
  answer: 'answer',
  attempts: 'attempts',
  dueMs: 'due_ms',
  reason: 'reason',
} as const satisfies Record<keyof CosigningChange, string>;

export class WitnessRows {
  readonly #db: Db;
  readonly #run: <T>(work: () => T) => T;
  #version = 0;

  /** `run` turns what the database throws into errors of ours. */
  constructor(db: Db, run: <T>(work: () => T) => T) {
    this.#db = db;
    this.#run = run;
  }

  /** Another one after each change: what was made of the rows may be kept as long as it stays. */
  get version(): number {
    return this.#version;
  }

  /**
   * A new row, and in the same step every older one of this log and witness that was not answered is given up for
   * it: the newest head covers what they would have. How long the witness is still to be left alone stays.
   */
  plan(log: string, witness: string, head: ShownHead, nowMs: number): void {
    const of = { log, witness };
    this.#transaction(() => {
      const waiting = this.#db
        .prepare(
          `SELECT attempts, due_ms AS dueMs, reason FROM cosigning
           WHERE log = @log AND witness = @witness AND state IN ('planned', 'sent') ORDER BY id DESC LIMIT 1`,
        )
        .get(of) as Pick<CosigningRow, 'attempts' | 'dueMs' | 'reason'> | undefined;
      this.#db
        .prepare(
          `UPDATE cosigning SET state = 'superseded', changed_ms = @nowMs
           WHERE log = @log AND witness = @witness AND state IN ('planned', 'sent')`,
        )
        .run({ ...of, nowMs });
      this.#db
        .prepare(
          `INSERT INTO cosigning (log, witness, size, root, note, head_ms, state, attempts, due_ms, reason, planned_ms, changed_ms)
           VALUES (@log, @witness, @size, @root, @note, @headMs, 'planned', @attempts, @dueMs, @reason, @nowMs, @nowMs)
           ON CONFLICT (log, witness, size) DO UPDATE SET root = excluded.root, note = excluded.note,
             head_ms = excluded.head_ms, state = 'planned', answer = NULL, attempts = excluded.attempts,
             due_ms = excluded.due_ms, reason = excluded.reason, planned_ms = excluded.planned_ms,
             changed_ms = excluded.changed_ms
           WHERE state NOT IN ('received', 'disputed')`,
        )
        .run({ attempts: 0, dueMs: nowMs, reason: null, ...waiting, ...of, ...head, nowMs });
      this.#db
        .prepare(
          `INSERT INTO witness_seen (log, witness, asked_ms) VALUES (@log, @witness, @nowMs)
           ON CONFLICT (log, witness) DO UPDATE SET asked_ms = excluded.asked_ms`,
        )
        .run({ ...of, nowMs });
    });
  }

  /** Whatever waits of a log is tried now. */
  hurry(log: string, nowMs: number): void {
    this.#transaction(() => {
      this.#db
        .prepare(`UPDATE cosigning SET due_ms = ? WHERE log = ? AND ${OPEN} AND due_ms > ?`)
        .run(nowMs, log, nowMs);
    });
  }

  /** Open rows of a witness whose time has come, the oldest first. */
  due(witness: string, nowMs: number, limit: number): CosigningRow[] {
    return this.#all(
      `SELECT ${COLUMNS} FROM cosigning WHERE witness = ? AND ${OPEN} AND due_ms <= ? ORDER BY due_ms, id LIMIT ?`,
      [witness, nowMs, limit],
    );
  }

  /** Gives up what is open of witnesses that nobody asks any more. */
  giveUp(asked: readonly string[], nowMs: number): void {
    const reason = 'the witness is no longer in a policy';
    this.#transaction(() => {
      this.#db
        .prepare(
          `UPDATE cosigning SET state = 'superseded', answer = NULL, reason = ?, changed_ms = ?
           WHERE ${OPEN} AND witness NOT IN (SELECT value FROM json_each(?))`,
        )
        .run(reason, nowMs, JSON.stringify(asked));
    });
  }

  /** When the next open row of any witness is due; nothing where none is open. */
  nextDueMs(): number | undefined {
    return (
      (this.#run(() =>
        this.#db.prepare(`SELECT min(due_ms) FROM cosigning WHERE ${OPEN}`).pluck().get(),
      ) as number | null) ?? undefined
    );
  }

  get(id: number): CosigningRow | undefined {
    return this.#all<CosigningRow>(`SELECT ${COLUMNS} FROM cosigning WHERE id = ?`, [id])[0];
  }

  /** Changes a row that is still in `state`; says whether it was. */
  change(id: number, state: OpenCosigning, change: CosigningChange, nowMs: number): boolean {
    const names = Object.keys(change) as (keyof CosigningChange)[];
    const set = [...names.map((name) => `${CHANGED[name]} = @${name}`), 'changed_ms = @nowMs'];
    const { changes } = this.#run(() =>
      this.#db
        .prepare(`UPDATE cosigning SET ${set.join(', ')} WHERE id = @id AND state = @was`)
        .run({ ...change, id, was: state, nowMs }),
    );
    this.#version++;
    return changes === 1;
  }

  /** Counts a request that is about to be sent, or that came to nothing. */
  count(log: string, witness: string, what: 'asked' | 'failed'): void {
    this.#run(() =>
      this.#db
        .prepare(`UPDATE witness_seen SET ${what} = ${what} + 1 WHERE log = ? AND witness = ?`)
        .run(log, witness),
    );
    this.#version++;
  }

  /** What was verified and is part of the head, with how far the witness is now, in one step. */
  cosigned(row: CosigningRow, timeMs: number, nowMs: number): void {
    const { id, log, witness, size } = row;
    this.#transaction(() => {
      this.#db
        .prepare(
          `UPDATE cosigning SET state = 'cosigned', answer = NULL, time_ms = ?, reason = NULL, changed_ms = ?
           WHERE id = ? AND state = 'received'`,
        )
        .run(timeMs, nowMs, id);
      this.#db
        .prepare(
          `UPDATE witness_seen SET size = @size, root = @root, note = @note, time_ms = max(coalesce(time_ms, 0), @timeMs)
           WHERE log = @log AND witness = @witness AND coalesce(size, 0) <= @size`,
        )
        .run({ log, witness, size, root: row.root, note: row.note, timeMs });
      this.#db
        .prepare(
          `DELETE FROM cosigning WHERE log = @log AND witness = @witness AND id <=
             (SELECT id FROM cosigning WHERE log = @log AND witness = @witness ORDER BY id DESC LIMIT 1 OFFSET @kept)`,
        )
        .run({ log, witness, kept: COSIGNINGS_KEPT });
    });
  }

  /** From here on the log signs nothing: the witness has another history of it. The first evidence stays. */
  dispute(row: CosigningRow, reason: string, evidence: string, nowMs: number): void {
    const { id, log, witness } = row;
    this.#transaction(() => {
      this.#db
        .prepare(`UPDATE cosigning SET state = 'disputed', reason = ?, changed_ms = ? WHERE id = ?`)
        .run(reason, nowMs, id);
      this.#db
        .prepare(
          `UPDATE witness_seen SET evidence = CASE WHEN ${HELD} THEN evidence ELSE ? END
           WHERE log = ? AND witness = ?`,
        )
        .run(evidence, log, witness);
    });
  }

  /** What a witness said counts no more, and is kept. */
  letGo(log: string, witness: string, nowMs: number): void {
    this.#transaction(() => {
      this.#db
        .prepare(
          `UPDATE witness_seen SET evidence = json_set(evidence, '$.let_go', ?)
           WHERE log = ? AND witness = ? AND ${HELD}`,
        )
        .run(new Date(nowMs).toISOString(), log, witness);
    });
  }

  /** Evidence against a log, by witnesses; with `all` also what counts no more. */
  evidence(
    log: string,
    { all = false } = {},
  ): { readonly witness: string; readonly evidence: string }[] {
    return this.#all(
      `SELECT witness, evidence FROM witness_seen
       WHERE log = ? AND ${all ? 'evidence IS NOT NULL' : HELD} ORDER BY witness`,
      [log],
    );
  }

  seen(log: string, witness: string): SeenRow | undefined {
    const sql = `SELECT ${SEEN} FROM witness_seen WHERE log = ? AND witness = ?`;
    return this.#all<SeenRow>(sql, [log, witness])[0];
  }

  /** The largest size of a log that a witness was asked about and that was not given up. */
  largest(log: string, witness: string): number | undefined {
    const sql = `SELECT max(size) FROM cosigning WHERE log = ? AND witness = ? AND state NOT IN ('superseded', 'refused')`;
    return (
      (this.#run(() => this.#db.prepare(sql).pluck().get(log, witness)) as number | null) ??
      undefined
    );
  }

  /** Rows of a log, newest first, below `before` where that is given. */
  list(
    log: string,
    { before, limit }: { before?: number | undefined; limit: number },
  ): CosigningSummary[] {
    return this.#all(
      `SELECT ${SUMMARY} FROM cosigning WHERE log = ? AND size < ? ORDER BY size DESC, witness LIMIT ?`,
      [log, before ?? Number.MAX_SAFE_INTEGER, limit],
    );
  }

  /** How far each witness is, with one log or with all of them. */
  progress(log?: string): WitnessProgress[] {
    return this.#all(
      `SELECT seen.log, seen.witness, seen.size, seen.root, seen.note, seen.time_ms AS timeMs,
         seen.asked_ms AS askedMs, seen.asked, seen.failed, CASE WHEN ${HELD} THEN evidence END AS evidence,
         open.size AS pendingSize,
         open.planned_ms AS pendingSinceMs, open.attempts,
         (SELECT count(*) FROM cosigning WHERE log = seen.log AND witness = seen.witness
           AND state IN ('superseded', 'refused') AND size > coalesce(seen.size, 0)) AS missed
       FROM witness_seen AS seen
       LEFT JOIN cosigning AS open ON open.log = seen.log AND open.witness = seen.witness AND open.${OPEN}
       WHERE @log IS NULL OR seen.log = @log ORDER BY seen.log, seen.witness`,
      [{ log: log ?? null }],
    );
  }

  #all<T>(sql: string, values: readonly unknown[]): T[] {
    return this.#run(() => this.#db.prepare(sql).all(...values)) as T[];
  }

  #transaction(work: () => void): void {
    this.#run(() => this.#db.transaction(work).immediate());
    this.#version++;
  }
}

/** How far each witness is with each log, in a database that is left as it is. */
export function selectAllSeen(db: Db): SeenRow[] {
  return db.prepare(`SELECT ${SEEN} FROM witness_seen`).all() as SeenRow[];
}
