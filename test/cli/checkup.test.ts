/** What `stele doctor` reads from files that are in no order, one finding at a time. */
import { chmodSync, mkdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeEach, describe, expect, test } from 'vitest';
import { lastBackup, noteBackup } from '../../server/backup/last.ts';
import { clockFinding, tls } from '../../server/cli/checkup.ts';
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
} from '../../server/cli/checkup-files.ts';
import type { Finding } from '../../server/cli/finding.ts';
import { type Config, loadConfig } from '../../server/config.ts';
import { type CheckRow, noteChecks } from '../../server/storage/checks.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { openForWriting } from '../../server/storage/sqlite/database.ts';
import { Issuer, opensslMissing } from '../certificates.ts';
import { temporaryFolder } from '../temporary.ts';

const NOW = Date.UTC(2026, 11, 24);
const DAY_MS = 86_400_000;

let config: Config;
let data: string;

beforeEach(() => {
  const folder = temporaryFolder();
  data = join(folder, 'data');
  for (const name of ['data', 'data/keys', 'data/logs', 'data/tokens', 'data/vault-keys']) {
    mkdirSync(join(folder, name), { mode: 0o700 });
  }
  mkdirSync(join(folder, 'state'), { mode: 0o700 });
  new InstanceStore(join(data, 'stele.db')).close();
  openForWriting(join(data, 'logs', 'a.db'), 'sqlite').close();
  openForWriting(join(data, 'vault-keys', 'a.db'), 'vault').close();
  writeFileSync(join(data, 'keys', 'vault.kek'), new Uint8Array(32), { mode: 0o600 });
  const env = { STELE_DATA: data, STELE_STATE: join(folder, 'state') };
  config = loadConfig({ env, cwd: folder });
});

function spoiled(name: string, sql: string): void {
  const db = new Database(join(data, name));
  db.exec(sql);
  db.close();
}

const row: CheckRow = {
  log: 'a',
  beganMs: NOW - DAY_MS,
  endedMs: NOW - DAY_MS,
  size: 3,
  files: 1,
  tree: 'holds',
  content: 'holds',
  found: [],
};

test('nothing is wrong with a folder that is in order', () => {
  noteChecks(join(data, 'stele.db'), [row]);
  noteBackup(config.state, {
    data,
    folder: '/copies/1',
    id: 'x',
    time: new Date(NOW).toISOString(),
  });
  const findings = [
    settings({ STELE_DATA: data, PATH: '' }),
    disk(config),
    permissions(config),
    keys(config),
    releases(config),
    writtenAhead(config),
    journals(config),
    checks(config, NOW),
    backup(config, NOW),
  ];
  expect(findings.filter(({ health }) => health !== 'ok')).toEqual([]);
});

describe('it warns', () => {
  test.each<[string, RegExp, () => Finding]>([
    [
      'of a variable that is no setting',
      /STELE_DISK_FLOR/,
      () => settings({ STELE_DISK_FLOR: '1' }),
    ],
    ['of room for little more', /make room soon/, () => disk(withFloor(0.5))],
    ['of one disk for both', /on the disk of the data/, () => state(config)],
    [
      'of a state folder that is not there',
      /is not there yet/,
      () => state({ ...config, state: join(data, 'none') }),
    ],
    [
      'of a folder that others look into',
      /others can look into/,
      () => {
        chmodSync(data, 0o755);
        return permissions(config);
      },
    ],
    [
      'of a database of an older release',
      /logs\/a\.db is of an older release/,
      () => {
        spoiled(
          'logs/a.db',
          'DELETE FROM migration WHERE number = (SELECT max(number) FROM migration)',
        );
        return releases(config);
      },
    ],
    [
      'of a write-ahead log that grows and grows',
      /has 300 MiB \(.*logs\/a\.db-wal\)/,
      () => {
        const wal = join(data, 'logs', 'a.db-wal');
        writeFileSync(wal, '');
        truncateSync(wal, 300 * 1_048_576);
        return writtenAhead(config);
      },
    ],
    [
      'of calls that wait',
      /^65 MiB in proxy\/one: /,
      () => {
        mkdirSync(join(data, 'proxy', 'one'), { recursive: true });
        mkdirSync(join(data, 'proxy', 'two'), { recursive: true });
        for (const [name, mib] of [
          ['one/1', 35],
          ['one/2', 30],
          ['two/1', 1],
        ] as const) {
          const path = join(data, 'proxy', name);
          writeFileSync(path, '');
          truncateSync(path, mib * 1_048_576);
        }
        return journals(config);
      },
    ],
    [
      'where no check is to be',
      /check\.schedule is empty/,
      () => checks({ ...config, check: { ...config.check, schedule: undefined } }, NOW),
    ],
    [
      'of a log that was not checked for long',
      /the oldest check is 16 days old/,
      () => {
        noteChecks(join(data, 'stele.db'), [row, { ...row, log: 'b', endedMs: NOW - 16 * DAY_MS }]);
        return checks(config, NOW);
      },
    ],
    ['where no backup is known of', /stele backup DEST/, () => backup(config, NOW)],
    [
      'of an old backup',
      /the last is 9 days old, to \/copies\/1/,
      () => {
        const time = new Date(NOW - 9 * DAY_MS).toISOString();
        noteBackup(config.state, { data, folder: '/copies/1', id: 'x', time });
        return backup(config, NOW);
      },
    ],
    [
      'where what is known of backups is damaged',
      /it does not say when the last backup was/,
      () => {
        noteBackup(config.state, { data, folder: '/copies/1', id: 'x', time: 'yesterday' });
        return backup(config, NOW);
      },
    ],
    ['of another clock', /6 s between/, () => clockFinding('x', 16_000, { sent: 0, came: 10_000 })],
    ['of an answer without a time', /gives no time/, () => clockFinding('x', Number.NaN, now(0))],
  ])('%s', (_what, detail, look) => {
    expect(look()).toMatchObject({ health: 'warn', detail: expect.stringMatching(detail) });
  });
});

