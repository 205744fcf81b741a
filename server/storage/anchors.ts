/** What targets outside were asked about heads, and what they answered, in the instance database. */
import type { Db } from './sqlite/database.ts';

/**
 *     planned ──▶ signed ──▶ sent ──▶ received ──▶ published
 *     frozen:     request:   asked    answer:      verified, and part
 *     text and    what is    at least as it came   of receipts
 *     signature   sent       once
 *
 * Besides, for good: `superseded` by a newer head before it was answered, which is a hole; `dead`, as no retry
 * helps; `suspect`, as the target was found to have two histories.
 */
export const ANCHOR_STATES = [
  'planned',
  'signed',
  'sent',
  'received',
  'published',
  'superseded',
  'suspect',
  'dead',
] as const;
export type AnchorState = (typeof ANCHOR_STATES)[number];

/** States from which a row goes on by itself. */
export const OPEN_STATES = ['planned', 'signed', 'sent', 'received'] as const;
export type OpenState = (typeof OPEN_STATES)[number];

export type AnchorKind = 'rekor' | 'rfc3161';

export interface PlannedAnchor {
  readonly log: string;
  readonly target: string;
  readonly kind: AnchorKind;
  readonly size: number;
  readonly root: Uint8Array;
  /** Of the head's note. */
  readonly text: string;
  /** The anchor key's, over the text. */
  readonly signature: Uint8Array;
  readonly spki: Uint8Array;
  readonly plannedMs: number;
}

export interface AnchorRow extends PlannedAnchor {
  readonly id: number;
  readonly state: AnchorState;
  readonly request: Uint8Array | null;
  readonly answer: Uint8Array | null;
  /** JSON. */
  readonly anchor: string | null;
  readonly timeMs: number | null;
  readonly attempts: number;
  readonly dueMs: number;
  readonly reason: string | null;
  readonly changedMs: number;
}

export type PlannedHead = Pick<PlannedAnchor, 'log' | 'size' | 'root'>;

/** Of each log the largest head that was to be shown to anybody. */
export function selectNewestHeads(db: Db): PlannedHead[] {
  return db
    .prepare('SELECT log, max(size) AS size, root FROM anchor GROUP BY log')
    .all() as PlannedHead[];
}

/** A row without its bytes, for lists. */
export type AnchorSummary = Pick<
  AnchorRow,
  | 'log'
  | 'target'
  | 'kind'
  | 'size'
  | 'state'
  | 'timeMs'
  | 'attempts'
  | 'dueMs'
  | 'reason'
  | 'plannedMs'
  | 'changedMs'
>;

/** What may change of a row that goes on. What is not named stays. */
export type AnchorChange = Partial<
  Pick<AnchorRow, 'state' | 'request' | 'answer' | 'attempts' | 'dueMs' | 'reason'>
>;

/** How far a target has got with a log; what there is not is null. */
export interface TargetProgress {
  readonly target: string;
  readonly kind: AnchorKind;
  /** The largest size that is published, and the time that it proves. */
  readonly size: number | null;
  readonly timeMs: number | null;
  /** What is on its way. */
  readonly pendingSize: number | null;
  readonly pendingSinceMs: number | null;
  readonly attempts: number | null;
  /** Heads beyond `size` that were given up. */
  readonly missed: number;
}

export interface TargetRow {
  readonly name: string;
  readonly last: Uint8Array | null;
  readonly evidence: string | null;
}

const COLUMNS = `id, log, target, kind, size, root, text, signature, spki, state, request, answer, anchor,
  time_ms AS timeMs, attempts, due_ms AS dueMs, reason, planned_ms AS plannedMs, changed_ms AS changedMs`;

const SUMMARY = `log, target, kind, size, state, time_ms AS timeMs, attempts, due_ms AS dueMs, reason,
  planned_ms AS plannedMs, changed_ms AS changedMs`;

const OPEN = `state IN (${OPEN_STATES.map((state) => `'${state}'`).join(', ')})`;

const OF_TARGET = 'FROM anchor WHERE log = @log AND target = named.target';

