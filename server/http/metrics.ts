/**
 * What does a monitoring system see of this server? The text of `/metrics`, made when it is asked for.
 *
 * While nobody asks, a request costs a look-up and a few additions (`RouteTally`). Labels are few and come
 * from tables of ours: a route is its pattern, never the path that was sent, and no more than
 * `LABELED_LOGS_MAX` logs have rows of their own.
 */
import { collectDefaultMetrics, type Metric, Registry } from 'prom-client';
import { type Code, SteleError } from '../core/errors.ts';
import type { Clock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { Logs } from '../log/logs.ts';
import { Tally } from '../log/meter.ts';
import type { CheckRow } from '../storage/checks.ts';
import type { InstanceStore } from '../storage/instance.ts';
import type { Witness } from '../witness/giving.ts';
import { type AnchorFigures, addAnchorFigures } from './anchor-figures.ts';
import type { IngestPort } from './app.ts';
import { addCosignatureFigures } from './cosignature-figures.ts';
import type { Places } from './places.ts';
import type { Rates } from './rates.ts';

type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly metricName?: string;
  readonly labels: Labels;
  readonly value: number;
}

export type AddMetric = (
  type: Type,
  name: string,
  help: string,
  collect: () => readonly Sample[],
) => void;

/** Seconds of one request: a read from memory takes less than a millisecond, a long poll twenty seconds. */
const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 25];

/** Logs that have rows of their own: the first by name. The rest is only in the totals. */
export const LABELED_LOGS_MAX = 1_000;

interface RouteTally {
  readonly byStatus: Map<number, number>;
  readonly seconds: Tally;
}

interface Names {
  readonly method: string;
  readonly pattern: string;
}

/** What was asked for and is no route: unknown paths, methods, and what is not HTTP. */
const NO_ROUTE: Names = { method: 'none', pattern: 'none' };

/** The instance as it is counted. */
export interface Counted {
  readonly instance: Pick<InstanceStore, 'checks' | 'anchors' | 'witnesses'>;
  readonly logs: Logs;
  readonly clock: Clock;
  readonly rates: Rates;
  readonly feeds: Places;
  readonly headWaiters: Places;
  readonly witness?: Witness | undefined;
  readonly bastion?: { readonly isConnected: boolean } | undefined;
  /** The certificate that is shown now, where there is one of our own. */
  readonly certificate?: (() => { readonly endsMs: number }) | undefined;
  /** What those were asked who are shown heads. */
  readonly targets?: AnchorFigures['tallies'] | undefined;
  readonly ingest: Pick<IngestPort, 'counts' | 'waiting'>;
}

export class Metrics {
  readonly #counted: Counted;
  readonly #routes = new Map<Names, RouteTally>();
  readonly #refused = new Map<Code, number>();
  #registry: Registry | undefined;
  /** The logs of the answer that is being made. */
  #logs: readonly Log[] = [];
  #visible: readonly Log[] = [];
  /** The last checks of the logs that may be seen, open or not. */
  #checks: readonly CheckRow[] = [];

  constructor(counted: Counted) {
    this.#counted = counted;
  }

  /** A request has its answer, or the beginning of it. */
  served(route: Names = NO_ROUTE, status: number, ms: number): void {
    let tally = this.#routes.get(route);
    if (tally === undefined) {
      tally = { byStatus: new Map(), seconds: new Tally(REQUEST_SECONDS) };
      this.#routes.set(route, tally);
    }
    tally.byStatus.set(status, (tally.byStatus.get(status) ?? 0) + 1);
    tally.seconds.add(ms / 1_000);
  }

  /** A request, or one entry of a batch, was refused. */
  refused(error: unknown): void {
    if (!(error instanceof SteleError)) return;
    this.#refused.set(error.code, (this.#refused.get(error.code) ?? 0) + 1);
  }

