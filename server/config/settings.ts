/** The settings that have fixed names: what each is for, and what someone could do who controls it. */
import { LOG_NAME_FORM } from './groups.ts';
import {
  cron,
  flag,
  listen,
  listOf,
  namesOf,
  networks,
  oneOf,
  path,
  paths,
  text,
  url,
  weeklyOrCron,
  whole,
} from './kinds.ts';
import { setting, type ValueOf } from './setting.ts';

const GIB = 1_073_741_824;

/** A pebibyte: no disk of one machine. */
const MAX_SPOOL_BYTES = 1_024 ** 5;

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
    'The logs whose heads are shown to the targets under rekor and tsa; "*" is all that are not private;\nprivate ones, _admin and NAME.access are named beside it.',
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
    'The logs whose heads are shown to them; "*" is all that are not private; private ones, _admin and\nNAME.access are named beside it. Witnesses see and republish origin, size and root.',
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

export type Key = keyof typeof SETTINGS;
export type Values = { -readonly [K in Key]: ValueOf<(typeof SETTINGS)[K]> | undefined };