/** The names of targets are found one after the other, and what is beyond the last proven size is little. */
export const PROGRESS = `WITH RECURSIVE named (target) AS (
    SELECT min(target) FROM anchor WHERE log = @log
    UNION ALL
    SELECT (SELECT min(target) FROM anchor WHERE log = @log AND target > named.target) FROM named
      WHERE target IS NOT NULL
  ), done AS MATERIALIZED (
    SELECT target, (SELECT kind ${OF_TARGET} ORDER BY size DESC LIMIT 1) AS kind,
      (SELECT size ${OF_TARGET} AND state = 'published' ORDER BY size DESC LIMIT 1) AS size
    FROM named WHERE target IS NOT NULL
  )
  SELECT named.target, named.kind, named.size,
    (SELECT time_ms ${OF_TARGET} AND size = named.size) AS timeMs,
    open.size AS pendingSize, open.planned_ms AS pendingSinceMs, open.attempts,
    (SELECT count(*) ${OF_TARGET} AND size > coalesce(named.size, 0)
       AND state IN ('superseded', 'dead', 'suspect')) AS missed
  FROM done AS named
  LEFT JOIN anchor AS open ON open.id = (SELECT id ${OF_TARGET} AND size > coalesce(named.size, 0)
    AND state NOT IN ('published', 'superseded', 'dead', 'suspect') ORDER BY size DESC LIMIT 1)
  ORDER BY named.target`;

const CHANGED = {
  state: 'state',
  request: 'request',
  answer: 'answer',
  attempts: 'attempts',
  dueMs: 'due_ms',
  reason: 'reason',
} as const satisfies Record<keyof AnchorChange, string>;

