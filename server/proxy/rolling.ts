/**
 * The log has ended: which records were made for it and are not in it, and how do they get to the next one?
 *
 * A record names its log, so each is made anew. All that is needed is on disk already: a `rolled` frame says
 * where the chain goes on and in which log, and every record frame that is made anew says whose place it takes.
 *
 *     journal   r5 r6 r7 r8 │ rolled: next log, 7, late r5 │ r7' r8' r5' …
 *     chain     … 6 ◀── 7 ◀── 8                              7 ◀── 8 ◀── 9
 *
 * r6 is in the old log and r5 is not, since a few were on their way at once: 5 is lost in the middle of a
 * chain, so a gap names it and r5 gets a new number. From r7 on nothing is in the old log; those numbers are kept.
 *
 * A crash before the `rolled` frame is on disk is none: the log is asked again. One after it finds what is left
 * to be made anew, in the order of the journal.
 */
import { keptFrom } from '../client/remake.ts';
import { decodeEntry } from '../core/entry.ts';
import { parseRecord } from '../core/record.ts';
import type { Backlog, Waiting } from './backlog.ts';
import type { Journal } from './journal/journal.ts';
import { decodeRecordFrame } from './record-frame.ts';
import type { Chain } from './recover.ts';

/** What a `rolled` frame says. */
export interface RolledFrame {
  /** The origin of the next log. */
  readonly log: string;
  /** Where the chain goes on. */
  readonly next: number;
  readonly prev: string | null;
  /** Records that get new numbers, after all others. */
  readonly late: readonly Waiting[];
  /** Their old numbers, which a gap record explains. */
  readonly lost: readonly number[];
}

/**
 * Where the chain goes on, if the records at these positions are the first that wait and the old log has none
 * of them. Whatever waits behind them was never sent.
 */
export async function planRoll(
  journal: Journal,
  backlog: Backlog,
  chain: Chain,
  unlogged: readonly number[],
): Promise<Omit<RolledFrame, 'log'>> {
  const records = await Promise.all(unlogged.map((position) => readAt(journal, position)));
  const [next] = (await backlog.head(unlogged.length + 1)).slice(unlogged.length);
  const behind = next === undefined ? undefined : await readAt(journal, next);
  const keep = keptFrom(
    records.map(({ seq }) => seq),
    behind?.seq ?? chain.next,
  );
  const { seq, prev } = records[keep] ?? behind ?? { seq: chain.next, prev: chain.prev };
  const late = records.slice(0, keep);
  return {
    next: seq,
    prev,
    late: late.map(({ position, begin }) => ({ position, begin })),
    lost: late.map((record) => record.seq),
  };
}

async function readAt(journal: Journal, position: number) {
  const { meta, entry } = decodeRecordFrame((await journal.read(position)).payload);
  const { prev } = parseRecord(decodeEntry(entry).payload).source;
  return { position, begin: meta.begin ?? position, seq: meta.seq, prev };
}

export class Rolling {
  /** One for each log that ended: more than one only where frames are damaged. */
  readonly #kept: Backlog[] = [];
  readonly #late: Waiting[] = [];

  /** Records that are still to be made anew. */
  get count(): number {
    return this.#kept.reduce((sum, { count }) => sum + count, this.#late.length);
  }

  /** Lowest position that is still needed; infinite when nothing is left. */
  get floor(): number {
    return Math.min(
      Number.POSITIVE_INFINITY,
      ...this.#kept.map(({ floor }) => floor),
      ...this.#late.map(({ begin }) => begin),
    );
  }

  /** Takes all that waited for the log that ended. */
  begin(backlog: Backlog, late: readonly Waiting[]): void {
    const kept = backlog.takeAll();
    for (const { position } of late) kept.done(position);
    this.#kept.push(kept);
    this.#late.push(...late);
  }

  /** The first few, in the order in which they are made anew. */
  async head(n: number): Promise<number[]> {
    for (const backlog of this.#kept) {
      const kept = await backlog.head(n);
      if (kept.length > 0) return kept;
    }
    return this.#late.slice(0, n).map(({ position }) => position);
  }

  /** The record at this position was made anew, or cannot be. They come in order, unless frames are damaged. */
  done(position: number, { inOrder = true } = {}): void {
    const late = this.#late.findIndex((one) => one.position === position);
    if (late >= 0) {
      this.#late.splice(late, 1);
      return;
    }
    for (const backlog of this.#kept) {
      if (inOrder) backlog.firstDone(position);
      else backlog.done(position);
    }
    while (this.#kept[0]?.count === 0) this.#kept.shift();
  }
}
