/**
 * All logs of one instance: which there are, who may work on one, and the life of each from its row to its
 * end. Every step that a crash can cut short leaves something that the next attempt, or the next start,
 * completes.
 *
 *     creating ──▶ active ──▶ frozen ──▶ retiring ──▶ retired
 *                    │  ends with an entry   │ may be taken back        only its row is left
 *                    └──────── retire ───────┘                          and its access log
 *
 * Beside each log NAME there is NAME.access, an ordinary log with keys and a genesis of its own, in which
 * every read of NAME's content leaves an entry first (P11). It outlives its log. And there is `_admin`, the
 * instance's own, in which every act of administration leaves one; it begins with the first.
 *
 *     DATA/stele.db               which logs there are
 *     DATA/logs/NAME.db           entries, tiles, head
 *     DATA/keys/logs/NAME/        identity.pem, anchor.pem, and those that follow them
 */
import { join } from 'node:path';
import { toBase64 } from '../core/bytes.ts';
import { RECORD_TYPE } from '../core/entry.ts';
import { hasCode, invariant, malformed, SteleError, shown } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { type LogKeyPurpose, logVerifierKey } from '../core/log-key.ts';
import type { AdminRecord } from '../core/record.ts';
import { checkOrigin } from '../core/tree-head.ts';
import type { GatewayKeys } from '../keys/gateway-keys.ts';
import {
  LogKeyFiles,
  type LogKeyring,
  type OpenedKeys,
  type OpenLogKey,
} from '../keys/log-keyring.ts';
import type { Signer } from '../keys/signer.ts';
import type { InstanceStore, LogRow, Visibility } from '../storage/instance.ts';
import type { Head, LogStore } from '../storage/store.ts';
import type { SignatureChecker } from './admit.ts';
import type { AppendLimits, Logged, StagedContent } from './append.ts';
import type { Clock } from './clock.ts';
import { FoundDamaged } from './damaged.ts';
import { largestProven, lastHeadOf, type Previous, previousOf } from './last-head.ts';
import { Log } from './log.ts';
import { largestKnown, type Memories } from './memories.ts';
import { Meter } from './meter.ts';
import {
  ACCESS_SOURCE,
  ACCESS_SUFFIX,
  ADMIN_SOURCE,
  adminName,
  adminNumber,
  boundName,
  isAdminLog,
  LOG_NAME,
  ownSource,
  ROW_NAME,
} from './names.ts';
import { type Lease, OpenLogs } from './open-logs.ts';
import type { LogOptions } from './options.ts';
import { orClosed } from './or-closed.ts';
import { type End, endedError, type Rules } from './registry.ts';
import { TileCache } from './tile-cache.ts';

/** The keys of logs that are not files of the data folder. */
export interface KeysElsewhere {
  /** The keys of log `name`, and with them the operator's. Its database says whether it is new. */
  open(name: string, origin: string, store: LogStore): Promise<OpenedKeys>;

  /** Every identity key of a log that does not open. */
  identities(origin: string): Promise<readonly PublicKey[]>;
}

