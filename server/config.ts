/**
 * Every setting: its key in `stele.yaml`, its variable, default, unit, bounds, what it is for, and what
 * someone could do who controls it. The tables are `config/settings.ts` and `config/groups.ts`;
 * `docs/configuration.md` and a new `stele.yaml` are made of them, and here they become what the program works with.
 *
 * A value comes from, first to last: the command line, a `STELE_…` variable, `stele.yaml`, the default
 * there. A key that is in no table and a value that breaks its rule are refused with the key, the
 * value and the rule: a server that starts with half of what was written down is worse than none.
 *
 * The variable of `limits.body_bytes` is `STELE_LIMITS_BODY_BYTES`; of an upstream `NAME` they are
 * `STELE_UPSTREAM_NAME` (its url), `STELE_UPSTREAM_NAME_LOG` and `STELE_UPSTREAM_NAME_POSTURE`, and so on for
 * the other groups whose members the operator names.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { GROUPS } from './config/groups.ts';
import { isLoopback, type Listen, type Network } from './config/kinds.ts';
import {
  type CosignedLog,
  inFolder,
  type Named,
  type RekorTarget,
  readCosigned,
  readTargets,
  readUpstreams,
  readWitnessed,
  type TsaTarget,
  type Upstream,
  type WitnessedLog,
} from './config/named.ts';
import {
  type Given,
  readSettings,
  readVariables,
  type Table,
  type Variables,
} from './config/read.ts';
import { checkSetting, need } from './config/setting.ts';
import { type Key, SETTINGS, type Values } from './config/settings.ts';
import { malformed, shown } from './core/errors.ts';

const DAY_MS = 86_400_000;

export interface Config {
  /** Absolute. */
  readonly data: string;
  readonly state: string;
  readonly listen: Listen;
  readonly publicUrl: string | undefined;
  readonly proxyListen: Listen;
  readonly upstreams: readonly Upstream[];
  /** The file of callers, absolute; the proxy asks who calls if `custody`. */
  readonly callers: string;
  readonly custody: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  readonly trustedProxies: readonly Network[];
  readonly guardRequire: readonly ('high-water' | 'signer' | 'witness')[];
  readonly signerSocket: string | undefined;
  readonly keys: {
    readonly passphraseFile: string | undefined;
    readonly pinFile: string | undefined;
  };
  readonly gateways: { readonly requirePossession: boolean };
  readonly admin: { readonly twoPersons: boolean };
  readonly verifyThreads: number | undefined;
  readonly ingest: { readonly joinMs: number };
  /** Without a schedule nothing is rolled over by itself. */
  readonly roll: { readonly schedule: string | undefined; readonly logs: readonly string[] };
  readonly anchor: {
    /** Names, or `*` for all that are not private. */
    readonly logs: readonly string[];
    readonly schedule: string | undefined;
    /** 0: only the schedule counts. */
    readonly entries: number;
    readonly trustedRoot: string | undefined;
    readonly contact: string | undefined;
    readonly rekor: readonly RekorTarget[];
    readonly tsa: readonly TsaTarget[];
  };
  readonly witness: {
    /** Without a name this is no witness of others. */
    readonly name: string | undefined;
    readonly logs: readonly WitnessedLog[];
    /** Absolute. */
    readonly lists: readonly string[];
    readonly mldsa: boolean;
    readonly bastion: { readonly address: Listen; readonly ca: string | undefined } | undefined;
  };
  readonly witnesses: {
    /** Absolute. */
    readonly policy: string | undefined;
    /** Names, or `*` for all that are not private. */
    readonly logs: readonly string[];
    readonly fail: 'open' | 'closed';
    readonly perDay: number;
    /** By the name of a key: those that differ. */
    readonly rates: ReadonlyMap<string, number>;
    readonly timeoutMs: number;
    readonly of: readonly CosignedLog[];
  };
  /** Without a schedule no key is changed by itself. */
  readonly rotation: {
    readonly overlapMs: number;
    readonly anchor: string | undefined;
    readonly gateways: string | undefined;
  };
  readonly coolingMs: number;
  /** Without a schedule nothing is checked by itself. */
  readonly check: { readonly schedule: string | undefined; readonly bytesPerSecond: number };
  readonly limits: {
    readonly bodyBytes: number;
    readonly diskFloorBytes: number;
    readonly queueBytes: number;
    readonly queueAgeMs: number;
    readonly openLogs: number;
    readonly connections: number;
    readonly spoolBytes: number;
    readonly tokenRate: number;
    readonly tokenBurst: number;
    readonly addressRate: number;
    readonly addressBurst: number;
    readonly shutdownMs: number;
  };
}

