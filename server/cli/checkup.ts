/**
 * What can be wrong with an installation, looked at from the files and from outside. Each check says
 * what it saw and, where that is not good, what to do about it. Nothing is changed.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { InstanceClient } from '../client/instance.ts';
import type { Config } from '../config.ts';
import { utf8 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { logIdOf } from '../core/ct.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { parseNote } from '../core/note.ts';
import { parseTrust, TRUST_BYTES_MAX } from '../core/trust.ts';
import { LogKeyFiles } from '../keys/log-keyring.ts';
import { findKeyFile, openKeyByFile, secretsIn } from '../keys/reference.ts';
import { readPinned } from '../keys/remote/pinned.ts';
import { openTlsPair } from '../keys/tls-pair.ts';
import { checkPlace, lockFolder } from '../log/guard.ts';
import { largestKnown, type Memories } from '../log/memories.ts';
import { OwnKeys } from '../log/own-keys.ts';
import { checkHead, replayListed } from '../log/recover.ts';
import type { Registry } from '../log/registry.ts';
import { compareWithMemories } from '../log/remembered.ts';
import { identityIn } from '../storage/instance.ts';
import { schemaOf } from '../storage/sqlite/database.ts';
import { SqliteStore } from '../storage/sqlite/log-store.ts';
import type { Head } from '../storage/store.ts';
import {
  backup,
  checks,
  disk,
  journals,
  keys,
  looked,
  permissions,
  releases,
  settings,
  state,
  writtenAhead,
} from './checkup-files.ts';
import { type Finding, fail, ok, warn } from './finding.ts';
import { readRunning } from './running.ts';
import { fetchOf, readBytes } from './where.ts';

interface Subject {
  readonly config: Config;
  readonly memories: Memories;
  readonly now: number;
  readonly version: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export async function examine(subject: Subject): Promise<readonly Finding[]> {
  const { config } = subject;
  const findings = [versions(subject), folder(config), settings(subject.env)];
  if (findings.some(({ health }) => health === 'fail')) return findings;
  findings.push(
    looked('disk', () => disk(config)),
    looked('state', () => state(config)),
    looked('permissions', () => permissions(config)),
    looked('keys', () => keys(config)),
    looked('releases', () => releases(config)),
    looked('written ahead', () => writtenAhead(config)),
    looked('journals', () => journals(config)),
    ...(await logs(subject)),
    looked('checks', () => checks(config, subject.now)),
    looked('backup', () => backup(config, subject.now)),
  );
  findings.push(
    trust(config),
    place(config),
    ...(await tls(subject)),
    ...frontEnd(config),
    ...(await server(subject)),
  );
  return findings;
}

/** Before this release was made no clock can be: 2026-11-01. */
const RELEASED_MS = Date.UTC(2026, 10, 1);

function versions({ version, now }: Subject): Finding {
  const seen = `stele ${version}, node ${process.versions.node}, ${new Date(now).toISOString()}`;
  if (now < RELEASED_MS) return fail('clock', `${seen}: the clock is behind; set it (NTP)`);
  return ok('versions', seen);
}

function folder({ data }: Config): Finding {
  if (existsSync(join(data, 'stele.db'))) return ok('data', data);
  return fail('data', `${data} is no data folder: name one with --data, or make one: stele up`);
}

async function logs(subject: Subject): Promise<Finding[]> {
  const folder = join(subject.config.data, 'logs');
  const names = existsSync(folder)
    ? readdirSync(folder).flatMap((file) => (file.endsWith('.db') ? [file.slice(0, -3)] : []))
    : [];
  if (names.length === 0) return [fail('logs', 'there is none: start the server once (stele up)')];
  return Promise.all(names.sort().map((name) => oneLog(subject, name)));
}

async function oneLog(subject: Subject, name: string): Promise<Finding> {
  const path = join(subject.config.data, 'logs', `${name}.db`);
  try {
    const { has, known } = schemaOf(path, 'sqlite');
    if (has < known)
      return warn(`log ${name}`, 'it is looked at once a start brought it up to date');
    const store = SqliteStore.openReadOnly(path);
    try {
      return await lookInto(subject, name, store);
    } finally {
      await store.close();
    }
  } catch (error) {
    if (error instanceof SteleError) return fail(`log ${name}`, error.message);
    throw error;
  }
}

