/**
 * The LLM proxy, put together: beside its log in one process, or alone with a log elsewhere.
 *
 * Alone, it must start while the log is away, so it remembers the origins of its logs:
 *
 *     DATA/keys/proxy.pem     the gateway key that signs the records; beside its log it may be proxy-2.pem, which
 *                             follows it
 *     DATA/keys/spool.kek     what calls are sealed under until they are logged
 *     DATA/proxy/NAME/        the journal of each log
 *     DATA/proxy-logs.json    their origins, as they were last
 *     DATA/proxy-trust.json   the keys of logs that followed them, as their seams told
 */

import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import type { ProxyOptions as Options } from '../cli/program.ts';
import { removeRunning, writeRunning } from '../cli/running.ts';
import { table, voiceOf, type World } from '../cli/terminal.ts';
import { locate, readBytes } from '../cli/where.ts';
import { LogClient } from '../client/client.ts';
import { isLoopback } from '../config/kinds.ts';
import type { Upstream } from '../config/named.ts';
import type { Config } from '../config.ts';
import { hasCode, SteleError, shown } from '../core/errors.ts';
import { parseTrust, TRUST_BYTES_MAX } from '../core/trust.ts';
import type { GatewayKeyFiles } from '../keys/gateway-keys.ts';
import type { Signer } from '../keys/signer.ts';
import type { Logs } from '../log/logs.ts';
import type { Lease } from '../log/open-logs.ts';
import type { KeySource, ProxySettings, SeriesPort, UpstreamOptions } from '../proxy/proxy.ts';
import { type RunningProxy, startProxyThread } from '../proxy/thread/host.ts';
import { createKek, openKek } from '../vault/keyring.ts';
import { ensureFolder, lost, openKey, writeWhole } from './files.ts';
import type { Instance } from './instance.ts';
import { LocalSeries } from './local-log.ts';
import { RemoteSeries } from './remote-series.ts';
import { aborted, bound, loggerOf, type Program, settingsOf, shortened } from './start.ts';

/** The proxy of `up`: its records go straight into the logs of this process. */
export async function proxyOf(
  program: Program,
  parts: {
    readonly instance: Instance;
    readonly config: Config;
    readonly logger: Logger;
    readonly keys: GatewayKeyFiles;
    readonly env: World['env'];
  },
): Promise<RunningProxy> {
  const { instance, config, logger, keys } = parts;
  const { logs, vaults } = instance;
  const bodyBytesMax = config.limits.bodyBytes;
  const series = new LocalSeries({ logs, vaults, bodyBytesMax, fatal: program.fatal });
  const origins = new Map<string, string>();
  // From their rows: a log that cannot be opened now may be mended, and its calls wait until then.
  for (const name of logNames(config)) origins.set(name, logs.originOf(name));
  const key = keys.newest;
  const signerOf = (origin: string, source: string) => signerFor(logs, keys, { origin, source });
  return start(program, {
    ...{ config, logger, key, signerOf, series, logs: origins, sourceId: 'proxy' },
    env: parts.env,
  });
}

/** The key that signs for a source: its own, until it is handed over to the newest one. */
async function signerFor(
  logs: Logs,
  keys: GatewayKeyFiles,
  { origin, source }: { readonly origin: string; readonly source: string },
): Promise<Signer> {
  const { newest } = keys;
  let lease: Lease;
  try {
    lease = await logs.lease(logs.ofOrigin(origin)?.name ?? origin);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    // It may be mended while this runs: then the source is given to the key that signed for it.
    return newest;
  }
  const { log, release } = lease;
  try {
    const owner = await log.ownerOf(source);
    if (owner === undefined || owner === newest.publicKey.keyid) return newest;
    const before = keys.find(owner);
    const isRevoked = log.keys().find(({ keyid }) => keyid === owner)?.revoked !== undefined;
    if (before !== undefined && !isRevoked) return before;
    // Nobody can sign with it any more, and what it signed is taken by nobody.
    if (log.stopped === undefined && log.end === undefined) {
      await log.registerGateway(newest.publicKey, { source });
    }
    return newest;
  } finally {
    release();
  }
}

/** The proxy alone, until `world.interrupted`. */
export async function runProxy(program: Program, options: Options, world: World): Promise<void> {
  const { interrupted } = world;
  const config = settingsOf(options, world);
  const logger = loggerOf(config, world);
  const voice = voiceOf(world, false);
  const { server, ...as } = locate(world, whereOf(options), 'submit');
  if (existsSync(join(config.data, 'stele.db'))) {
    throw new SteleError(
      'conflict',
      `${config.data} is the data folder of a log: run "stele up" there, or name another with --data`,
    );
  }
  ensureFolder(config.data);
  const path = options.key === undefined ? undefined : resolve(world.cwd, options.key);
  const keyFile = path ?? join(config.data, 'keys', 'proxy.pem');
  const key = await openKey(keyFile, 'ed25519', { mayCreate: true });
  const trust =
    options.trust === undefined
      ? undefined
      : parseTrust(readBytes(resolve(world.cwd, options.trust), 'trust file', TRUST_BYTES_MAX));
  const learned = join(config.data, 'proxy-trust.json');
  const series = new RemoteSeries({ server, ...as, trust, learned });
  const logs = new Map<string, string>();
  for (const name of logNames(config)) {
    const client = new LogClient({ base: `${server}/logs/${name}`, ...as });
    const origin = await originOf(config.data, server, name, client);
    if (trust?.logs.some((log) => log.origin === origin) === false) {
      throw new SteleError('unverified', `the trust file does not know log ${shown(origin)}`);
    }
    logs.set(name, origin);
  }
  const sourceId = `proxy-${hostname()
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 40)}`;
  const proxy = await start(program, {
    ...{ config, logger, key, series, logs, sourceId },
    env: world.env,
  });
  try {
    writeRunning(config.data, { server, proxy: proxy.url, pid: process.pid });
    voice.say(
      'The proxy is running.',
      '',
      ...table([
        ['proxy', config.upstreams.map(({ name }) => `${proxy.url}/${name}`).join('  ')],
        ['log', [...logs.values()].join('  ')],
        ['key', key.publicKey.keyid],
      ]).map((row) => `  ${row}`),
      '',
      '  The log takes its records once this key is registered there: stele gateway register',
      `  ${shortened(writePublicKey(config.data, key), world)} --key ${shortened(keyFile, world)}`,
      '',
      'Ctrl-C stops it.',
    );
    await aborted(interrupted);
    voice.say('', 'Stopping: finishing calls; what is not logged yet waits on disk …');
  } finally {
    await proxy.close();
    removeRunning(config.data);
  }
  voice.say('Stopped: everything is on disk.');
}

