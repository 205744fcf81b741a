/**
 * How much may one caller ask for in a second? As much as its bucket gives.
 *
 * Whoever sends a good token has that token's bucket; everybody else, whoever guesses at tokens among
 * them, has that of the address. The two kinds lie apart: a crowd of addresses takes nothing from a token.
 *
 *     any request                                    1   taken before anything of it is read
 *     a batch, for each 4 entries                    1   taken when its entries are counted
 *     a page of entries, for each 64 that it has     1
 *     the verifier keys, for each log                1   each is opened for it
 *
 * An entry in a batch costs the server about a quarter of one that comes alone, and so it is priced. A
 * request that waits or streams counts once, however long it lasts. What is refused for a reason that is
 * not the caller's (a full queue, a full disk, a fault) is given back.
 */
import type { IncomingMessage } from 'node:http';
import { SteleError } from '../core/errors.ts';
import type { Clock } from '../log/clock.ts';
import type { TokenRow } from '../storage/instance.ts';
import { Callers, type Network, networkOf } from './address.ts';
import { Buckets, type Rate } from './buckets.ts';

export interface RateOptions {
  readonly token: Rate;
  readonly address: Rate;
  readonly trustedProxies: readonly Network[];
}

/** Entries of a batch, and of a page, that cost as much as one request. */
const BATCH_ENTRIES_PER_UNIT = 4;
const PAGE_ENTRIES_PER_UNIT = 64;

export function priceOfBatch(entries: number): number {
  return Math.ceil(entries / BATCH_ENTRIES_PER_UNIT);
}

export function priceOfKeys(logs: number): number {
  return logs;
}

export function priceOfPage(entries: number): number {
  return Math.ceil(entries / PAGE_ENTRIES_PER_UNIT);
}

/**
 * Buckets that are remembered, some 150 bytes each. Tokens are given out by the operator; addresses come
 * by themselves.
 */
const TOKENS_MAX = 10_000;
const ADDRESSES_MAX = 65_536;

/**
 * What costs nothing: refusing it would cost as much as answering it, and whoever starts a server again
 * that does not answer here must not be led to do so by a crowd.
 */
export const FREE: ReadonlySet<string> = new Set(['/healthz', '/readyz']);

/** What one request has taken. */
export interface Charge {
  /** Takes `cost` more, or throws `pushback`. */
  more(cost: number): void;
  /** Gives back `cost`, or all that was taken. */
  giveBack(cost?: number): void;
}

const NOTHING: Charge = { more: () => undefined, giveBack: () => undefined };

type Kind = 'token' | 'address';

export class Rates {
  readonly #buckets: Readonly<Record<Kind, Buckets | undefined>>;
  readonly #perSecond: Readonly<Record<Kind, number>>;
  readonly #callers: Callers;
  readonly #refused: Record<Kind, number> = { token: 0, address: 0 };

  constructor({ token, address, trustedProxies }: RateOptions, clock: Clock) {
    const buckets = (rate: Rate, max: number) =>
      rate.perSecond === 0 ? undefined : new Buckets(rate, max, clock);
    this.#buckets = {
      token: buckets(token, TOKENS_MAX),
      address: buckets(address, ADDRESSES_MAX),
    };
    this.#perSecond = { token: token.perSecond, address: address.perSecond };
    this.#callers = new Callers(trustedProxies);
  }

  /** Requests that were refused since the start. */
  get refused(): Readonly<Record<Kind, number>> {
    return this.#refused;
  }

  /** Buckets that are remembered. */
  get callers(): number {
    const { token, address } = this.#buckets;
    return (token?.size ?? 0) + (address?.size ?? 0);
  }

  /** Takes one for a request, or throws `pushback`. `token` is one that was found good. */
  take(req: IncomingMessage, token: TokenRow | undefined): Charge {
    if (FREE.has(req.url ?? '')) return NOTHING;
    const kind = token === undefined ? 'address' : 'token';
    const buckets = this.#buckets[kind];
    if (buckets === undefined) return NOTHING;
    const name = token?.id ?? networkOf(this.#callers.addressOf(req));
    this.#check(kind, token, buckets.take(name));
    let taken = 1;
    return {
      more: (cost) => {
        this.#check(kind, token, buckets.owe(name, cost));
        taken += cost;
      },
      giveBack: (cost = taken) => {
        buckets.giveBack(name, cost);
        taken -= cost;
      },
    };
  }

  #check(kind: Kind, token: TokenRow | undefined, retryAfterS: number | undefined): void {
    if (retryAfterS === undefined) return;
    this.#refused[kind] += 1;
    // An address is not named: behind a proxy that is not trusted it would be the proxy's.
    const whose = token === undefined ? 'requests without a token' : `token ${token.id}`;
    const of = token === undefined ? ' from one address' : '';
    throw new SteleError(
      'pushback',
      `rate: ${whose}${of}: ${this.#perSecond[kind]} a second are served, and more were sent`,
      { retryAfterS },
    );
  }
}
