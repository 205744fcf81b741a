/**
 * The ingest proxy as one thing to start and stop: listener, upstreams, and one source per log.
 *
 * It opens its journals before it listens, so that what an earlier process left is on its way into the log
 * before the first new call.
 */
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CallerFile } from '../callers/file.ts';
import { invariant, malformed, SteleError, shown } from '../core/errors.ts';
import type { Signer } from '../keys/signer.ts';
import { openTlsFiles, type TlsFiles, type TlsPaths } from '../keys/tls-pair.ts';
import { lockFile } from '../storage/file-lock.ts';
import { Keyring } from '../vault/keyring.ts';
import { Budget } from './budget.ts';
import { type Clock, systemClock } from './clock.ts';
import { Custody } from './custody/custody.ts';
import { openDisk, type SpoolDisk } from './journal/disk.ts';
import type { SyncFailed } from './journal/journal.ts';
import { type ProxyLogger, silentLogger } from './logger.ts';
import { Judge } from './rules/judge.ts';
import { ProxyServer } from './server.ts';
import { type SeriesPort, Source } from './source.ts';
import type { SourceState } from './source-state.ts';
import { IN_FLIGHT_MAX } from './submit.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';

export type { KeySource } from './custody/provider-key.ts';
export { SyncFailed } from './journal/journal.ts';
export type { ProxyLogger } from './logger.ts';
export type { LogPort, SeriesPort } from './source.ts';
export type { SourceState } from './source-state.ts';
export type { Posture, UpstreamOptions } from './upstream.ts';

/** What is configured: plain data, which can be sent to another thread. */
export interface ProxySettings {
  /** Beyond loopback, anybody who reaches the proxy can use it. */
  readonly listen: {
    readonly host: string;
    readonly port: number;
    /** Serves HTTPS, and nothing else, with the certificate of these files. */
    readonly tls?: TlsPaths | undefined;
  };
  readonly upstreams: readonly UpstreamOptions[];
  /** The origin of each log, by the name that upstreams use. */
  readonly logs: ReadonlyMap<string, string>;
  /** Folder of the spool. */
  readonly dir: string;
  /** Key-encryption key of the spool, 32 bytes. */
  readonly kek: Uint8Array;
  /** The readable part of the sources' ids. */
  readonly sourceId: string;
  readonly software?: string;
  /** Retention class in the records. Default "default". */
  readonly retentionClass?: string;
  readonly onClientAbort?: 'cancel' | 'drain';
  readonly timeouts?: Partial<ProxyTimeouts>;
  readonly limits?: Partial<ProxyLimits>;
  /** The file of callers: with it the proxy asks who calls, and adds the keys that upstreams have. */
  readonly callers?: string | undefined;
}

/** What it is given to work with. */
export interface ProxyPorts {
  /** The gateway key that signs the records. */
  readonly signer: Signer;
  /** The key that signs for a source, where another one than `signer` may do so until it is changed. */
  readonly signerOf?: ((origin: string, source: string) => Promise<Signer>) | undefined;
  /** The logs, and those that follow them. */
  readonly series: SeriesPort;
  readonly logger?: ProxyLogger;
  /** A sync failed: the process must end. Default: an uncaught exception. */
  readonly onFatal?: (error: SyncFailed) => void;
  /** Told of bytes of bodies that went through. */
  readonly passed?: (bytes: number) => void;
  readonly clock?: Clock;
  readonly random?: (bytes: number) => Uint8Array;
  /** Opens a source's folder; replaced by tests. */
  readonly openDisk?: (dir: string) => Promise<SpoolDisk>;
}

export type ProxyOptions = ProxySettings & ProxyPorts;

export interface ProxyTimeouts {
  /** Silence between two bytes, either way: the official clients wait as long. */
  readonly idleMs: number;
  /** For the headers of a request, and for a connection that says nothing. */
  readonly headersMs: number;
  /** What calls in progress get when the proxy stops. */
  readonly closeMs: number;
  readonly heartbeatMs: number;
  /** Pause before a failed disk, signer or log is tried again; towards the log it grows. */
  readonly retryMs: number;
  /** How long an ended call waits for others, so that their records are made together. */
  readonly gatherMs: number;
  /** How long a log may forbid a record (its key is not registered yet) before it is set aside. */
  readonly patienceMs: number;
  /** How long a call waits for the log to take the intent to make it (posture strict). */
  readonly intentMs: number;
}

