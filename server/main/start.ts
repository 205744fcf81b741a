/**
 * Running until told to stop: `up`, `serve` and `proxy`, from settings to the last line.
 *
 * Stopping is part of the job: nothing new is taken, what is under way ends, the newest head is
 * published, files are closed, and only then is the folder's lock let go.
 */
import { relative } from 'node:path';
import { type Logger, pino } from 'pino';
import type { StartOptions } from '../cli/program.ts';
import { readRunning, removeRunning, writeRunning } from '../cli/running.ts';
import { table, voiceOf, type World } from '../cli/terminal.ts';
import { formatListen, type Listen } from '../config/kinds.ts';
import { unknownVariables } from '../config/read.ts';
import { type Config, loadConfig, TABLE } from '../config.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { createApp } from '../http/app.ts';
import { listen } from '../http/server.ts';
import { openTlsFiles, type TlsFiles } from '../keys/tls-pair.ts';
import { systemClock } from '../log/clock.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';
import type { Witness } from '../witness/giving.ts';
import { Anchors } from './anchoring.ts';
import { type Instance, openInstance } from './instance.ts';
import { proxyOf } from './proxy.ts';
import { DEFAULT_LOG, setUp } from './setup.ts';
import { targetsOf } from './targets.ts';
import { Witnesses } from './witnesses.ts';
import { openBastion, openWitness } from './witnessing.ts';

export interface Program {
  readonly version: string;
  /** Ends the process: what is on disk is no longer known. */
  readonly fatal: (error: Error) => void;
}

/** Something that runs, and how to make it stop. */
interface Running {
  close(): Promise<void> | void;
}

/** Something that listens. */
export interface Service extends Running {
  readonly url: string;
}

export function settingsOf(options: StartOptions, world: World): Config {
  const { env, cwd } = world;
  for (const line of unknownVariables(TABLE, env)) world.err(`stele: ${line}\n`);
  return loadConfig({ env, cwd, data: options.data, file: options.config, flags: options.flags });
}

/** Lines for machines, on standard error. Nothing that goes in holds a secret (P10). */
export function loggerOf(config: Config, world: World): Logger {
  return pino({ level: config.logLevel }, { write: (line) => world.err(line) });
}

/** The log, and with `proxy` the LLM proxy beside it, until `world.interrupted`. */
export async function run(
  program: Program,
  options: StartOptions,
  world: World,
  parts: { readonly proxy: boolean },
): Promise<void> {
  // From here on a signal is a wish to stop, also while it starts: what was begun is closed as it should be.
  const { interrupted } = world;
  const config = settingsOf(options, world);
  const logger = loggerOf(config, world);
  const voice = voiceOf(world, false);
  const operatorKey = options.operatorKey && { reference: options.operatorKey, cwd: world.cwd };
  const opened = openInstance({ config, logger, ...program, ...(operatorKey && { operatorKey }) });
  const instance = await opened.catch((error: unknown) => {
    throw heldBy(error, readRunning(config.data));
  });
  const services: Running[] = [];
  let isUp = false;
  try {
    if (instance.isNew) voice.say(`Setting up ${shortened(config.data, world)} …`);
    const anchors = new Anchors({
      config: config.anchor,
      targets: targetsOf(config.anchor, program.version),
      logs: instance.logs,
      store: instance.store,
      logger,
      fatal: program.fatal,
    });
    services.push(anchors);
    await anchors.begin();
    const { proxyKeys } = await setUp(instance, config, parts);
    const tls = config.tls && (await openTlsFiles(config.tls, logger));
    if (tls !== undefined) services.push(tls);
    const witnessing = await openWitness(config, instance);
    let bastion: Awaited<ReturnType<typeof openBastion>>;
    if (witnessing !== undefined) {
      services.push(witnessing);
      const failed = (error: unknown) => {
        logger.error({ err: error }, 'a request through the bastion failed');
        if (error instanceof FsyncFailed) program.fatal(error);
      };
      bastion = await openBastion(config, witnessing.witness, { logger, failed });
      if (bastion !== undefined) services.push(bastion);
    }
    const { shown, logs, store } = instance;
    const witnesses = new Witnesses({ config, shown, logs, store, logger, ...program });
    services.push(witnesses);
    const server = await startServer(instance, config, logger, program, {
      tls,
      anchors,
      witness: witnessing?.witness,
      bastion,
      witnesses,
    });
    services.push(server);
    let proxy: Service | undefined;
    if (proxyKeys !== undefined) {
      let told: Promise<void> | undefined;
      services.push({ close: () => told });
      const running = await proxyOf(program, {
        ...{ instance, config, logger, keys: proxyKeys },
        env: world.env,
      });
      services.push(running);
      // A change of keys that was cut short goes on by itself; calls do not wait for it.
      told = instance.ownGateways.proxyRuns(running).catch(program.fatal);
      proxy = running;
    }
    const addresses = { server: server.url, proxy: proxy?.url, pid: process.pid };
    const write = (certificate?: string) =>
      writeRunning(config.data, { ...addresses, certificate });
    write(tls?.pair.fingerprint);
    tls?.onChange(({ fingerprint }) => write(fingerprint));
    voice.say(
      ...(await greeting(instance, config, { server: server.url, proxy: proxy?.url, world })),
    );
    isUp = true;
    await aborted(interrupted);
    voice.say('', 'Stopping: finishing what is under way (Ctrl-C again ends at once) …');
  } finally {
    await stop(instance, services);
    if (isUp) voice.say('Stopped: everything is on disk.');
  }
}