/** The keys on disk must be those that sign the head, and the head the newest that is remembered. */
async function lookInto(
  { config, memories, now }: Subject,
  name: string,
  store: SqliteStore,
): Promise<Finding> {
  const check = `log ${name}`;
  const head = await store.readHead();
  if (head === undefined)
    return warn(check, 'it is empty: its creation was cut short; start the server');
  const { origin } = parseCheckpoint(parseNote(utf8(head.checkpoint)).text);
  const registry = await checkKeys(config, name, origin, { head, store });
  const signedMs = Math.max(head.timeMs, await treeHeadMs(registry, store));
  if (signedMs > now + 60_000) {
    const time = new Date(signedMs).toISOString();
    return fail(check, `its head is of ${time}, ahead of this clock: set the clock (NTP)`);
  }
  const { answers, reason } = await compareWithMemories(store, { name, origin }, memories);
  if (reason !== undefined) return fail(check, `it ${reason}`);
  const signer = answers.find(({ kind }) => kind === 'signer');
  if (
    signer?.failure === undefined &&
    signer !== undefined &&
    (signer.known?.size ?? 0) < head.size
  ) {
    return warn(
      check,
      `the signer remembers ${signer.known?.size ?? 'nothing'} of ${head.size} entries: its state folder is ` +
        'not the one that it had',
    );
  }
  const staged = await store.readStaged();
  if (staged !== undefined && readRunning(config.data) === undefined) {
    return warn(check, `${staged.entries.length} entries wait for the signer: start the server`);
  }
  const size = `${head.size} entries, keys and head fit`;
  const failure = answers.find((answer) => answer.failure !== undefined)?.failure;
  if (failure !== undefined) return warn(check, `${size}; ${failure.message}`);
  return largestKnown(answers) === undefined
    ? warn(
        check,
        `${size}; no high-water file in ${config.state}: is STELE_STATE set for the server only?`,
      )
    : ok(check, size);
}

/** Every key that signs now, as the log's own records say, is where it should be, and signed the head. */
async function checkKeys(
  { data, signerSocket, keys: settings }: Config,
  name: string,
  origin: string,
  { head, store }: { readonly head: Head; readonly store: SqliteStore },
): Promise<Registry> {
  const registry = await replayListed(store, origin);
  const folder = join(data, 'keys', 'logs', name);
  const secrets = secretsIn(settings);
  const open = (path: string) =>
    openKeyByFile(findKeyFile(path.replace(/\.pem$/, '')) ?? path, secrets);
  const own = new OwnKeys({ origin, keys: new LogKeyFiles(folder, open), registry });
  checkHead(head, origin, own.history);
  if (signerSocket === undefined) {
    await own.open();
    await open(join(data, 'keys', 'operator.pem'));
  } else if (readPinned(folder) === undefined) {
    throw new SteleError(
      'not_found',
      `${folder}: the signer’s keys are not written down yet: start the server`,
    );
  }
  return registry;
}

/** The time of the newest tree head of `ct/v1`, 0 where there is none. */
async function treeHeadMs({ history }: Registry, store: SqliteStore): Promise<number> {
  const key = history?.live('sth').at(-1);
  // A log of an earlier build, which gets its key when it is opened.
  if (key === undefined) return 0;
  return (await store.readTreeHead(logIdOf(key.publicKey)))?.timeMs ?? 0;
}

function trust({ data }: Config): Finding {
  const path = join(data, 'trust.json');
  if (!existsSync(path))
    return warn('trust', 'there is no trust.json; the next start of "stele up" makes one');
  try {
    const { logs: known } = parseTrust(readBytes(path, 'trust file', TRUST_BYTES_MAX));
    return ok('trust', `trust.json knows ${known.map(({ origin }) => origin).join(', ')}`);
  } catch (error) {
    if (error instanceof SteleError) return fail('trust', error.message);
    throw error;
  }
}

/** Whether this folder may sign here. While a server runs, that server has asked. */
function place({ data }: Config): Finding {
  try {
    const lock = lockFolder(data);
    try {
      const path = join(data, 'stele.db');
      checkPlace({ path, identity: () => identityIn(path) });
      return ok('guard', 'this is the place where the folder was written; no server runs');
    } finally {
      lock.release();
    }
  } catch (error) {
    if (hasCode(error, 'conflict')) return ok('guard', 'a server runs on it');
    if (error instanceof SteleError) return fail('guard', error.message);
    throw error;
  }
}

/** Behind a front end that is not named, every stranger has its address. */
function frontEnd({ publicUrl, tls, trustedProxies }: Config): Finding[] {
  const has = publicUrl?.startsWith('https:') === true && tls === undefined;
  if (!has || trustedProxies.length > 0) return [];
  return [
    warn(
      'front end',
      'TLS is in front of this server, and trusted_proxies is empty: all strangers count as one caller',
    ),
  ];
}

const DAY_MS = 86_400_000;

