/** Time as an argument, so that tests own it. */

export interface Clock {
  /** Milliseconds since 1970 by this machine's clock. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** RFC 3339 in UTC with exactly six decimals, as records write it. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
