/**
 * The application: what it needs from outside, and what its handlers share. `dispatch.ts` says what
 * happens to a request, `routes/all.ts` which routes there are.
 */
import { randomBytes } from 'node:crypto';
import Koa from 'koa';
import type { Logger } from 'pino';
import { Administrator } from '../admin/administrator.ts';
import type { Clock } from '../log/clock.ts';
import { ClockWatch } from '../log/clock-watch.ts';
import type { KeyChanges } from '../log/key-changes.ts';
import type { Logs } from '../log/logs.ts';
import type { OwnGateways } from '../log/own-gateways.ts';
import { Possession } from '../log/possession.ts';
import type { InstanceStore } from '../storage/instance.ts';
import type { Vault } from '../vault/vault.ts';
import type { Witness } from '../witness/giving.ts';
import type { AnchorFigures } from './anchor-figures.ts';
import { HeldBytes } from './body.ts';
import { Dispatcher } from './dispatch.ts';
import { Metrics } from './metrics.ts';
import { Places } from './places.ts';
import { Rates } from './rates.ts';
import { RequestLog } from './request-log.ts';
import { allRoutes } from './routes/all.ts';
import { HTTP_DEFAULTS, type HttpSettings } from './settings.ts';
import { Tokens } from './tokens.ts';
import { Turns } from './turns.ts';
import { Uploads } from './upload.ts';

/** What takes what other gateways report (`server/ingest`). */
export interface IngestPort {
  otlp(signal: 'traces' | 'logs', request: IngestRequest): Promise<IngestAnswer>;
  litellm(request: IngestRequest): Promise<IngestAnswer>;
  jsonl(request: IngestRequest): Promise<IngestAnswer>;
  counts(): Iterable<{ readonly way: string; readonly fate: string; readonly count: number }>;
  readonly waiting: number;
}

export interface IngestRequest {
  /** The log's name. */
  readonly log: string;
  readonly body: Uint8Array;
  readonly type: string;
  /** Takes the price of so many calls, or throws. */
  readonly charge: (calls: number) => void;
}

export interface IngestAnswer {
  readonly body: Uint8Array | string;
  readonly type: string;
}

export interface AppDeps {
  readonly logs: Logs;
  readonly vaults: (name: string) => Promise<Vault>;
  readonly instance: InstanceStore;
  /** Shows heads outside, where targets are configured. */
  readonly anchors?:
    | (Pick<AnchorFigures, 'tallies'> & { now(log: string): Promise<void> })
    | undefined;
  /** Cosigns for other logs, where the instance is a witness. */
  readonly witness?: Witness | undefined;
  /** Where the witness can be asked through one. */
  readonly bastion?: { readonly isConnected: boolean } | undefined;
  /** Asks witnesses, where some are configured. */
  readonly witnesses?: { now(log: string): Promise<void> } | undefined;
  readonly keyChanges: KeyChanges;
  readonly ownGateways: OwnGateways;
  readonly ingest: IngestPort;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  /** The process must end: a failed fsync left unknown what is on disk (P9). */
  readonly fatal: (error: Error) => void;
  /** Whether answers go out over TLS of our own. */
  readonly secure?: boolean;
  /** The certificate that is shown over it now. */
  readonly certificate?: (() => { readonly endsMs: number }) | undefined;
  readonly settings?: Partial<HttpSettings>;
  /** Random bytes for challenges; the system's where none are given. */
  readonly random?: (bytes: number) => Uint8Array;
  /** Aborted when the server stops: waiting requests then end, and `readyz` says so. */
  readonly stopping?: AbortSignal;
}

/** What handlers share. */
export interface Parts extends AppDeps {
  readonly settings: HttpSettings;
  readonly stopping: AbortSignal;
  readonly tokens: Tokens;
  readonly rates: Rates;
  readonly administrator: Administrator;
  readonly requests: RequestLog;
  readonly held: HeldBytes;
  readonly answers: HeldBytes;
  readonly uploads: Uploads;
  /** Of those who have long work. */
  readonly turns: Turns;
  /** Feeds under way, and requests that wait for a head. */
  readonly feeds: Places;
  readonly headWaiters: Places;
  readonly metrics: Metrics;
  readonly clockWatch: ClockWatch;
}

export function createApp(deps: AppDeps): Koa {
  const settings = { ...HTTP_DEFAULTS, ...deps.settings };
  const { headWaitersMax, feedsMax, feedsPerTokenMax } = settings;
  const feeds = new Places({ what: 'feed', max: feedsMax, perTokenMax: feedsPerTokenMax });
  const headWaiters = new Places({
    what: 'wait',
    max: headWaitersMax,
    perTokenMax: Math.ceil(headWaitersMax / 2),
  });
  const rates = new Rates(settings.rates, deps.clock);
  const tokens = new Tokens(deps.instance, deps.clock);
  const parts: Parts = {
    ...deps,
    settings,
    stopping: deps.stopping ?? new AbortController().signal,
    tokens,
    rates,
    administrator: administratorOf(deps, settings, tokens),
    requests: new RequestLog(deps.logger, deps.clock),
    held: new HeldBytes(settings.heldBytesMax),
    answers: new HeldBytes(settings.answerBytesMax),
    uploads: new Uploads(settings.uploadsPerTokenMax),
    turns: new Turns(),
    feeds,
    headWaiters,
    clockWatch: new ClockWatch({
      now: () => deps.clock.now(),
      monotonic: () => performance.now(),
    }),
    metrics: new Metrics({
      instance: deps.instance,
      logs: deps.logs,
      clock: deps.clock,
      rates,
      feeds,
      headWaiters,
      certificate: deps.certificate,
      targets: deps.anchors?.tallies,
      witness: deps.witness,
      bastion: deps.bastion,
      ingest: deps.ingest,
    }),
  };
  const dispatcher = new Dispatcher(parts, allRoutes(parts));
  const app = new Koa();
  app.use((ctx) => dispatcher.serve(ctx));
  app.on('error', (error: unknown) => parts.requests.brokeOff(error));
  return app;
}

function administratorOf(
  {
    logs,
    instance,
    anchors,
    witnesses,
    keyChanges,
    ownGateways,
    clock,
    logger,
    random = randomBytes,
  }: AppDeps,
  { requirePossession, twoPersons }: HttpSettings,
  tokens: Tokens,
): Administrator {
  return new Administrator({
    logs,
    store: instance,
    anchors: anchors && { rows: instance.anchors, now: (log) => anchors.now(log) },
    witnesses: witnesses && { rows: instance.witnesses, now: (log) => witnesses.now(log) },
    tokens,
    possession: new Possession({ clock, random }),
    requirePossession,
    twoPersons,
    keyChanges,
    ownGateways,
    clock,
    random,
    warn: (message, error) => logger.error({ err: error }, message),
  });
}
