/**
 * Publishing heads: what `LOG/checkpoint` serves, at its own pace.
 *
 * Every batch makes a signed head for its answers. The published head follows at most once a second
 * when the log has grown, and at shutdown, with the anchor key's line beside the identity key's. It is
 * kept before it is served, and before it is kept it is proven consistent with the last published one,
 * by the same check that a stranger would make. Nothing here can slow or fail an append.
 *
 * Where a log has witnesses, whoever asks them (`witness/asking.ts`) takes heads from here and brings cosignatures
 * back. A head that was cosigned is kept for good, and published again with each line that it gets:
 *
 *     open      grown ──▶ published ──▶ shown to witnesses ──▶ kept, published with their lines
 *     closed    grown ──────────────▶ shown to witnesses ──▶ kept ──▶ published once the quorum is met
 */
import { SteleError } from '../core/errors.ts';
import type { Policy } from '../core/policy.ts';
import { checkConsistency } from '../core/proof.ts';
import type { Cosignature } from '../core/tlog-witness.ts';
import { treeSize } from '../core/units.ts';
import type { Head, LogStore } from '../storage/store.ts';
import type { Clock } from './clock.ts';
import { isWitnessed, type LogWitnesses, withCosignatures } from './cosigned.ts';
import type { Reader } from './reader.ts';

export const PUBLISH_INTERVAL_MS = 1_000;

export interface PublishPorts {
  readonly store: LogStore;
  readonly reader: Reader;
  readonly clock: Clock;
  /** The head's note with every line that published heads carry. */
  readonly countersign: (head: Head) => Promise<string>;
  /** Those who are shown this log's heads, as it is now; nothing where there are none. */
  readonly witnesses?: (() => LogWitnesses | undefined) | undefined;
  /** Told of the newest head that is witnessed as the policy asks. */
  readonly witnessed?: (head: Head) => void;
  /** Told when a head could not be published; it is tried again with the next one. */
  readonly failed: (error: unknown) => void;
}

/** What a log's files say was published. */
export interface Restored {
  readonly published: Head | undefined;
  /** The newest head that is witnessed as the policy asks today. */
  readonly witnessed?: Head | undefined;
}

