/**
 * What time is it, in microseconds that never run backwards within a call?
 *
 * The system clock is read once in a while as an anchor; between, the monotonic clock counts. The error
 * that is stated is against the system clock: its resolution, and how far the two have drifted apart
 * since the anchor. How wrong the system clock itself is, nobody tells a process.
 */

export interface Clock {
  /** Microseconds since 1970; never smaller than the last answer. */
  nowUs(): number;
  /** What `nowUs` may be off from the system clock, in microseconds. */
  maxErrorUs(): number;
}

/** `Date.now` counts whole milliseconds. */
const RESOLUTION_US = 1_000;

/** Apart by more than this, somebody set the system clock: anchor again. */
const DRIFT_US_MAX = 50_000;

export function systemClock(
  wallMs: () => number = Date.now,
  monotonicMs: () => number = () => performance.now(),
): Clock {
  let anchorWall = wallMs();
  let anchorMonotonic = monotonicMs();
  let last = 0;
  const counted = () => anchorWall * 1_000 + (monotonicMs() - anchorMonotonic) * 1_000;
  const drift = () => Math.abs(counted() - wallMs() * 1_000);
  return {
    nowUs() {
      if (drift() > DRIFT_US_MAX) {
        anchorWall = wallMs();
        anchorMonotonic = monotonicMs();
      }
      last = Math.max(last, Math.floor(counted()));
      return last;
    },
    maxErrorUs: () => RESOLUTION_US + Math.ceil(Math.max(drift(), last - counted())),
  };
}

/** RFC 3339 in UTC with exactly six decimals, as records write it. */
export function timestampUs(us: number): string {
  const ms = Math.floor(us / 1_000);
  const rest = String(us - ms * 1_000).padStart(3, '0');
  return new Date(ms).toISOString().replace('Z', `${rest}Z`);
}