interface Parts {
  readonly config: Config;
  readonly logger: Logger;
  readonly key: Signer;
  readonly signerOf?: (origin: string, source: string) => Promise<Signer>;
  readonly series: SeriesPort;
  readonly logs: ReadonlyMap<string, string>;
  readonly sourceId: string;
  readonly env: World['env'];
}

async function start(program: Program, parts: Parts): Promise<RunningProxy> {
  const { config, logger, key, signerOf, series, logs, sourceId } = parts;
  const { tls } = config;
  const { limits } = config;
  const settings: ProxySettings = {
    // Provider keys go through it: in the clear on this machine alone.
    listen: isLoopback(config.proxyListen) ? config.proxyListen : { ...config.proxyListen, tls },
    upstreams: config.upstreams.map((upstream) => upstreamOf(upstream, parts)),
    callers: config.custody ? config.callers : undefined,
    logs,
    dir: join(config.data, 'proxy'),
    kek: await openSpoolKey(config.data),
    sourceId,
    software: `stele-proxy/${program.version}`,
    timeouts: { closeMs: limits.shutdownMs },
    limits: {
      requestBytes: limits.bodyBytes,
      floorBytes: limits.diskFloorBytes,
      connections: limits.connections,
      spoolBytes: limits.spoolBytes,
    },
  };
  const onFatal = program.fatal;
  return bound('proxy_listen', config.proxyListen, () =>
    startProxyThread(settings, { signer: key, signerOf, series, logger, onFatal }),
  );
}

function upstreamOf(
  { url, keyFile, keyEnv, keyHeader, ...upstream }: Upstream,
  { env }: Parts,
): UpstreamOptions {
  const { name } = upstream;
  const common = { ...upstream, base: url };
  if (keyHeader === 'none') return { ...common, key: 'none' };
  const source: KeySource | undefined =
    keyFile !== undefined
      ? { from: 'file', path: keyFile }
      : keyEnv === undefined
        ? undefined
        : { from: 'environment', name: `upstreams.${name}.key_env`, value: env[keyEnv] };
  return source === undefined ? common : { ...common, key: source, keyHeader };
}

function logNames(config: Config): Set<string> {
  return new Set(config.upstreams.map(({ log }) => log));
}

/** What is sealed in the spool opens under this key only: beside a spool it is never made anew. */
async function openSpoolKey(data: string): Promise<Uint8Array> {
  const path = join(data, 'keys', 'spool.kek');
  if (existsSync(path)) return openKek(path);
  if (existsSync(join(data, 'proxy'))) throw lost(path);
  ensureFolder(join(data, 'keys'));
  return createKek(path);
}

/** The origin of a log: what it says now, or what it said the last time it could be asked. */
async function originOf(
  data: string,
  server: string,
  name: string,
  client: LogClient,
): Promise<string> {
  const path = join(data, 'proxy-logs.json');
  const known = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>)
    : {};
  const remembered = known[`${server} ${name}`];
  let origin: string;
  try {
    origin = (await client.head()).origin;
  } catch (error) {
    // It is away, or gone: the logs that follow it are not.
    const isAway = hasCode(error, 'storage') || hasCode(error, 'not_found');
    if (remembered !== undefined && isAway) return remembered;
    throw error;
  }
  if (remembered !== undefined && remembered !== origin) {
    throw new SteleError(
      'split_view',
      `log ${name} at ${server} calls itself ${origin}, and was ${remembered} before`,
    );
  }
  writeWhole(path, `${JSON.stringify({ ...known, [`${server} ${name}`]: origin })}\n`, 0o644);
  return origin;
}

/** Writes the public half beside the settings, for whoever registers it. */
function writePublicKey(data: string, key: Signer): string {
  const path = join(data, 'proxy.pub');
  const spki = Buffer.from(key.publicKey.spki);
  const pem = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  writeWhole(path, pem.export({ format: 'pem', type: 'spki' }).toString(), 0o644);
  return path;
}

function whereOf({ data, server, token }: Options) {
  return {
    ...(data === undefined ? {} : { data }),
    ...(server === undefined ? {} : { server }),
    ...(token === undefined ? {} : { token }),
  };
}
