/**
 * Administration by the files of a data folder, for when no server runs: the same answers as the
 * routes of `/v1/admin` give.
 */
import { randomBytes } from 'node:crypto';
import type { JsonObject } from '../client/client.ts';
import type {
  Administration,
  LogChanges,
  NewGateway,
  NewLog,
  NewToken,
} from '../client/instance.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { parseKeyText } from '../core/key-text.ts';
import { mintToken } from '../http/tokens.ts';
import { systemClock, timestamp } from '../log/clock.ts';
import { describeKey, describeListed, describeLog } from '../log/describe.ts';
import { type Logs, withRules } from '../log/logs.ts';
import { Possession } from '../log/possession.ts';
import { ROLES, type TokenRow, VISIBILITIES, type Visibility } from '../storage/instance.ts';
import type { Instance } from './instance.ts';

export class FileAdministration implements Administration {
  readonly #instance: Instance;
  readonly #possession = new Possession({ clock: systemClock, random: randomBytes });

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  async createLog({ name, visibility, rules = {}, previous }: NewLog): Promise<JsonObject> {
    await this.#logs.create({
      name,
      rules,
      ...(visibility === undefined ? {} : { visibility: visibilityOf(visibility) }),
      ...(previous === undefined ? {} : { previous: await this.#logs.lastHead(previous) }),
    });
    return this.showLog(name);
  }

  async listLogs(): Promise<readonly JsonObject[]> {
    return this.#logs.listAll().map(describeListed);
  }

  showLog(name: string): Promise<JsonObject> {
    return describeLog(this.#logs, name);
  }

  async changeLog(name: string, { visibility, rules }: LogChanges): Promise<JsonObject> {
    if (rules !== undefined) {
      await this.#logs.use(name, (log) => log.changeRules(withRules(log.rules, rules)));
    }
    if (visibility !== undefined) {
      await this.#logs.changeVisibility(name, visibilityOf(visibility));
    }
    return this.showLog(name);
  }

  async freezeLog(name: string, reason: string | undefined): Promise<JsonObject> {
    await this.#logs.freeze(name, reason === undefined ? {} : { reason });
    return this.showLog(name);
  }

  async rollLog(name: string, next: string | undefined): Promise<JsonObject> {
    return this.showLog(await this.#logs.roll(name, next));
  }

  async retireLog(name: string, typed: string): Promise<JsonObject> {
    await this.#logs.retire(name, typed);
    return this.showLog(name);
  }

  async unretireLog(name: string): Promise<JsonObject> {
    this.#logs.unretire(name);
    return this.showLog(name);
  }

  async challengeGateway(name: string): Promise<JsonObject> {
    const origin = await this.#logs.use(name, (log) => log.origin);
    const { challenge, expiresMs } = this.#possession.challenge(origin, 'files');
    return { origin, challenge, expires: timestamp(expiresMs) };
  }

  /** A proof that is given is checked. None is needed: whoever has the files has the operator's key. */
  async registerGateway(name: string, wanted: NewGateway): Promise<JsonObject> {
    const { challenge, proof, source } = wanted;
    const { key, ...proposed } = parseKeyText(wanted.key);
    const registration = {
      source,
      notBeforeMs: timeOf(wanted.not_before, 'not_before') ?? proposed.notBeforeMs,
      notAfterMs: timeOf(wanted.not_after, 'not_after') ?? proposed.notAfterMs,
    };
    const index = await this.#logs.use(name, (log) => {
      const register = () => log.registerGateway(key, registration);
      if (challenge === undefined || proof === undefined) return register();
      return this.#possession.proven(log.origin, key, { challenge, proof }, register);
    });
    return { keyid: key.keyid, alg: key.alg, index };
  }

  listGateways(name: string): Promise<readonly JsonObject[]> {
    return this.#logs.use(name, (log) => log.keys().map(describeKey));
  }

  async revokeGateway(name: string, keyid: string): Promise<JsonObject> {
    return { keyid, index: await this.#logs.use(name, (log) => log.revokeGateway(keyid)) };
  }

  async createToken({ holder, roles, logs, expires }: NewToken): Promise<JsonObject> {
    const known = ROLES.filter((role) => roles.includes(role));
    const now = systemClock.now();
    const expiresMs = expires === undefined ? undefined : Date.parse(expires);
    if (expiresMs !== undefined && !(expiresMs > now)) {
      throw malformed('expires', `${shown(expires ?? '')} is not a time in the future`);
    }
    const wanted = { holder, roles: known, logs };
    const { token, row } = mintToken(
      expiresMs === undefined ? wanted : { ...wanted, expiresMs },
      now,
      (length) => new Uint8Array(randomBytes(length)),
    );
    this.#instance.store.insertToken(row);
    return { token, ...describeToken(row) };
  }

  async listTokens(): Promise<readonly JsonObject[]> {
    return this.#instance.store.listTokens().map(describeToken);
  }

  async revokeToken(id: string): Promise<JsonObject> {
    const { store } = this.#instance;
    store.revokeToken(id, systemClock.now());
    const row = store.listTokens().find((token) => token.id === id);
    if (row?.revokedMs === undefined) throw new SteleError('not_found', `there is no token ${id}`);
    return { id, revoked: timestamp(row.revokedMs) };
  }

  async listKeys(): Promise<readonly JsonObject[]> {
    const keys: JsonObject[] = [];
    for (const { name } of this.#logs.list()) {
      const ofLog = await this.listGateways(name);
      keys.push(...ofLog.map((key) => ({ log: name, ...key })));
    }
    return keys;
  }

  close(): Promise<void> {
    return this.#instance.close();
  }

  get #logs(): Logs {
    return this.#instance.logs;
  }
}

function visibilityOf(text: string): Visibility {
  const known = VISIBILITIES.find((visibility) => visibility === text);
  if (known === undefined) {
    throw malformed('visibility', `${shown(text)} is not one of ${VISIBILITIES.join(', ')}`);
  }
  return known;
}

function timeOf(time: string | undefined, what: string): number | undefined {
  if (time === undefined) return undefined;
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw malformed(what, `${shown(time)} is no time that there is`);
  return ms;
}

function describeToken(row: TokenRow): JsonObject {
  return {
    id: row.id,
    holder: row.holder,
    roles: row.roles,
    logs: row.logs,
    created: timestamp(row.createdMs),
    ...(row.expiresMs === undefined ? {} : { expires: timestamp(row.expiresMs) }),
    ...(row.revokedMs === undefined ? {} : { revoked: timestamp(row.revokedMs) }),
  };
}
