/**
 * Who waits for the log to grow, and how are thousands of them told at little cost?
 *
 * One list per log, by the size that each must see passed. A commit that passes nobody's size costs one
 * comparison; nobody looks again by a timer. Those who are due are woken a slice at a time, so that a
 * commit that thousands waited for does not stop the program while it answers them all.
 */
import { SteleError } from '../core/errors.ts';
import type { TreeSize } from '../core/units.ts';

/** Woken in one turn of the event loop. */
const SLICE = 64;

type Wake = () => void;

export class Growth {
  readonly #name: string;
  /** By the size that must be passed, in the order they came. */
  readonly #waiting = new Map<TreeSize, Set<Wake>>();
  /** The smallest of those sizes, or less. */
  #least = Number.POSITIVE_INFINITY;
  readonly #due: Wake[] = [];
  #closed = false;

  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Resolves once `size()` is more than `beyond`. Rejects when `signal` is aborted, and with `storage`
   * when the log is closed.
   */
  async wait(beyond: TreeSize, size: () => TreeSize, signal: AbortSignal): Promise<void> {
    while (size() <= beyond) {
      signal.throwIfAborted();
      if (this.#closed) throw new SteleError('storage', `log ${this.#name} is closed`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#remove(beyond, wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#add(beyond, wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  /** The log has `size` entries. */
  grown(size: TreeSize): void {
    if (size <= this.#least) return;
    this.#least = Number.POSITIVE_INFINITY;
    for (const [beyond, wakes] of this.#waiting) {
      if (size > beyond) {
        this.#waiting.delete(beyond);
        this.#wakeSoon(wakes);
      } else if (beyond < this.#least) this.#least = beyond;
    }
  }

  close(): void {
    this.#closed = true;
    for (const wakes of this.#waiting.values()) this.#wakeSoon(wakes);
    this.#waiting.clear();
  }

  #add(beyond: TreeSize, wake: Wake): void {
    const known = this.#waiting.get(beyond);
    if (known === undefined) this.#waiting.set(beyond, new Set([wake]));
    else known.add(wake);
    if (beyond < this.#least) this.#least = beyond;
  }

  #remove(beyond: TreeSize, wake: Wake): void {
    const wakes = this.#waiting.get(beyond);
    if (wakes?.delete(wake) === true && wakes.size === 0) this.#waiting.delete(beyond);
  }

  #wakeSoon(wakes: ReadonlySet<Wake>): void {
    const isIdle = this.#due.length === 0;
    for (const wake of wakes) this.#due.push(wake);
    if (isIdle) this.#wakeSome();
  }

  #wakeSome(): void {
    for (const wake of this.#due.splice(0, SLICE)) wake();
    if (this.#due.length > 0) setImmediate(() => this.#wakeSome());
  }
}
