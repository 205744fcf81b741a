/** How far is each witness with each log, in figures? */
import type { Log } from '../log/log.ts';
import type { WitnessProgress, WitnessRows } from '../storage/witnesses.ts';
import type { AddMetric, Sample } from './metrics.ts';

interface Counted {
  readonly rows: Pick<WitnessRows, 'version' | 'progress'>;
  /** The logs that have rows of their own. */
  readonly visible: () => readonly Log[];
}

export function addCosignatureFigures(add: AddMetric, { rows, visible }: Counted): void {
  let known: { version: number; byLog: Map<string, WitnessProgress[]> } | undefined;
  // Made again only when a row has changed.
  const byLog = () => {
    const { version } = rows;
    if (known?.version !== version) {
      known = { version, byLog: Map.groupBy(rows.progress(), ({ log }) => log) };
    }
    return known.byLog;
  };
  const each = (value: (one: WitnessProgress) => number) => () =>
    visible().flatMap(({ name }) =>
      (byLog().get(name) ?? []).map(
        (one): Sample => ({
          labels: { log: name, witness: one.witness },
          value: value(one),
        }),
      ),
    );
  add(
    'gauge',
    'stele_log_witnessed_entries',
    'Size of the newest head that meets the quorum of witnesses, 0 where there is none.',
    () => visible().map((log) => ({ labels: { log: log.name }, value: log.witnessed?.size ?? 0 })),
  );
  add(
    'gauge',
    'stele_cosignature_entries',
    'Size of the largest head that a witness cosigned.',
    each(({ size }) => size ?? 0),
  );
  add(
    'gauge',
    'stele_cosignature_timestamp_seconds',
    'When it cosigned last, by its own clock.',
    each(({ timeMs }) => (timeMs ?? 0) / 1_000),
  );
  add(
    'gauge',
    'stele_cosignature_missed',
    'Heads beyond that which were given up.',
    each(({ missed }) => missed),
  );
  add(
    'gauge',
    'stele_cosignature_disputes',
    '1 if it has another history of the log.',
    each(({ evidence }) => (evidence === null ? 0 : 1)),
  );
  add(
    'counter',
    'stele_cosignature_asked_total',
    'Requests sent to it.',
    each(({ asked }) => asked),
  );
  add(
    'counter',
    'stele_cosignature_failed_total',
    'Attempts that came to nothing.',
    each(({ failed }) => failed),
  );
}
