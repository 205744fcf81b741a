/** What this instance knows as a witness of other logs, in the instance database. */
import { concat, sha256, utf8 } from '../core/bytes.ts';
import { HASH_BYTES, type Hash, type TreeSize } from '../core/units.ts';
import { type EvidenceKind, judgeShown, type Shown } from '../core/witness-judge.ts';
import type { Db } from './sqlite/database.ts';

/** Who the witness is. */
export interface WitnessRow {
  readonly name: string;
  /** JSON: its verifier keys. */
  readonly keys: string;
  /** Transactions that let a cosignature out. */
  readonly commits: number;
}

export interface WitnessedRow {
  /** SHA-256 of the origin. */
  readonly id: Uint8Array;
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
  /** Its text, and the verified lines of the log. */
  readonly note: string;
  readonly timeS: number;
  readonly firstS: number;
  readonly times: number;
}

export interface EvidenceRow {
  readonly id: number;
  readonly origin: string;
  readonly kind: EvidenceKind;
  readonly seenS: number;
  readonly size: TreeSize;
  readonly note: string;
  readonly held: string | null;
  readonly old: TreeSize;
  /** Hashes, one after another. */
  readonly proof: Uint8Array;
}

/** A checkpoint that its log signed, as it was sent to be cosigned. */
export interface Asked extends Shown {
  readonly origin: string;
  readonly note: string;
}

export type Verdict =
  | { readonly kind: 'cosign'; readonly timeS: number }
  | { readonly kind: 'conflict'; readonly size: TreeSize; readonly evidence?: EvidenceKind }
  | { readonly kind: 'refuse'; readonly rule: string; readonly evidence?: EvidenceKind };

export interface Judged {
  readonly verdicts: readonly Verdict[];
  /** As `WitnessRow` has it, after this. */
  readonly commits: number;
}

/** Rows of evidence of one log and kind: the first ones, which nobody can push out by sending more. */
export const EVIDENCE_MAX = 16;
/** Of proofs that lead nowhere the newest ones: anybody can send these. */
export const BAD_PROOFS_MAX = 4;

/**
 * Seconds that a clock may be behind the last cosignature of a log, which is then given that time once more. A
 * clock that was further ahead than this was wrong, and what it said is not held to for ever.
 */
const CLOCK_SLACK_S = 300;

const COLUMNS = `id, origin, size, root, note, time_s AS timeS, first_s AS firstS, times`;
const EVIDENCE = `id, origin, kind, seen_s AS seenS, size, note, held, old, proof`;

export function idOfOrigin(origin: string): Uint8Array {
  return sha256(utf8(origin));
}

/** For reading; and who the witness is. */
export class WitnessedRows {
  readonly #db: Db;
  readonly #run: <T>(work: () => T) => T;

  /** `run` turns what the database throws into errors of ours. */
  constructor(db: Db, run: <T>(work: () => T) => T) {
    this.#db = db;
    this.#run = run;
  }

  witness(): WitnessRow | undefined {
    return this.#run(() => this.#db.prepare('SELECT name, keys, commits FROM witness').get()) as
      | WitnessRow
      | undefined;
  }

