/**
 * All logs of one instance: which there are, opened when first asked for, created so that a crash at any
 * step leaves something that the next attempt completes.
 *
 * Beside each log NAME there is NAME.access, an ordinary log with keys and a genesis of its own, in which
 * every read of NAME's content leaves an entry first (P11).
 *
 *     DATA/stele.db               which logs there are
 *     DATA/logs/NAME.db           entries, tiles, head
 *     DATA/keys/logs/NAME/        identity.pem, anchor.pem
 */
import { join } from 'node:path';
import { toBase64 } from '../core/bytes.ts';
import { RECORD_TYPE } from '../core/entry.ts';
import { SteleError, shown } from '../core/errors.ts';
import { checkOrigin } from '../core/tree-head.ts';
import { anchorVerifierKey, identityVerifierKey, type LogKeys } from '../keys/log-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { InstanceStore, LogRow, Visibility } from '../storage/instance.ts';
import type { LogStore } from '../storage/store.ts';
import type { SignatureChecker } from './admit.ts';
import type { AppendLimits, Logged, StagedContent } from './append.ts';
import type { Clock } from './clock.ts';
import { Log } from './log.ts';
import { largestKnown, type Memories } from './memories.ts';
import { Meter } from './meter.ts';
import type { Rules } from './registry.ts';

export interface LogsOptions {
  readonly data: string;
  /** What outside the data folder knows how far each log had got. */
  readonly memories: Memories;
  /** What the origins of new logs begin with: a host, perhaps with a path. */
  readonly originBase: string;
  readonly instance: InstanceStore;
  readonly openStore: (path: string) => Promise<LogStore>;
  /** Opens a key file, or creates it where it is missing. */
  readonly openKey: (path: string, alg: 'ed25519' | 'ecdsa-p256') => Promise<Signer>;
  readonly operator: Signer;
  /** The server's own gateway key, which signs access entries. */
  readonly access: Signer;
  /** Makes content that was staged for log `name` durable. */
  readonly commitContent: (name: string, contents: readonly StagedContent[]) => Promise<void>;
  readonly checker: SignatureChecker;
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
  /** Which process start this is, for the records that the server makes itself. */
  readonly instanceId: string;
  readonly software: string;
  readonly limits: AppendLimits;
  readonly checkSpace: () => void;
  readonly fatal: (error: Error) => void;
  readonly warn: (message: string, error: unknown) => void;
}

export interface NewLog {
  readonly name: string;
  readonly visibility?: Visibility;
  readonly rules?: Partial<Rules>;
}

/** A read of content, as its access entry tells it. */
export interface AccessNote {
  readonly record_id: string;
  readonly fields: readonly string[];
  readonly reason: string;
  readonly holder: string;
}

export const LOG_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** The suffix of the log in which reads of another's content are recorded. */
export const ACCESS_SUFFIX = '.access';

/** The source of access entries. */
const ACCESS_SOURCE = 'access';

export const DEFAULT_RULES: Rules = { payload_types: [RECORD_TYPE], continuity: 'flag' };

export class Logs {
  /** What was counted since the start, for all logs together. */
  readonly meter = new Meter();
  readonly #options: LogsOptions;
  readonly #open = new Map<string, Promise<Log>>();
  /** Names of logs whose creation is under way. */
  readonly #creating = new Set<string>();

  constructor(options: LogsOptions) {
    this.#options = options;
  }

  /**
   * Completes every creation that was cut short. Called once, before anything is served. One that still
   * cannot be completed is no log yet, and keeps no other from starting.
   */
  async recover(): Promise<void> {
    for (const row of this.#options.instance.logs()) {
      if (row.state !== 'creating') continue;
      try {
        await this.#complete(row);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        this.#options.warn(`log ${row.name}: its creation could not be completed`, error);
      }
    }
  }

  /** The logs of this instance, without the access logs beside them. */
  list(): readonly Pick<LogRow, 'name' | 'origin' | 'visibility'>[] {
    return this.#options.instance.logs().filter(({ state }) => state === 'active');
  }

  /** Opens a log by its name; `not_found` if there is none. */
  get(name: string): Promise<Log> {
    const named = LOG_NAME.test(name);
    // A log that is open is found without asking the database: every request comes through here.
    const open = named ? this.#open.get(name) : undefined;
    if (open !== undefined) return open;
    const row = named ? this.#options.instance.log(name) : undefined;
    if (row?.state !== 'active') {
      return Promise.reject(new SteleError('not_found', `there is no log ${shown(name)}`));
    }
    return this.#opened(row, row.name);
  }

  /** The log that reads of `name`'s content are recorded in. */
  async access(name: string): Promise<Log> {
    return this.#openAccess(this.#row(name));
  }

