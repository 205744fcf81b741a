/**
 * Every setting: its key in `stele.yaml`, its variable, default, unit, bounds, what it is for, and what
 * someone could do who controls it. `docs/configuration.md` and a new `stele.yaml` are made of this table.
 *
 * A value comes from, first to last: the command line, a `STELE_…` variable, `stele.yaml`, the default
 * here. A key that is not in this table and a value that breaks its rule are refused with the key, the
 * value and the rule: a server that starts with half of what was written down is worse than none.
 *
 * The variable of `limits.body_bytes` is `STELE_LIMITS_BODY_BYTES`; of an upstream `NAME` they are
 * `STELE_UPSTREAM_NAME` (its url), `STELE_UPSTREAM_NAME_LOG` and `STELE_UPSTREAM_NAME_POSTURE`, and so on for
 * the other groups whose members the operator names.
 */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  cron,
  flag,
  isLoopback,
  type Kind,
  type Listen,
  listen,
  listOf,
  type Network,
  namesOf,
  networks,
  oneOf,
  path,
  paths,
  shownValue,
  text,
  url,
  variable,
  verifierKeys,
  weeklyOrCron,
  whole,
} from './config/kinds.ts';
import {
  type Given,
  GROUP_MAX,
  readSettings,
  readVariables,
  type Table,
  type Variables,
} from './config/read.ts';
import { invariant, malformed, shown } from './core/errors.ts';
import { PER_DAY_MAX } from './core/log-list.ts';
import type { VerifierKey } from './core/verifier-key.ts';

interface Setting<T> {
  readonly kind: Kind<T>;
  /** As it would stand in `stele.yaml`; nothing where the setting has no default. */
  readonly default: unknown;
  readonly about: string;
  /** What could someone do who controls this? Goes on from "… could". */
  readonly power: string;
}

function setting<T>(kind: Kind<T>, standard: unknown, about: string, power: string): Setting<T> {
  return { kind, default: standard, about, power };
}

const GIB = 1_073_741_824;
const DAY_MS = 86_400_000;

/** A pebibyte: no disk of one machine. */
const MAX_SPOOL_BYTES = 1_024 ** 5;
const LOG_NAME_FORM = /^[a-z0-9][a-z0-9-]{0,62}$/;
const LOG_NAME = text('a log name: a-z, 0-9 and -, at most 63', LOG_NAME_FORM);

