/**
 * What is counted while logs work? Plain additions, so that an append pays nothing worth naming; whoever
 * shows them (`http/metrics.ts`) gives them names and a form.
 */

/** How many values fell under each bound, and their sum. */
export class Tally {
  /** Upper bounds, rising; what is above the last is counted too. */
  readonly bounds: readonly number[];
  /** One per bound, and one for all above. Not cumulative. */
  readonly counts: number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  add(value: number): void {
    let at = 0;
    for (const bound of this.bounds) {
      if (value <= bound) break;
      at += 1;
    }
    this.counts[at] = (this.counts[at] ?? 0) + 1;
    this.sum += value;
  }
}

/** Entries of one batch, up to the most that a batch may have. */
const BATCH_ENTRIES = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384];
/** Seconds of one durable commit: a fast disk takes one millisecond, one in trouble takes seconds. */
const COMMIT_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** What all logs of one instance did since it started. */
export class Meter {
  readonly batchEntries = new Tally(BATCH_ENTRIES);
  readonly commitSeconds = new Tally(COMMIT_SECONDS);

  committed(entries: number, ms: number): void {
    this.batchEntries.add(entries);
    this.commitSeconds.add(ms / 1_000);
  }
}
