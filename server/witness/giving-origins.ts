/**
 * Which logs does this witness cosign, by which keys of theirs, and how often?
 *
 * They come from the settings, and from lists as witness networks publish them. What one place says of a log
 * another adds to: its keys are taken together, and the largest rate counts. Lists only ever add, so
 * a log that a list no longer has is witnessed until the next start.
 *
 * A log is refused that has the witness' own name or key: it would vouch for itself.
 */
import { toHex, utf8 } from '../core/bytes.ts';
import { isLogKey } from '../core/checkpoint.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { ORIGIN_BYTES_MAX } from '../core/limits.ts';
import type { ListedKey } from '../core/log-list.ts';
import {
  controlCharacterAt,
  isSameMaterial,
  NOTE_OTHER,
  NOTE_TREE_HEAD,
  type VerifierKey,
} from '../core/verifier-key.ts';
import { idOfOrigin } from '../storage/witnessed.ts';

/** Logs of one witness: as many as the largest published list may have. */
export const ORIGINS_MAX = 40_000;

/** Keys of one log: the one in use and what follows it, in two algorithms, many times over. */
export const ORIGIN_KEYS_MAX = 16;

const DAY_S = 86_400;

/** Cosignatures that a log may have in store: a quarter of an hour's worth, and never so few that a retry fails. */
const BURST_MIN = 10;
const BURST_PER_DAY = 96;

/**
 * What a cosignature is made of: a tree that has grown, or the one that is held once more. Anybody may ask for the
 * second with what is public, as often as he likes, which must not keep the log itself from the first.
 */
export type ShareKind = 'growth' | 'repeat';

interface Share {
  level: number;
  atMs: number;
}

export class WitnessedOrigin {
  readonly origin: string;
  readonly id: string;
  #keys: readonly VerifierKey[];
  #perDay: number;
  readonly #shares: Readonly<Record<ShareKind, Share>>;

  constructor(origin: string, perDay: number, nowMs: number) {
    this.origin = origin;
    this.id = toHex(idOfOrigin(origin));
    this.#keys = [];
    this.#perDay = perDay;
    const burst = this.#burst;
    this.#shares = { growth: { level: burst, atMs: nowMs }, repeat: { level: burst, atMs: nowMs } };
  }

  get keys(): readonly VerifierKey[] {
    return this.#keys;
  }

  get perDay(): number {
    return this.#perDay;
  }

  /** Takes one cosignature's share. Where there is none, says after how many seconds there will be. */
  take(nowMs: number, kind: ShareKind): number | undefined {
    const share = this.#shares[kind];
    const perSecond = this.#perDay / DAY_S;
    // A clock that was set back gives nothing, and takes nothing.
    const elapsedMs = Math.max(0, nowMs - share.atMs);
    share.level = Math.min(this.#burst, share.level + (elapsedMs / 1_000) * perSecond);
    share.atMs = nowMs;
    if (share.level < 1) return Math.max(1, Math.ceil((1 - share.level) / perSecond));
    share.level -= 1;
    return undefined;
  }

  giveBack(kind: ShareKind): void {
    const share = this.#shares[kind];
    share.level = Math.min(this.#burst, share.level + 1);
  }

  /** Throws `malformed` for a key that cannot be added. */
  add(key: VerifierKey, perDay: number): void {
    const known = this.#keys.find(({ name, keyId }) => name === key.name && keyId === key.keyId);
    if (known === undefined) {
      if (this.#keys.length >= ORIGIN_KEYS_MAX) {
        throw malformed(this.origin, `more than ${ORIGIN_KEYS_MAX} keys of one log`);
      }
      this.#keys = [...this.#keys, key];
    } else if (known.text !== key.text) {
      throw malformed(this.origin, `${key.name}+${key.keyId} stands for two keys`);
    }
    this.#perDay = Math.max(this.#perDay, perDay);
  }

  get #burst(): number {
    return Math.max(BURST_MIN, Math.ceil(this.#perDay / BURST_PER_DAY));
  }
}

export class Origins {
  readonly #own: readonly VerifierKey[];
  readonly #nowMs: () => number;
  readonly #origins = new Map<string, WitnessedOrigin>();

  /** `own` are the witness' keys. */
  constructor(own: readonly VerifierKey[], nowMs: () => number) {
    this.#own = own;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#origins.size;
  }

  get(origin: string): WitnessedOrigin | undefined {
    return this.#origins.get(origin);
  }

  all(): readonly WitnessedOrigin[] {
    return [...this.#origins.values()];
  }

  /** Adds a key of a log. Throws `malformed` if it is none that can be witnessed by. */
  add({ origin, key, perDay }: Pick<ListedKey, 'origin' | 'key' | 'perDay'>): void {
    this.#check(origin, key);
    let known = this.#origins.get(origin);
    if (known === undefined) {
      if (this.#origins.size >= ORIGINS_MAX) {
        throw malformed('witnessed logs', `more than ${ORIGINS_MAX}`);
      }
      known = new WitnessedOrigin(origin, perDay, this.#nowMs());
      known.add(key, perDay);
      this.#origins.set(origin, known);
    } else known.add(key, perDay);
  }

  /** Adds what a list has; what of it cannot be witnessed is told of, and keeps nobody else out. */
  addAll(keys: readonly ListedKey[], skipped: (error: SteleError) => void): void {
    for (const key of keys) {
      try {
        this.add(key);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        skipped(error);
      }
    }
  }

  #check(origin: string, key: VerifierKey): void {
    const what = `log ${shown(origin)}`;
    const bytes = utf8(origin).length;
    if (
      bytes < 1 ||
      bytes > ORIGIN_BYTES_MAX ||
      /\n/.test(origin) ||
      controlCharacterAt(origin) >= 0
    ) {
      throw malformed(what, `an origin is one line of 1 to ${ORIGIN_BYTES_MAX} bytes`);
    }
    if (key.type === NOTE_TREE_HEAD || key.type === NOTE_OTHER) {
      throw malformed(what, `a key of type 0x${key.type.toString(16)} signs no note`);
    }
    if (!isLogKey(key, origin)) {
      throw malformed(what, `${key.name}+${key.keyId} is a key of a witness, and not of this log`);
    }
    const isOwn = this.#own.some(
      (own) => own.name === origin || own.name === key.name || isSameMaterial(own, key),
    );
    if (isOwn) throw malformed(what, 'it has the name or the key of this witness');
  }
}
