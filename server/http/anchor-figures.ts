/**
 * How far have targets outside got, in figures? What each was asked, and how far behind each log it is.
 *
 * How far one has got is made of rows that are kept for good, and looked up again only when one has changed.
 */
import type { Clock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { AnchorRows, TargetProgress } from '../storage/anchors.ts';
import type { AddMetric, Sample } from './metrics.ts';

/** What a target was asked since this process began. */
export interface Tally {
  readonly attempts: number;
  readonly failures: number;
  readonly published: number;
}

export interface AnchorFigures {
  readonly rows: Pick<AnchorRows, 'version' | 'progress'>;
  /** By the target's name: one that was never asked has its zeros. */
  readonly tallies: ReadonlyMap<string, Tally>;
  readonly clock: Clock;
  /** The logs that have rows of their own. */
  readonly visible: () => readonly Log[];
}

export function addAnchorFigures(
  add: AddMetric,
  { rows, tallies, clock, visible }: AnchorFigures,
): void {
  const progressOf = remembered(rows);
  const ofTarget = (name: string, help: string, value: (tally: Tally) => number) =>
    add('counter', name, help, () =>
      [...tallies].map(([target, tally]) => ({ labels: { target }, value: value(tally) })),
    );
  const ofLog = (
    name: string,
    help: string,
    value: (progress: TargetProgress, log: Log) => number | undefined,
  ) =>
    add('gauge', name, help, () =>
      visible().flatMap((log) =>
        progressOf(log.name).flatMap((progress): Sample[] => {
          const found = value(progress, log);
          const labels = { log: log.name, target: progress.target };
          return found === undefined ? [] : [{ labels, value: found }];
        }),
      ),
    );
  const secondsSince = (ms: number | null) =>
    ms === null ? undefined : Math.max(0, clock.now() - ms) / 1_000;

  ofTarget('stele_anchors_total', 'Heads that a target has proven.', ({ published }) => published);
  ofTarget('stele_anchor_attempts_total', 'Requests to a target.', ({ attempts }) => attempts);
  ofTarget(
    'stele_anchor_failures_total',
    'Attempts to show a target a head that came to nothing.',
    ({ failures }) => failures,
  );
  ofLog(
    'stele_log_anchored_entries',
    'Size of the largest head that a target has proven.',
    ({ size }) => size ?? 0,
  );
  ofLog(
    'stele_log_anchored_behind_entries',
    'Entries of a log beyond that.',
    ({ size }, log) => log.head().size - (size ?? 0),
  );
  ofLog(
    'stele_log_anchored_age_seconds',
    'Age of the time that is proven for that head; nothing where none is.',
    ({ timeMs }) => secondsSince(timeMs),
  );
  ofLog(
    'stele_log_anchor_waiting_seconds',
    'How long a head waits for its target.',
    ({ pendingSinceMs }) => secondsSince(pendingSinceMs),
  );
  ofLog(
    'stele_log_anchors_missed',
    'Heads beyond the proven one that were given up.',
    ({ missed }) => missed,
  );
}

/** How far each target has got with a log, read once until a row changes. */
function remembered(rows: AnchorFigures['rows']): (log: string) => readonly TargetProgress[] {
  const known = new Map<string, readonly TargetProgress[]>();
  let version: number | undefined;
  return (log) => {
    if (rows.version !== version) known.clear();
    version = rows.version;
    const progress = known.get(log) ?? rows.progress(log);
    known.set(log, progress);
    return progress;
  };
}
