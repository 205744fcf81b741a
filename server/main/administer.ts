/**
 * Administration by the files of a data folder, for when no server runs: the same answers as the
 * routes of `/v1/admin` give.
 */
import { randomBytes } from 'node:crypto';
import type { JsonObject } from '../client/client.ts';
import type { Administration, NewGateway, NewLog, NewToken } from '../client/instance.ts';
import { toBase64 } from '../core/bytes.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { parseKeyText } from '../core/key-text.ts';
import { mintToken } from '../http/tokens.ts';
import { systemClock, timestamp } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import { Possession } from '../log/possession.ts';
import type { RegisteredKey } from '../log/registry.ts';
import { ROLES, type TokenRow } from '../storage/instance.ts';
import type { Instance } from './instance.ts';

export class FileAdministration implements Administration {
  readonly #instance: Instance;
  readonly #possession = new Possession({ clock: systemClock, random: randomBytes });

  constructor(instance: Instance) {
    this.#instance = instance;
  }

  async createLog({ name, visibility, rules = {} }: NewLog): Promise<JsonObject> {
    const known = (['public', 'proofs', 'private'] as const).find((v) => v === visibility);
    const wanted = known === undefined ? { name, rules } : { name, rules, visibility: known };
    return describeLog(await this.#instance.logs.create(wanted));
  }

  async listLogs(): Promise<readonly JsonObject[]> {
    return this.#instance.logs
      .list()
      .map(({ name, origin, visibility }) => ({ name, origin, visibility }));
  }

  async showLog(name: string): Promise<JsonObject> {
    return describeLog(await this.#instance.logs.get(name));
  }

  async challengeGateway(name: string): Promise<JsonObject> {
    const { origin } = await this.#instance.logs.get(name);
    const { challenge, expiresMs } = this.#possession.challenge(origin, 'files');
    return { origin, challenge, expires: timestamp(expiresMs) };
  }

  /** A proof that is given is checked. None is needed: whoever has the files has the operator's key. */
  async registerGateway(name: string, wanted: NewGateway): Promise<JsonObject> {
    const { challenge, proof, source } = wanted;
    const log = await this.#instance.logs.get(name);
    const { key, ...proposed } = parseKeyText(wanted.key);
    const registration = {
      source,
      notBeforeMs: timeOf(wanted.not_before, 'not_before') ?? proposed.notBeforeMs,
      notAfterMs: timeOf(wanted.not_after, 'not_after') ?? proposed.notAfterMs,
    };
    const register = () => log.registerGateway(key, registration);
    const index =
      challenge === undefined || proof === undefined
        ? await register()
        : await this.#possession.proven(log.origin, key, { challenge, proof }, register);
    return { keyid: key.keyid, alg: key.alg, index };
  }

  async listGateways(name: string): Promise<readonly JsonObject[]> {
    return (await this.#instance.logs.get(name)).keys().map(describeKey);
  }

  async revokeGateway(name: string, keyid: string): Promise<JsonObject> {
    const log = await this.#instance.logs.get(name);
    return { keyid, index: await log.revokeGateway(keyid) };
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
    for (const { name } of this.#instance.logs.list()) {
      const log = await this.#instance.logs.get(name);
      keys.push(...log.keys().map((key) => ({ log: name, ...describeKey(key) })));
    }
    return keys;
  }

  close(): Promise<void> {
    return this.#instance.close();
  }
}

function describeLog(log: Log): JsonObject {
  const { size, root, timeMs } = log.head();
  const { identity, anchor } = log.verifierKeys();
  const { payload_types, continuity } = log.rules;
  return {
    name: log.name,
    origin: log.origin,
    visibility: log.visibility,
    size,
    root: toBase64(root),
    time: timestamp(timeMs),
    rules: { payload_types: [...payload_types], continuity },
    keys: [
      { purpose: 'identity', vkey: identity.text },
      { purpose: 'anchor', vkey: anchor.text },
    ],
  };
}

function describeKey({
  keyid,
  alg,
  spki,
  purpose,
  registered,
  revoked,
  notBeforeMs,
  notAfterMs,
}: RegisteredKey): JsonObject {
  return {
    ...{ keyid, alg, spki: toBase64(spki), purpose, registered },
    ...(revoked === undefined ? {} : { revoked }),
    ...(notBeforeMs === undefined ? {} : { not_before: timestamp(notBeforeMs) }),
    ...(notAfterMs === undefined ? {} : { not_after: timestamp(notAfterMs) }),
  };
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