describe('it fails', () => {
  test.each<[string, RegExp, () => Finding]>([
    ['without room', /: make room$/, () => disk(withFloor(2))],
    [
      'where others can get at keys of content',
      /others can get at vault-keys: chmod/,
      () => {
        chmodSync(join(data, 'vault-keys'), 0o755);
        return permissions(config);
      },
    ],
    [
      'without the key of content',
      /vault\.kek is missing/,
      () => {
        renameSync(join(data, 'keys', 'vault.kek'), join(data, 'keys', 'moved'));
        return keys(config);
      },
    ],
    [
      'with a key that was cut',
      /has 31 bytes/,
      () => {
        truncateSync(join(data, 'keys', 'vault.kek'), 31);
        return keys(config);
      },
    ],
    [
      'with databases of a newer release',
      /logs\/a\.db and 1 more are of a newer release/,
      () => {
        for (const name of ['logs/a.db', 'vault-keys/a.db']) {
          spoiled(name, "INSERT INTO migration (number, name) VALUES (99, 'later')");
        }
        return releases(config);
      },
    ],
    [
      'with a log that a check found damaged',
      /^log a is damaged: tile 3, and 1 more logs$/,
      () => {
        noteChecks(join(data, 'stele.db'), [
          { ...row, tree: 'damaged', found: ['tile 3', 'tile 4'] },
          { ...row, log: 'b', content: 'damaged', found: ['file x'] },
        ]);
        return checks(config, NOW);
      },
    ],
    ['with a clock that is behind', /61 s/, () => clockFinding('x', 61_000, now(0))],
    ['with a clock that is ahead', /99 s/, () => clockFinding('x', 0, now(100_000))],
  ])('%s', (_what, detail, look) => {
    expect(look()).toMatchObject({ health: 'fail', detail: expect.stringMatching(detail) });
  });
});

describe('what cannot be looked at', () => {
  test('is a finding like another', () => {
    rmSync(data, { recursive: true });
    expect(looked('disk', () => disk(config))).toMatchObject({
      check: 'disk',
      health: 'fail',
      detail: expect.stringContaining('ENOENT'),
    });
  });

  test('keeps no other finding back: a damaged list of logs', () => {
    writeFileSync(join(data, 'stele.db'), 'x'.repeat(65_536));
    expect(checks(config, NOW)).toMatchObject({
      health: 'warn',
      detail: expect.stringMatching(/is not known: .*not a database/),
    });
    // The two that can be read.
    expect(releases(config).detail).toBe('2 databases are of this release');
  });

  test('a mistake in the program is none', () => {
    const mistake = () => {
      throw new TypeError('a mistake');
    };
    expect(() => looked('disk', mistake)).toThrow('a mistake');
  });
});

describe('the last backup', () => {
  test('is that of this folder, and the newest that was noted', () => {
    const other = temporaryFolder();
    const note = { data, folder: '/copies/1', id: 'x', time: new Date(NOW).toISOString() };
    noteBackup(config.state, note);
    noteBackup(config.state, { ...note, folder: '/copies/2' });
    noteBackup(config.state, { ...note, data: other, folder: '/copies/3' });
    expect(lastBackup(config.state, data)).toEqual({ ...note, folder: '/copies/2' });
  });

  test('cannot be noted where the state folder is a file', () => {
    writeFileSync(join(data, 'file'), '');
    const note = { data, folder: '/copies/1', id: 'x', time: new Date(NOW).toISOString() };
    expect(() => noteBackup(join(data, 'file'), note)).toThrow(
      expect.objectContaining({ code: 'storage' }),
    );
  });
});

const now = (at: number) => ({ sent: at, came: at });

/** A floor of so many times what is free. */
function withFloor(times: number): Config {
  const free = Number(/^([0-9]+) MiB free/.exec(disk(config).detail)?.[1]) * 1_048_576;
  const diskFloorBytes = Math.round(free * times);
  return { ...config, limits: { ...config.limits, diskFloorBytes } };
}

describe.skipIf(opensslMissing)('a certificate (skipped where openssl is missing)', () => {
  test('is well for as long as it lasts, and a new one is asked for in time', async () => {
    const pair = new Issuer(temporaryFolder()).make({
      names: ['log.example'],
      begins: 0,
      ends: 90,
    });
    const begun = Date.now();
    const at = async (days: number) => {
      const [found] = await tls({ config: { ...config, tls: pair }, now: begun + days * DAY_MS });
      return `${found?.health} ${found?.detail}`;
    };
    expect(await at(-2)).toMatch(/^fail the certificate begins at /);
    expect(await at(10)).toMatch(/^ok the certificate ends at .*, in (79|80) days$/);
    expect(await at(77)).toMatch(/^warn the certificate ends at .*: put a new one there$/);
    expect(await at(91)).toMatch(/^fail the certificate ended at .*: put a new one there$/);
    // One that is made anew each day is not warned of all its life.
    const brief = new Issuer(temporaryFolder()).make({ names: ['log.example'], ends: 5 });
    const [found] = await tls({ config: { ...config, tls: brief }, now: begun });
    expect(found?.health).toBe('ok');
    expect(await tls({ config, now: begun })).toEqual([]);
    const none = { cert: join(data, 'none.pem'), key: pair.key };
    expect((await tls({ config: { ...config, tls: none }, now: begun }))[0]?.health).toBe('fail');
  });
});
