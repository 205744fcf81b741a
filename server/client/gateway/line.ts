/**
 * The line that statements wait in, before they get a number: bounded, since its callers are not.
 */
import { SteleError } from '../../core/errors.ts';
import type { Content } from '../multipart.ts';
import type { Logged } from './exchange.ts';
import type { Statement } from './statement.ts';

/** Who is told what becomes of a statement, and what travels beside it. */
export interface Told {
  readonly content: Content | undefined;
  logged(logged: Logged): void;
  refused(error: Error): void;
}

/** A statement that waits for its number. */
export interface Waiting extends Told {
  readonly statement: Statement;
  /** What it takes of the line. */
  readonly bytes: number;
}

export interface LineLimits {
  readonly statements: number;
  readonly bytes: number;
}

export class Line {
  readonly #limits: LineLimits;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #room: (() => void)[] = [];

  constructor(limits: LineLimits) {
    this.#limits = limits;
  }

  get length(): number {
    return this.#waiting.length;
  }

  get isFull(): boolean {
    return this.#waiting.length >= this.#limits.statements || this.#bytes >= this.#limits.bytes;
  }

  /** Throws `pushback` if it is full. */
  add(waiting: Waiting): void {
    if (this.isFull) {
      const rule = `${this.#waiting.length} statements of ${this.#bytes} bytes wait already`;
      throw new SteleError('pushback', `gateway: ${rule}`);
    }
    this.#waiting.push(waiting);
    this.#bytes += waiting.bytes;
  }

  /** Resolves when there is room. */
  whenRoom(): Promise<void> {
    if (!this.isFull) return Promise.resolve();
    return new Promise((resolve) => this.#room.push(resolve));
  }

  /** The first few, as many as a round may have; at least one if any waits. */
  take({ statements, bytes }: LineLimits): Waiting[] {
    let count = 0;
    let taken = 0;
    for (const one of this.#waiting.slice(0, statements)) {
      if (count > 0 && taken + one.bytes > bytes) break;
      taken += one.bytes;
      count++;
    }
    const some = this.#waiting.splice(0, count);
    this.#bytes -= taken;
    this.#tell();
    return some;
  }

  /** What was taken and got no number goes to the front again. */
  putBack(taken: readonly Waiting[]): void {
    this.#waiting = [...taken, ...this.#waiting];
    this.#bytes += taken.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Takes one out of the line. False if it is not in it any more. */
  leave(one: Waiting): boolean {
    const at = this.#waiting.indexOf(one);
    if (at < 0) return false;
    this.#waiting.splice(at, 1);
    this.#bytes -= one.bytes;
    this.#tell();
    return true;
  }

  #tell(): void {
    if (this.isFull) return;
    for (const resolve of this.#room.splice(0)) resolve();
  }
}
