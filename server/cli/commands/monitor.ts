/** `stele monitor`: is each log still one history, complete, alive, and seen by others? */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { rekorV2 } from '../../anchor/rekor-v2.ts';
import { dataFolder, loadConfig } from '../../config.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { invariant, SteleError } from '../../core/errors.ts';
import { NOTE_BYTES_MAX } from '../../core/limits.ts';
import { parseVerifierKey } from '../../core/note.ts';
import { parseTrust, TRUST_BYTES_MAX, type Trust } from '../../core/trust.ts';
import { VerifierPool } from '../../keys/verifier-pool.ts';
import type { Event } from '../../monitor/events.ts';
import { claimOf } from '../../monitor/heads.ts';
import { LogPlace, WitnessPlace } from '../../monitor/places.ts';
import { type Outcome, type RunOptions, run } from '../../monitor/run.ts';
import type { RekorPlace } from '../../monitor/sweep.ts';
import { REQUIRABLE, type Requirable } from '../../monitor/watched.ts';
import { Webhook } from '../../monitor/webhook.ts';
import { Outbound } from '../../outbound.ts';
import { demoFork } from '../demo-fork.ts';
import { FAILS, HOLDS, type Status, UNKNOWN, Unusable } from '../exit.ts';
import { linesOf } from '../monitor-words.ts';
import type { Cli } from '../program.ts';
import { type Voice, voiceOf, type World } from '../terminal.ts';
import { locate, readBytes, readToken, type WhereOptions } from '../where.ts';

interface Options extends Omit<WhereOptions, 'token'> {
  readonly token?: readonly string[];
  readonly trust?: string;
  readonly vkey?: readonly string[];
  readonly known?: readonly string[];
  readonly witness?: readonly string[];
  readonly rekor?: readonly string[];
  readonly require?: string;
  readonly depth?: string;
  readonly once?: true;
  readonly interval: string;
  readonly stale: string;
  readonly late: string;
  readonly webhook?: string;
  readonly state?: string;
  readonly acknowledge?: true;
  readonly demoFork?: true;
}

const STATUS = {
  ok: HOLDS,
  alarm: FAILS,
  unknown: UNKNOWN,
} as const satisfies Record<Outcome, Status>;

const VERDICT = {
  ok: 'HOLDS',
  alarm: 'ALARM',
  unknown: 'COULD NOT TELL',
} as const satisfies Record<Outcome, string>;

/** Characters of an address. */
const ADDRESS_MAX = 2_000;

/** Addresses that are watched by one process. */
const PLACES_MAX = 256;
/** Between two looks at least. */
const PAUSE_MS = 5_000;

export function command(cli: Cli): Command {
  return new Command('monitor')
    .description(
      'Watches logs, ours and any of C2SP tlog-tiles: signatures, consistency with what was seen before, entries, anchors, witnesses, sources, freshness.',
    )
    .argument(
      '[log...]',
      'addresses of logs, or names of logs of a server; addresses that serve the same log are compared',
    )
    .option(
      '--data <dir>',
      'the data folder of a server on this machine [STELE_DATA, ./stele-data]',
    )
    .option('--server <url>', 'the address of a server, for logs that are named [STELE_SERVER]')
    .option(
      '--token <file>',
      'a file with a token that may read entries, or URL=FILE for logs below that address [STELE_TOKEN]',
      collect,
    )
    .option('--trust <file>', 'the logs’ keys, witnesses and more [trust.json in the data folder]')
    .option('--vkey <key>', 'verifier keys of logs, beside the trust file or without one', collect)
    .option(
      '--known <file>',
      'checkpoints from earlier, which the logs must still contain',
      collect,
    )
    .option('--witness <url>', 'witnesses to ask for what they cosigned last', collect)
    .option(
      '--rekor <url>',
      'where checkpoint and tiles of a Rekor v2 log are: heads in it have to be the log’s; its key is in the trust file’s trusted_root',
      collect,
    )
    .option('--require <kinds>', `what some head has to have: ${REQUIRABLE.join(',')}`)
    .option('--depth <depth>', 'read heads, tiles or entries [entries where they can be read]')
    .option('--once', 'one look at each log, and an exit status')
    .option(
      '--interval <seconds>',
      'between two looks; a log of ours is looked at when it grows',
      '60',
    )
    .option(
      '--stale <seconds>',
      'an alarm when nobody saw the log alive for so long; 0 for never',
      '86400',
    )
    .option('--late <seconds>', 'what witnesses and anchors may be behind', '7200')
    .option('--webhook <url>', 'post alarms there as JSON [STELE_MONITOR_WEBHOOK]')
    .option('--state <dir>', 'where it remembers what it saw [monitor in the state folder]')
    .option(
      '--acknowledge',
      'what is wrong for good and was looked at, such as holes, is no alarm from now on',
    )
    .option('--demo-fork', 'fork a log of its own in a temporary folder, and show who notices')
    .option('--json', 'print each event as a line of JSON')
    .addHelpText(
      'after',
      [
        '',
        'Example:',
        '  $ stele monitor default --once',
        '  $ stele monitor https://log.example.com --vkey log.example.com+4d6d8825+AV2yLmze…',
        '  $ stele monitor --demo-fork',
        '',
        'Exit status: 0 all holds, 1 an alarm, 2 could not tell.',
      ].join('\n'),
    )
    .action(
      cli.action(async (logs: readonly string[], options: Options) => {
        const voice = voiceOf(cli.world, options.json === true);
        if (options.demoFork === true) {
          if (logs.length > 0) throw new Unusable('--demo-fork makes its own log: name none');
          return demoFork(cli, voice);
        }
        return monitor(cli, logs, options, voice);
      }),
    );
}