  /** Everything, with rows of those logs that `isVisible` says. */
  async text(isVisible: (log: Pick<Log, 'name' | 'visibility'>) => boolean): Promise<string> {
    this.#logs = (await this.#counted.logs.opened()).toSorted((a, b) => (a.name < b.name ? -1 : 1));
    this.#visible = this.#logs.filter(isVisible).slice(0, LABELED_LOGS_MAX);
    const { instance, logs } = this.#counted;
    this.#checks = instance
      .checks()
      .filter(({ log: name }) => {
        const visibility = logs.visibilityOf(name);
        return visibility !== undefined && isVisible({ name, visibility });
      })
      .slice(0, LABELED_LOGS_MAX);
    this.#registry ??= this.#register();
    return this.#registry.metrics();
  }

  #register(): Registry {
    const registry = new Registry();
    const { logs, clock, rates, feeds, headWaiters, ingest, instance, certificate } = this.#counted;
    const add: AddMetric = (type, name, help, collect) => {
      const metric = {
        name,
        help,
        type,
        aggregator: 'sum',
        get: async () => shape(metric, collect),
      };
      // Its classes keep the values themselves; what the registry needs of one is only this.
      registry.registerMetric(metric as unknown as Metric);
    };
    const one = (type: Type, name: string, help: string, value: () => number) =>
      add(type, name, help, () => [{ labels: {}, value: value() }]);
    const each = (name: string, help: string, value: (log: Log) => number) =>
      add('gauge', name, help, () =>
        this.#visible.map((log) => ({ labels: { log: log.name }, value: value(log) })),
      );
    const sum = (value: (log: Log) => number) => () =>
      this.#logs.reduce((total, log) => total + value(log), 0);
    const { meter } = logs;

