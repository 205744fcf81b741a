/**
 * How much has a caller left? Token buckets, by the caller's name, in bounded memory.
 *
 * A bucket holds `burst` at most and fills by `perSecond`. Whoever is not in the table has a full one, so
 * a bucket that has filled up again is forgotten without a loss. Where the table is full of buckets that
 * have not, newcomers share one: a crowd of names gets no more than one name does.
 *
 * What a request costs beyond its first unit may be known only when it has been read. Then it may leave
 * a debt, which time pays off: one that is dear is served whole, and the next has to wait for it.
 */
import type { Clock } from '../log/clock.ts';

export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

interface Bucket {
  level: number;
  /** When it was last filled up to `level`. */
  atMs: number;
}

export class Buckets {
  readonly #rate: Rate;
  readonly #max: number;
  readonly #clock: Clock;
  /** The least recently used first. */
  readonly #buckets = new Map<string, Bucket>();
  /** For those who find no room. */
  readonly #shared: Bucket;

  constructor(rate: Rate, max: number, clock: Clock) {
    this.#rate = rate;
    this.#max = max;
    this.#clock = clock;
    this.#shared = { level: rate.burst, atMs: clock.now() };
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one. Where that is not there, takes nothing and says after how many seconds it will be. */
  take(name: string): number | undefined {
    return this.#takeFrom(this.#bucketOf(name), 1, 1);
  }

  /** Takes `cost`, as a debt if need be. Where there is a debt already, takes nothing and says for how long. */
  owe(name: string, cost: number): number | undefined {
    return this.#takeFrom(this.#bucketOf(name), cost, 0);
  }

  giveBack(name: string, cost: number): void {
    const bucket = this.#bucketOf(name);
    bucket.level = Math.min(this.#rate.burst, bucket.level + cost);
  }

  #takeFrom(bucket: Bucket, cost: number, least: number): number | undefined {
    if (bucket.level < least) {
      return Math.max(1, Math.ceil((least - bucket.level) / this.#rate.perSecond));
    }
    bucket.level -= cost;
    return undefined;
  }

  /** The bucket of `name`, filled by the time that went by. */
  #bucketOf(name: string): Bucket {
    const nowMs = this.#clock.now();
    const known = this.#buckets.get(name);
    if (known !== undefined) {
      this.#buckets.delete(name);
      this.#buckets.set(name, known);
      return this.#filled(known, nowMs);
    }
    if (!this.#hasRoom(nowMs)) return this.#filled(this.#shared, nowMs);
    const bucket = { level: this.#rate.burst, atMs: nowMs };
    this.#buckets.set(name, bucket);
    return bucket;
  }

  /** Makes room, where that takes nothing from anybody. */
  #hasRoom(nowMs: number): boolean {
    if (this.#buckets.size < this.#max) return true;
    for (const [name, oldest] of this.#buckets) {
      if (this.#filled(oldest, nowMs).level < this.#rate.burst) return false;
      this.#buckets.delete(name);
      return true;
    }
    return false;
  }

  #filled(bucket: Bucket, nowMs: number): Bucket {
    // A clock that was set back gives nothing, and takes nothing.
    const elapsedMs = Math.max(0, nowMs - bucket.atMs);
    const { perSecond, burst } = this.#rate;
    bucket.level = Math.min(burst, bucket.level + (elapsedMs / 1_000) * perSecond);
    bucket.atMs = nowMs;
    return bucket;
  }
}