/** The settings that have fixed names, in the order of `stele.yaml`. */
export const SETTINGS = {
  listen: setting(
    listen,
    '127.0.0.1:8080',
    'Where the log is served: HOST:PORT. Beyond loopback, set tls.cert and tls.key, or put TLS in\nfront of it.',
    'open the log’s HTTP to a network, where tokens go by in the clear without TLS',
  ),
  public_url: setting(
    url({ withPath: false }),
    undefined,
    'The address others reach this server at. Origins of new logs are made from it, once and for\ngood; without it they are localhost/…, which is for trial only.',
    'give new logs a false name; existing logs keep theirs',
  ),
  proxy_listen: setting(
    listen,
    '127.0.0.1:8081',
    'Where the LLM proxy listens: HOST:PORT.',
    'move the proxy away from its callers',
  ),
  proxy_beyond_loopback: setting(
    flag,
    false,
    'Without keys of its own the proxy asks its callers for no Stele token. Anyone who reaches it can\nuse it, so it binds beyond loopback only if this is true, or if upstreams have keys.',
    'let others use the proxy, which asks for no token',
  ),
  proxy_callers: setting(
    path,
    undefined,
    'The file of those who may call through a proxy that has the providers’ keys; stele caller writes it.\nDefault: callers.json in the data folder.',
    'let anybody call models at your expense',
  ),
  state: setting(
    path,
    undefined,
    'A folder outside the data folder that remembers how far each log had got, so that a data\nfolder put back from a backup is noticed. Default: the state folder of the user.',
    'make the log forget how far it had got, and so accept an old backup',
  ),
  log_level: setting(
    oneOf('debug', 'info', 'warn', 'error', 'silent'),
    'info',
    'How much the server says about itself: debug, info, warn, error or silent.',
    'hide what goes wrong',
  ),
  'tls.cert': setting(
    path,
    undefined,
    'A certificate in PEM with the chain that leads to it, leaf first. With it the log is served over\nHTTPS and nothing else, and so is a proxy beyond loopback. A new one is taken within seconds.',
    'stand in for the server, as far as clients trust who signed it',
  ),
  'tls.key': setting(
    path,
    undefined,
    'The key of that certificate in PEM, without a passphrase, mode 0600 or 0400.',
    'the same; who can read it can stand in for the server elsewhere',
  ),
  trusted_proxies: setting(
    networks,
    [],
    'Reverse proxies whose X-Forwarded-For is believed, as addresses or networks. Without it all who\ncome through one count as one address.',
    'name every request as he likes, and so ask without a limit or use up the share of another address',
  ),
  'guard.require': setting(
    listOf('high-water', 'signer', 'witness'),
    [],
    'Memories outside the data folder without which a log does not start: high-water, signer, witness (one\nof those that are shown the log has to answer).',
    'with an empty list: let a log sign where that memory is gone',
  ),
  'signer.socket': setting(
    path,
    undefined,
    'The socket of the signer that holds the keys of the logs: see "stele signer". Without it they\nare files in the data folder.',
    'stand in for the signer; what he signs with other keys is not taken',
  ),
  'keys.passphrase_file': setting(
    path,
    undefined,
    'A file with the passphrase of key files in the data folder, mode 0600. New ones are made with it.',
    'learn the passphrase, which is of use to who has the key files',
  ),
  'keys.pin_file': setting(
    path,
    undefined,
    'A file with the PIN of tokens that keys are in, where their pkcs11: URIs name none, mode 0600.',
    'learn the PIN, which is of use to who has the token',
  ),
  'gateways.require_possession': setting(
    flag,
    true,
    'Whether a gateway’s key is registered over HTTP only with a signature that shows that its\nprivate half is at hand.',
    'with false: have another’s key registered without its holder’s doing',
  ),
  'admin.two_persons': setting(
    flag,
    false,
    'Whether acts on keys over HTTP wait for the approval of another holder: gateways’ keys, the log’s\nown, and tokens that may act on keys, approve, or administer.',
    'with false: let one person, or whoever has one token, say whose signatures are taken',
  ),
  'limits.body_bytes': setting(
    whole(1, 1024 * GIB, 'bytes'),
    2 * GIB,
    'Bytes of one body that comes with an entry.',
    'fill the disk with one body, or refuse honest ones',
  ),
  'limits.disk_floor_bytes': setting(
    whole(0, 1024 * GIB, 'bytes'),
    GIB / 4,
    'Free bytes on the disk below which nothing more is accepted. Reading goes on.',
    'run the disk full, or stop all writing',
  ),
  'limits.queue_bytes': setting(
    whole(1_048_576, 16 * GIB, 'bytes'),
    GIB / 16,
    'Bytes of entries that wait for the disk; past it submitters are asked to try again later.',
    'use up memory, or refuse in a burst',
  ),
  'limits.queue_age_ms': setting(
    whole(10, 600_000, 'milliseconds'),
    5_000,
    'Milliseconds that an entry may wait before others are asked to try again later.',
    'let submitters wait longer, or refuse sooner',
  ),
  'limits.connections': setting(
    whole(1, 1_000_000, 'connections'),
    10_000,
    'Connections open at one time, of the log and of the proxy each. More are closed at once.',
    'use up file descriptors, or shut callers out',
  ),
  'limits.spool_bytes': setting(
    whole(1_048_576, MAX_SPOOL_BYTES, 'bytes'),
    MAX_SPOOL_BYTES,
    'What calls may take in the proxy’s journal while the log is away, for each log. By itself the disk\nfloor is the limit.',
    'have calls refused, or the disk filled up to its floor',
  ),
  'limits.open_logs': setting(
    whole(2, 100_000, 'logs'),
    256,
    'Logs that stay open while nobody works on them, access logs among them. Others are opened when\nthey are asked for.',
    'use up memory and file descriptors, or make most requests open a log first',
  ),
  'limits.token_rate': setting(
    whole(0, 1_000_000, 'requests a second'),
    2_000,
    'Requests a second of one token; 4 entries of a batch count as one. 0: no limit.',
    'let one token take the whole server, or shut it out',
  ),
  'limits.token_burst': setting(
    whole(1, 10_000_000, 'requests'),
    10_000,
    'Requests that a token may have in store for a busy moment.',
    'the same',
  ),
  'limits.address_rate': setting(
    whole(0, 1_000_000, 'requests a second'),
    1_000,
    'Requests a second without a good token from one address; of IPv6, from one /64. 0: no limit.',
    'let one stranger take the whole server, or shut monitors out',
  ),
  'limits.address_burst': setting(
    whole(1, 10_000_000, 'requests'),
    5_000,
    'Requests that an address may have in store for a busy moment.',
    'the same',
  ),
  'limits.shutdown_ms': setting(
    whole(0, 600_000, 'milliseconds'),
    10_000,
    'Milliseconds that running requests are given to end when the server stops.',
    'cut running requests at a stop',
  ),
  'ingest.join_ms': setting(
    whole(0, 60_000, 'milliseconds'),
    6_000,
    'Milliseconds that a span waits for the events of its call, and they for it, so that both become one\nrecord; the request that brought it waits as well. 0: nothing waits.',
    'have calls recorded in two pieces, or keep exporters waiting',
  ),
  'roll.schedule': setting(
    cron,
    '',
    'When logs are rolled over by themselves: each ends, and one that follows it begins. "0 0 1 1 *" is\nthe beginning of each year.',
    'end logs at will; what was logged stays',
  ),
  'roll.logs': setting(
    namesOf('a list of names of logs, each once', LOG_NAME_FORM),
    [],
    'The series that are rolled over, each by the name of any of its logs.',
    'the same',
  ),
  'anchor.logs': setting(
    namesOf(
      'a list of names of logs, or "*", each once',
      /^(?:\*|_admin|[a-z0-9][a-z0-9-]{0,62}(?:\.access)?)$/,
    ),
    ['*'],
    'The logs whose heads are shown to the targets under rekor and tsa; "*" is all that are not private, and\nprivate ones, _admin and NAME.access are named.',
    'keep a log’s heads from those who would vouch for them, or show outside how a private log grows',
  ),
  'anchor.schedule': setting(
    cron,
    '*/15 * * * *',
    'When the newest heads are shown to the targets, each time up to a minute later than it says.',
    'have a log’s heads vouched for too seldom to count, or ask targets more often than they like',
  ),
  'anchor.entries': setting(
    whole(0, 1_000_000_000, 'entries'),
    10_000,
    'Entries after which a head is shown before its time. 0: never before.',
    'the same',
  ),
  'anchor.trusted_root': setting(
    path,
    undefined,
    'Sigstore’s trusted_root.json, or one for an instance of your own: which Rekor logs are believed, by\nwhich keys. A target under rekor whose log is not in it is not used.',
    'have false proofs stored and handed out',
  ),
  'anchor.contact': setting(
    text('an address or a page, at most 100 visible characters', /^[\x21-\x7e]{1,100}$/),
    undefined,
    'An address or a page for those who run the targets and witnesses, sent in the User-Agent.',
    'have others complain to somebody else',
  ),
  'witnesses.policy': setting(
    path,
    undefined,
    'A file with the witnesses that cosign heads, in C2SP tlog-policy syntax: witness lines with their\naddresses, groups, and the quorum. Log lines in it count for nothing here.',
    'have heads cosigned by witnesses of his own',
  ),
  'witnesses.logs': setting(
    namesOf(
      'a list of names of logs, or "*", each once',
      /^(?:\*|_admin|[a-z0-9][a-z0-9-]{0,62}(?:\.access)?)$/,
    ),
    ['*'],
    'The logs whose heads are shown to them; "*" is all that are not private, and private ones, _admin and\nNAME.access are named. Witnesses see and republish origin, size and root.',
    'keep a log’s heads from its witnesses, or show outside how a private log grows',
  ),
  'witnesses.fail': setting(
    oneOf('open', 'closed'),
    'open',
    'closed: only heads that meet the quorum are published. open: each says whether it does.',
    'with open: have heads published that no witness has seen; with closed: stop publication with the witnesses',
  ),
  'witnesses.per_day': setting(
    whole(1, 86_400, 'times a day'),
    96,
    'How often a day each witness is asked about each log at most; how often it may be is agreed with it.',
    'have witnesses asked so often that they refuse, or so seldom that heads wait long',
  ),
  'witnesses.rates': setting(
    namesOf(
      'a list of NAME=TIMES, each once: the name of a witness’ key and 1 to 86400 times a day',
      /^[^\s+=,]{1,255}=[1-9][0-9]{0,4}$/,
    ),
    [],
    'Witnesses that are asked more or less often than that, as "witness.example/w1=24".',
    'the same',
  ),
  'witnesses.timeout_ms': setting(
    whole(100, 60_000, 'milliseconds'),
    5_000,
    'Milliseconds that a witness has for one answer. All are asked at once, and no append waits for them.',
    'have slow witnesses counted as silent',
  ),
  'rotation.overlap_days': setting(
    whole(30, 3_650, 'days'),
    30,
    'Days that a log’s old and new identity key sign side by side, at least, so that who reads now and\nthen has heard of the new one.',
    'let readers be surprised by a key that they never heard of',
  ),
  'rotation.anchor': setting(
    cron,
    '',
    'When every log is given another anchor key; the one before ends a day later. "0 3 1 * *" is the\nfirst of each month.',
    'change what proofs in public logs are signed with',
  ),
  'rotation.gateways': setting(
    cron,
    '',
    'When the server gives itself other keys for access records, for what others report and, beside a proxy, for\nthe proxy’s; those before are revoked a day later.',
    'change what signs the server’s own records',
  ),
  'retire.cooling_days': setting(
    whole(0, 3_650, 'days'),
    7,
    'Days between the wish to retire a log and the removal of its files.',
    'have a log removed before anybody sees that it will be',
  ),
  'check.schedule': setting(
    weeklyOrCron,
    'weekly',
    'When everything that is stored is read and hashed again. weekly is a minute of the week that is\nthis instance’s own, so that a fleet does not check all at once.',
    'let damage go unnoticed, or keep the disk busy',
  ),
  'check.bytes_per_second': setting(
    whole(65_536, 16 * GIB, 'bytes a second'),
    GIB / 64,
    'How fast such a check reads at most.',
    'the same',
  ),
  'witness.name': setting(
    text('a key name of 1 to 255 visible characters, without +', /^[\x21-\x2a\x2c-\x7e]{1,255}$/),
    undefined,
    'The name under which this instance is a witness of other logs, such as witness.example/w1. Without it,\nit is none. Its keys are made at the first start with it, and stay with the name.',
    'make it a witness; that of which logs is said below',
  ),
  'witness.lists': setting(
    paths,
    [],
    'Files with lists of logs that are witnessed as well, in the form logs/v0 of witness networks. What is\nadded to one counts within a minute.',
    'have other logs witnessed, or other keys believed to be a log’s',
  ),
  'witness.bastion': setting(
    listen,
    undefined,
    'A bastion, HOST:PORT, through which the witness can be asked without a port of its own to the outside:\nit is dialed, and requests come back over that connection.',
    'see what the witness is asked and what it answers, and keep requests from it',
  ),
  'witness.bastion_ca': setting(
    path,
    undefined,
    'Certificates in PEM that the bastion’s has to lead to, if it is not one of those that the system trusts.',
    'stand in for the bastion',
  ),
  'witness.mldsa': setting(
    flag,
    true,
    'Whether cosignatures are made with ML-DSA-44 beside Ed25519. Each costs some ten times as much.',
    'leave those out who believe in such signatures alone',
  ),
  verify_threads: setting(
    whole(1, 16, 'threads'),
    undefined,
    'Threads that check signatures. Default: one per processor, at most 16.',
    'slow submissions down',
  ),
} as const;