export interface LogsOptions {
  readonly data: string;
  /** What outside the data folder knows how far each log had got. */
  readonly memories: Memories;
  /** What the origins of new logs begin with: a host, perhaps with a path. */
  readonly originBase: string;
  readonly instance: InstanceStore;
  readonly openStore: (path: string) => Promise<LogStore>;
  /** Opens a key file of a log; with `mayCreate` it is made where it is missing. */
  readonly openKey: OpenLogKey;
  /** Absent where the logs' keys are held elsewhere, and the operator's with them. */
  readonly operator: Signer | undefined;
  /** Where the logs' keys are not files of this folder. */
  readonly keysElsewhere?: KeysElsewhere | undefined;
  /** The server's own gateway keys, the newest of which signs access entries. */
  readonly access: GatewayKeys;
  /** Makes content that was staged for log `name` durable. */
  readonly commitContent: (name: string, contents: readonly StagedContent[]) => Promise<void>;
  readonly checker: SignatureChecker;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** Which process start this is, for the records that the server makes itself. */
  readonly instanceId: string;
  readonly software: string;
  readonly limits: AppendLimits;
  /** Logs that stay open when nobody works on them, access logs among them. */
  readonly openMax: number;
  /** Milliseconds between the wish to retire a log and the removal of its files. */
  readonly coolingMs: number;
  /** What was open beside a log may be closed with it. */
  readonly closed: (name: string) => Promise<void>;
  /** Told of a log that begins where another one ends: done again, where a start has to complete it. */
  readonly following?: (log: Log, previous: string) => void;
  /** What a check found damaged of a log's tree; nothing of one that is whole, or was never checked. */
  readonly damageOf?: (name: string) => string | undefined;
  /** Why a log is to sign nothing, by what somebody outside holds against its history. */
  readonly disputeOf?: (log: {
    readonly name: string;
    readonly visibility: Visibility;
  }) => SteleError | undefined;
  /** Those who are shown a log's heads; nothing where none is. */
  readonly witnesses?: LogOptions<StagedContent>['witnesses'];
  /** Takes away everything that a retired log had but its access log; what is gone already is fine. */
  readonly removeFiles: (name: string) => Promise<void>;
  readonly checkSpace: () => void;
  readonly fatal: (error: Error) => void;
  readonly warn: (message: string, error: unknown) => void;
}

export interface NewLog {
  readonly name: string;
  readonly visibility?: Visibility;
  readonly rules?: Partial<Rules>;
  /** The last head of the log that it follows, wherever that is. */
  readonly previous?: Previous;
}

/** What a row says of the log that its log follows: without a size, that one has still to be ended. */
type Followed = Previous | Pick<Previous, 'origin'>;

/** A log of the list: what is known of it without opening it. */
export type ListedLog = Omit<LogRow, 'rules' | 'previous'>;

/** A read of content, as its access entry tells it. */
export interface AccessNote {
  readonly record_id: string;
  readonly fields: readonly string[];
  readonly reason: string;
  readonly holder: string;
}

/** An act of administration, as its entry tells it. */
export type AdminNote = AdminRecord['admin'];

export const DEFAULT_RULES: Rules = { payload_types: [RECORD_TYPE], continuity: 'flag' };

/** States in which a log is served. */
const SERVED: readonly LogRow['state'][] = ['active', 'frozen', 'retiring'];

export class Logs {
  /** What was counted since the start, for all logs together. */
  readonly meter = new Meter();
  readonly #options: LogsOptions;
  readonly #tiles = new TileCache();
  readonly #open: OpenLogs;
  /** Names of logs whose creation is under way. */
  readonly #creating = new Set<string>();
  /** The search for the log of administration, while it is under way: it may have to be created. */
  #admin: Promise<string> | undefined;

