/**
 * Which records are in the journal and not yet in the log, in order, when there may be millions?
 *
 * Only positions are kept, and of a long backlog only the first and the last: the middle is forgotten
 * in blocks and found again by reading the journal when its turn comes. What a block never forgets is
 * the lowest position that its records' calls begin at: nothing from there on may be deleted.
 *
 *     │ loaded block │ forgotten │ forgotten │ growing block │
 *       ↑ submitted from here                   ↑ records come in here
 */
import { invariant } from '../core/errors.ts';

/** A record frame, and the first frame that its content needs. */
export interface Waiting {
  readonly position: number;
  readonly begin: number;
}

interface Block {
  first: number;
  last: number;
  /** Lowest position that one of its records needs; only for a block that was forgotten. */
  lowest: number;
  count: number;
  records: Waiting[] | undefined;
}

export interface BacklogOptions {
  readonly blockRecords: number;
  /** Positions in memory beyond which blocks are forgotten. */
  readonly loadedMax: number;
  /** All record frames from position `first` to `last`, both included, in order. */
  readonly find: (first: number, last: number) => Promise<Waiting[]>;
}

export class Backlog {
  readonly #options: BacklogOptions;
  readonly #blocks: Block[] = [];
  /** Done, and not yet at the front: a few in flight at once end in any order. */
  readonly #done = new Set<number>();
  #count = 0;
  #loaded = 0;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** Records that wait. */
  get count(): number {
    return this.#count;
  }

  /** Lowest position that is still needed; infinite when nothing waits. */
  get floor(): number {
    let floor = Number.POSITIVE_INFINITY;
    for (const block of this.#blocks) {
      if (block.records === undefined) floor = Math.min(floor, block.lowest);
      else for (const { begin } of block.records) floor = Math.min(floor, begin);
    }
    return floor;
  }

  push(record: Waiting): void {
    const { position, begin } = record;
    const last = this.#blocks.at(-1);
    invariant(last === undefined || last.last < position, 'records come in order');
    this.#count++;
    this.#loaded++;
    if (last?.records !== undefined && last.count < this.#options.blockRecords) {
      last.records.push(record);
      last.last = position;
      last.lowest = Math.min(last.lowest, begin);
      last.count++;
      return;
    }
    this.#blocks.push({
      first: position,
      last: position,
      lowest: begin,
      count: 1,
      records: [record],
    });
    // The first is being submitted, the last is growing; what lies between can be found again.
    for (const block of this.#blocks.slice(1, -1).reverse()) {
      if (this.#loaded <= this.#options.loadedMax) break;
      if (block.records === undefined) continue;
      this.#loaded -= block.records.length;
      block.records = undefined;
    }
  }

  /** The first `n` records that wait, in order. */
  async head(n: number): Promise<number[]> {
    for (;;) {
      this.#trim();
      const positions: number[] = [];
      const forgotten = this.#blocks.find(({ records }) => {
        for (const { position } of records ?? []) {
          if (positions.length < n && !this.#done.has(position)) positions.push(position);
        }
        return records === undefined && positions.length < n;
      });
      if (forgotten === undefined) return positions;
      await this.#load(forgotten);
    }
  }

  /** All that waits, as a backlog of its own. */
  takeAll(): Backlog {
    const all = new Backlog(this.#options);
    all.#blocks.push(...this.#blocks.splice(0));
    for (const position of this.#done) all.#done.add(position);
    this.#done.clear();
    [all.#count, all.#loaded] = [this.#count, this.#loaded];
    [this.#count, this.#loaded] = [0, 0];
    return all;
  }

  /** The same of the first that waits: where all come in order nothing has to be remembered of a forgotten block. */
  firstDone(position: number): void {
    const block = this.#blocks[0];
    if (block === undefined || block.records !== undefined) {
      this.done(position);
      return;
    }
    if (position < block.first || position > block.last) return;
    block.first = position + 1;
    block.count--;
    this.#count--;
    if (block.count === 0) this.#blocks.shift();
  }

  /** A record is in the log, or set aside. One that does not wait (any more) is nothing to it. */
  done(position: number): void {
    const first = this.#blocks[0]?.records?.[0]?.position ?? this.#blocks[0]?.first;
    if (first === undefined || position < first || this.#done.has(position)) return;
    this.#done.add(position);
    this.#count--;
    this.#trim();
  }

  async #load(block: Block): Promise<void> {
    if (block.records !== undefined) return;
    const found = await this.#options.find(block.first, block.last);
    invariant(found.length === block.count, 'a block is found as it was forgotten');
    block.records = found;
    this.#loaded += found.length;
  }

  /** Forgets what is done at the front. */
  #trim(): void {
    for (;;) {
      const block = this.#blocks[0];
      const first = block?.records?.[0];
      if (block === undefined || first === undefined) return;
      if (!this.#done.delete(first.position)) return;
      block.records?.shift();
      this.#loaded--;
      block.count--;
      if (block.count === 0) this.#blocks.shift();
    }
  }
}