export const UPSTREAM = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Base URL. One that ends in /v1 is put in place of PROXY/NAME/v1, any other in place of PROXY/NAME.',
    'see all calls and their keys',
  ),
  log: setting(LOG_NAME, 'default', 'The log its calls go to.', 'write the records elsewhere'),
  posture: setting(
    oneOf('enforce', 'observe', 'strict'),
    'enforce',
    'enforce: a call that cannot be recorded fails. observe: it goes through, and a gap is recorded.\nstrict: as enforce, and a call is made only when the log has the intent to make it.',
    'with observe: let calls through that are not recorded',
  ),
  websocket: setting(
    oneOf('refuse', 'record'),
    'refuse',
    'WebSockets: refuse them, or record who opened one and how long it lasted, and a gap in place of what went over it.',
    'with record: let content through that is not recorded',
  ),
  by_host: setting(
    flag,
    false,
    'Take also calls whose Host is that of url, and forward path and Host as they are, for clients that sign them (AWS).',
    'nothing that the url does not allow',
  ),
  rules: setting(
    path,
    undefined,
    'A file of rules that requests are judged by before they are forwarded: flag, redact or block.',
    'let requests through that should be held back, and change what the provider gets',
  ),
  rules_module: setting(
    path,
    undefined,
    'An ES module that exports judge(request), which judges them after the rules. It runs in the proxy, with\nall that the proxy may do.',
    'run programs as the proxy',
  ),
  key_file: setting(
    path,
    undefined,
    'A file with the provider’s key, one line, not readable by everybody. With a key of any upstream the proxy\nasks its callers for Stele tokens (stele caller). A new file is used from the next call on.',
    'have calls made with another key',
  ),
  key_env: setting(
    variable,
    undefined,
    'The variable that has the provider’s key, in place of a file.',
    'the same, and send another variable’s value to the provider',
  ),
  key_header: setting(
    oneOf('authorization', 'x-api-key', 'api-key', 'x-goog-api-key', 'none'),
    undefined,
    'Where the key goes: authorization, x-api-key, api-key, x-goog-api-key; none for a server that wants no\nkey, whose callers need a Stele token all the same. Default: where the caller had its token.',
    'have calls refused by the provider',
  ),
} as const;