  constructor(options: LogsOptions) {
    this.#options = options;
    this.#open = new OpenLogs({
      max: options.openMax,
      closed: options.closed,
      failed: (name, error) =>
        options.warn(`log ${name}: it was not closed as it should be`, error),
    });
  }

  /**
   * Completes every creation and removal that was cut short. Called once, before anything is served. One
   * that still cannot be completed keeps no other from starting.
   */
  async recover(): Promise<void> {
    for (const row of this.#options.instance.logs()) {
      if (row.state === 'creating') await this.#attempt(row, 'its creation', this.#complete(row));
      if (row.state === 'retired') {
        await this.#attempt(row, 'its removal', this.#options.removeFiles(row.name));
      }
    }
  }

  /** The logs of this instance that are served, without the access logs beside them. */
  list(): readonly ListedLog[] {
    return this.#options.instance.logs().filter(({ state }) => SERVED.includes(state));
  }

  /** Those too that are gone: their names and origins are never given again. */
  listAll(): readonly ListedLog[] {
    return this.#options.instance.logs().filter(({ state }) => state !== 'creating');
  }

  /** One of the list; `not_found` if it is not served. */
  listed(name: string): ListedLog {
    return this.#row(name);
  }

  /** Who may see a log or access log that is served; nothing where there is none of that name. */
  visibilityOf(name: string): Visibility | undefined {
    const bound = boundName(name);
    const row = this.#options.instance.log(bound);
    if (row === undefined || !SERVED.includes(row.state)) return undefined;
    return bound === name ? row.visibility : 'private';
  }

  /** The row of an origin, in whatever state; nothing if it was never given here. */
  ofOrigin(origin: string): ListedLog | undefined {
    return this.#options.instance.logs().find((row) => row.origin === origin);
  }

  /** The origin of a name, also of a log that is gone; `not_found` if it was never given. */
  originOf(name: string): string {
    const row = LOG_NAME.test(name) ? this.#options.instance.log(name) : undefined;
    if (row === undefined) throw new SteleError('not_found', `there is no log ${shown(name)}`);
    return row.origin;
  }

  /** The last log of a series: `name` itself, or whichever of those that follow it one after the other is last. */
  newest(name: string): string {
    const rows = this.#options.instance.logs();
    let row = this.#row(name);
    // No log is followed by one that was there before it, so this ends.
    for (;;) {
      const next = rows.find(({ origin }) => origin === row.next);
      if (next === undefined || next.state === 'creating') return row.name;
      row = next;
    }
  }

  /** Takes a log by its name, NAME or NAME.access, to work on; `not_found` if there is none. */
  async lease(name: string): Promise<Lease> {
    const bound = boundName(name);
    const isAccess = bound !== name;
    return this.#open.lease(name, async () => {
      const row = this.#row(bound, isAccess);
      const log = await Log.open(await this.#logOptions(row, name));
      if (!isAccess) this.#noteEnd(row, log);
      return log;
    });
  }

  /** Works on a log, which stays open for as long. */
  async use<T>(name: string, work: (log: Log) => Promise<T> | T): Promise<T> {
    const { log, release } = await this.lease(name);
    try {
      return await work(log);
    } finally {
      release();
    }
  }

  /** Creates a log, its access log, their keys and genesis records. `conflict` if there is one. */
  async create({ name, visibility = 'proofs', rules = {}, previous }: NewLog): Promise<void> {
    checkName(name);
    await this.#create(name, {
      visibility,
      rules: { ...DEFAULT_RULES, ...rules },
      followed: previous,
    });
  }

  /**
   * Ends a log and begins the one that follows it, with its rules, its gateways and a genesis that names
   * its last head. The old one's last entry names the new one: the seam is proven from both sides. Cut
   * short after the new row is on disk, the next start completes it. Returns the new log's name, which
   * without `wanted` is made of the old one's and the date.
   */
  async roll(name: string, wanted?: string): Promise<string> {
    const row = this.#row(name);
    const rules = await this.use(name, (log) => {
      if (log.stopped !== undefined) throw log.stopped;
      if (log.end !== undefined) throw endedError(log.origin, log.end);
      return log.rules;
    });
    const next = wanted ?? this.#nextName(name);
    checkName(next);
    const { visibility, origin } = row;
    await this.#create(next, { visibility, rules, followed: { origin } });
    return next;
  }

  async #create(
    name: string,
    {
      visibility,
      rules,
      followed,
    }: {
      readonly visibility: Visibility;
      readonly rules: Rules;
      readonly followed?: Followed | undefined;
    },
  ): Promise<void> {
    const { instance, originBase, clock } = this.#options;
    const known = instance.log(name);
    if (known !== undefined && known.state !== 'creating') {
      throw new SteleError(
        'conflict',
        known.state === 'retired'
          ? `log ${name} was retired, and its name is not given again`
          : `log ${name} exists already`,
      );
    }
    if (this.#creating.has(name)) {
      throw new SteleError('conflict', `log ${name} is being created by somebody else`);
    }
    const row: LogRow = known ?? {
      name,
      origin: `${originBase}/logs/${name}`,
      visibility,
      rules: JSON.stringify(rules),
      state: 'creating',
      createdMs: clock.now(),
      ...(followed === undefined ? {} : { previous: JSON.stringify(followed) }),
    };
    this.#creating.add(name);
    try {
      // What can never be completed is not begun.
      if (known === undefined) await this.#checkUnused(row.origin);
      // The row comes first, with an origin that is never computed again: whatever of the rest is cut
      // short is completed by the next start.
      if (known === undefined) instance.insertLog(row);
      await this.#complete(row);
    } finally {
      this.#creating.delete(name);
    }
  }

  /**
   * The last head of a log that has ended, or that signs nothing more, for the genesis of the one that
   * follows it: see `last-head.ts`. Of one that cannot even be opened it is what a memory proves.
   */
  async lastHead(name: string): Promise<Previous> {
    const { origin } = this.#row(name);
    const answers = await this.#options.memories.ask(origin);
    let lease: Lease;
    try {
      lease = await this.lease(name);
    } catch (error) {
      const held = await this.#identities(name, origin);
      const keys = held.map((key) => logVerifierKey('identity', origin, key));
      const proven = largestProven(answers, 0, keys);
      if (proven === undefined) throw error;
      return previousOf(proven);
    }
    try {
      return await lastHeadOf(lease.log, answers);
    } finally {
      lease.release();
    }
  }

  /**
   * The log that acts are recorded in now. One that signs nothing more, as when an older copy of it was
   * restored, is followed by another whose genesis names its last head: else nobody could do what helps.
   */
  async #adminLog(): Promise<string> {
    const wanted = { visibility: 'private', rules: DEFAULT_RULES } as const;
    const numbers = this.#options.instance
      .logs()
      .flatMap(({ name }) => (isAdminLog(name) ? [adminNumber(name)] : []));
    const newest = Math.max(...numbers, 1);
    const name = adminName(newest);
    const state = this.#options.instance.log(name)?.state;
    if (state === undefined || state === 'creating') {
      await this.#create(name, wanted);
      return name;
    }
    const isOver = await this.use(name, ({ stopped, end }) => (stopped ?? end) !== undefined);
    if (!isOver) return name;
    const next = adminName(newest + 1);
    await this.#create(next, { ...wanted, followed: await this.lastHead(name) });
    return next;
  }

  /** Who may see a log: no matter of its history, so its row alone says it. From the return on it holds. */
  async changeVisibility(name: string, visibility: Visibility): Promise<void> {
    const { instance } = this.#options;
    instance.updateLog({ ...this.#row(name), visibility });
    await this.use(name, (log) => {
      log.visibility = visibility;
    });
  }

  /** Ends a log: it takes nothing more and is served as before. Done twice, it is done once. */
  async freeze(name: string, end: Omit<End, 'index'> = {}): Promise<End> {
    return this.use(name, async (log) => {
      const ended = await log.finish(end);
      // A crash before this leaves a row that says less than the log itself: opening the log mends it.
      this.#noteEnd(this.#row(name), log);
      return ended;
    });
  }

  /**
   * Ends a log and has its files removed after the cooling period; until then it is served, and `unretire`
   * takes the wish back. `typed` is the name once more: what cannot be undone is not done by a slip. A
   * log that signs nothing any more has no entry that ends it, and is retired all the same.
   */
  async retire(name: string, typed: string): Promise<ListedLog> {
    const { instance, clock, coolingMs } = this.#options;
    if (typed !== name) {
      throw malformed('name', `${shown(typed)} is not ${name}: type the name of what is removed`);
    }
    await this.use(name, async (log) => {
      if (log.stopped === undefined) await log.finish({ reason: 'retired' });
      this.#noteEnd(this.#row(name), log);
    });
    const row = this.#row(name);
    if (row.state === 'retiring') return row;
    const retiring: LogRow = { ...row, state: 'retiring', retireMs: clock.now() + coolingMs };
    instance.updateLog(retiring);
    return retiring;
  }

  /** Takes the wish to retire a log back. It stays frozen: what has ended does not go on. */
  unretire(name: string): ListedLog {
    const { retireMs, ...row } = this.#row(name);
    if (row.state !== 'retiring' || retireMs === undefined) {
      throw new SteleError('conflict', `log ${name} is not being retired`);
    }
    const frozen: LogRow = { ...row, state: 'frozen' };
    this.#options.instance.updateLog(frozen);
    return frozen;
  }

  /** Removes the files of every log whose cooling period is over. Who is told of a failure tries again later. */
  async removeDue(): Promise<void> {
    for (const row of this.#options.instance.logs()) {
      const isDue = row.state === 'retiring' && (row.retireMs ?? 0) <= this.#options.clock.now();
      if (isDue) await this.#attempt(row, 'its removal', this.#remove(row));
    }
  }

  /** Records a read of `name`'s content before it happens; rejects if that cannot be recorded. */
  async recordAccess(name: string, note: AccessNote): Promise<Logged> {
    const body = { kind: 'access' as const, access: { log: this.#row(name).origin, ...note } };
    return this.use(name + ACCESS_SUFFIX, (access) =>
      access.appendOwn(body, ACCESS_SOURCE, this.#options.access),
    );
  }

  /**
   * Goes by what checks have found since logs were opened: a log that is damaged stops signing, and one that
   * was mended is closed as soon as nobody works on it, so that it is opened anew.
   */
  async heedChecks(): Promise<void> {
    for (const log of await this.opened()) {
      const damage = this.#damageOf(log.name);
      if (damage !== undefined) log.stop(damage);
      else if (log.stopped instanceof FoundDamaged) await this.#closeIdle(log.name);
    }
  }

  /** Throws `storage` while the disk is too full for any log to accept anything. */
  checkSpace(): void {
    this.#options.checkSpace();
  }

  /** Records an act of administration, or a step of one; rejects if that cannot be recorded. */
  async recordAdmin(note: AdminNote): Promise<Logged> {
    this.#admin ??= this.#adminLog().finally(() => {
      this.#admin = undefined;
    });
    const name = await this.#admin;
    const body = { kind: 'admin' as const, admin: note };
    return this.use(name, (log) => log.appendOwn(body, ADMIN_SOURCE, this.#options.access));
  }

  /** Signatures that are being checked or wait for it. */
  get signaturesWaiting(): number {
    return this.#options.checker.waiting ?? 0;
  }

  /** Every log that is open now, the access logs among them. */
  opened(): Promise<Log[]> {
    return this.#open.opened();
  }

  /** Publishes what is newest and closes everything. */
  close(): Promise<void> {
    return this.#open.close();
  }

  /** Throws if a log of this origin was ever created, here or in a data folder that is gone. */
  async #checkUnused(origin: string): Promise<void> {
    for (const one of [origin, origin + ACCESS_SUFFIX]) {
      checkOrigin(one);
      if (largestKnown(await this.#options.memories.ask(one)) === undefined) continue;
      throw new SteleError('conflict', `a log of origin ${shown(one)} was created before`);
    }
  }

  #damageOf(name: string): FoundDamaged | undefined {
    const found = this.#options.damageOf?.(name);
    return found === undefined ? undefined : new FoundDamaged(name, found);
  }

  async #closeIdle(name: string): Promise<void> {
    try {
      await this.#open.barred(name, async () => {});
    } catch (error) {
      // Somebody works on it: next time.
      if (!hasCode(error, 'conflict')) throw error;
    }
  }

  /** The row of a log that is served; with `retired`, also of one whose access log is all that is left. */
  #row(name: string, retired = false): LogRow {
    const row = ROW_NAME.test(name) ? this.#options.instance.log(name) : undefined;
    const state = row?.state;
    const isThere =
      state !== undefined && (SERVED.includes(state) || (retired && state === 'retired'));
    if (row === undefined || !isThere) {
      throw new SteleError('not_found', `there is no log ${shown(name)}`);
    }
    return row;
  }

  /** What the log itself says of its end goes into its row, for whoever does not open it. */
  #noteEnd(row: LogRow, { end }: Log): void {
    if (end === undefined || row.state !== 'active') return;
    const next = end.next === undefined ? {} : { next: end.next };
    this.#options.instance.updateLog({ ...row, state: 'frozen', ...next });
  }

  async #remove(row: LogRow): Promise<void> {
    const { instance, removeFiles } = this.#options;
    const final = await this.use(row.name, (log) => finalHead(log).checkpoint);
    const deed = { act: 'log.remove', holder: 'schedule', log: row.name };
    const { index: begun } = await this.recordAdmin({ ...deed, state: 'begun' });
    await this.#open.barred(row.name, async () => {
      // From here on it is gone, whatever becomes of its files: a crash leaves them to the next start.
      instance.updateLog({ ...row, state: 'retired', final });
      await removeFiles(row.name);
    });
    await this.recordAdmin({ ...deed, state: 'done', begun });
  }

  /** A failure here concerns this log alone. */
  async #attempt(row: LogRow, what: string, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.#options.warn(`log ${row.name}: ${what} could not be completed`, error);
    }
  }

  /** Takes a creation from wherever it was cut short to its end. */
  async #complete(row: LogRow): Promise<void> {
    const rules = JSON.parse(row.rules) as Rules;
    const followed =
      row.previous === undefined ? undefined : (JSON.parse(row.previous) as Followed);
    const previous = followed && (await this.#endOf(followed, row.origin));
    await this.#createOne(row, row.name, {
      rules,
      ...(previous === undefined ? {} : { previous }),
    });
    if (followed !== undefined && !('size' in followed))
      await this.#takeGateways(row, followed.origin);
    if (!isAdminLog(row.name)) {
      await this.#createOne({ ...row, visibility: 'private' }, row.name + ACCESS_SUFFIX, {
        rules: DEFAULT_RULES,
      });
    }
    this.#options.instance.updateLog({ ...row, state: 'active' });
  }

  /** The last head of the log that is followed, which ends now if it has not. */
  async #endOf(followed: Followed, next: string): Promise<Previous> {
    if ('size' in followed) return followed;
    const { name, origin } = this.#rowOf(followed.origin);
    const end = await this.freeze(name, { next, reason: 'rolled over' });
    if (end.next !== next) throw endedError(origin, end);
    return this.use(name, (log) => {
      const { size, root } = log.head();
      return { origin, size, root: toBase64(root) };
    });
  }

  /** Registers with a log what is registered with the one it follows; done twice, it is done once. */
  async #takeGateways(row: LogRow, followed: string): Promise<void> {
    const { keys, owners } = await this.use(this.#rowOf(followed).name, (old) => ({
      keys: old.keys().filter((key) => key.purpose === 'gateway' && key.revoked === undefined),
      owners: old.owners(),
    }));
    const log = await Log.open(await this.#logOptions(row, row.name));
    try {
      for (const key of keys) {
        await log.registerGateway(key);
        const sources = owners.filter(([, keyid]) => keyid === key.keyid);
        for (const [source] of sources) await log.registerGateway(key, { source });
      }
      this.#options.following?.(log, followed);
    } finally {
      await log.close();
    }
  }

  #rowOf(origin: string): LogRow {
    const row = this.#options.instance.logs().find((one) => one.origin === origin);
    if (row === undefined)
      throw new SteleError('not_found', `there is no log of origin ${shown(origin)}`);
    return this.#row(row.name);
  }

  /** NAME-2027 follows NAME and NAME-2026; where that is taken, the month or the day comes behind it. */
  #nextName(name: string): string {
    const series = name.replace(/-[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$/, '');
    const date = new Date(this.#options.clock.now()).toISOString().slice(0, 'YYYY-MM-DD'.length);
    const names = [4, 7, 10].map((length) => `${series}-${date.slice(0, length)}`);
    const free = names.find((one) => this.#options.instance.log(one) === undefined);
    if (free === undefined) {
      throw new SteleError('conflict', `${names.join(', ')} are taken: name the log that follows`);
    }
    return free;
  }

  async #createOne(
    row: LogRow,
    name: string,
    genesis: { readonly rules: Rules; readonly previous?: Previous },
  ): Promise<void> {
    const options = await this.#logOptions(row, name);
    if ((await options.store.readHead()) === undefined) {
      const log = await Log.create(options, genesis);
      await log.close();
    } else {
      await options.store.close();
    }
    const source = ownSource(name);
    if (source === undefined) return;
    const log = await Log.open(await this.#logOptions(row, name));
    try {
      await log.registerGateway(this.#options.access.newest.publicKey, { source });
    } finally {
      await log.close();
    }
  }

  #keyFiles(name: string): LogKeyFiles {
    const { data, openKey } = this.#options;
    return new LogKeyFiles(join(data, 'keys', 'logs', name), openKey);
  }

  /** Every identity key of a log that does not open, as whoever holds them has them. */
  async #identities(name: string, origin: string): Promise<readonly PublicKey[]> {
    const { keysElsewhere } = this.#options;
    if (keysElsewhere !== undefined) return keysElsewhere.identities(origin);
    const held = await this.#keyFiles(name).held('identity');
    return held.map(({ publicKey }) => publicKey);
  }

  async #logOptions(row: LogRow, name: string) {
    const { data, openStore, openKey: _, instanceId, commitContent, ...shared } = this.#options;
    const origin = row.origin + name.slice(row.name.length);
    const store = await openStore(join(data, 'logs', `${name}.db`));
    const opened = await orClosed(store, () => this.#openKeys(name, origin, store));
    const visibility = name === row.name ? row.visibility : ('private' as const);
    return {
      ...shared,
      ...opened,
      stopped: this.#damageOf(name) ?? this.#options.disputeOf?.({ name, visibility }),
      meter: this.meter,
      tiles: this.#tiles,
      instance: instanceId,
      name,
      origin,
      visibility,
      store,
      // Room is kept on a disk so that a token can be taken back when it is full: here it is used.
      ...(isAdminLog(name) ? { checkSpace: () => undefined } : {}),
      commitContent: (contents: readonly StagedContent[]) => commitContent(row.name, contents),
    };
  }

  async #openKeys(name: string, origin: string, store: LogStore): Promise<OpenedKeys> {
    const { keysElsewhere, operator, instance } = this.#options;
    const opened =
      keysElsewhere === undefined
        ? { keys: this.#keyFiles(name), operator: ofFiles(operator) }
        : await keysElsewhere.open(name, origin, store);
    instance.claimKey(opened.operator.publicKey.keyid, 'the operator key');
    return { ...opened, keys: this.#claiming(name, opened.keys) };
  }

  /** The keyring, with each key that it gives noted as what it is for. */
  #claiming(name: string, keys: LogKeyring): LogKeyring {
    const claimed = (purpose: LogKeyPurpose, signer: Signer) => {
      const { keyid } = signer.publicKey;
      this.#options.instance.claimKey(keyid, `the ${purpose} key of log ${name}`);
      return signer;
    };
    return {
      open: async (purpose, number, key) => claimed(purpose, await keys.open(purpose, number, key)),
      next: async (purpose, announced) => claimed(purpose, await keys.next(purpose, announced)),
    };
  }
}

function ofFiles(operator: Signer | undefined): Signer {
  invariant(operator !== undefined, 'where the keys of logs are files, so is the operator’s');
  return operator;
}

function checkName(name: string): void {
  if (LOG_NAME.test(name)) return;
  throw new SteleError(
    'malformed',
    `log name ${shown(name)} is not 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit`,
  );
}

/** The last head of a log that has ended: what was published, unless that is an older one. */
function finalHead(log: Log): Head {
  const published = log.published();
  return published.size === log.head().size ? published : log.head();
}

/** Changes of rules: what is not named stays, and a limit that is null is taken away. */
export type RuleChanges = {
  readonly [K in keyof Rules]?: Rules[K] | (undefined extends Rules[K] ? null : never);
};

export function withRules(rules: Rules, changes: RuleChanges): Rules {
  const changed = Object.entries({ ...rules, ...changes }).filter(([, value]) => value !== null);
  // The rules' own members: those that must be there are never null.
  return Object.fromEntries(changed) as unknown as Rules;
}
