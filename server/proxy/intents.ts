/** Calls that wait until the log has the intent to make them. No more of them than there are calls. */
import { IntentMissing } from './failures.ts';

interface Waiter {
  resolve(): void;
  reject(error: IntentMissing): void;
  /** Where its record frame is, once it is on disk. */
  position?: number;
}

export class Intents {
  readonly #waiting = new Map<string, Waiter>();
  readonly #byPosition = new Map<number, string>();

  /** Resolves when the log has the intent of this id; rejects if it refuses it, or has not after `ms`. */
  async wait(id: string, ms: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      reject(new IntentMissing(`the log does not have it after ${ms} ms`));
    }, ms);
    this.#waiting.set(id, { resolve, reject });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      const position = this.#waiting.get(id)?.position;
      if (position !== undefined) this.#byPosition.delete(position);
      this.#waiting.delete(id);
    }
  }

  /** A record frame is on disk; one that is made anew for another log is at another place than before. */
  recorded(position: number, id: string): void {
    const waiter = this.#waiting.get(id);
    if (waiter === undefined) return;
    if (waiter.position !== undefined) this.#byPosition.delete(waiter.position);
    waiter.position = position;
    this.#byPosition.set(position, id);
  }

  logged(position: number): void {
    this.#of(position)?.resolve();
  }

  refused(position: number, reason: string): void {
    this.#of(position)?.reject(new IntentMissing(`the log refused it: ${reason}`));
  }

  /** The proxy stops. */
  end(): void {
    for (const { reject } of this.#waiting.values()) reject(new IntentMissing('the proxy stops'));
  }

  #of(position: number): Waiter | undefined {
    const id = this.#byPosition.get(position);
    return id === undefined ? undefined : this.#waiting.get(id);
  }
}
