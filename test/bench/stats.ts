/** What do many measurements come to? Quantiles, and the middle of a few runs. */

/** The value below which `share` of the values lie; of an ascending list. */
export function quantile(ascending: ArrayLike<number>, share: number): number {
  if (ascending.length === 0) return Number.NaN;
  const at = Math.min(ascending.length - 1, Math.floor(share * ascending.length));
  return ascending[at] ?? Number.NaN;
}

export interface Spread {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export function spread(values: Iterable<number>): Spread {
  const sorted = Float64Array.from(values).sort();
  return {
    p50: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    p99: quantile(sorted, 0.99),
    max: quantile(sorted, 1),
  };
}

/** Several runs of one thing: the middle one counts, the others say how much it is worth. */
export interface Runs {
  readonly min: number;
  readonly median: number;
  readonly max: number;
  readonly runs: number;
}

export function runsOf(values: readonly number[]): Runs {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const low = sorted[Math.floor(middle)] ?? Number.NaN;
  const high = sorted[Math.ceil(middle)] ?? Number.NaN;
  return {
    min: sorted[0] ?? Number.NaN,
    median: (low + high) / 2,
    max: sorted.at(-1) ?? Number.NaN,
    runs: values.length,
  };
}
