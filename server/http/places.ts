/**
 * How many answers may be under way for long? A bounded number all together, and of each caller fewer, so
 * that none keeps the others out. Strangers count as one caller with half of all places.
 */
import { SteleError } from '../core/errors.ts';
import type { TokenRow } from '../storage/instance.ts';

export interface PlacesOptions {
  /** What takes a place, for the refusal. */
  readonly what: string;
  readonly max: number;
  readonly perTokenMax: number;
}

const STRANGERS = 'strangers';

export class Places {
  readonly #options: PlacesOptions;
  readonly #taken = new Map<string, number>();
  #all = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** Places that are taken. */
  get taken(): number {
    return this.#all;
  }

  /** Takes a place, or throws `pushback`. What it returns gives the place back, once however often called. */
  take(token: TokenRow | undefined): () => void {
    const { what, max, perTokenMax } = this.#options;
    const caller = token?.id ?? STRANGERS;
    const own = this.#taken.get(caller) ?? 0;
    if (this.#all >= max) {
      throw new SteleError('pushback', `${what}: ${this.#all} are under way, which is the limit`);
    }
    if (own >= (token === undefined ? Math.ceil(max / 2) : perTokenMax)) {
      const whose = token === undefined ? 'callers without a token' : `token ${token.id}`;
      throw new SteleError('pushback', `${what}: ${own} are under way for ${whose}, the limit`);
    }
    this.#all += 1;
    this.#taken.set(caller, own + 1);
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#all -= 1;
      const left = (this.#taken.get(caller) ?? 1) - 1;
      if (left === 0) this.#taken.delete(caller);
      else this.#taken.set(caller, left);
    };
  }
}
