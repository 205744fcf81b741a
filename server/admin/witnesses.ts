/** Showing a log's newest head to its witnesses now, and how far each is with it. */
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { timestamp } from '../log/clock.ts';
import type { WitnessRows } from '../storage/witnesses.ts';
import type { Act } from './act.ts';
import { Nothing } from './wanted.ts';

/** What of it goes on when the answer comes is told as such. */
export const witnessNow: Act<Record<string, never>> = {
  name: 'witness.now',
  wanted: Nothing,
  plan({ witnesses }) {
    if (witnesses !== undefined) return { args: {} };
    throw new SteleError(
      'conflict',
      'witnesses are asked by a server that runs, and by nothing else',
    );
  },
  async perform({ witnesses }, log) {
    await witnesses?.now(log);
    return { witnessing: witnesses === undefined ? [] : witnessingOf(witnesses.rows, log) };
  },
};

/** How far each witness is with a log, and what it did not get to: silence is never taken for success. */
export function witnessingOf(rows: WitnessRows, log: string): JsonObject[] {
  return rows.progress(log).map((one) => {
    const { witness, size, timeMs, pendingSize, pendingSinceMs, attempts, evidence } = one;
    return {
      witness,
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
      missed: one.missed,
      asked: one.asked,
      failed: one.failed,
      ...(evidence === null ? {} : { disputes: saidIn(evidence) }),
    };
  });
}

/** What a witness holds against the log, in words. */
function saidIn(evidence: string): string {
  return (JSON.parse(evidence) as { readonly said: string }).said;
}