export const REKOR = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Base URL of a Rekor log.',
    'see how often heads are shown, and answer with nothing',
  ),
  version: setting(whole(1, 2), 2, 'Which of its two interfaces it has: 1 or 2.', 'the same'),
  read_url: setting(
    url({ withPath: true }),
    undefined,
    'Where the checkpoint and the tiles of version 2 are, if that is not url/api/v2.',
    'the same',
  ),
  tsa: setting(
    namesOf('a list of names under tsa, each once', /^[a-z0-9][a-z0-9-]{0,30}$/),
    [],
    'Authorities under tsa that stamp the signature that is sent there: version 2 tells no time itself.',
    'leave its entries without a time',
  ),
} as const;

export const TSA = {
  url: setting(
    url({ withPath: true }),
    undefined,
    'Where the time-stamping authority takes RFC 3161 queries.',
    'see how often heads are shown, and answer with nothing',
  ),
  roots: setting(
    path,
    undefined,
    'A file of the certificates in PEM that its chain has to end in.',
    'have false times believed',
  ),
} as const;

export const WITNESSED = {
  keys: setting(
    verifierKeys,
    undefined,
    'Verifier keys of the log, of which any may sign.',
    'have a false history cosigned as that log’s',
  ),
  origin: setting(
    text('an origin of 1 to 255 characters', /^\P{Cc}{1,255}$/u),
    undefined,
    'Its origin, where that is not the name of its first key.',
    'the same',
  ),
  per_day: setting(
    whole(1, PER_DAY_MAX, 'cosignatures'),
    1_440,
    'Cosignatures that it may have in a day.',
    'keep the log from being witnessed, or the witness busy',
  ),
} as const;

