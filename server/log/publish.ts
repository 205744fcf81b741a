/**
 * Publishing heads: what `LOG/checkpoint` serves, at its own pace.
 *
 * Every batch makes a signed head for its answers. The published head follows at most once a second
 * when the log has grown, and at shutdown, with the anchor key's line beside the identity key's. It is
 * kept before it is served, and before it is kept it is proven consistent with the last published one,
 * by the same check that a stranger would make. Nothing here can slow or fail an append.
 */
import { checkConsistency } from '../core/proof.ts';
import { treeSize } from '../core/units.ts';
import type { Head, LogStore } from '../storage/store.ts';
import type { Clock } from './clock.ts';
import type { Reader } from './reader.ts';

export const PUBLISH_INTERVAL_MS = 1_000;

export interface PublishPorts {
  readonly store: LogStore;
  readonly reader: Reader;
  readonly clock: Clock;
  /** The head's note with every line that published heads carry. */
  readonly countersign: (head: Head) => Promise<string>;
  /** Told when a head could not be published; it is tried again with the next one. */
  readonly failed: (error: unknown) => void;
}

export class Publisher {
  readonly #ports: PublishPorts;
  #published: Head | undefined;
  #newest: Head | undefined;
  /** Since when there is a head that is not published. */
  #sinceMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #closed = false;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(ports: PublishPorts, published: Head | undefined) {
    this.#ports = ports;
    this.#published = published;
  }

  /** The head that is served; nothing before the first was published. */
  get published(): Head | undefined {
    return this.#published;
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

  /** Publishes the newest head now, and resolves when it is served. */
  async now(): Promise<void> {
    clearTimeout(this.#timer);
    this.#start();
    await this.#running;
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
    this.#sinceMs = undefined;
    clearTimeout(this.#timer);
  }

  #start(): void {
    this.#timer = undefined;
    this.#running = this.#running.then(() => this.#publish());
  }

  async #publish(): Promise<void> {
    const head = this.#newest;
    if (head === undefined || head.size === this.#published?.size) return;
    this.#lastMs = this.#ports.clock.now();
    try {
      await this.#check(head);
      const checkpoint = await this.#ports.countersign(head);
      const published: Head = { ...head, timeMs: Math.max(head.timeMs, this.#lastMs), checkpoint };
      await this.#ports.store.publish(published);
      this.#published = published;
      // What came meanwhile is published within a second.
      this.#sinceMs = this.#newest?.size === head.size ? undefined : this.#ports.clock.now();
    } catch (error) {
      this.#ports.failed(error);
      // A newer one may have come meanwhile.
      if (!this.#closed) this.grown(this.#newest ?? head);
    }
  }

  async #check(head: Head): Promise<void> {
    const last = this.#published;
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
