/**
 * Which logs are open? Those that are in use, and of the others the ones that were used last.
 *
 * An open log has files, a right edge and caches; a closed one costs nothing but its row. Whoever works on
 * a log holds it by a lease, and a log that is held is never closed. Beyond `max` the log whose use ended
 * longest ago is closed; more than `max` are open only while more than that are held.
 */
import { SteleError } from '../core/errors.ts';
import type { Log } from './log.ts';

/** A log that stays open until it is given back. */
export interface Lease {
  readonly log: Log;
  /** To be called once the work is done; calling it again does nothing. */
  release(): void;
}

export interface OpenLogsOptions {
  /** Logs that stay open while nobody holds them. */
  readonly max: number;
  /** A log is closed: what is open beside it may be closed as well. */
  readonly closed: (name: string) => Promise<void>;
  /** Told of a log that could not be closed as it should be. */
  readonly failed: (name: string, error: unknown) => void;
}

interface Slot {
  readonly log: Promise<Log>;
  leases: number;
}

export class OpenLogs {
  readonly #options: OpenLogsOptions;
  /** In the order in which they were last taken or given back. */
  readonly #slots = new Map<string, Slot>();
  /** Logs on their way to being closed: one that is asked for again is opened after that. */
  readonly #closing = new Map<string, Promise<void>>();
  /** Logs that are open to nobody: their files are being taken away. */
  readonly #barred = new Set<string>();

  constructor(options: OpenLogsOptions) {
    this.#options = options;
  }

  /** Takes a log, which is opened by `open` if it is not yet. A failure to open is not kept. */
  async lease(name: string, open: () => Promise<Log>): Promise<Lease> {
    if (this.#barred.has(name)) throw new SteleError('not_found', `log ${name} is being removed`);
    const slot = this.#slots.get(name) ?? this.#add(name, open);
    slot.leases += 1;
    this.#touch(name, slot);
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      slot.leases -= 1;
      this.#touch(name, slot);
      this.#closeSome();
    };
    try {
      return { log: await slot.log, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Every log that is open now. */
  async opened(): Promise<Log[]> {
    const logs = await Promise.allSettled([...this.#slots.values()].map(({ log }) => log));
    return logs.flatMap((log) => (log.status === 'fulfilled' ? [log.value] : []));
  }

  /**
   * Closes a log and lets nobody open it while `work` is done. `conflict`, and nothing is done, while
   * somebody holds it.
   */
  async barred<T>(name: string, work: () => Promise<T>): Promise<T> {
    const slot = this.#slots.get(name);
    if (this.#barred.has(name) || (slot?.leases ?? 0) > 0) {
      throw new SteleError('conflict', `log ${name} is in use`);
    }
    this.#barred.add(name);
    try {
      if (slot !== undefined) this.#close(name, slot);
      await this.#closing.get(name);
      return await work();
    } finally {
      this.#barred.delete(name);
    }
  }

  /** Closes all of them, also those that somebody holds. */
  async close(): Promise<void> {
    for (const [name, slot] of this.#slots) this.#close(name, slot);
    await Promise.all(this.#closing.values());
  }

  #add(name: string, open: () => Promise<Log>): Slot {
    const closing = this.#closing.get(name);
    const log = closing === undefined ? open() : closing.then(open);
    const slot: Slot = { log, leases: 0 };
    this.#slots.set(name, slot);
    log.catch(() => {
      if (this.#slots.get(name) === slot) this.#slots.delete(name);
    });
    return slot;
  }

  /** Moves a log to the young end. */
  #touch(name: string, slot: Slot): void {
    if (this.#slots.get(name) !== slot) return;
    this.#slots.delete(name);
    this.#slots.set(name, slot);
  }

  #closeSome(): void {
    const { max } = this.#options;
    if (this.#slots.size <= max) return;
    for (const [name, slot] of this.#slots) {
      if (slot.leases === 0) this.#close(name, slot);
      if (this.#slots.size <= max) return;
    }
  }

  #close(name: string, slot: Slot): void {
    this.#slots.delete(name);
    const closed = this.#closeSlot(name, slot).finally(() => {
      if (this.#closing.get(name) === closed) this.#closing.delete(name);
    });
    this.#closing.set(name, closed);
  }

  async #closeSlot(name: string, slot: Slot): Promise<void> {
    let log: Log;
    try {
      log = await slot.log;
    } catch {
      // Whoever asked for it has the reason why it did not open; there is nothing to close.
      return;
    }
    try {
      await log.close();
      await this.#options.closed(name);
    } catch (error) {
      this.#options.failed(name, error);
    }
  }
}
