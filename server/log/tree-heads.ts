/**
 * Tree heads for RFC 6962 clients: when is one signed, and of what time?
 *
 * A log's other heads are signed as it grows. A client of RFC 6962 asks for one whenever it likes and judges
 * the log's health by its time, so these are signed when somebody asks: at most one a second, each later
 * than every one before, whatever happens to the process. In between all get the same one.
 *
 *     asked ──▶ younger than a second? ── yes ─────────────────────────────────▶ answer
 *                     │ no
 *                     ▼
 *               time of the clock ──▶ sign the committed head ──▶ keep, fsync ──▶ answer
 *
 * A clock that went back by a second or more is waited for: an older time is never signed, and the newest
 * head is not given out either, since its time would then say something untrue about now. Where signing or
 * keeping fails otherwise, reads go on (P9): the last head is served, and its time tells how old it is.
 */
import { equalBytes } from '../core/bytes.ts';
import { checkTreeHead, logIdOf, type SignedTreeHead, type TreeHead } from '../core/ct.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import type { Hash, TreeSize } from '../core/units.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import { signTreeHead } from '../keys/log-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { Head, LogStore } from '../storage/store.ts';
import { type Clock, timestamp } from './clock.ts';

/** From one signature to the next, and so the age up to which a tree head is served again. */
export const TREE_HEAD_INTERVAL_MS = 1_000;

/** Seconds after which to ask again where the clock is far behind: somebody will have to set it. */
const RETRY_AFTER_S_MAX = 3_600;

export interface TreeHeadPorts {
  readonly store: LogStore;
  readonly signer: () => Promise<Signer>;
  readonly clock: Clock;
  /** The newest head that is committed; throws why the log may not sign, if it may not. */
  readonly head: () => Head;
  /** The root of any integrated size. */
  readonly rootOf: (size: TreeSize) => Promise<Hash>;
  /** Resolves once the log says whose signature this is. */
  readonly announce: () => Promise<void>;
  /** Told of what went wrong where an older tree head is served instead. */
  readonly warn: (message: string, error: unknown) => void;
}

export class TreeHeads {
  readonly #ports: TreeHeadPorts;
  /** On disk, and perhaps with others. */
  #last: SignedTreeHead | undefined;
  /** The time that was signed last; it counts also if that tree head was never given out. */
  #signedMs = Number.NEGATIVE_INFINITY;
  /** Why there is none of that time, where there is none. */
  #failure: SteleError | undefined;
  #isRestored = false;
  #making: Promise<SignedTreeHead> | undefined;

  constructor(ports: TreeHeadPorts) {
    this.#ports = ports;
  }

  /** The newest tree head. All who ask while one is being signed get that one. */
  newest(): Promise<SignedTreeHead> {
    const last = this.#last;
    if (last !== undefined && this.#isRecent(this.#ports.clock.now())) return Promise.resolve(last);
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined;
    });
    return this.#making;
  }

  /** Resolves when nothing is being signed. Nobody may ask any more. */
  async close(): Promise<void> {
    await this.#making?.catch(() => undefined);
  }

  /** Within a second of the last signature, so that a clock that steps back by a little does no harm. */
  #isRecent(now: number): boolean {
    return Math.abs(now - this.#signedMs) < TREE_HEAD_INTERVAL_MS;
  }

  async #make(): Promise<SignedTreeHead> {
    const signer = await this.#ports.signer();
    await this.#restore(signer);
    await this.#ports.announce();
    const now = this.#ports.clock.now();
    if (this.#isRecent(now)) return this.#lastOr(this.#failure);
    const head = this.#ports.head();
    const floorMs = Math.max(this.#signedMs, head.timeMs);
    if (now <= floorMs - TREE_HEAD_INTERVAL_MS) throw behind(now, floorMs);
    // The clock is a second or more past the last signature, so this is too.
    const timeMs = Math.max(now, head.timeMs);
    try {
      return await this.#sign({ timeMs, size: head.size, root: head.root }, signer);
    } catch (error) {
      if (!hasCode(error, 'storage')) throw error;
      this.#failure = error;
      const last = this.#lastOr(error);
      this.#ports.warn('no tree head could be signed, and the last one is served', error);
      return last;
    }
  }

  #lastOr(failure: SteleError | undefined): SignedTreeHead {
    if (this.#last !== undefined) return this.#last;
    throw failure ?? new SteleError('storage', 'the last tree head is damaged', { retryAfterS: 1 });
  }

  async #sign(head: TreeHead, signer: Signer): Promise<SignedTreeHead> {
    // Set before it is used: until it is kept nobody knows what becomes of this signature.
    this.#signedMs = head.timeMs;
    const signed = await signTreeHead(head, signer);
    // A crash before this leaves a signature that nobody has seen, and its time may be signed again.
    await this.#keep(signed, signer);
    // From here on the next start knows this time, whether or not the answer gets out.
    this.#last = signed;
    this.#failure = undefined;
    return signed;
  }

  async #keep(signed: SignedTreeHead, { publicKey }: Signer): Promise<void> {
    try {
      await this.#ports.store.keepTreeHead(logIdOf(publicKey), signed);
    } catch (cause) {
      if (!hasCode(cause, 'conflict')) throw cause;
      throw new SteleError(
        'split_view',
        `a tree head was signed for this log that this process does not know of: ${cause.message}`,
        { cause },
      );
    }
  }

  /** Takes up what was kept. One that is damaged is not served, but its time is still one that may be out. */
  async #restore({ publicKey }: Signer): Promise<void> {
    if (this.#isRestored) return;
    const { store, rootOf, warn } = this.#ports;
    const kept = await store.readTreeHead(logIdOf(publicKey));
    if (kept !== undefined) {
      this.#signedMs = kept.timeMs;
      try {
        checkTreeHead(kept, publicKey, checkSignatureNative);
        if (!equalBytes(await rootOf(kept.size), kept.root)) {
          throw new SteleError('storage', `the log has another root at size ${kept.size}`);
        }
        this.#last = kept;
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        warn('its last tree head is damaged and is not served', error);
      }
    }
    this.#isRestored = true;
  }
}

/** The clock reads less than a time that may be with others. */
function behind(now: number, signedMs: number): SteleError {
  const seconds = Math.ceil((signedMs - now) / 1_000);
  return new SteleError(
    'storage',
    `the clock reads ${timestamp(now)} and is ${seconds} s behind the time of an earlier head: no tree ` +
      'head is signed until it has caught up',
    { retryAfterS: Math.min(seconds, RETRY_AFTER_S_MAX) },
  );
}
