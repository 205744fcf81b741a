/**
 * What can be wrong with an installation, looked at from the files and from outside. Each check says
 * what it saw and, where that is not good, what to do about it. Nothing is changed.
 */
import { existsSync, readdirSync, statfsSync, statSync } from 'node:fs';
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
import { InstanceStore } from '../storage/instance.ts';
import { SqliteStore } from '../storage/sqlite/log-store.ts';
import type { Head } from '../storage/store.ts';
import { readRunning } from './running.ts';
import { fetchOf, readBytes } from './where.ts';

export type Health = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly check: string;
  readonly health: Health;
  /** What was seen, and what to do if it is not good. */
  readonly detail: string;
}

interface Subject {
  readonly config: Config;
  readonly memories: Memories;
  readonly now: number;
  readonly version: string;
}

export async function examine(subject: Subject): Promise<readonly Finding[]> {
  const { config } = subject;
  const findings = [versions(subject), folder(config)];
  if (findings.at(-1)?.health === 'fail') return findings;
  findings.push(disk(config), permissions(config), ...(await logs(subject)));
  findings.push(
    trust(config),
    place(config),
    ...(await tls(subject)),
    ...frontEnd(config),
    ...(await server(subject)),
  );
  return findings;
}

function ok(check: string, detail: string): Finding {
  return { check, health: 'ok', detail };
}

function warn(check: string, detail: string): Finding {
  return { check, health: 'warn', detail };
}

function fail(check: string, detail: string): Finding {
  return { check, health: 'fail', detail };
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

function disk({ data, limits }: Config): Finding {
  const { bavail, bsize } = statfsSync(data);
  const free = bavail * bsize;
  const floor = limits.diskFloorBytes;
  const seen = `${mib(free)} MiB free, nothing is accepted below ${mib(floor)} MiB`;
  if (free < floor) return fail('disk', `${seen}: make room`);
  return free < 4 * floor ? warn('disk', `${seen}: make room soon`) : ok('disk', seen);
}

function mib(bytes: number): number {
  return Math.floor(bytes / 1_048_576);
}

/** Keys and tokens are for their owner alone, and so are the folders that hold them. */
function permissions({ data }: Config): Finding {
  if (process.platform === 'win32') return ok('permissions', 'files have no modes here');
  const loose = ['keys', 'tokens']
    .filter((name) => existsSync(join(data, name)))
    .flatMap((name) => [name, ...filesIn(data, name)])
    .filter((name) => (statSync(join(data, name)).mode & 0o077) !== 0);
  if (loose.length === 0) return ok('permissions', 'keys and tokens are their owner’s alone');
  return fail('permissions', `others can get at ${loose.join(', ')}: chmod -R go= on it`);
}

function filesIn(data: string, name: string): string[] {
  const found = readdirSync(join(data, name), { recursive: true, encoding: 'utf8' });
  return found.map((file) => join(name, file));
}

async function logs(subject: Subject): Promise<Finding[]> {
  const folder = join(subject.config.data, 'logs');
  const names = existsSync(folder)
    ? readdirSync(folder).flatMap((file) => (file.endsWith('.db') ? [file.slice(0, -3)] : []))
    : [];
  if (names.length === 0) return [fail('logs', 'there is none: start the server once (stele up)')];
  return Promise.all(names.sort().map((name) => oneLog(subject, name)));
}

/** The keys on disk must be those that sign the head, and the head the newest that is remembered. */
async function oneLog({ config, memories, now }: Subject, name: string): Promise<Finding> {
  const check = `log ${name}`;
  const store = SqliteStore.openReadOnly(join(config.data, 'logs', `${name}.db`));
  try {
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
  } catch (error) {
    if (error instanceof SteleError) return fail(check, error.message);
    throw error;
  } finally {
    await store.close();
  }
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
      const store = new InstanceStore(join(data, 'stele.db'));
      try {
        checkPlace(store);
        return ok('guard', 'this is the place where the folder was written; no server runs');
      } finally {
        store.close();
      }
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
async function tls({ config, now }: Subject): Promise<Finding[]> {
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
  if (inside !== undefined) findings.push(await answers('server', inside, version));
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
    await client.ready();
    if (about.version === version) return ok(check, `${base} is ready`);
    return warn(check, `${base} runs ${String(about.version)}, this is ${version}: restart it`);
  } catch (error) {
    if (error instanceof SteleError)
      return fail(check, `${base} does not answer: ${error.message}`);
    throw error;
  }
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
