/** How far somebody outside has got with a log, in the words that targets and witnesses share. */
import type { JsonObject } from '../core/json.ts';
import { timestamp } from '../log/clock.ts';

/** What there is not is null, as the rows have it. */
export interface Progress {
  readonly size: number | null;
  readonly timeMs: number | null;
  readonly pendingSize: number | null;
  readonly pendingSinceMs: number | null;
  readonly attempts: number | null;
  readonly missed: number;
}

/** What it got to, what it is being shown, and what it did not get to: silence is never taken for success. */
export function progressOf(progress: Progress): JsonObject {
  const { size, timeMs, pendingSize, pendingSinceMs, attempts, missed } = progress;
  return {
    ...(size === null ? {} : { size }),
    ...(timeMs === null ? {} : { time: timestamp(timeMs) }),
    ...(pendingSize === null || pendingSinceMs === null
      ? {}
      : {
          pending: {
            size: pendingSize,
            since: timestamp(pendingSinceMs),
            attempts: attempts ?? 0,
          },
        }),
    missed,
  };
}