    one('counter', 'stele_entries_total', 'Entries logged.', () => meter.batchEntries.sum);
    add('histogram', 'stele_batch_entries', 'Entries of one batch.', () =>
      histogram('stele_batch_entries', {}, meter.batchEntries),
    );
    add('histogram', 'stele_commit_seconds', 'Time of one durable commit.', () =>
      histogram('stele_commit_seconds', {}, meter.commitSeconds),
    );
    one(
      'gauge',
      'stele_queue_bytes',
      'Bytes of entries that wait for the disk.',
      sum(waitingBytes),
    );
    one(
      'gauge',
      'stele_verify_queue',
      'Signatures that are checked or wait for it.',
      () => logs.signaturesWaiting,
    );
    one('gauge', 'stele_logs', 'Logs there are, without access logs.', () => logs.list().length);
    one(
      'gauge',
      'stele_logs_open',
      'Logs that are open, access logs among them.',
      () => this.#logs.length,
    );
    one('gauge', 'stele_logs_stopped', 'Open logs that accept nothing.', sum(isStopped));
    one(
      'gauge',
      'stele_logs_without_signer',
      'Open logs whose signer is away.',
      () => this.#logs.filter((log) => log.isSignerAway).length,
    );
    each('stele_log_entries', 'Entries of a log.', (log) => log.head().size);
    each(
      'stele_log_published_entries',
      'Size of the published head.',
      (log) => log.published().size,
    );
    each(
      'stele_log_published_age_seconds',
      'Age of the published head.',
      (log) => Math.max(0, clock.now() - log.published().timeMs) / 1_000,
    );
    each('stele_log_queue_bytes', 'Bytes of entries that wait, of one log.', waitingBytes);
    each('stele_log_stopped', '1 if the log accepts nothing.', isStopped);
    const check = (name: string, help: string, value: (row: CheckRow) => number) =>
      add('gauge', name, help, () =>
        this.#checks.map((row) => ({ labels: { log: row.log }, value: value(row) })),
      );
    check(
      'stele_log_checked_timestamp_seconds',
      'When the last check of a log ended.',
      ({ endedMs }) => endedMs / 1_000,
    );
    check('stele_log_checked_entries', 'Entries that it hashed.', ({ size }) => size);
    check('stele_log_checked_content_files', 'Content files it opened.', ({ files }) => files);
    check('stele_log_check_holds', '1 if all of it was as it was stored.', ({ tree, content }) =>
      tree === 'holds' && content === 'holds' ? 1 : 0,
    );
    addAnchorFigures(add, {
      rows: instance.anchors,
      tallies: this.#counted.targets ?? new Map(),
      clock,
      visible: () => this.#visible,
    });
    if (certificate !== undefined) {
      one(
        'gauge',
        'stele_tls_certificate_not_after_timestamp_seconds',
        'When the certificate that is shown ends.',
        () => certificate().endsMs / 1_000,
      );
    }
    addCosignatureFigures(add, {
      rows: instance.witnesses,
      visible: () => this.#visible,
    });
    add('counter', 'stele_refused_total', 'Requests and entries of batches refused.', () =>
      [...this.#refused].map(([code, value]) => ({ labels: { code }, value })),
    );
    one(
      'counter',
      'stele_pushbacks_total',
      'Those that were told to try again later.',
      () => this.#refused.get('pushback') ?? 0,
    );
    add('counter', 'stele_rate_limited_total', 'Requests over the rate of a caller.', () =>
      Object.entries(rates.refused).map(([by, value]) => ({ labels: { by }, value })),
    );
    add('counter', 'stele_ingest_total', 'What was reported over the other ways in.', () =>
      [...ingest.counts()].map(({ way, fate, count }) => ({ labels: { way, fate }, value: count })),
    );
    one(
      'gauge',
      'stele_ingest_waiting',
      'Calls that wait for their other half, or to be logged.',
      () => ingest.waiting,
    );
    one('gauge', 'stele_feeds', 'Feeds under way.', () => feeds.taken);
    one('gauge', 'stele_head_waiters', 'Requests that wait for a head.', () => headWaiters.taken);
    const { witness, bastion } = this.#counted;
    if (bastion !== undefined) {
      const help = '1 while the witness can be asked through its bastion.';
      one('gauge', 'stele_witness_bastion_connected', help, () => (bastion.isConnected ? 1 : 0));
    }
    if (witness !== undefined) {
      add('counter', 'stele_witness_requests_total', 'Checkpoints to be cosigned, by result.', () =>
        [...witness.results].map(([result, value]) => ({ labels: { result }, value })),
      );
      one('gauge', 'stele_witness_logs', 'Logs that are witnessed.', () => witness.origins.length);
      one('gauge', 'stele_witness_stopped', '1 if nothing is cosigned.', () =>
        witness.stopped === undefined ? 0 : 1,
      );
      add('gauge', 'stele_witness_evidence', 'Refused checkpoints that are kept, by kind.', () =>
        [...witness.evidenceCounts()].map(([kind, value]) => ({ labels: { kind }, value })),
      );
    }
    add('counter', 'stele_http_requests_total', 'Requests answered.', () =>
      [...this.#routes].flatMap(([route, { byStatus }]) =>
        [...byStatus].map(([status, value]) => ({
          labels: { ...labelsOf(route), status: String(status) },
          value,
        })),
      ),
    );
    add('histogram', 'stele_http_request_seconds', 'Time until an answer was made.', () =>
      [...this.#routes].flatMap(([route, { seconds }]) =>
        histogram('stele_http_request_seconds', labelsOf(route), seconds),
      ),
    );
    collectDefaultMetrics({ register: registry, prefix: 'stele_' });
    return registry;
  }
}

type Type = 'counter' | 'gauge' | 'histogram';

function shape<M extends object>(metric: M, collect: () => readonly Sample[]) {
  return { ...metric, values: collect() };
}

function waitingBytes(log: Log): number {
  return log.waitingBytes;
}

function isStopped(log: Log): number {
  return log.stopped === undefined ? 0 : 1;
}

function labelsOf({ method, pattern }: Names): Labels {
  return { method, route: pattern };
}

function histogram(name: string, labels: Labels, { bounds, counts, sum }: Tally): Sample[] {
  let below = 0;
  const samples: Sample[] = counts.map((count, i) => {
    below += count;
    const le = String(bounds[i] ?? '+Inf');
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...samples,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: below },
  ];
}
