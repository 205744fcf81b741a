/**
 * How is long work done beside short requests? In slices, one at a time among all who have long work.
 *
 * Whoever has a turn may compute for some milliseconds, and then waits for the next. Between two turns
 * the event loop goes round, so that every other request is served in between, however many have long work.
 */
import { setImmediate as othersFirst } from 'node:timers/promises';

/** Milliseconds of computing in one turn: a wait that nobody notices. */
const SLICE_MS = 5;

export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn. */
  next(): Promise<void> {
    const turn = this.#last.then(() => othersFirst());
    this.#last = turn;
    return turn;
  }

  /** One piece of long work. Its first slice is a turn as well. */
  begin(): Work {
    return new Work(this);
  }
}

class Work {
  readonly #turns: Turns;
  #untilMs = Number.NEGATIVE_INFINITY;

  constructor(turns: Turns) {
    this.#turns = turns;
  }

  /** To be awaited before each step, which is short: waits for a turn where the slice is used up. */
  async step(): Promise<void> {
    if (performance.now() < this.#untilMs) return;
    await this.#turns.next();
    this.#untilMs = performance.now() + SLICE_MS;
  }
}
