/** Showing a log's newest head to its witnesses now, and how far each is with it. */
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { WitnessRows } from '../storage/witnesses.ts';
import type { Act } from './act.ts';
import { progressOf } from './progress.ts';
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

/** How far each witness is with a log. */
export function witnessingOf(rows: WitnessRows, log: string): JsonObject[] {
  return rows.progress(log).map((one) => ({
    witness: one.witness,
    ...progressOf(one),
    asked: one.asked,
    failed: one.failed,
    ...(one.evidence === null ? {} : { disputes: saidIn(one.evidence) }),
  }));
}

/** What a witness holds against the log, in words. */
function saidIn(evidence: string): string {
  return (JSON.parse(evidence) as { readonly said: string }).said;
}