export const COSIGNED = {
  policy: setting(
    path,
    undefined,
    'A witness policy for this log alone, in place of witnesses.policy.',
    'have its heads cosigned by witnesses of his own',
  ),
  fail: setting(
    oneOf('open', 'closed'),
    undefined,
    'As witnesses.fail, for this log alone.',
    'have its heads published that no witness has seen, or stop their publication',
  ),
} as const;

export const PROVIDERS: Readonly<Record<string, string>> = {
  openai: 'https://api.openai.com/v1',
  anthropic: 'https://api.anthropic.com/v1',
};

export interface WitnessedLog {
  readonly name: string;
  readonly origin: string;
  readonly keys: readonly VerifierKey[];
  readonly perDay: number;
}

type Key = keyof typeof SETTINGS;
type ValueOf<S> = S extends Setting<infer T> ? T : never;
type Values = { -readonly [K in Key]: ValueOf<(typeof SETTINGS)[K]> | undefined };

export interface Upstream {
  readonly name: string;
  readonly url: string;
  readonly log: string;
  readonly posture: 'enforce' | 'observe' | 'strict';
  readonly byHost: boolean;
  readonly websocket: 'refuse' | 'record';
  /** Absolute. */
  readonly rules: string | undefined;
  readonly rulesModule: string | undefined;
  /** Absolute; at most one of the two. */
  readonly keyFile: string | undefined;
  readonly keyEnv: string | undefined;
  /** `none`: its callers need a token, and it no key. */
  readonly keyHeader: KeyHeader | undefined;
}

