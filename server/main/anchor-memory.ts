/**
 * What a log showed to targets outside, as one of the memories (P2): it is in the instance database, which is
 * another file than the log's own, so a log that was put back alone is older than that.
 */
import type { Checkpoint } from '../core/checkpoint.ts';
import { hash, treeSize } from '../core/units.ts';
import type { Memory } from '../log/memories.ts';
import type { PlannedHead } from '../storage/anchors.ts';

export class AnchorMemory implements Memory {
  readonly kind = 'anchors';
  readonly isLocal = true;
  readonly #place: string;
  readonly #newest: (origin: string) => PlannedHead | undefined;

  /** `newest` is the largest head of a log that was to be shown to anybody. */
  constructor(place: string, newest: (origin: string) => PlannedHead | undefined) {
    this.#place = place;
    this.#newest = newest;
  }

  /** Of a log that was never shown there is nothing to know. */
  concerns(origin: string): boolean {
    return this.#newest(origin) !== undefined;
  }

  placeOf(): string {
    return this.#place;
  }

  async recall(origin: string): Promise<Checkpoint | undefined> {
    const head = this.#newest(origin);
    return head && { origin, size: treeSize(head.size), root: hash(head.root) };
  }
}
