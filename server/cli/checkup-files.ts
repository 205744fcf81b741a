/**
 * What the files of an installation say to whoever looks: room, permissions, keys, releases, logs that are
 * written ahead, journals, checks, backups. Nothing is changed, and no database is brought up to date.
 */
import { existsSync, readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { lastBackup } from '../backup/last.ts';
import { unknownVariables } from '../config/read.ts';
import { type Config, TABLE } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import { listChecks } from '../storage/checks.ts';
import { type Schema, schemaOf } from '../storage/sqlite/database.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

const MIB = 1_048_576;
const DAY_MS = 86_400_000;

function mib(bytes: number): number {
  return Math.floor(bytes / MIB);
}

/** Variables that look like settings and are none. Settings that are refused end before this. */
export function settings(env: Readonly<Record<string, string | undefined>>): Finding {
  const unknown = unknownVariables(TABLE, env);
  return unknown.length === 0
    ? ok('settings', 'all that are given are settings, and fit')
    : warn('settings', unknown.join('; '));
}

/** What a look finds; a file that cannot be looked at is a finding like another. */
export function looked(check: string, look: () => Finding): Finding {
  try {
    return look();
  } catch (error) {
    if (error instanceof SteleError || (error as NodeJS.ErrnoException).syscall !== undefined) {
      return fail(check, (error as Error).message);
    }
    throw error;
  }
}

export function disk({ data, limits }: Config): Finding {
  const { bavail, bsize } = statfsSync(data);
  const free = bavail * bsize;
  const floor = limits.diskFloorBytes;
  const seen = `${mib(free)} MiB free, nothing is accepted below ${mib(floor)} MiB`;
  if (free < floor) return fail('disk', `${seen}: make room`);
  return free < 4 * floor ? warn('disk', `${seen}: make room soon`) : ok('disk', seen);
}

/** The memory that guards a data folder is for the day on which its disk is lost. */
export function state({ data, state }: Config): Finding {
  if (!existsSync(state))
    return warn('state', `${state} is not there yet: is STELE_STATE set for the server only?`);
  if (statSync(data).dev !== statSync(state).dev)
    return ok('state', `${state}, on a disk of its own`);
  return warn('state', `${state} is on the disk of the data: what loses one loses the other`);
}

/** Keys and tokens are for their owner alone, and so are the folders that hold them. */
export function permissions({ data }: Config): Finding {
  if (process.platform === 'win32') return ok('permissions', 'files have no modes here');
  const isLoose = (name: string) => (statSync(join(data, name)).mode & 0o077) !== 0;
  const folders = ['keys', 'tokens', 'vault-keys'].filter((name) => existsSync(join(data, name)));
  // Databases of keys are made by SQLite, and guarded by their folder.
  const files = folders
    .filter((name) => name !== 'vault-keys')
    .flatMap((name) => filesIn(data, name));
  const loose = [...folders, ...files].filter(isLoose);
  if (loose.length > 0) {
    return fail('permissions', `others can get at ${loose.join(', ')}: chmod -R go= on it`);
  }
  if (isLoose('')) return warn('permissions', `others can look into ${data}: chmod go= on it`);
  return ok('permissions', 'keys and tokens are their owner’s alone');
}

function filesIn(data: string, name: string): string[] {
  const found = readdirSync(join(data, name), { recursive: true, encoding: 'utf8' });
  return found.map((file) => join(name, file));
}

/** What a server does not start without, or starts without what it once could open. */
export function keys({ data }: Config): Finding {
  const path = join(data, 'keys', 'vault.kek');
  if (!existsSync(path)) {
    return fail(
      'keys',
      `${path} is missing: bring it back from a backup, or no content opens again`,
    );
  }
  const { size } = statSync(path);
  if (size !== 32) return fail('keys', `${path} has ${size} bytes, and the key has 32`);
  return ok('keys', 'the key-encryption key of content is there');
}

/** Every database, by what it is. */
function databases(data: string): { readonly path: string; readonly schema: Schema }[] {
  const below = (folder: string, schema: Schema) =>
    (existsSync(join(data, folder)) ? readdirSync(join(data, folder)) : [])
      .filter((name) => name.endsWith('.db'))
      .map((name) => ({ path: join(data, folder, name), schema }));
  return [
    { path: join(data, 'stele.db'), schema: 'instance' as const },
    ...below('logs', 'sqlite'),
    ...below('vault-keys', 'vault'),
  ];
}

/** Files of a newer release are not opened by this one; older ones are brought up to date by the next start. */
export function releases({ data }: Config): Finding {
  const newer: string[] = [];
  const older: string[] = [];
  let count = 0;
  for (const { path, schema } of databases(data)) {
    const seen = schemaIn(path, schema);
    // What cannot be read is named where it is looked into.
    if (seen === undefined) continue;
    count += 1;
    if (seen.has > seen.known) newer.push(path);
    if (seen.has < seen.known) older.push(path);
  }
  if (newer.length > 0) {
    return fail('releases', `${listed(newer)} of a newer release: run that one, or a newer one`);
  }
  if (older.length > 0) {
    return warn(
      'releases',
      `${listed(older)} of an older release: the next start brings it up to date`,
    );
  }
  return ok('releases', `${count} databases are of this release`);
}

function schemaIn(path: string, schema: Schema) {
  try {
    return schemaOf(path, schema);
  } catch (error) {
    if (error instanceof SteleError) return undefined;
    throw error;
  }
}

function listed(paths: readonly string[]): string {
  const [first = ''] = paths;
  return paths.length === 1 ? `${first} is` : `${first} and ${paths.length - 1} more are`;
}

/** Above this a write-ahead log is not what a busy moment left: it is cut to a quarter when it can be. */
const WAL_BYTES_MAX = 256 * MIB;

export function writtenAhead({ data }: Config): Finding {
  const sizes = databases(data).flatMap(({ path }) => {
    const wal = `${path}-wal`;
    return existsSync(wal) ? [{ wal, bytes: statSync(wal).size }] : [];
  });
  const largest = sizes.sort((a, b) => b.bytes - a.bytes)[0];
  if (largest === undefined) return ok('written ahead', 'nothing waits in a write-ahead log');
  const seen = `the largest write-ahead log has ${mib(largest.bytes)} MiB`;
  if (largest.bytes < WAL_BYTES_MAX) return ok('written ahead', seen);
  return warn(
    'written ahead',
    `${seen} (${largest.wal}): something reads that database without an end, such as a backup that hangs`,
  );
}

/** More than a busy moment's calls. */
const WAITING_BYTES = 64 * MIB;

/** Calls that wait for their log, by the journals' files: a running proxy says it better on its readyz. */
export function journals({ data }: Config): Finding {
  const folder = join(data, 'proxy');
  if (!existsSync(folder)) return ok('journals', 'no proxy has run here');
  const names = readdirSync(folder, { withFileTypes: true }).filter((one) => one.isDirectory());
  const waiting = names.flatMap(({ name }) => {
    const bytes = filesIn(join(data, 'proxy'), name)
      .map((file) => statSync(join(folder, file)))
      .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
    return bytes < WAITING_BYTES ? [] : [`${mib(bytes)} MiB in proxy/${name}`];
  });
  if (waiting.length === 0) return ok('journals', 'few calls wait for a log, if any');
  return warn('journals', `${waiting.join(', ')}: calls wait for their log, or no proxy runs`);
}

/** Older than two turns of the weekly schedule: nobody looks any more. */
const CHECKED_MS = 15 * DAY_MS;

export function checks({ data, check }: Config, now: number): Finding {
  let rows: ReturnType<typeof listChecks>;
  try {
    rows = listChecks(join(data, 'stele.db'));
  } catch (error) {
    if (error instanceof SteleError)
      return warn('checks', `what they found is not known: ${error.message}`);
    throw error;
  }
  const damaged = rows.filter(({ tree, content }) => tree === 'damaged' || content === 'damaged');
  const [first] = damaged;
  if (first !== undefined) {
    const more = damaged.length === 1 ? '' : `, and ${damaged.length - 1} more logs`;
    return fail('checks', `log ${first.log} is damaged: ${first.found[0] ?? 'see the log'}${more}`);
  }
  const oldest = Math.min(...rows.map(({ endedMs }) => endedMs));
  const byHand = 'stele log check';
  if (check.schedule === undefined) {
    return warn('checks', `none by itself: check.schedule is empty; by hand: ${byHand}`);
  }
  if (rows.length === 0)
    return ok('checks', `none yet; check.schedule is "${check.schedule}"; by hand: ${byHand}`);
  const seen = `${rows.length} logs held, the oldest check is ${agoOf(now - oldest)}`;
  return now - oldest > CHECKED_MS
    ? warn('checks', `${seen}: does the server run long enough?`)
    : ok('checks', seen);
}

/** Older than a week and a day. */
const BACKED_UP_MS = 8 * DAY_MS;

export function backup({ data, state }: Config, now: number): Finding {
  try {
    const last = lastBackup(state, data);
    if (last === undefined) return warn('backup', 'none is known of: stele backup DEST');
    const ago = now - Date.parse(last.time);
    const seen = `${agoOf(ago)}, to ${last.folder}`;
    return ago > BACKED_UP_MS ? warn('backup', `the last is ${seen}`) : ok('backup', seen);
  } catch (error) {
    if (error instanceof SteleError) return warn('backup', error.message);
    throw error;
  }
}

function agoOf(ms: number): string {
  const hours = Math.floor(ms / 3_600_000);
  if (hours < 1) return 'of the last hour';
  return hours < 48 ? `${hours} hours old` : `${Math.floor(hours / 24)} days old`;
}