export interface ConfigSources {
  readonly env: Variables;
  readonly cwd: string;
  /** The data folder, where the command line names one. */
  readonly data?: string | undefined;
  /** `stele.yaml`, where it is not the one in the data folder. */
  readonly file?: string | undefined;
  /** Values of the command line, by key. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
}

/** The data folder that a command means: `--data`, `STELE_DATA`, or `./stele-data`. */
export function dataFolder(sources: Pick<ConfigSources, 'env' | 'cwd' | 'data'>): string {
  return resolve(sources.cwd, sources.data ?? sources.env.STELE_DATA ?? 'stele-data');
}

export function loadConfig(sources: ConfigSources): Config {
  const data = dataFolder(sources);
  const named = sources.file ?? sources.env.STELE_CONFIG;
  const file = named === undefined ? join(data, 'stele.yaml') : resolve(sources.cwd, named);
  const given = new Map<string, Given>();
  for (const { key, value, from } of [
    ...readSettings(TABLE, file, named !== undefined),
    ...readVariables(TABLE, sources.env),
  ]) {
    given.set(key, { value, from });
  }
  for (const [key, value] of Object.entries(sources.flags ?? {})) {
    if (value !== undefined) given.set(key, { value, from: `--${key.replace(/[._]/g, '-')}` });
  }
  const values = Object.fromEntries(
    (Object.keys(SETTINGS) as Key[]).map((key) => [
      key,
      checkSetting<unknown>(key, SETTINGS[key], given.get(key)),
    ]),
  ) as Values;
  const groups = {
    upstreams: readUpstreams(sources, given),
    targets: readTargets(sources, given),
    witnessed: readWitnessed(given),
    cosigned: readCosigned(sources, given),
  };
  return build(data, sources, values, groups);
}

export const TABLE: Table = {
  keys: Object.keys(SETTINGS),
  groups: Object.fromEntries(
    Object.entries(GROUPS).map(([key, { variable, of, reserved, name }]) => [
      key,
      {
        variable,
        members: Object.keys(of),
        ...(reserved === undefined ? {} : { reserved }),
        ...(name === undefined ? {} : { name }),
      },
    ]),
  ),
};

function build(
  data: string,
  sources: ConfigSources,
  values: Values,
  { upstreams, targets, witnessed, cosigned }: Named,
): Config {
  const proxyListen = need(values.proxy_listen);
  const custody = upstreams.some(
    ({ keyFile, keyEnv, keyHeader }) => (keyFile ?? keyEnv) !== undefined || keyHeader === 'none',
  );
  if (!isLoopback(proxyListen) && !custody && values.proxy_beyond_loopback !== true) {
    throw malformed(
      'proxy_listen',
      `${shown(proxyListen.host)} can be reached by others, and the proxy asks for no token: use a loopback address, give upstreams a key_file, or set proxy_beyond_loopback: true`,
    );
  }
  return {
    data,
    state: resolve(sources.cwd, values.state ?? stateFolder(sources.env)),
    listen: need(values.listen),
    publicUrl: values.public_url,
    proxyListen,
    upstreams,
    callers: resolve(sources.cwd, values.proxy_callers ?? join(data, 'callers.json')),
    custody,
    logLevel: need(values.log_level),
    tls: tlsOf(sources, values['tls.cert'], values['tls.key']),
    trustedProxies: need(values.trusted_proxies),
    guardRequire: need(values['guard.require']),
    signerSocket: inFolder(sources, values['signer.socket']),
    keys: {
      passphraseFile: inFolder(sources, values['keys.passphrase_file']),
      pinFile: inFolder(sources, values['keys.pin_file']),
    },
    gateways: { requirePossession: need(values['gateways.require_possession']) },
    admin: { twoPersons: need(values['admin.two_persons']) },
    verifyThreads: values.verify_threads,
    check: {
      schedule: values['check.schedule'] || undefined,
      bytesPerSecond: need(values['check.bytes_per_second']),
    },
    ingest: { joinMs: need(values['ingest.join_ms']) },
    roll: { schedule: values['roll.schedule'] || undefined, logs: need(values['roll.logs']) },
    anchor: {
      logs: need(values['anchor.logs']),
      schedule: values['anchor.schedule'] || undefined,
      entries: need(values['anchor.entries']),
      trustedRoot: inFolder(sources, values['anchor.trusted_root']),
      contact: values['anchor.contact'],
      ...targets,
    },
    witness: {
      name: values['witness.name'],
      logs: witnessed,
      lists: need(values['witness.lists']).map((path) => resolve(sources.cwd, path)),
      mldsa: need(values['witness.mldsa']),
      bastion: values['witness.bastion'] && {
        address: values['witness.bastion'],
        ca: inFolder(sources, values['witness.bastion_ca']),
      },
    },
    witnesses: witnessesOf(sources, values, cosigned),
    rotation: {
      overlapMs: need(values['rotation.overlap_days']) * DAY_MS,
      anchor: values['rotation.anchor'] || undefined,
      gateways: values['rotation.gateways'] || undefined,
    },
    coolingMs: need(values['retire.cooling_days']) * DAY_MS,
    limits: {
      bodyBytes: need(values['limits.body_bytes']),
      diskFloorBytes: need(values['limits.disk_floor_bytes']),
      queueBytes: need(values['limits.queue_bytes']),
      queueAgeMs: need(values['limits.queue_age_ms']),
      openLogs: need(values['limits.open_logs']),
      connections: need(values['limits.connections']),
      spoolBytes: need(values['limits.spool_bytes']),
      tokenRate: need(values['limits.token_rate']),
      tokenBurst: need(values['limits.token_burst']),
      addressRate: need(values['limits.address_rate']),
      addressBurst: need(values['limits.address_burst']),
      shutdownMs: need(values['limits.shutdown_ms']),
    },
  };
}

function witnessesOf(
  sources: ConfigSources,
  values: Values,
  of: readonly CosignedLog[],
): Config['witnesses'] {
  const policy = inFolder(sources, values['witnesses.policy']);
  const fail = need(values['witnesses.fail']);
  if (fail === 'closed' && policy === undefined) {
    throw malformed('witnesses.policy', 'is missing, and witnesses.fail is closed');
  }
  const bare = of.find((one) => one.policy === undefined && policy === undefined);
  if (bare !== undefined) {
    throw malformed(`cosigned.${bare.log}.policy`, 'is missing, and so is witnesses.policy');
  }
  const rates = need(values['witnesses.rates']).map((text) => {
    const [name = '', times = ''] = text.split('=');
    if (Number(times) <= 86_400) return [name, Number(times)] as const;
    throw malformed('witnesses.rates', `${shown(text)} is more than 86400 times a day`);
  });
  return {
    policy,
    logs: need(values['witnesses.logs']),
    fail,
    perDay: need(values['witnesses.per_day']),
    rates: new Map(rates),
    timeoutMs: need(values['witnesses.timeout_ms']),
    of,
  };
}

/** Both or none: a server that was meant to have TLS never runs without. */
function tlsOf({ cwd }: ConfigSources, cert: string | undefined, key: string | undefined) {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    const [given, missing] = key === undefined ? ['cert', 'key'] : ['key', 'cert'];
    throw malformed(`tls.${missing}`, `is missing, and tls.${given} is set: both or none`);
  }
  return { cert: resolve(cwd, cert), key: resolve(cwd, key) };
}

function stateFolder(env: Variables): string {
  const base = env.XDG_STATE_HOME;
  return join(base?.startsWith('/') ? base : join(homedir(), '.local', 'state'), 'stele');
}