/** An option that may stand several times. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

async function monitor(
  { world, starters }: Cli,
  logs: readonly string[],
  options: Options,
  voice: Voice,
): Promise<Status> {
  const outbound = new Outbound(starters.version);
  const pool = new VerifierPool();
  const url = options.webhook ?? world.env.STELE_MONITOR_WEBHOOK;
  const failed = (line: string) => world.err(`stele: ${line}\n`);
  const webhook =
    url === undefined ? undefined : new Webhook({ url: addressOf(url, true), outbound, failed });
  const tell = (event: Event) => {
    voice.say(...linesOf(event));
    voice.json(event);
    if (event.event !== 'ok') webhook?.post(event);
  };
  try {
    const settings = settingsOf(world, logs, options, outbound);
    const means = {
      ...{ checker: pool, now: world.now },
      ...{ signal: world.interrupted, progress: voice.progress },
    };
    // What is found is told, so what is thrown is that nothing could be: a state of another monitor, a full disk.
    const outcome = await run({ ...settings, means, tell }).catch((cause: unknown) => {
      if (cause instanceof SteleError) throw new Unusable(cause.message, { cause });
      throw cause;
    });
    if (settings.once) voice.say('', VERDICT[outcome]);
    return STATUS[outcome];
  } finally {
    voice.progress('');
    await webhook?.settled();
    await pool.close();
  }
}

function settingsOf(
  world: World,
  logs: readonly string[],
  options: Options,
  outbound: Outbound,
): Omit<RunOptions, 'means' | 'tell'> {
  if (logs.length === 0) throw new Unusable('name a log: a name, or an address');
  if (logs.length > PLACES_MAX) {
    throw new Unusable(`${logs.length} logs, and one monitor watches at most ${PLACES_MAX}`);
  }
  const { interval, stale, late, known = [], witness = [], vkey = [], rekor = [] } = options;
  const trust = readTrust(world, logs, options);
  return {
    places: placesOf(world, logs, options),
    witnesses: witness.map((url) => new WitnessPlace(addressOf(url, false), outbound)),
    known: known.map((file) => knownNote(resolve(world.cwd, file), file)),
    rekors: rekor.map((url) => rekorOf(addressOf(url, false), trust, outbound)),
    trust,
    keys: vkey.map((text) => unusable('--vkey', () => parseVerifierKey(text))),
    limits: {
      depth: depthOf(options.depth),
      require: requiredOf(options.require),
      staleMs: 1_000 * seconds('--stale', stale, 0),
      lateMs: 1_000 * seconds('--late', late, 0),
    },
    folder: stateFolder(world, options),
    once: options.once === true,
    acknowledge: options.acknowledge === true,
    intervalMs: 1_000 * seconds('--interval', interval, 1),
    pauseMs: PAUSE_MS,
  };
}

/** Each log's address, with the token that is for it and for nobody else (P10). */
function placesOf(world: World, logs: readonly string[], options: Options): LogPlace[] {
  const { token = [], ...rest } = options;
  const tokens = token.map((given) => tokenOf(world, given));
  const plain = tokens.filter(({ below }) => below === undefined);
  if (plain.length > 1) throw new Unusable('--token: several, and none says for which address');
  const named = logs.filter((log) => !isAddress(log));
  const hosts = new Set(logs.filter(isAddress).map((log) => new URL(log).origin));
  const [single] = plain;
  if (single !== undefined && hosts.size + (named.length > 0 ? 1 : 0) > 1) {
    const rule = 'say with --token URL=FILE for which it is';
    throw new Unusable(`--token: the logs are on several servers, and a token is for one: ${rule}`);
  }
  const server = named.length === 0 ? undefined : locate(world, rest, 'read');
  return logs.map((log) => {
    const url = isAddress(log) ? addressOf(log, false) : `${server?.server}/logs/${log}`;
    const own = tokens.find(({ below }) => below !== undefined && isBelow(url, below));
    const given = (own ?? single)?.token;
    if (isAddress(log)) return new LogPlace({ url, token: given });
    return new LogPlace({ url, token: given ?? server?.token, fetch: server?.fetch });
  });
}

