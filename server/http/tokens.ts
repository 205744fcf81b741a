/**
 * Which token is this, and is it still good?
 *
 * A token is `stele_<id>_<secret>`: the id is public and names the row, the secret is 256 random bits.
 * Only the SHA-256 of the whole text is stored, so neither a database nor a backup lets anyone in. With
 * that much entropy no slow hash is needed.
 *
 * Rows are kept in memory under the hash; a revocation drops them, and expiry is judged at each use.
 */
import { timingSafeEqual } from 'node:crypto';
import { sha256, toBase64url, toHex, utf8 } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import { type Clock, timestamp } from '../log/clock.ts';
import type { InstanceStore, Role, TokenRow } from '../storage/instance.ts';
import { unauthenticated } from './errors.ts';

export const TOKEN = /^stele_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
export const TOKEN_ID = /^[0-9a-f]{16}$/;
const BEARER = /^bearer +/i;
const ID_BYTES = 8;
const SECRET_BYTES = 32;

/** Rows kept in memory. */
const CACHED_MAX = 10_000;

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
  const id = toHex(randomBytes(ID_BYTES));
  const token = `stele_${id}_${toBase64url(randomBytes(SECRET_BYTES))}`;
  return { token, row: { id, hash: sha256(utf8(token)), createdMs: nowMs, ...options } };
}

export class Tokens {
  readonly #store: InstanceStore;
  readonly #clock: Clock;
  readonly #cache = new Map<string, TokenRow>();
  /** Who wants to know at once when a token is revoked, by its id. */
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor(store: InstanceStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** The token of an `authorization` header; nothing if there is no header. Bytes from strangers. */
  identify(header: string | undefined): TokenRow | undefined {
    if (header === undefined) return undefined;
    if (!BEARER.test(header)) throw unauthenticated('authorization: the scheme must be Bearer');
    const text = header.replace(BEARER, '');
    if (!TOKEN.test(text)) throw unauthenticated('authorization: not a token of the form stele_…');
    const hash = sha256(utf8(text));
    const row = this.#row(hash);
    // The look-up went by hash, so its time tells nothing about a secret; the comparison that counts
    // does not either.
    if (row === undefined || !timingSafeEqual(row.hash, hash)) {
      throw unauthenticated('authorization: this token is not known here');
    }
    this.#checkGood(row);
    return this.#followed(row);
  }

  /**
   * Throws `unauthenticated` if a token that was good when its request came is so no more. To be asked by
   * whatever goes on for long before it takes or gives something.
   */
  checkStill(token: TokenRow | undefined): void {
    if (token !== undefined) this.#checkGood(this.#row(token.hash) ?? token);
  }

  #checkGood({ id, revokedMs, expiresMs }: TokenRow): void {
    if (revokedMs !== undefined) throw unauthenticated(`token ${id} has been revoked`);
    if (expiresMs !== undefined && expiresMs <= this.#clock.now()) {
      throw unauthenticated(`token ${id} expired at ${timestamp(expiresMs)}`);
    }
  }

  add(row: TokenRow): void {
    this.#store.insertToken(row);
  }

  list(): readonly TokenRow[] {
    return this.#store.listTokens();
  }

  get(id: string): TokenRow {
    const rows = TOKEN_ID.test(id) ? this.#store.listTokens() : [];
    const row = rows.find((known) => known.id === id);
    if (row === undefined) throw new SteleError('not_found', `token: there is no ${shown(id)}`);
    return row;
  }

  /** From the return on, the token opens nothing. */
  revoke(row: TokenRow, nowMs: number): void {
    this.#store.revokeToken(row.id, nowMs);
    this.#cache.delete(toHex(row.hash));
    for (const revoked of this.#watchers.get(row.id) ?? []) revoked();
  }

  /** Calls `revoked` when the token is, for answers that go on for long. Returns how to stop that. */
  watch(token: TokenRow | undefined, revoked: () => void): () => void {
    if (token === undefined) return () => undefined;
    const { id } = token;
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(revoked));
    return () => {
      watchers.delete(revoked);
      if (watchers.size === 0) this.#watchers.delete(id);
    };
  }

  /** A token for a log is one for those that follow it: whoever may write here goes on there. */
  #followed(row: TokenRow): TokenRow {
    const logs = row.logs.flatMap((name) => [name, ...this.#store.followers(name)]);
    return logs.length === row.logs.length ? row : { ...row, logs };
  }

  #row(hash: Uint8Array): TokenRow | undefined {
    const key = toHex(hash);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const row = this.#store.findToken(hash);
    if (row === undefined) return undefined;
    this.#cache.set(key, row);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_MAX) break;
      this.#cache.delete(oldest);
    }
    return row;
  }
}