export interface ProxyLimits {
  readonly requestBytes: number;
  /** Bytes of one request that stay in memory until it is forwarded, and of all requests together. */
  readonly memoryBytes: number;
  readonly memoryBytesTotal: number;
  readonly segmentBytes: number;
  /** Bytes on their way to the disk, beyond which bodies are read no further. */
  readonly queueBytes: number;
  /** Bytes of what was just written that are kept in memory until they go to the log. */
  readonly recentBytes: number;
  /** Free bytes on the disk below which calls are refused. */
  readonly floorBytes: number;
  /** Bytes of calls on disk that are not logged yet, beyond which calls are refused. */
  readonly spoolBytes: number;
  readonly calls: number;
  /** Connections at once, with a call or without. */
  readonly connections: number;
  /** Records on their way to one log at once. */
  readonly inFlight: number;
}

const TIMEOUTS: ProxyTimeouts = {
  idleMs: 600_000,
  headersMs: 20_000,
  closeMs: 10_000,
  heartbeatMs: 60_000,
  retryMs: 500,
  gatherMs: 25,
  patienceMs: 86_400_000,
  intentMs: 10_000,
};

const MIB = 1_048_576;

const POOL_BYTES = 4_096;

const LIMITS: ProxyLimits = {
  requestBytes: 2_048 * MIB,
  memoryBytes: 4 * MIB,
  memoryBytesTotal: 256 * MIB,
  segmentBytes: 64 * MIB,
  queueBytes: 4 * MIB,
  recentBytes: 8 * MIB,
  floorBytes: 64 * MIB,
  spoolBytes: 16_384 * MIB,
  calls: 10_000,
  connections: 10_000,
  inFlight: 16,
};

export interface ProxyState {
  readonly calls: number;
  readonly logs: ReadonlyMap<string, SourceState>;
}

export interface ChangePorts {
  readonly handOver: (origin: string, source: string) => Promise<void>;
  readonly failed: (log: string, error: SteleError) => void;
}

export interface RunningProxy {
  readonly url: string;
  state(): ProxyState;
  /**
   * Has `next` sign the records that come. `handOver` has the log of this origin give a source to it, and may
   * be asked twice. Resolves when every log was asked; `failed` is told of each, by the name that upstreams use,
   * whose key is still the one before.
   */
  changeSigner(next: Signer, ports: ChangePorts): Promise<void>;
  /** Resolves when calls have ended, and everything about them is on disk. */
  close(): Promise<void>;
}

