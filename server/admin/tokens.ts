/**
 * Tokens: making one, listing them, taking one back. A token is shown once, when it is made.
 *
 * Only a token's hash is stored (`core/token.ts`), so neither a database nor a backup lets anyone in.
 *
 * Who holds an `admin` token for some logs makes tokens only for those. That `admin` does not imply
 * `read` or `content` means that using either takes a token of its own, with a holder to answer for it.
 */
import * as v from 'valibot';
import { parseHex, toHex } from '../core/bytes.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { newToken, TOKEN_ID } from '../core/token.ts';
import { timestamp } from '../log/clock.ts';
import { ROW_NAME } from '../log/names.ts';
import { type InstanceStore, ROLES, type Role, type TokenRow } from '../storage/instance.ts';
import type { Act } from './act.ts';
import { covers } from './actor.ts';
import { closed, millisOf, Time } from './wanted.ts';

export interface TokenOptions {
  readonly holder: string;
  readonly roles: readonly Role[];
  /** Names of logs, or `*`. */
  readonly logs: readonly string[];
  readonly expiresMs?: number;
}

/** Makes a token. The text exists only here and in the hands of the one it is shown to. */
export function mintToken(
  options: TokenOptions,
  nowMs: number,
  randomBytes: (length: number) => Uint8Array,
): { readonly token: string; readonly row: TokenRow } {
  const { id, token, hash } = newToken(randomBytes);
  return { token, row: { id, hash, createdMs: nowMs, ...options } };
}

/** The rows of all tokens. */
export class TokenBook {
  protected readonly store: InstanceStore;

  constructor(store: InstanceStore) {
    this.store = store;
  }

  add(row: TokenRow): void {
    this.store.insertToken(row);
  }

  list(): readonly TokenRow[] {
    return this.store.listTokens();
  }

  get(id: string): TokenRow {
    const rows = TOKEN_ID.test(id) ? this.store.listTokens() : [];
    const row = rows.find((known) => known.id === id);
    if (row === undefined) throw new SteleError('not_found', `token: there is no ${shown(id)}`);
    return row;
  }

  /** From the return on, the token opens nothing. */
  revoke(row: TokenRow, nowMs: number): void {
    this.store.revokeToken(row.id, nowMs);
  }
}

const LIST_MAX = 100;
const HOLDER = /^[^\p{Cc}]{1,200}$/u;

const NewToken = closed({
  holder: v.pipe(v.string(), v.regex(HOLDER, 'not 1 to 200 characters without control characters')),
  roles: v.pipe(v.array(v.picklist(ROLES)), v.minLength(1), v.maxLength(ROLES.length)),
  logs: v.pipe(
    v.array(
      v.pipe(v.string(), v.regex(new RegExp(`^\\*$|${ROW_NAME.source}`), 'not a log name or "*"')),
    ),
    v.minLength(1),
    v.maxLength(LIST_MAX),
  ),
  expires: v.exactOptional(Time),
});

/** A row, without its hash for whoever only reads of it. */
type Minted = ReturnType<typeof describeToken> & { readonly hash: string };

export const createToken: Act<v.InferOutput<typeof NewToken>, Minted> = {
  name: 'token.create',
  wanted: NewToken,
  plan({ clock, random }, { actor, wanted }) {
    const { holder, roles, logs, expires } = wanted;
    const outside = logs.find((name) => !covers(actor, [name]));
    if (outside !== undefined) {
      throw new SteleError('forbidden', `token ${actor.token?.id} is not bound to log ${outside}`);
    }
    const now = clock.now();
    const expiresMs = expires === undefined ? undefined : millisOf(expires, 'expires');
    if (expiresMs !== undefined && expiresMs <= now) {
      throw malformed('expires', `${expires} is not in the future`);
    }
    const options = { holder, roles: [...new Set(roles)], logs: [...new Set(logs)] };
    const { token, row } = mintToken(
      expiresMs === undefined ? options : { ...options, expiresMs },
      now,
      random,
    );
    const details = describeToken(row);
    const args = { ...details, hash: toHex(row.hash) };
    return { args, details, tell: { token }, takesTwo: isGuarded(roles), scope: logs };
  },
  async perform({ tokens }, _log, { hash, ...described }) {
    const { id, holder, roles, logs, created, expires } = described;
    tokens.add({
      ...{ id, holder, roles, logs, hash: parseHex(hash, 'hash', 32) },
      createdMs: Date.parse(created),
      ...(expires === undefined ? {} : { expiresMs: Date.parse(expires) }),
    });
    return described;
  },
};

const RevokedToken = closed({ id: v.string() });

type RevokedToken = v.InferOutput<typeof RevokedToken>;

export const revokeToken: Act<RevokedToken, RevokedToken> = {
  name: 'token.revoke',
  wanted: RevokedToken,
  plan({ tokens }, { actor, wanted }) {
    const row = tokens.get(wanted.id);
    const { roles, logs } = row;
    if (covers(actor, logs)) return { args: wanted, takesTwo: isGuarded(roles), scope: logs };
    throw new SteleError('forbidden', `token ${row.id} is for logs that yours is not bound to`);
  },
  async perform({ tokens, clock }, _log, { id }) {
    const row = tokens.get(id);
    const revokedMs = row.revokedMs ?? clock.now();
    tokens.revoke(row, revokedMs);
    return { id, revoked: timestamp(revokedMs) };
  },
};

/** Whether a token of these roles may act on keys, or make one that may, or approve. */
function isGuarded(roles: readonly Role[]): boolean {
  return roles.includes('admin') || roles.includes('keys') || roles.includes('approve');
}

export function describeToken(row: TokenRow) {
  return {
    id: row.id,
    holder: row.holder,
    roles: row.roles,
    logs: row.logs,
    created: timestamp(row.createdMs),
    ...(row.expiresMs === undefined ? {} : { expires: timestamp(row.expiresMs) }),
    ...(row.revokedMs === undefined ? {} : { revoked: timestamp(row.revokedMs) }),
  } satisfies JsonObject;
}