/** The certificate fits its key, and goes on for a while: two weeks, or a fifth of its life if that is less. */
/** The certificate that is shown, or would be. */
export async function tls({ config, now }: Pick<Subject, 'config' | 'now'>): Promise<Finding[]> {
  if (config.tls === undefined) return [];
  try {
    const { beginsMs, endsMs } = await openTlsPair(config.tls);
    const end = new Date(endsMs).toISOString();
    if (beginsMs > now) {
      return [fail('tls', `the certificate begins at ${new Date(beginsMs).toISOString()}`)];
    }
    if (endsMs <= now) return [fail('tls', `the certificate ended at ${end}: put a new one there`)];
    const seen = `the certificate ends at ${end}, in ${Math.floor((endsMs - now) / DAY_MS)} days`;
    const isSoon = endsMs - now < Math.min(14 * DAY_MS, (endsMs - beginsMs) / 5);
    return [isSoon ? warn('tls', `${seen}: put a new one there`) : ok('tls', seen)];
  } catch (error) {
    if (error instanceof SteleError) return [fail('tls', error.message)];
    throw error;
  }
}

async function server({ config, version }: Subject): Promise<Finding[]> {
  const running = readRunning(config.data);
  const findings: Finding[] = [];
  if (running === undefined) findings.push(warn('server', 'it does not run: stele up'));
  const inside = running && { base: running.server, fetch: fetchOf(config.data, running) };
  if (inside !== undefined) {
    findings.push(await answers('server', inside, version), ...(await clock(inside)));
  }
  const { publicUrl } = config;
  if (publicUrl === undefined) {
    findings.push(
      warn(
        'public url',
        'none is set: new origins are for trial only (public_url, STELE_PUBLIC_URL)',
      ),
    );
  } else {
    findings.push(await answers('public url', { base: publicUrl }, version));
    findings.push(...(await clock({ base: publicUrl })));
    if (inside !== undefined) findings.push(await sameKeys(inside, publicUrl));
  }
  return findings;
}

/** An address, and how it is reached where that is not by its name. */
interface Address {
  readonly base: string;
  readonly fetch?: typeof fetch | undefined;
}

function clientOf(address: Address): InstanceClient {
  return new InstanceClient({ ...address, timeoutMs: 5_000 });
}

async function answers(check: string, address: Address, version: string): Promise<Finding> {
  const { base } = address;
  const client = clientOf(address);
  try {
    const about = await client.about();
    if (about.name !== 'stele') return fail(check, `${base} is not a Stele server`);
    const { status, checks } = await client.ready();
    if (status === 'degraded') {
      const failing = Object.entries(checks ?? {}).flatMap(([one, holds]) => (holds ? [] : [one]));
      return warn(check, `${base} takes entries, but for: ${failing.join(', ')}`);
    }
    if (about.version === version) return ok(check, `${base} is ready`);
    return warn(check, `${base} runs ${String(about.version)}, this is ${version}: restart it`);
  } catch (error) {
    if (error instanceof SteleError)
      return fail(check, `${base} does not answer: ${error.message}`);
    throw error;
  }
}

/** So much may be the way of the answer and no fault of a clock. */
const CLOCK_WARN_MS = 5_000;
const CLOCK_FAIL_MS = 60_000;

/** Whoever answers has a clock of its own; at the public address it is that of what is in front. */
async function clock({ base, fetch: ask = fetch }: Address): Promise<Finding[]> {
  const sent = Date.now();
  let date: string | null;
  try {
    const answer = await ask(`${base}/healthz`, { signal: AbortSignal.timeout(5_000) });
    date = answer.headers.get('date');
    await answer.body?.cancel();
  } catch {
    // That it does not answer is another line.
    return [];
  }
  return [clockFinding(base, Date.parse(date ?? ''), { sent, came: Date.now() })];
}

/** The answer was made between the two, and its time is cut to the second before. */
export function clockFinding(
  base: string,
  time: number,
  { sent, came }: { readonly sent: number; readonly came: number },
): Finding {
  if (Number.isNaN(time)) return warn('clock', `${base} gives no time to compare with`);
  const by = Math.max(0, time - came, sent - time - 1_000);
  const seen = `${Math.round(by / 1_000)} s between this clock and ${base}`;
  if (by > CLOCK_FAIL_MS) return fail('clock', `${seen}: set the one that is wrong (NTP)`);
  return by > CLOCK_WARN_MS ? warn('clock', `${seen}: let NTP keep both`) : ok('clock', seen);
}

/** The outside path must lead to this very server. */
async function sameKeys(inside: Address, outside: string): Promise<Finding> {
  const check = 'outside path';
  try {
    const [own, seen] = await Promise.all(
      [inside, { base: outside }].map((address) => clientOf(address).keys()),
    );
    return JSON.stringify(own) === JSON.stringify(seen)
      ? ok(check, `${outside} leads here`)
      : fail(check, `${outside} leads to a server with other keys`);
  } catch (error) {
    if (error instanceof SteleError) return fail(check, error.message);
    throw error;
  }
}