export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const logger = options.logger ?? silentLogger;
  const upstreams = upstreamsOf(options, logger);
  const timeouts = { ...TIMEOUTS, ...options.timeouts };
  const limits = { ...LIMITS, ...options.limits };
  invariant(limits.inFlight <= IN_FLIGHT_MAX, 'no more are in flight than a roll asks for');
  const clock = options.clock ?? systemClock();
  const random = options.random ?? pooledRandom();
  await mkdir(options.dir, { recursive: true, mode: 0o700 });
  // Two proxies on one spool would give out the same sequence numbers.
  const busy = `spool ${options.dir}: another process uses it`;
  const lock = lockFile(join(options.dir, 'lock.db'), busy);
  const { tls: paths, ...address } = options.listen;
  let tls: TlsFiles | undefined;
  const sources = new Map<string, Source>();
  const judges = new Map<string, Judge>();
  const stop = async () => {
    try {
      const closing = [...sources.values()].map((source) => source.close(timeouts.closeMs));
      for (const result of await Promise.allSettled(closing)) {
        if (result.status === 'rejected') throw result.reason;
      }
    } finally {
      for (const judge of new Set(judges.values())) await judge.close();
      for (const upstream of upstreams.values()) upstream.close();
      tls?.close();
      lock.release();
    }
  };
  try {
    await openJudges(options, logger, judges);
    for (const name of new Set([...upstreams.values()].map((upstream) => upstream.log))) {
      const origin = options.logs.get(name);
      if (origin === undefined)
        throw malformed('proxy', `there is no log ${shown(name)} to record to`);
      const disk = await (options.openDisk ?? openDisk)(join(options.dir, name));
      const source = await Source.open({
        disk,
        origin,
        series: options.series,
        name: options.sourceId,
        signerOf: async (origin, id) => (await options.signerOf?.(origin, id)) ?? options.signer,
        keyring: new Keyring(options.kek, random),
        clock,
        random,
        logger,
        software: options.software ?? 'stele-proxy',
        retentionClass: options.retentionClass ?? 'default',
        isObserved: [...upstreams.values()].some(
          ({ log, posture }) => log === name && posture === 'observe',
        ),
        onFatal: options.onFatal ?? throwUncaught,
        passed: options.passed ?? (() => {}),
        limits: { ...limits, ...timeouts },
      });
      sources.set(name, source);
    }
    const custody =
      options.callers === undefined
        ? undefined
        : new Custody({
            callers: new CallerFile(options.callers),
            nowMs: () => clock.nowUs() / 1_000,
            logger,
          });
    // A file that is no good is better noticed now than by the first caller.
    custody?.check();
    tls = paths && (await openTlsFiles(paths, logger));
    const server = await ProxyServer.listen({
      ...address,
      tls,
      upstreams,
      sources,
      clock,
      random,
      logger,
      custody,
      judges,
      idleMs: timeouts.idleMs,
      requestBytesMax: limits.requestBytes,
      memoryBytes: limits.memoryBytes,
      budget: new Budget(limits.memoryBytesTotal),
      callsMax: limits.calls,
      connectionsMax: limits.connections,
      headersMs: timeouts.headersMs,
      onClientAbort: options.onClientAbort ?? 'cancel',
    });
    return {
      url: server.url,
      state: () => ({
        calls: server.calls,
        logs: new Map([...sources].map(([name, source]) => [name, source.state()])),
      }),
      async changeSigner(next, { handOver, failed }) {
        for (const [name, source] of sources) {
          try {
            await source.changeSigner(next, handOver);
          } catch (error) {
            if (!(error instanceof SteleError)) throw error;
            failed(name, error);
          }
        }
      },
      async close() {
        await server.close(timeouts.closeMs);
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function upstreamsOf(
  { upstreams }: ProxyOptions,
  logger: ProxyLogger,
): ReadonlyMap<string, Upstream> {
  const byName = new Map<string, Upstream>();
  for (const options of upstreams) {
    if (byName.has(options.name)) {
      throw malformed('proxy', `upstream ${shown(options.name)} is named twice`);
    }
    byName.set(options.name, new Upstream(options, logger));
  }
  return byName;
}

/** One for all upstreams with the same files. */
async function openJudges(
  { upstreams }: ProxyOptions,
  logger: ProxyLogger,
  judges: Map<string, Judge>,
): Promise<void> {
  const byFiles = new Map<string, Judge>();
  for (const { name, rules, rulesModule: module } of upstreams) {
    if (rules === undefined && module === undefined) continue;
    const files = JSON.stringify([rules, module]);
    const judge = byFiles.get(files) ?? (await Judge.open({ rules, module, logger }));
    byFiles.set(files, judge);
    judges.set(name, judge);
  }
}

/** Bytes from the system's generator, each given out once. Asking for few at a time costs more than they do. */
function pooledRandom(): (bytes: number) => Uint8Array {
  let pool = new Uint8Array(0);
  return (bytes) => {
    if (bytes > pool.length) pool = new Uint8Array(randomBytes(Math.max(bytes, POOL_BYTES)));
    const taken = pool.slice(0, bytes);
    pool = pool.subarray(bytes);
    return taken;
  };
}

/** Nothing may catch this: what is on disk is not known any more (P9). */
function throwUncaught(error: SyncFailed): void {
  setImmediate(() => {
    throw error;
  });
}