  setWitness({ name, keys }: Pick<WitnessRow, 'name' | 'keys'>): void {
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO witness (one, name, keys, commits) VALUES (1, ?, ?, 0)
           ON CONFLICT (one) DO UPDATE SET name = excluded.name, keys = excluded.keys`,
        )
        .run(name, keys),
    );
  }

  get(id: Uint8Array): WitnessedRow | undefined {
    return this.#run(() =>
      this.#db.prepare(`SELECT ${COLUMNS} FROM witnessed WHERE id = ?`).get(id),
    ) as WitnessedRow | undefined;
  }

  /** The one that was cosigned last comes first. */
  list(limit: number): WitnessedRow[] {
    return this.#run(() =>
      this.#db
        .prepare(`SELECT ${COLUMNS} FROM witnessed ORDER BY time_s DESC, origin LIMIT ?`)
        .all(limit),
    ) as WitnessedRow[];
  }

  count(): number {
    return this.#run(() =>
      this.#db.prepare('SELECT count(*) FROM witnessed').pluck().get(),
    ) as number;
  }

  /** The newest first, below `before` where that is given. */
  evidence({ before, limit }: { before?: number | undefined; limit: number }): EvidenceRow[] {
    return this.#run(() =>
      this.#db
        .prepare(`SELECT ${EVIDENCE} FROM witness_evidence WHERE id < ? ORDER BY id DESC LIMIT ?`)
        .all(before ?? Number.MAX_SAFE_INTEGER, limit),
    ) as EvidenceRow[];
  }

  evidenceCounts(): { origin: string; kind: EvidenceKind; rows: number }[] {
    return this.#run(() =>
      this.#db
        .prepare(
          'SELECT origin, kind, count(*) AS rows FROM witness_evidence GROUP BY origin, kind',
        )
        .all(),
    ) as { origin: string; kind: EvidenceKind; rows: number }[];
  }
}

/**
 * Judges checkpoints one after another, each against what those before it left, in one transaction that is on
 * disk when it returns: a cosignature is made only then. What it throws changed nothing, or is not known.
 */
export function witnessWriter(db: Db): (asked: readonly Asked[], nowS: number) => Judged {
  const held = db.prepare('SELECT size, root, note, time_s AS timeS FROM witnessed WHERE id = ?');
  const put = db.prepare(
    `INSERT INTO witnessed (id, origin, size, root, note, time_s, first_s, times)
     VALUES (@id, @origin, @size, @root, @note, @timeS, @timeS, 1)
     ON CONFLICT (id) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note,
       time_s = excluded.time_s, times = times + 1`,
  );
  const count = db.prepare('UPDATE witness SET commits = commits + 1 RETURNING commits').pluck();
  const commits = db.prepare('SELECT commits FROM witness').pluck();
  const keep = evidenceKeeper(db);

  const judgeOne = (one: Asked, nowS: number): Verdict => {
    const id = idOfOrigin(one.origin);
    const row = held.get(id) as Pick<WitnessedRow, 'size' | 'root' | 'note' | 'timeS'> | undefined;
    const judgement = judgeShown(row, one);
    if (judgement.kind !== 'cosign') {
      const { evidence: kind } = judgement;
      if (kind !== undefined) keep({ ...one, id, kind, held: row?.note ?? null, seenS: nowS });
      return judgement;
    }
    const lastS = row?.timeS ?? 0;
    const timeS = lastS > nowS && lastS - nowS <= CLOCK_SLACK_S ? lastS : nowS;
    const { origin, size, root, note } = one;
    put.run({ id, origin, size, root, note, timeS });
    return { kind: 'cosign', timeS };
  };
  const judge = db.transaction((asked: readonly Asked[], nowS: number): Judged => {
    const verdicts = asked.map((one) => judgeOne(one, nowS));
    const isWritten = verdicts.some(({ kind }) => kind === 'cosign');
    return { verdicts, commits: (isWritten ? count : commits).get() as number };
  });
  return (asked, nowS) => judge.immediate(asked, nowS);
}

type Keeping = Asked & {
  readonly id: Uint8Array;
  readonly kind: EvidenceKind;
  readonly held: string | null;
  readonly seenS: number;
};

function evidenceKeeper(db: Db): (evidence: Keeping) => void {
  const rows = db
    .prepare('SELECT count(*) FROM witness_evidence WHERE log = ? AND kind = ?')
    .pluck();
  const dropOldest = db.prepare(
    `DELETE FROM witness_evidence WHERE id = (SELECT min(id) FROM witness_evidence WHERE log = ? AND kind = ?)`,
  );
  const isKept = db.prepare(
    'SELECT 1 FROM witness_evidence WHERE log = ? AND kind = ? AND note = ?',
  );
  const insert = db.prepare(
    `INSERT INTO witness_evidence (log, origin, kind, seen_s, size, note, held, old, proof)
     VALUES (@id, @origin, @kind, @seenS, @size, @note, @held, @old, @proof)`,
  );
  return ({ id, origin, kind, seenS, size, note, held, old, proof }) => {
    if (isKept.get(id, kind, note) !== undefined) return;
    const kept = rows.get(id, kind) as number;
    if (kind !== 'bad_proof' && kept >= EVIDENCE_MAX) return;
    if (kind === 'bad_proof' && kept >= BAD_PROOFS_MAX) dropOldest.run(id, kind);
    insert.run({ id, origin, kind, seenS, size, note, held, old, proof: concat(...proof) });
  };
}

/** The hashes of a proof as evidence keeps it. */
export function hashesOf(proof: Uint8Array): Hash[] {
  return Array.from(
    { length: proof.length / HASH_BYTES },
    (_, i) => proof.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES) as Hash,
  );
}