export class Publisher {
  readonly #ports: PublishPorts;
  #published: Head | undefined;
  #witnessed: Head | undefined;
  /** Whether the published head has its quorum, as it was found last. */
  #judged: { readonly head: Head; readonly policy: Policy; readonly isEnough: boolean } | undefined;
  #newest: Head | undefined;
  /** The head that was last shown to witnesses, while it is not published. */
  #shown: Head | undefined;
  /** What is served never gets smaller. */
  #floor: number;
  /** Since when there is a head that is not published. */
  #sinceMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;
  /** The size that those who ask witnesses were told of last. */
  #told: number | undefined;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(ports: PublishPorts, { published, witnessed }: Restored) {
    this.#ports = ports;
    this.#floor = published?.size ?? 0;
    this.#published = published;
    this.#witnessed = witnessed;
    // It met another policy, or none.
    this.#published = this.published;
  }

  /** The head that is served; nothing before the first was published. */
  get published(): Head | undefined {
    const head = this.#published;
    const witnesses = this.#ports.witnesses?.();
    if (head === undefined || witnesses?.fail !== 'closed') return head;
    // A log may come to be shown to witnesses while it is open: what was published before then has no quorum.
    const { policy } = witnesses;
    if (this.#judged?.head !== head || this.#judged.policy !== policy) {
      this.#judged = { head, policy, isEnough: isWitnessed(head.checkpoint, policy) };
    }
    return this.#judged.isEnough ? head : undefined;
  }

  /** The newest head that is witnessed as the policy asks. */
  get witnessed(): Head | undefined {
    return this.#witnessed;
  }

  /** Whether heads wait for their quorum before they are served. */
  get isClosed(): boolean {
    return this.#ports.witnesses?.()?.fail === 'closed';
  }

  /** Milliseconds since the log grew beyond what is published; 0 while it has not. */
  get waitingMs(): number {
    if (this.#sinceMs === undefined) return 0;
    return Math.max(0, this.#ports.clock.now() - this.#sinceMs);
  }

  /** The log has a newer head. */
  grown(head: Head): void {
    this.#newest = head;
    if (head.size !== this.#published?.size) this.#sinceMs ??= this.#ports.clock.now();
    if (this.#timer !== undefined || this.#closed) return;
    const wait = Math.max(0, this.#lastMs + PUBLISH_INTERVAL_MS - this.#ports.clock.now());
    this.#timer = setTimeout(() => this.#start(), Math.min(wait, PUBLISH_INTERVAL_MS));
    // A head that waits to be published does not keep a process alive: `close` publishes it.
    this.#timer.unref();
  }

  /** Publishes the newest head now, and resolves when it is served; where a quorum is waited for, nothing. */
  async now(): Promise<void> {
    clearTimeout(this.#timer);
    this.#start();
    await this.#running;
  }

  /**
   * The newest head as witnesses are shown it: with every line that published heads carry, and proven to
   * continue what was shown before. Rejects with `storage` where it cannot be had now.
   */
  async toShow(): Promise<Head> {
    if (!this.isClosed) {
      await this.now();
      if (this.#published !== undefined) return this.#published;
      throw new SteleError('storage', 'no head is published yet');
    }
    return this.#inTurn(async () => {
      const head = this.#newest;
      if (head === undefined || this.#closed) throw new SteleError('storage', 'there is no head');
      const known = [this.#shown, this.#published].find((one) => one?.size === head.size);
      if (known !== undefined) return known;
      await this.#check(head, this.#shown ?? this.#published);
      const checkpoint = await this.#ports.countersign(head);
      const timeMs = Math.max(head.timeMs, this.#ports.clock.now());
      this.#shown = { ...head, timeMs, checkpoint };
      return this.#shown;
    });
  }

  /**
   * Adds verified cosignatures to a head that was shown. When the promise resolves they are on disk and served
   * with it. A crash before that loses them, and they are asked for again.
   */
  async cosigned(shown: Head, cosignatures: readonly Cosignature[]): Promise<void> {
    await this.#inTurn(async () => {
      const witnesses = this.#ports.witnesses?.();
      if (this.#closed || witnesses === undefined || cosignatures.length === 0) return;
      const { store } = this.#ports;
      const { size } = shown;
      const served = this.#published?.size === size ? this.#published : undefined;
      const base = served ?? (await store.readPublished(size)) ?? shown;
      const checkpoint = withCosignatures(base.checkpoint, cosignatures);
      const head: Head = { ...base, checkpoint };
      // What was kept already may not be published: a crash in between, or a disk that refused.
      if (checkpoint !== base.checkpoint) await store.keep(head);
      else if (served !== undefined) return;
      const isEnough = isWitnessed(checkpoint, witnesses.policy);
      const isNew = isEnough && witnesses.fail === 'closed' && size >= this.#floor;
      try {
        if (served === undefined && (!isNew || size <= (this.#published?.size ?? 0))) return;
        await store.publish(head);
        this.#serve(head);
      } finally {
        // Whoever waits for it finds it served.
        if (isEnough) this.#noteWitnessed(head);
      }
    });
  }

  /** Publishes what is newest, and nothing after that. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.now();
  }

  /** Publishes nothing any more. */
  stop(): void {
    this.#closed = true;
    this.#newest = undefined;
    this.#shown = undefined;
    this.#sinceMs = undefined;
    clearTimeout(this.#timer);
  }

  #start(): void {
    this.#timer = undefined;
    this.#running = this.#running.then(() => this.#publish());
  }

  /** One thing after the other; a failure is its caller's. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#running.then(work);
    this.#running = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #publish(): Promise<void> {
    const head = this.#newest;
    if (head === undefined) return;
    const witnesses = this.#ports.witnesses?.();
    if (witnesses?.fail !== 'closed' && head.size !== this.#published?.size) {
      this.#lastMs = this.#ports.clock.now();
      try {
        await this.#check(head, this.#published);
        const checkpoint = await this.#ports.countersign(head);
        const published = { ...head, timeMs: Math.max(head.timeMs, this.#lastMs), checkpoint };
        await this.#ports.store.publish(published);
        this.#serve(published);
      } catch (error) {
        this.#ports.failed(error);
        // A newer one may have come meanwhile.
        if (!this.#closed) this.grown(this.#newest ?? head);
        return;
      }
    }
    // Whoever is told asks for the newest head, which comes by here: told again, they would never stop.
    if (this.#closed || witnesses === undefined || head.size === this.#told) return;
    this.#told = head.size;
    witnesses.grown(head.size);
  }

  #serve(head: Head): void {
    this.#published = head;
    this.#floor = head.size;
    // What came meanwhile is published within a second.
    this.#sinceMs = this.#newest?.size === head.size ? undefined : this.#ports.clock.now();
  }

  #noteWitnessed(head: Head): void {
    if (head.size < (this.#witnessed?.size ?? 0)) return;
    this.#witnessed = head;
    this.#ports.witnessed?.(head);
  }

  async #check(head: Head, last: Head | undefined): Promise<void> {
    if (last === undefined) return;
    checkConsistency({
      from: treeSize(last.size),
      to: head.size,
      fromRoot: last.root,
      toRoot: head.root,
      proof: await this.#ports.reader.consistency(last.size, head.size),
    });
  }
}