export async function startServer(
  { logs, vaults, store, keyChanges, ownGateways, ingest }: Instance,
  config: Config,
  logger: Logger,
  { version, fatal }: Program,
  {
    tls,
    anchors,
    witness,
    bastion,
    witnesses,
  }: {
    readonly tls?: TlsFiles | undefined;
    readonly anchors?: Anchors;
    readonly witness?: Witness | undefined;
    readonly bastion?: { readonly isConnected: boolean } | undefined;
    readonly witnesses?: Witnesses;
  } = {},
): Promise<Service> {
  const stopping = new AbortController();
  // Requests that wait for the other half of a call end with what there is.
  stopping.signal.addEventListener('abort', () => void ingest.close(), { once: true });
  const app = createApp({
    logs,
    vaults: (name) => vaults.get(name),
    instance: store,
    anchors,
    witness,
    bastion,
    witnesses,
    keyChanges,
    ownGateways,
    ingest,
    clock: systemClock,
    logger,
    version,
    fatal,
    secure: tls !== undefined,
    certificate: tls && (() => tls.pair),
    settings: {
      bodyBytesMax: config.limits.bodyBytes,
      requirePossession: config.gateways.requirePossession,
      twoPersons: config.admin.twoPersons,
      rates: ratesOf(config),
    },
    stopping: stopping.signal,
  });
  return bound('listen', config.listen, () =>
    listen(app, {
      ...config.listen,
      tls,
      connectionsMax: config.limits.connections,
      graceMs: config.limits.shutdownMs,
      stopping,
    }),
  );
}

function ratesOf({ limits, trustedProxies }: Config) {
  return {
    token: { perSecond: limits.tokenRate, burst: limits.tokenBurst },
    address: { perSecond: limits.addressRate, burst: limits.addressBurst },
    trustedProxies,
  };
}

