/**
 * The frames that were just appended, so that what is read back a moment later, a record with its content, costs no
 * reading. Only a hint: whatever is not here is on disk.
 */
import type { Frame } from './frame.ts';

/** Bytes of the largest payload that is kept: a long body goes by. */
export const RECENT_FRAME_BYTES_MAX = 262_144;

export class RecentFrames {
  /** By position, in order. */
  readonly #frames = new Map<number, Frame>();
  readonly #bytesMax: number;
  #bytes = 0;

  /** How many bytes of payload are kept. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get(position: number): Frame | undefined {
    return this.#frames.get(position);
  }

  /** Positions rise. Nobody changes the payload afterwards. */
  add(position: number, frame: Frame): void {
    if (frame.payload.length > RECENT_FRAME_BYTES_MAX) return;
    this.#frames.set(position, frame);
    this.#bytes += frame.payload.length;
    for (const [oldest, { payload }] of this.#frames) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#frames.delete(oldest);
      this.#bytes -= payload.length;
    }
  }

  /** What was to stand at `begin` or behind was lost, and other frames will. */
  dropFrom(begin: number): void {
    for (const [position, { payload }] of this.#frames) {
      if (position < begin) continue;
      this.#frames.delete(position);
      this.#bytes -= payload.length;
    }
  }
}