function tokenOf(world: World, given: string): { below: string | undefined; token: string } {
  const at = isAddress(given) ? given.indexOf('=') : -1;
  if (at < 0) return { below: undefined, token: readToken(world, given) };
  return {
    below: addressOf(given.slice(0, at), false),
    token: readToken(world, given.slice(at + 1)),
  };
}

function isBelow(url: string, below: string): boolean {
  return url === below || url.startsWith(`${below}/`);
}

function isAddress(text: string): boolean {
  return /^https?:\/\//.test(text);
}

function addressOf(text: string, isSecret: boolean): string {
  const parsed = text.length > ADDRESS_MAX ? null : URL.parse(text);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) {
    const which = isSecret ? 'the webhook' : JSON.stringify(text.slice(0, 200));
    throw new Unusable(`${which} is not an http or https address`);
  }
  return isSecret ? text : text.replace(/\/+$/, '');
}

function knownNote(path: string, from: string) {
  const bytes = readBytes(path, 'checkpoint', NOTE_BYTES_MAX);
  unusable(path, () => claimOf(bytes));
  return { from, bytes };
}

function readTrust(world: World, logs: readonly string[], options: Options): Trust {
  const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
  const own = join(data, 'trust.json');
  const isOwn = !logs.every(isAddress) && existsSync(own);
  const path =
    options.trust === undefined ? (isOwn ? own : undefined) : resolve(world.cwd, options.trust);
  if (path === undefined) return { logs: [] };
  return unusable(path, () => parseTrust(readBytes(path, 'trust file', TRUST_BYTES_MAX)));
}

/** Whose entries count is said by the trust file: without it nothing of a Rekor log could be told. */
function rekorOf(url: string, { trustedRoot }: Trust, outbound: Outbound): RekorPlace {
  if (trustedRoot === undefined) {
    throw new Unusable('--rekor: the trust file has no trusted_root with the key of that log');
  }
  const { search } = rekorV2({ name: url, url, readUrl: url, outbound, trust: trustedRoot.parsed });
  invariant(search !== undefined, 'the files of Rekor v2 can be searched');
  return { url, search };
}

function stateFolder(world: World, { data, state }: Options): string {
  if (state !== undefined) return resolve(world.cwd, state);
  return join(loadConfig({ env: world.env, cwd: world.cwd, data }).state, 'monitor');
}

function seconds(option: string, text: string, min: number): number {
  const value = unusable(option, () => parseDecimal(text, 'seconds'));
  if (value < min || value > 31_622_400) {
    throw new Unusable(`${option}: ${value} is not ${min} to 31622400 seconds`);
  }
  return value;
}

function depthOf(text: string | undefined): RunOptions['limits']['depth'] {
  switch (text) {
    case undefined:
      return undefined;
    case 'heads':
    case 'tiles':
    case 'entries':
      return text;
    default:
      throw new Unusable(`--depth: ${JSON.stringify(text)} is not heads, tiles or entries`);
  }
}

function requiredOf(text: string | undefined): readonly Requirable[] {
  return (text ?? '').split(',').flatMap((word) => {
    if (word === '') return [];
    const kind = REQUIRABLE.find((one) => one === word);
    if (kind === undefined) {
      throw new Unusable(`--require: ${JSON.stringify(word)} is not ${REQUIRABLE.join(', ')}`);
    }
    return [kind];
  });
}

/** What is wrong with what was given: nothing was looked at. */
function unusable<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SteleError) throw new Unusable(`${what}: ${cause.message}`, { cause });
    throw cause;
  }
}
