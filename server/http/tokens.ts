/**
 * Which token is this, and is it still good (`core/token.ts` says what a token is)?
 *
 * Rows are kept in memory under the hash; a revocation drops them, and expiry is judged at each use.
 */
import { timingSafeEqual } from 'node:crypto';
import { TokenBook } from '../admin/tokens.ts';
import { toHex } from '../core/bytes.ts';
import { hashOfToken, TOKEN } from '../core/token.ts';
import { type Clock, timestamp } from '../log/clock.ts';
import type { InstanceStore, TokenRow } from '../storage/instance.ts';
import { unauthenticated } from './errors.ts';

const BEARER = /^bearer +/i;

/** Rows kept in memory. */
const CACHED_MAX = 10_000;

export class Tokens extends TokenBook {
  readonly #clock: Clock;
  readonly #cache = new Map<string, TokenRow>();
  /** Who wants to know at once when a token is revoked, by its id. */
  readonly #watchers = new Map<string, Set<() => void>>();

  constructor(store: InstanceStore, clock: Clock) {
    super(store);
    this.#clock = clock;
  }

  /** The token of an `authorization` header; nothing if there is no header. Bytes from strangers. */
  identify(header: string | undefined): TokenRow | undefined {
    if (header === undefined) return undefined;
    if (!BEARER.test(header)) throw unauthenticated('authorization: the scheme must be Bearer');
    const text = header.replace(BEARER, '');
    if (!TOKEN.test(text)) throw unauthenticated('authorization: not a token of the form stele_…');
    const hash = hashOfToken(text);
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

  override revoke(row: TokenRow, nowMs: number): void {
    super.revoke(row, nowMs);
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
    const logs = row.logs.flatMap((name) => [name, ...this.store.followers(name)]);
    return logs.length === row.logs.length ? row : { ...row, logs };
  }

  #row(hash: Uint8Array): TokenRow | undefined {
    const key = toHex(hash);
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached;
    const row = this.store.findToken(hash);
    if (row === undefined) return undefined;
    this.#cache.set(key, row);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= CACHED_MAX) break;
      this.#cache.delete(oldest);
    }
    return row;
  }
}
