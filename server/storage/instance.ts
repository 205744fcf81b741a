/**
 * What one instance knows besides its logs: its identity, its list of logs, the tokens it gave out.
 * Small and rarely written, so it is read and written in place, each write one durable transaction.
 */
import { SteleError } from '../core/errors.ts';
import { AnchorRows, type PlannedHead, selectNewestHeads } from './anchors.ts';
import { type CheckRow, prepareChecks } from './checks.ts';
import { Ingested } from './ingested.ts';
import {
  checkSchema,
  type Db,
  openForReading,
  openForWriting,
  storageError,
} from './sqlite/database.ts';
import { StrangerRows } from './strangers.ts';
import { WitnessedRows } from './witnessed.ts';
import { type SeenRow, selectAllSeen, WitnessRows } from './witnesses.ts';

export const VISIBILITIES = ['public', 'proofs', 'private'] as const;
export type Visibility = (typeof VISIBILITIES)[number];

export const ROLES = ['submit', 'read', 'content', 'approve', 'keys', 'metrics', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** From its row to its end: `log/logs.ts` says what each step means. */
export const LOG_STATES = ['creating', 'active', 'frozen', 'retiring', 'retired'] as const;
export type LogState = (typeof LOG_STATES)[number];

export interface LogRow {
  readonly name: string;
  readonly origin: string;
  readonly visibility: Visibility;
  /** The admission rules that its creation began with, as JSON text; the log itself says how they changed. */
  readonly rules: string;
  readonly state: LogState;
  readonly createdMs: number;
  /** The head of the log that it follows, as JSON text, as in the genesis record. */
  readonly previous?: string;
  /** The origin of the log that follows it. */
  readonly next?: string;
  /** When its files are removed, or were: of a `retiring` and a `retired` log. */
  readonly retireMs?: number;
  /** The last checkpoint of a `retired` log. */
  readonly final?: string;
}

export interface TokenRow {
  readonly id: string;
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  readonly holder: string;
  readonly roles: readonly Role[];
  /** Names of logs, or `*` for all. */
  readonly logs: readonly string[];
  readonly createdMs: number;
  readonly expiresMs?: number;
  readonly revokedMs?: number;
}

/** An act of administration that waits for somebody's approval. */
export interface RequestRow {
  readonly id: string;
  readonly act: string;
  /** The log that it is about; empty where it is about none. */
  readonly log: string;
  /** Logs that whoever decides on it is bound to, as a JSON list. */
  readonly scope: string;
  /** What there is to do, and what is shown of it, as JSON text. */
  readonly args: string;
  readonly details: string;
  readonly holder: string;
  /** The id of the token that asked. */
  readonly token: string;
  readonly createdMs: number;
}

/** A key of the server's own that is to be revoked wherever it is registered. */
export interface EndingOwnKeyRow {
  readonly keyid: string;
  readonly dueMs: number;
}

/** A key of a log that is to end by itself. */
export interface EndingKeyRow {
  readonly log: string;
  readonly keyid: string;
  readonly dueMs: number;
  /** No overlap is waited for: others may have the key. */
  readonly atOnce: boolean;
}

/** Where a data folder was written: see `log/guard.ts`. */
export interface Identity {
  readonly originBase: string;
  readonly machine: string | undefined;
  readonly device: string;
  readonly inode: string;
}

export class InstanceStore {
  readonly path: string;
  readonly #db: Db;
  readonly #checks: ReturnType<typeof prepareChecks>;
  readonly anchors: AnchorRows;
  readonly strangers: StrangerRows;
  readonly witnessed: WitnessedRows;
  readonly ingested: Ingested;
  readonly witnesses: WitnessRows;
  #logs: ReadonlyMap<string, LogRow> | undefined;
  /** Made once for as long as no log comes or changes. */
  #followers: ReadonlyMap<string, string> | undefined;

  constructor(path: string) {
    this.path = path;
    this.#db = openForWriting(path, 'instance');
    this.#checks = prepareChecks(this.#db);
    this.anchors = new AnchorRows(this.#db, (work) => this.#run(work));
    this.strangers = new StrangerRows(this.#db, (work) => this.#run(work));
    this.witnessed = new WitnessedRows(this.#db, (work) => this.#run(work));
    this.ingested = new Ingested(this.#db, (work) => this.#run(work));
    this.witnesses = new WitnessRows(this.#db, (work) => this.#run(work));
  }

  identity(): Identity | undefined {
    return this.#run(() => selectIdentity(this.#db));
  }

  setIdentity({ originBase, machine, device, inode }: Identity): void {
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO instance (one, origin_base, machine, device, inode) VALUES (1, ?, ?, ?, ?)
           ON CONFLICT (one) DO UPDATE SET machine = excluded.machine, device = excluded.device,
             inode = excluded.inode`,
        )
        .run(originBase, machine ?? null, device, inode),
    );
  }

  logs(): LogRow[] {
    return [...this.#rows().values()];
  }

  log(name: string): LogRow | undefined {
    return this.#rows().get(name);
  }

  /**
   * The rows by name, in order. Every request asks for one, also for names that do not exist, so they
   * are kept: only this process writes them (`log/guard.ts`), and whatever it writes drops them.
   */
  #rows(): ReadonlyMap<string, LogRow> {
    this.#logs ??= new Map(this.#selectLogs().map((row) => [row.name, row]));
    return this.#logs;
  }

  #selectLogs(): LogRow[] {
    const rows = this.#run(() => this.#db.prepare(`${SELECT_LOG} ORDER BY name`).all());
    return (rows as RawLog[]).map(toLog);
  }

  /** The logs that go on where this one ends, one after the other: those that a roll began. */
  followers(name: string): readonly string[] {
    this.#followers ??= followersOf(this.logs());
    return chain(this.#followers, name);
  }

  /** Origins of logs that another follows, whether one was rolled over or came to its end by a loss. */
  followed(): ReadonlySet<string> {
    const previous = this.logs().flatMap((row) =>
      row.previous === undefined ? [] : [row.previous],
    );
    return new Set(previous.map((text) => (JSON.parse(text) as { origin: string }).origin));
  }

  insertLog(row: LogRow): void {
    this.#followers = undefined;
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO log (name, origin, visibility, rules, state, created_ms, previous, next, retire_ms, final)
           VALUES (@name, @origin, @visibility, @rules, @state, @createdMs, @previous, @next, @retireMs, @final)`,
        )
        .run({ ...NO_LOG, ...row }),
    );
    this.#logs = undefined;
  }

  /** Everything of a log that may change, in one durable write. */
  updateLog(row: LogRow): void {
    this.#followers = undefined;
    const { changes } = this.#run(() =>
      this.#db
        .prepare(
          `UPDATE log SET visibility = @visibility, state = @state, next = @next,
             retire_ms = @retireMs, final = @final WHERE name = @name`,
        )
        .run({ ...NO_LOG, ...row }),
    );
    this.#logs = undefined;
    if (changes === 0) throw new SteleError('not_found', `there is no log ${row.name}`);
  }

  /**
   * Notes what a key is for, for good. Throws `conflict` if it is for something else already.
   */
  claimKey(keyid: string, use: string): void {
    const known = this.#run(() =>
      this.#db.prepare('SELECT use FROM key_use WHERE keyid = ?').pluck().get(keyid),
    ) as string | undefined;
    if (known === use) return;
    if (known !== undefined) {
      throw new SteleError(
        'conflict',
        `key ${keyid} is to be ${use}, and is ${known}: each key has one purpose, in one log`,
      );
    }
    this.#run(() =>
      this.#db.prepare('INSERT INTO key_use (keyid, use) VALUES (?, ?)').run(keyid, use),
    );
  }

  /** What the last check of each log found. A command beside this process may write these. */
  checks(): CheckRow[] {
    return this.#run(() => this.#checks.all());
  }

  check(log: string): CheckRow | undefined {
    return this.#run(() => this.#checks.one(log));
  }

  putCheck(row: CheckRow): void {
    this.#run(() => this.#checks.put(row));
  }

  noteEndingKey({ log, keyid, dueMs, atOnce }: EndingKeyRow): void {
    this.#run(() =>
      this.#db
        .prepare(
          'INSERT OR REPLACE INTO ending_key (log, keyid, due_ms, at_once) VALUES (?, ?, ?, ?)',
        )
        .run(log, keyid, dueMs, atOnce ? 1 : 0),
    );
  }

  dropEndingKey(log: string, keyid: string): void {
    this.#run(() =>
      this.#db.prepare('DELETE FROM ending_key WHERE log = ? AND keyid = ?').run(log, keyid),
    );
  }

  /** The one that is due first comes first. */
  endingKeys(): EndingKeyRow[] {
    const rows = this.#run(() =>
      this.#db
        .prepare('SELECT log, keyid, due_ms AS dueMs, at_once FROM ending_key ORDER BY due_ms, log')
        .all(),
    ) as (Omit<EndingKeyRow, 'atOnce'> & { at_once: number })[];
    return rows.map(({ at_once, ...row }) => ({ ...row, atOnce: at_once === 1 }));
  }

  noteEndingOwnKey({ keyid, dueMs }: EndingOwnKeyRow): void {
    this.#run(() =>
      this.#db
        .prepare('INSERT OR REPLACE INTO ending_own_key (keyid, due_ms) VALUES (?, ?)')
        .run(keyid, dueMs),
    );
  }

  dropEndingOwnKey(keyid: string): void {
    this.#run(() => this.#db.prepare('DELETE FROM ending_own_key WHERE keyid = ?').run(keyid));
  }

  /** The one that is due first comes first. */
  endingOwnKeys(): EndingOwnKeyRow[] {
    return this.#run(() =>
      this.#db.prepare('SELECT keyid, due_ms AS dueMs FROM ending_own_key ORDER BY due_ms').all(),
    ) as EndingOwnKeyRow[];
  }

  insertToken(row: TokenRow): void {
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO token (id, hash, holder, roles, logs, created_ms, expires_ms, revoked_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(
          row.id,
          row.hash,
          row.holder,
          JSON.stringify(row.roles),
          JSON.stringify(row.logs),
          row.createdMs,
          row.expiresMs ?? null,
          row.revokedMs ?? null,
        ),
    );
  }

  findToken(hash: Uint8Array): TokenRow | undefined {
    const row = this.#run(() => this.#db.prepare(`${SELECT_TOKEN} WHERE hash = ?`).get(hash));
    return row === undefined ? undefined : toToken(row as RawToken);
  }

  listTokens(): TokenRow[] {
    const rows = this.#run(() => this.#db.prepare(`${SELECT_TOKEN} ORDER BY created_ms, id`).all());
    return (rows as RawToken[]).map(toToken);
  }

  /** Revoking twice keeps the first time. */
  revokeToken(id: string, nowMs: number): void {
    const { changes } = this.#run(() =>
      this.#db
        .prepare('UPDATE token SET revoked_ms = coalesce(revoked_ms, ?) WHERE id = ?')
        .run(nowMs, id),
    );
    if (changes === 0) throw new SteleError('not_found', `there is no token ${id}`);
  }

  insertRequest(row: RequestRow): void {
    this.#run(() =>
      this.#db
        .prepare(
          `INSERT INTO request (id, act, log, scope, args, details, holder, token, created_ms)
           VALUES (@id, @act, @log, @scope, @args, @details, @holder, @token, @createdMs)`,
        )
        .run(row),
    );
  }

  /** In the order in which they were made. */
  listRequests(): RequestRow[] {
    return this.#run(() =>
      this.#db
        .prepare(
          `SELECT id, act, log, scope, args, details, holder, token, created_ms AS createdMs FROM request
           ORDER BY created_ms, id`,
        )
        .all(),
    ) as RequestRow[];
  }

  deleteRequest(id: string): void {
    this.#run(() => this.#db.prepare('DELETE FROM request WHERE id = ?').run(id));
  }

  close(): void {
    this.#db.close();
  }

  #run<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.path);
    }
  }
}