export class AnchorRows {
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
   * A new row, and in the same step every older one of this log and target that was not answered is given
   * up for it: the newest head covers what they would have.
   */
  plan(row: PlannedAnchor): void {
    this.#transaction(() => {
      this.#db
        .prepare(
          `UPDATE anchor SET state = 'superseded', request = NULL, changed_ms = @plannedMs
           WHERE log = @log AND target = @target AND state IN ('planned', 'signed', 'sent')`,
        )
        .run({ log: row.log, target: row.target, plannedMs: row.plannedMs });
      this.#db
        .prepare(
          `INSERT INTO anchor (log, target, kind, size, root, text, signature, spki, state, due_ms, planned_ms, changed_ms)
           VALUES (@log, @target, @kind, @size, @root, @text, @signature, @spki, 'planned', @plannedMs, @plannedMs, @plannedMs)
           ON CONFLICT (log, target, size) DO UPDATE SET text = excluded.text, signature = excluded.signature,
             spki = excluded.spki, state = 'planned', request = NULL, answer = NULL, reason = NULL,
             due_ms = excluded.due_ms, changed_ms = excluded.changed_ms
           WHERE state IN ('superseded', 'dead')`,
        )
        .run(row);
    });
  }

  /** Open rows of a target whose time has come, the oldest first. */
  due(target: string, nowMs: number, limit: number): AnchorRow[] {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${COLUMNS} FROM anchor WHERE target = ? AND ${OPEN} AND due_ms <= ? ORDER BY due_ms, id LIMIT ?`,
        )
        .all(target, nowMs, limit),
    ) as AnchorRow[];
  }

  get(id: number): AnchorRow | undefined {
    return this.#run(() =>
      this.#db.prepare(`SELECT ${COLUMNS} FROM anchor WHERE id = ?`).get(id),
    ) as AnchorRow | undefined;
  }

  /** Changes a row that is still in `state`; says whether it was. */
  change(id: number, state: OpenState, change: AnchorChange, nowMs: number): boolean {
    const names = Object.keys(change) as (keyof AnchorChange)[];
    const set = [...names.map((name) => `${CHANGED[name]} = @${name}`), 'changed_ms = @nowMs'];
    const { changes } = this.#run(() =>
      this.#db
        .prepare(`UPDATE anchor SET ${set.join(', ')} WHERE id = @id AND state = @was`)
        .run({ ...change, id, was: state, nowMs }),
    );
    this.#version++;
    return changes === 1;
  }

  /** What was verified, with what is remembered of its target, in one step. */
  publish(
    id: number,
    { anchor, timeMs, last }: { anchor: string; timeMs?: number; last?: Uint8Array },
    nowMs: number,
  ): void {
    this.#transaction(() => {
      this.#db
        .prepare(
          `UPDATE anchor SET state = 'published', anchor = ?, time_ms = ?, reason = NULL, changed_ms = ?
           WHERE id = ? AND state = 'received'`,
        )
        .run(anchor, timeMs ?? null, nowMs, id);
      if (last === undefined) return;
      this.#db
        .prepare(
          `INSERT INTO anchor_target (name, last) SELECT target, ? FROM anchor WHERE id = ?
           ON CONFLICT (name) DO UPDATE SET last = excluded.last`,
        )
        .run(last, id);
    });
  }

  target(name: string): TargetRow | undefined {
    return this.#run(() =>
      this.#db.prepare('SELECT name, last, evidence FROM anchor_target WHERE name = ?').get(name),
    ) as TargetRow | undefined;
  }

  /** From here on the target is asked nothing, and what it said counts for nothing. */
  suspect(id: number, reason: string, evidence: string, nowMs: number): void {
    this.#transaction(() => {
      this.#db
        .prepare(`UPDATE anchor SET state = 'suspect', reason = ?, changed_ms = ? WHERE id = ?`)
        .run(reason, nowMs, id);
      this.#db
        .prepare(
          `INSERT INTO anchor_target (name, evidence) SELECT target, ? FROM anchor WHERE id = ?
           ON CONFLICT (name) DO UPDATE SET evidence = coalesce(evidence, excluded.evidence)`,
        )
        .run(evidence, id);
    });
  }

  /** The largest size of a log that was planned for a target and not given up. */
  largest(log: string, target: string): number | undefined {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT max(size) FROM anchor WHERE log = ? AND target = ? AND state <> 'superseded' AND state <> 'dead'`,
        )
        .pluck()
        .get(log, target),
    ) as number | undefined;
  }

  /** The largest head of a log that was to be shown to anybody, whatever became of it. */
  newestHead(log: string): PlannedHead | undefined {
    return this.#run(() =>
      this.#db
        .prepare('SELECT log, size, root FROM anchor WHERE log = ? ORDER BY size DESC LIMIT 1')
        .get(log),
    ) as PlannedHead | undefined;
  }

  /** The largest published size of a log, whatever the target. */
  largestPublished(log: string): AnchorRow | undefined {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${COLUMNS} FROM anchor WHERE log = ? AND state = 'published' ORDER BY size DESC LIMIT 1`,
        )
        .get(log),
    ) as AnchorRow | undefined;
  }

  /** Of each target the published anchor of the smallest size beyond `index`: the earliest that covers it. */
  covering(log: string, index: number): AnchorRow[] {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${COLUMNS} FROM anchor AS one WHERE log = @log AND state = 'published' AND size =
             (SELECT min(size) FROM anchor WHERE log = @log AND target = one.target AND state = 'published'
               AND size > @index)
           ORDER BY target`,
        )
        .all({ log, index }),
    ) as AnchorRow[];
  }

  published(log: string, target: string, size: number): AnchorRow | undefined {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${COLUMNS} FROM anchor WHERE log = ? AND target = ? AND size = ? AND state = 'published'`,
        )
        .get(log, target, size),
    ) as AnchorRow | undefined;
  }

  /** Rows of a log, newest first, below `before` where that is given. */
  list(
    log: string,
    { before, limit }: { before?: number | undefined; limit: number },
  ): AnchorSummary[] {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${SUMMARY} FROM anchor WHERE log = ? AND size < ? ORDER BY size DESC, target LIMIT ?`,
        )
        .all(log, before ?? Number.MAX_SAFE_INTEGER, limit),
    ) as AnchorSummary[];
  }

  /** Published anchors of one size. */
  publishedAt(log: string, size: number): AnchorSummary[] {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT ${SUMMARY} FROM anchor WHERE log = ? AND size = ? AND state = 'published' ORDER BY target`,
        )
        .all(log, size),
    ) as AnchorSummary[];
  }

  /** How far each target has got with a log. Every step is a look-up in an index, however many rows there are. */
  progress(log: string): TargetProgress[] {
    return this.#run(() => this.#db.prepare(PROGRESS).all({ log })) as TargetProgress[];
  }

  #transaction(work: () => void): void {
    this.#run(() => this.#db.transaction(work).immediate());
    this.#version++;
  }
}
