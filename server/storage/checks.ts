/** What the last check of each log found, in the instance database. */
import { SteleError } from '../core/errors.ts';
import {
  type Db,
  openForReading,
  openForWriting,
  schemaOf,
  storageError,
} from './sqlite/database.ts';

/** `unknown`: it could not be told, and `found` says why if there is a reason. */
export const CHECK_VERDICTS = ['holds', 'damaged', 'unknown'] as const;
export type CheckVerdict = (typeof CHECK_VERDICTS)[number];

export interface CheckRow {
  /** NAME, or NAME.access. */
  readonly log: string;
  readonly beganMs: number;
  readonly endedMs: number;
  /** Entries that were hashed, and content files that were opened. */
  readonly size: number;
  readonly files: number;
  readonly tree: CheckVerdict;
  readonly content: CheckVerdict;
  /** What is wrong, with places: the first hundred of each half. */
  readonly found: readonly string[];
}

const COLUMNS = 'log, began_ms AS beganMs, ended_ms AS endedMs, size, files, tree, content, found';

/** What checks found, read beside whoever owns the database. */
export function listChecks(path: string): CheckRow[] {
  const db = openForReading(path);
  try {
    return selectChecks(db);
  } catch (error) {
    throw storageError(error, path);
  } finally {
    db.close();
  }
}

function selectChecks(db: Db): CheckRow[] {
  const rows = db.prepare(`SELECT ${COLUMNS} FROM log_check ORDER BY log`).all();
  return rows.flatMap((row) => toCheck(row) ?? []);
}

export function prepareChecks(db: Db) {
  const one = db.prepare(`SELECT ${COLUMNS} FROM log_check WHERE log = ?`);
  const put = db.prepare(
    `INSERT OR REPLACE INTO log_check (log, began_ms, ended_ms, size, files, tree, content, found)
     VALUES (@log, @beganMs, @endedMs, @size, @files, @tree, @content, @found)`,
  );
  return {
    one: (log: string) => toCheck(one.get(log)),
    all: () => selectChecks(db),
    put: (row: CheckRow) => put.run({ ...row, found: JSON.stringify(row.found) }),
  };
}

/** Notes what a command found, also while a server has the database open. Its schema is left as it is. */
export function noteChecks(path: string, rows: readonly CheckRow[]): void {
  const { has, known } = schemaOf(path, 'instance');
  if (has !== known) {
    throw new SteleError(
      'storage',
      `${path}: it has schema ${has} and this release ${known}: what was found is not noted`,
    );
  }
  const db = openForWriting(path, 'instance');
  try {
    const { put } = prepareChecks(db);
    for (const row of rows) put(row);
  } catch (error) {
    throw storageError(error, path);
  } finally {
    db.close();
  }
}

function toCheck(row: unknown): CheckRow | undefined {
  if (row === undefined) return undefined;
  const { found, ...rest } = row as Omit<CheckRow, 'found'> & { found: string };
  return { ...rest, found: JSON.parse(found) as string[] };
}