/** A log as somebody beside the process sees it that owns the database. */
export interface SeenLog {
  readonly name: string;
  readonly origin: string;
  /** Only its access log is left. */
  readonly isGone: boolean;
}

/** Leaves out of a copy what is not whole yet, and says which logs are in it. */
export function settleInstanceCopy(copy: Db): SeenLog[] {
  copy.exec("DELETE FROM log WHERE state = 'creating'");
  return selectSeen(copy);
}

function selectIdentity(db: Db): Identity | undefined {
  const row = db.prepare('SELECT origin_base, machine, device, inode FROM instance').get() as
    | { origin_base: string; machine: string | null; device: string; inode: string }
    | undefined;
  return (
    row && {
      originBase: row.origin_base,
      machine: row.machine ?? undefined,
      device: row.device,
      inode: row.inode,
    }
  );
}

/** Where an instance database was written, which is left as it is. */
export function identityIn(path: string): Identity | undefined {
  return reading(path, selectIdentity);
}

/** The logs of an instance database, which is left as it is. */
export function listLogs(path: string): SeenLog[] {
  return reading(path, (db) => {
    checkSchema(db, 'instance');
    return selectSeen(db);
  });
}

/** The logs of an instance database, and how far witnesses and targets were shown them; it is left as it is. */
export function witnessedIn(path: string): {
  readonly logs: readonly Pick<LogRow, 'name' | 'origin' | 'visibility'>[];
  readonly seen: readonly SeenRow[];
  readonly shown: readonly PlannedHead[];
  readonly followers: (name: string) => readonly string[];
} {
  return reading(path, (db) => {
    checkSchema(db, 'instance');
    const logs = (db.prepare(SELECT_LOG).all() as RawLog[]).map(toLog);
    const next = followersOf(logs);
    return {
      logs,
      seen: selectAllSeen(db),
      shown: selectNewestHeads(db),
      followers: (name) => chain(next, name),
    };
  });
}

