import { concat } from '../core/bytes.ts';

/** Bytes that all calls together may hold in memory; who gets none reads back from the disk. */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Whether so many bytes may be held. They are given back once, by `give`. */
  take(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#left += bytes;
  }
}

/** A body that stays in memory as long as it is small and there is room for it. */
export class HeldBody {
  readonly #budget: Budget;
  readonly #max: number;
  #parts: Uint8Array[] | undefined = [];
  #bytes = 0;

  constructor(budget: Budget, max: number) {
    this.#budget = budget;
    this.#max = max;
  }

  get isHeld(): boolean {
    return this.#parts !== undefined;
  }

  push(chunk: Uint8Array): void {
    if (this.#parts === undefined) return;
    if (this.#bytes + chunk.length > this.#max || !this.#budget.take(chunk.length)) {
      this.drop();
      return;
    }
    this.#bytes += chunk.length;
    this.#parts.push(chunk);
  }

  /** The whole body, or nothing if it is not in memory. */
  whole(): Uint8Array | undefined {
    return this.#parts === undefined ? undefined : concat(...this.#parts);
  }

  /** Gives the memory back. */
  drop(): void {
    this.#budget.give(this.#bytes);
    this.#bytes = 0;
    this.#parts = undefined;
  }
}