type KeyHeader = 'authorization' | 'x-api-key' | 'api-key' | 'x-goog-api-key' | 'none';

export interface RekorTarget {
  readonly name: string;
  readonly url: string;
  /** 1 or 2. */
  readonly version: number;
  /** Of version 2, where its files are elsewhere. */
  readonly readUrl: string | undefined;
  /** Names of authorities under `tsa`. */
  readonly tsa: readonly string[];
}

export interface TsaTarget {
  readonly name: string;
  readonly url: string;
  /** Absolute. */
  readonly roots: string;
}

/** A log with witnesses of its own, or a rule of its own. */
export interface CosignedLog {
  readonly log: string;
  /** Absolute. */
  readonly policy: string | undefined;
  readonly fail: 'open' | 'closed' | undefined;
}

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
      check<unknown>(key, SETTINGS[key], given.get(key)),
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

/** The settings' names, for whoever looks for misspelled ones. */
interface NamedGroup {
  readonly variable: string;
  readonly about: string;
  readonly of: Readonly<Record<string, Setting<unknown>>>;
  readonly examples: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly reserved?: RegExp;
  /** What a name in it is, where that is not 1 to 31 of a-z, 0-9 and -. */
  readonly name?: RegExp;
}

/** Settings whose members the operator names. */
export const GROUPS: Readonly<
  Record<'upstreams' | 'rekor' | 'tsa' | 'witnessed' | 'cosigned', NamedGroup>
> = {
  upstreams: {
    variable: 'UPSTREAM',
    about: 'What the proxy forwards to: http://PROXY/NAME/… goes to the url of NAME.',
    of: UPSTREAM,
    examples: { openai: { url: PROVIDERS.openai }, anthropic: { url: PROVIDERS.anthropic } },
    // Paths of the proxy's own.
    reserved: /^(healthz|readyz|metrics)$/,
  },
  rekor: {
    variable: 'REKOR',
    about: 'Rekor logs that take up the signatures under heads.',
    of: REKOR,
    examples: {
      own: {
        url: 'https://rekor.example.com',
        read_url: 'https://rekor.example.com/api/v2',
        tsa: ['own'],
      },
    },
  },
  tsa: {
    variable: 'TSA',
    about: 'Authorities that stamp heads with a time.',
    of: TSA,
    examples: { own: { url: 'https://tsa.example.com/tsr', roots: 'tsa-roots.pem' } },
  },
  witnessed: {
    variable: 'WITNESSED',
    about: 'Logs that this instance cosigns as a witness, beside those in witness.lists.',
    of: WITNESSED,
    examples: {
      partner: {
        keys: ['log.example.com/audit+90e8f6b7+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs'],
        per_day: 1_440,
      },
    },
  },
  cosigned: {
    variable: 'COSIGNED',
    about: 'Logs with witnesses of their own, by their names.',
    of: COSIGNED,
    examples: { audit: { policy: 'audit-witnesses.txt', fail: 'closed' } },
    name: LOG_NAME_FORM,
  },
};

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

function inFolder({ cwd }: ConfigSources, path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(cwd, path);
}

function check<T>(key: string, one: Setting<T>, given: Given | undefined): T | undefined {
  const value = given === undefined ? one.default : given.value;
  if (value === undefined) return undefined;
  try {
    return one.kind(value);
  } catch (cause) {
    const rule = cause instanceof Error ? cause.message : String(cause);
    const where = given === undefined ? key : `${given.from}: ${key}`;
    const what = one.kind.isHidden === true ? 'what is written here' : shownValue(value);
    throw malformed(where, `${what} ${rule}`, { cause });
  }
}

function need<T>(value: T | undefined): T {
  invariant(value !== undefined, 'a setting that is needed has a default');
  return value;
}

interface Named {
  readonly upstreams: readonly Upstream[];
  readonly targets: Pick<Config['anchor'], 'rekor' | 'tsa'>;
  readonly witnessed: readonly WitnessedLog[];
  readonly cosigned: readonly CosignedLog[];
}

type AnySettings = Readonly<Record<string, Setting<unknown>>>;
type Member<S extends AnySettings> = <K extends keyof S & string>(
  key: K,
) => ValueOf<S[K]> | undefined;