function reading<T>(path: string, read: (db: Db) => T): T {
  const db = openForReading(path);
  try {
    return read(db);
  } catch (error) {
    throw storageError(error, path);
  } finally {
    db.close();
  }
}

function selectSeen(db: Db): SeenLog[] {
  const rows = db
    .prepare("SELECT name, origin, state FROM log WHERE state <> 'creating' ORDER BY name")
    .all();
  return (rows as { name: string; origin: string; state: string }[]).map(
    ({ name, origin, state }) => ({ name, origin, isGone: state === 'retired' }),
  );
}

const SELECT_LOG = `SELECT name, origin, visibility, rules, state, created_ms AS createdMs, previous, next,
  retire_ms AS retireMs, final FROM log`;

/** What a log need not have, as columns. */
const NO_LOG = { previous: null, next: null, retireMs: null, final: null };

type RawLog = { readonly [K in keyof Required<LogRow>]: Required<LogRow>[K] | null };

/** A member that is not there has no value, not even null. */
function toLog(row: RawLog): LogRow {
  const known = Object.entries(row).filter(([, value]) => value !== null);
  // The columns are the members, and those that must be there are NOT NULL.
  return Object.fromEntries(known) as unknown as LogRow;
}

/** By the name of each log that was rolled over, the name of the next. One that was given a head follows elsewhere. */
function followersOf(rows: readonly LogRow[]): ReadonlyMap<string, string> {
  const names = new Map(rows.map(({ origin, name }) => [origin, name]));
  const followers = new Map<string, string>();
  for (const { name, previous } of rows) {
    const followed: { origin?: string; size?: number } = JSON.parse(previous ?? '{}');
    const old = names.get(followed.origin ?? '');
    if (old !== undefined && followed.size === undefined) followers.set(old, name);
  }
  return followers;
}

function chain(followers: ReadonlyMap<string, string>, name: string): readonly string[] {
  const names: string[] = [];
  // No log is followed by one that was there before it, so this ends.
  for (let at = followers.get(name); at !== undefined; at = followers.get(at)) names.push(at);
  return names;
}

const SELECT_TOKEN =
  'SELECT id, hash, holder, roles, logs, created_ms, expires_ms, revoked_ms FROM token';

interface RawToken {
  readonly id: string;
  readonly hash: Uint8Array;
  readonly holder: string;
  readonly roles: string;
  readonly logs: string;
  readonly created_ms: number;
  readonly expires_ms: number | null;
  readonly revoked_ms: number | null;
}

function toToken(row: RawToken): TokenRow {
  return {
    id: row.id,
    hash: row.hash,
    holder: row.holder,
    roles: JSON.parse(row.roles) as Role[],
    logs: JSON.parse(row.logs) as string[],
    createdMs: row.created_ms,
    ...(row.expires_ms === null ? {} : { expiresMs: row.expires_ms }),
    ...(row.revoked_ms === null ? {} : { revokedMs: row.revoked_ms }),
  };
}
