/**
 * Challenges for keys that are to be registered: random, good once, for ten minutes, and for one log.
 *
 * They are kept in memory: a restart forgets them, and whoever holds one asks for another. A challenge is
 * used up by the registration that it proves and by a proof that is wrong, but not by one that fails for
 * another reason.
 */
import { parseBase64, toBase64 } from '../core/bytes.ts';
import { hasCode, SteleError, shown, unverified } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { CHALLENGE_BYTES, possessionMessage } from '../core/possession.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import { type Clock, timestamp } from './clock.ts';

export const CHALLENGE_LIFE_MS = 600_000;

/** Challenges that are open at once, and those of one asker: each is some 200 bytes. */
const OPEN_MAX = 1_024;
const OPEN_PER_ASKER_MAX = 64;

export interface Challenge {
  /** Base64. */
  readonly challenge: string;
  readonly expiresMs: number;
}

/** What a registration brings to show that the key is at hand. */
export interface Proof {
  /** A challenge of this log, in base64. */
  readonly challenge: string;
  /** The key's signature over `possessionMessage`, in base64. */
  readonly proof: string;
}

interface Open {
  readonly origin: string;
  readonly asker: string;
  readonly expiresMs: number;
}

export interface PossessionOptions {
  readonly clock: Clock;
  readonly random: (bytes: number) => Uint8Array;
}

export class Possession {
  readonly #options: PossessionOptions;
  readonly #open = new Map<string, Open>();

  constructor(options: PossessionOptions) {
    this.#options = options;
  }

  /** A new challenge for keys of the log `origin`; `pushback` where too many are open. */
  challenge(origin: string, asker: string): Challenge {
    const now = this.#options.clock.now();
    // In the order of their making, which is that of their ends.
    for (const [challenge, { expiresMs }] of this.#open) {
      if (expiresMs > now) break;
      this.#open.delete(challenge);
    }
    const own = [...this.#open.values()].filter((open) => open.asker === asker).length;
    if (this.#open.size >= OPEN_MAX || own >= OPEN_PER_ASKER_MAX) {
      throw new SteleError(
        'pushback',
        `${own} challenges of yours and ${this.#open.size} in all are open, where ` +
          `${OPEN_PER_ASKER_MAX} and ${OPEN_MAX} are the most`,
        { retryAfterS: CHALLENGE_LIFE_MS / 1_000 },
      );
    }
    const challenge = toBase64(this.#options.random(CHALLENGE_BYTES));
    const expiresMs = now + CHALLENGE_LIFE_MS;
    this.#open.set(challenge, { origin, asker, expiresMs });
    return { challenge, expiresMs };
  }

  /**
   * Does `register` for a key whose possession is proven; throws `unverified` and does nothing where it is
   * not. While it runs the challenge is nobody else's.
   */
  async proven<T>(
    origin: string,
    key: PublicKey,
    { challenge, proof }: Proof,
    register: () => Promise<T>,
  ): Promise<T> {
    const open = this.#take(origin, challenge);
    checkProof(origin, key, { challenge, proof });
    try {
      return await register();
    } catch (error) {
      // Nothing was registered, so the same request may be sent again.
      const isOver = open.expiresMs <= this.#options.clock.now();
      if (!isOver && !hasCode(error, 'unverified')) this.#open.set(challenge, open);
      throw error;
    }
  }

  #take(origin: string, challenge: string): Open {
    const open = this.#open.get(challenge);
    this.#open.delete(challenge);
    if (open === undefined || open.origin !== origin) {
      throw unverified(
        'challenge',
        `${shown(challenge)} is none of ${origin} that is open: each is good once, for ` +
          `${CHALLENGE_LIFE_MS / 60_000} minutes, until a restart`,
      );
    }
    const now = this.#options.clock.now();
    if (open.expiresMs <= now) {
      throw unverified(
        'challenge',
        `it ended at ${timestamp(open.expiresMs)}, and it is ${timestamp(now)}`,
      );
    }
    return open;
  }
}

/** Checks a proof for a challenge, whoever gave it; throws `malformed` or `unverified`. */
export function checkProof(origin: string, key: PublicKey, { challenge, proof }: Proof): void {
  const message = possessionMessage(origin, key.keyid, parseBase64(challenge, 'challenge'));
  try {
    checkSignatureNative(key, message, parseBase64(proof, 'proof'));
  } catch (cause) {
    if (!hasCode(cause, 'unverified')) throw cause;
    throw unverified(
      'proof',
      `it is no signature by key ${key.keyid} over the challenge for ${origin}: ${cause.message}`,
      { cause },
    );
  }
}