  /** Creates a log, its access log, their keys and genesis records. `conflict` if there is one. */
  async create({ name, visibility = 'proofs', rules = {} }: NewLog): Promise<Log> {
    if (!LOG_NAME.test(name)) {
      throw new SteleError(
        'malformed',
        `log name ${shown(name)} is not 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit`,
      );
    }
    const { instance, originBase, clock } = this.#options;
    const known = instance.log(name);
    if (known?.state === 'active') {
      throw new SteleError('conflict', `log ${name} exists already`);
    }
    if (this.#creating.has(name)) {
      throw new SteleError('conflict', `log ${name} is being created by somebody else`);
    }
    const row: LogRow = known ?? {
      name,
      origin: `${originBase}/logs/${name}`,
      visibility,
      rules: JSON.stringify({ ...DEFAULT_RULES, ...rules }),
      state: 'creating',
      createdMs: clock.now(),
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
    return this.get(name);
  }

  /** Records a read of `name`'s content before it happens; rejects if that cannot be recorded. */
  async recordAccess(name: string, note: AccessNote): Promise<Logged> {
    const access = await this.access(name);
    const body = { kind: 'access' as const, access: { log: this.#row(name).origin, ...note } };
    return access.appendOwn(body, ACCESS_SOURCE, this.#options.access);
  }

  /** Signatures that are being checked or wait for it. */
  get signaturesWaiting(): number {
    return this.#options.checker.waiting ?? 0;
  }

  /** Every log that is open now, the access logs among them. */
  async opened(): Promise<Log[]> {
    const logs = await Promise.allSettled(this.#open.values());
    return logs.flatMap((log) => (log.status === 'fulfilled' ? [log.value] : []));
  }

  /** Publishes what is newest and closes everything. */
  async close(): Promise<void> {
    const logs = await this.opened();
    this.#open.clear();
    for (const log of logs) await log.close();
  }

  /** Throws if a log of this origin was ever created, here or in a data folder that is gone. */
  async #checkUnused(origin: string): Promise<void> {
    for (const one of [origin, origin + ACCESS_SUFFIX]) {
      checkOrigin(one);
      if (largestKnown(await this.#options.memories.ask(one)) === undefined) continue;
      throw new SteleError('conflict', `a log of origin ${shown(one)} was created before`);
    }
  }

  #row(name: string): LogRow {
    const row = this.#options.instance.log(name);
    if (row?.state !== 'active') {
      throw new SteleError('not_found', `there is no log ${shown(name)}`);
    }
    return row;
  }

  #openAccess(row: LogRow): Promise<Log> {
    return this.#opened({ ...row, visibility: 'private' }, row.name + ACCESS_SUFFIX);
  }

  #opened(row: Omit<LogRow, 'state'>, name: string): Promise<Log> {
    return kept(this.#open, name, async () => Log.open(await this.#logOptions(row, name)));
  }

  /** Takes a creation from wherever it was cut short to its end. */
  async #complete(row: LogRow): Promise<void> {
    const rules = JSON.parse(row.rules) as Rules;
    await this.#createOne(row, row.name, rules);
    await this.#createOne(
      { ...row, visibility: 'private' },
      row.name + ACCESS_SUFFIX,
      DEFAULT_RULES,
    );
    this.#options.instance.activateLog(row.name);
  }

  async #createOne(row: LogRow, name: string, rules: Rules): Promise<void> {
    const options = await this.#logOptions(row, name);
    if ((await options.store.readHead()) === undefined) {
      const { origin, keys, operator } = options;
      const { alg, spki } = operator.publicKey;
      const log = await Log.create(options, {
        origin,
        log_keys: [
          identityVerifierKey(origin, keys.identity).text,
          anchorVerifierKey(origin, keys.anchor).text,
        ],
        operator: { alg, spki: toBase64(spki) },
        rules,
      });
      await log.close();
    } else {
      await options.store.close();
    }
    if (name === row.name) return;
    const access = await this.#openAccess(row);
    await access.registerGateway(this.#options.access.publicKey, { source: ACCESS_SOURCE });
  }

  async #logOptions(row: Omit<LogRow, 'state'>, name: string) {
    const { data, openStore, openKey, instanceId, commitContent, ...shared } = this.#options;
    const folder = join(data, 'keys', 'logs', name);
    const keys: LogKeys = {
      identity: await openKey(join(folder, 'identity.pem'), 'ed25519'),
      anchor: await openKey(join(folder, 'anchor.pem'), 'ecdsa-p256'),
    };
    return {
      ...shared,
      meter: this.meter,
      instance: instanceId,
      name,
      origin: row.origin + name.slice(row.name.length),
      visibility: row.visibility,
      keys,
      store: await openStore(join(data, 'logs', `${name}.db`)),
      commitContent: (contents: readonly StagedContent[]) => commitContent(row.name, contents),
    };
  }
}

/** What is open under a name, or opened now; a failure is not kept. */
function kept<T>(open: Map<string, Promise<T>>, name: string, make: () => Promise<T>): Promise<T> {
  const known = open.get(name);
  if (known !== undefined) return known;
  const made = make();
  open.set(name, made);
  made.catch(() => open.delete(name));
  return made;
}