/** What is named in a group, each through `read`; `standing` names are there without being written. */
function readGroup<S extends AnySettings, T>(
  given: ReadonlyMap<string, Given>,
  group: string,
  of: S,
  read: (name: string, member: Member<S>) => T,
  standing: readonly string[] = [],
): T[] {
  const written = [...given.keys()].filter((key) => key.startsWith(`${group}.`));
  const names = new Set([...standing, ...written.map((key) => key.split('.')[1] ?? '')]);
  if (names.size > GROUP_MAX) {
    throw malformed(group, `${names.size} where ${GROUP_MAX} are the most`);
  }
  return [...names].map((name) =>
    read(name, (key) => {
      const full = `${group}.${name}.${key}`;
      // The kind of this very setting gave it.
      return check(full, of[key] as Setting<unknown>, given.get(full)) as ValueOf<S[typeof key]>;
    }),
  );
}

function readUpstreams(sources: ConfigSources, given: ReadonlyMap<string, Given>): Upstream[] {
  return readGroup(
    given,
    'upstreams',
    UPSTREAM,
    (name, member) => {
      const address = member('url') ?? PROVIDERS[name];
      if (address === undefined) {
        throw malformed(
          `upstreams.${name}.url`,
          'is missing; only openai and anthropic have one by themselves',
        );
      }
      const byHost = need(member('by_host'));
      if (byHost && new URL(address).pathname !== '/') {
        throw malformed(
          `upstreams.${name}.url`,
          `${shown(address)} has a path, which by_host allows none`,
        );
      }
      const keyFile = inFolder(sources, member('key_file'));
      const [keyEnv, keyHeader] = [member('key_env'), member('key_header')];
      if (keyFile !== undefined && keyEnv !== undefined) {
        throw malformed(`upstreams.${name}.key_env`, 'is set, and key_file too: one of them');
      }
      if (keyHeader === 'none' && (keyFile ?? keyEnv) !== undefined) {
        throw malformed(`upstreams.${name}.key_header`, '"none", and there is a key');
      }
      return {
        name,
        url: address,
        log: need(member('log')),
        posture: need(member('posture')),
        byHost,
        websocket: need(member('websocket')),
        rules: inFolder(sources, member('rules')),
        rulesModule: inFolder(sources, member('rules_module')),
        ...{ keyFile, keyEnv, keyHeader },
      };
    },
    Object.keys(PROVIDERS),
  );
}

function readCosigned(sources: ConfigSources, given: ReadonlyMap<string, Given>): CosignedLog[] {
  return readGroup(given, 'cosigned', COSIGNED, (log, member) => ({
    log,
    policy: inFolder(sources, member('policy')),
    fail: member('fail'),
  }));
}

/** Whom heads are shown to. */
function readTargets(sources: ConfigSources, given: ReadonlyMap<string, Given>): Named['targets'] {
  const must = <T>(value: T | undefined, key: string): T => {
    if (value === undefined) throw malformed(key, 'is missing');
    return value;
  };
  const tsa = readGroup(given, 'tsa', TSA, (name, member) => ({
    name,
    url: must(member('url'), `tsa.${name}.url`),
    roots: resolve(sources.cwd, must(member('roots'), `tsa.${name}.roots`)),
  }));
  const rekor = readGroup(given, 'rekor', REKOR, (name, member) => ({
    name,
    url: must(member('url'), `rekor.${name}.url`),
    version: need(member('version')),
    readUrl: member('read_url'),
    tsa: need(member('tsa')),
  }));
  for (const { name, tsa: named } of rekor) {
    const unknown = named.find((one) => !tsa.some((known) => known.name === one));
    if (unknown !== undefined) {
      throw malformed(`rekor.${name}.tsa`, `${shown(unknown)} is not one of those under tsa`);
    }
  }
  return { rekor, tsa };
}

/** Logs that are cosigned. */
function readWitnessed(given: ReadonlyMap<string, Given>): WitnessedLog[] {
  return readGroup(given, 'witnessed', WITNESSED, (name, member) => {
    const keys = member('keys');
    if (keys === undefined) throw malformed(`witnessed.${name}.keys`, 'is missing');
    const origin = member('origin') ?? keys[0]?.name ?? '';
    return { name, origin, keys, perDay: need(member('per_day')) };
  });
}

function stateFolder(env: Variables): string {
  const base = env.XDG_STATE_HOME;
  return join(base?.startsWith('/') ? base : join(homedir(), '.local', 'state'), 'stele');
}
