/** Showing a log's newest head to the targets outside now, and how far each has got with it. */
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { timestamp } from '../log/clock.ts';
import type { AnchorRows } from '../storage/anchors.ts';
import type { Act } from './act.ts';
import { progressOf } from './progress.ts';
import { Nothing } from './wanted.ts';

/** What of it goes on when the answer comes is told as such. */
export const anchorNow: Act<Record<string, never>> = {
  name: 'anchor.now',
  wanted: Nothing,
  plan({ anchors }) {
    if (anchors !== undefined) return { args: {} };
    throw new SteleError(
      'conflict',
      'heads are shown outside by a server that runs, and by nothing else',
    );
  },
  async perform({ anchors }, log) {
    await anchors?.now(log);
    return { anchoring: anchors === undefined ? [] : anchoringOf(anchors.rows, log) };
  },
};

/** Published for this very size. */
export function anchorsAt(rows: AnchorRows, log: string, size: number): JsonObject[] {
  return rows.publishedAt(log, size).map(({ target, kind, timeMs }) => ({
    target,
    type: kind,
    ...(timeMs === null ? {} : { time: timestamp(timeMs) }),
  }));
}

/** How far each target has got with a log. */
export function anchoringOf(rows: AnchorRows, log: string): JsonObject[] {
  return rows.progress(log).map((one) => ({
    target: one.target,
    type: one.kind,
    ...progressOf(one),
  }));
}