/** Binds an address; a failure names the setting. */
export async function bound<T>(
  setting: string,
  address: Listen,
  bind: () => Promise<T>,
): Promise<T> {
  try {
    return await bind();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const isSystems = code !== undefined && !code.startsWith('ERR_');
    if (!isSystems || cause instanceof SteleError) throw cause;
    const reason = code === 'EADDRINUSE' ? 'another program listens there' : code;
    const flag = setting.replace('_', '-');
    throw new SteleError(
      'storage',
      `${setting}: ${formatListen(address)} cannot be used (${reason}): choose another with --${flag}`,
      { cause },
    );
  }
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Rejects with what failed first. One that cannot be closed leaves no other open: a process that listens does not end. */
export async function stop(
  instance: Pick<Instance, 'data' | 'close'>,
  services: readonly Running[],
): Promise<void> {
  const failures: unknown[] = [];
  try {
    // The proxy first: what it still has goes to the log.
    for (const service of services.toReversed()) {
      try {
        await service.close();
      } catch (error) {
        failures.push(error);
      }
    }
    removeRunning(instance.data);
  } finally {
    await instance.close();
  }
  if (failures.length > 0) throw failures[0];
}

interface Addresses {
  readonly server: string;
  readonly proxy: string | undefined;
  readonly world: World;
}

async function greeting(instance: Instance, config: Config, at: Addresses): Promise<string[]> {
  const { server, proxy, world } = at;
  const folder = shortened(config.data, world);
  const rows = [['log', `${server}/logs/${DEFAULT_LOG}`]];
  if (proxy !== undefined) {
    rows.push(['proxy', config.upstreams.map(({ name }) => `${proxy}/${name}`).join('  ')]);
  }
  if (config.witness.name !== undefined) rows.push(['witness', `${server}/witness`]);
  rows.push(['data', `${folder} (stele.yaml, tokens/, trust.json)`]);
  const lines = ['Stele is running.', '', ...table(rows).map((row) => `  ${row}`)];
  lines.push(...(await warnings(instance)));
  if (proxy !== undefined && config.custody) {
    lines.push(
      '',
      'Calls need a Stele token where the provider’s key would be: stele caller create',
    );
    const closed = config.upstreams.filter(
      ({ keyFile, keyEnv, keyHeader }) => (keyFile ?? keyEnv) === undefined && keyHeader !== 'none',
    );
    if (closed.length > 0) {
      const names = closed.map(({ name }) => name).join(', ');
      lines.push(`Closed, since they have no key: ${names}`);
    }
  } else if (proxy !== undefined && config.upstreams.some(({ name }) => name === 'openai')) {
    lines.push('', 'Try it: a call through the proxy, then its receipt, then the check of it.', '');
    // With TLS the certificate has the public name, and hardly this machine's address.
    const outside = config.tls === undefined ? server : (config.publicUrl ?? server);
    lines.push(...sample(outside, proxy, folder));
  }
  lines.push('', 'Ctrl-C stops it.');
  return lines;
}

function sample(server: string, proxy: string, folder: string): string[] {
  return [
    `  curl -sS -D headers.txt ${proxy}/openai/v1/chat/completions \\`,
    '    -H "authorization: Bearer $OPENAI_API_KEY" -H "content-type: application/json" \\',
    `    -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Say hello."}]}' &&`,
    `  curl -sS -o receipt.json -H "authorization: Bearer $(cat ${folder}/tokens/read)" \\`,
    `    "${server}/logs/${DEFAULT_LOG}/v1/receipts/$(sed -n 's/^x-stele-record-id: *\\([0-9a-f-]*\\).*/\\1/p' headers.txt)?wait=10" &&`,
    `  npm run -s stele -- verify receipt.json --trust ${folder}/trust.json`,
  ];
}

/** Logs that are opened at the start to see how they are; the others when they are asked for. */
const LOGS_LOOKED_AT = 16;

/** What an operator must not miss: origins for trial only, and logs that sign nothing. */
async function warnings({ logs, store }: Instance): Promise<string[]> {
  const lines: string[] = [];
  const row = store.log(DEFAULT_LOG);
  if (row?.origin.startsWith('localhost/') === true) {
    lines.push(
      '',
      `  This log is for trial only: its origin, ${row.origin}, is written into every entry`,
      '  and cannot be changed. For a lasting one set STELE_PUBLIC_URL before the first start.',
    );
  }
  for (const { name } of logs.list().slice(0, LOGS_LOOKED_AT)) {
    const trouble = await troubleOf(logs, name);
    if (trouble !== undefined) lines.push('', `  Log ${name} accepts nothing: ${trouble.message}`);
  }
  return lines;
}

/** Why a log accepts nothing, also where it cannot even be opened: the others are served all the same. */
async function troubleOf(logs: Instance['logs'], name: string): Promise<SteleError | undefined> {
  try {
    return await logs.use(name, (log) => log.stopped);
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}

export function shortened(path: string, { cwd }: World): string {
  const short = relative(cwd, path);
  return short === '' || short.startsWith('..') ? path : short;
}

/** Names who holds the folder, where that is known, in place of "another process". */
export function heldBy(
  error: unknown,
  running: { server: string; pid: number } | undefined,
): unknown {
  if (!hasCode(error, 'conflict') || running === undefined) return error;
  return new SteleError(
    'conflict',
    `${error.message} (it serves ${running.server}, process ${running.pid})`,
    { cause: error },
  );
}
