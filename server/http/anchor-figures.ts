/**
 * How far have targets outside got, in figures? What was shown to each, and how far behind each log it is.
 *
 * A figure is made of rows that are kept for good, so it is made again only when one of them has changed.
 */
import type { Clock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { AnchorRows, TargetFigures, TargetProgress } from '../storage/anchors.ts';
import type { AddMetric, Sample } from './metrics.ts';

type Rows = Pick<AnchorRows, 'version' | 'counts' | 'progress'>;

interface Counted {
  readonly rows: Rows;
  readonly clock: Clock;
  /** The logs that have rows of their own. */
  readonly visible: () => readonly Log[];
}

export function addAnchorFigures(add: AddMetric, { rows, clock, visible }: Counted): void {
  const known = new Known(rows);
  const ofTarget = (value: (figures: TargetFigures) => number) => (): Sample[] => {
    const byTarget = Map.groupBy(known.counts, ({ target }) => target);
    return [...byTarget].map(([target, all]) => ({
      labels: { target },
      value: all.reduce((sum, figures) => sum + value(figures), 0),
    }));
  };
  const ofLog = (value: (progress: TargetProgress, log: Log) => number | undefined) => () =>
    visible().flatMap((log) =>
      known.progress(log.name).flatMap((progress): Sample[] => {
        const { target } = progress;
        const found = value(progress, log);
        return found === undefined ? [] : [{ labels: { log: log.name, target }, value: found }];
      }),
    );
  const secondsSince = (ms: number | null) =>
    ms === null ? undefined : Math.max(0, clock.now() - ms) / 1_000;

  add('gauge', 'stele_anchors', 'Heads that were meant for a target, by what became of them.', () =>
    known.counts.map(({ target, state, rows: value }) => ({ labels: { target, state }, value })),
  );
  add(
    'counter',
    'stele_anchor_attempts_total',
    'Requests to a target.',
    ofTarget(({ attempts }) => attempts),
  );
  add(
    'counter',
    'stele_anchor_failures_total',
    'Requests to a target that came to nothing.',
    ofTarget(({ attempts, answered }) => attempts - answered),
  );
  add(
    'gauge',
    'stele_log_anchored_entries',
    'Size of the largest head that a target has proven.',
    ofLog(({ size }) => size ?? 0),
  );
  add(
    'gauge',
    'stele_log_anchored_behind_entries',
    'Entries of a log beyond that.',
    ofLog(({ size }, log) => log.head().size - (size ?? 0)),
  );
  add(
    'gauge',
    'stele_log_anchored_age_seconds',
    'Age of the time that is proven for that head; nothing where none is.',
    ofLog(({ timeMs }) => secondsSince(timeMs)),
  );
  add(
    'gauge',
    'stele_log_anchor_waiting_seconds',
    'How long a head waits for its target.',
    ofLog(({ pendingSinceMs }) => secondsSince(pendingSinceMs)),
  );
  add(
    'gauge',
    'stele_log_anchors_missed',
    'Heads beyond the proven one that were given up.',
    ofLog(({ missed }) => missed),
  );
}

/** What was read of the rows, until one changes. */
class Known {
  readonly #rows: Rows;
  #version: number | undefined;
  #counts: readonly TargetFigures[] = [];
  readonly #progress = new Map<string, readonly TargetProgress[]>();

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  get counts(): readonly TargetFigures[] {
    this.#refresh();
    return this.#counts;
  }

  progress(log: string): readonly TargetProgress[] {
    this.#refresh();
    const known = this.#progress.get(log) ?? this.#rows.progress(log);
    this.#progress.set(log, known);
    return known;
  }

  #refresh(): void {
    const { version } = this.#rows;
    if (version === this.#version) return;
    this.#progress.clear();
    this.#counts = this.#rows.counts();
    this.#version = version;
  }
}
