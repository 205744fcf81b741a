/** One log that cannot be opened, whatever is wrong with its file: the instance starts, says so, and serves the others. */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../temporary.ts';
import { type Running, startStele } from './running.ts';

const NOWHERE = 'http://127.0.0.1:9';

/** A folder with the logs `default` and `team-b`, after the server was stopped or killed. */
async function folderWith(signal: 'SIGTERM' | 'SIGKILL') {
  const folder = temporaryFolder();
  const first = await startStele(folder, NOWHERE);
  const token = readFileSync(join(folder, 'data', 'tokens', 'admin'), 'utf8').trim();
  const send = (method: string, path: string, value: object) =>
    fetch(`${first.server}/v1/admin/logs${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(value),
    });
  expect((await send('POST', '', { name: 'team-b' })).status).toBe(201);
  // An entry that is in the write-ahead log alone, until the server stops.
  const rules = { entries_per_second: 5 };
  expect((await send('PATCH', '/team-b', { rules })).status).toBe(200);
  await first.stop(signal);
  return { folder, database: (name: string) => join(folder, 'data', 'logs', `${name}.db`) };
}

async function statuses({ server }: Running, ...names: readonly string[]): Promise<number[]> {
  const answers = names.map((name) => fetch(`${server}/logs/${name}/checkpoint`));
  return (await Promise.all(answers)).map(({ status }) => status);
}

function overwrite(path: string, at: number, bytes: Buffer): void {
  const file = openSync(path, 'r+');
  writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
}

test('a log whose database is lost keeps no other log from being served', async () => {
  const { folder, database } = await folderWith('SIGTERM');
  for (const end of ['', '-wal', '-shm']) rmSync(database('team-b') + end, { force: true });
  const again = await startStele(folder, NOWHERE);
  expect(again.output()).toMatch(/team-b.*its history is lost or elsewhere/s);
  expect(await statuses(again, 'default', 'team-b')).toEqual([200, 503]);
  await again.stop('SIGTERM');
});

describe('a log whose database is damaged keeps no other from being served:', () => {
  test.each<[string, 'SIGTERM' | 'SIGKILL', (path: string) => void]>([
    ['no database at all', 'SIGTERM', (path) => writeFileSync(path, 'x'.repeat(65_536))],
    ['empty', 'SIGTERM', (path) => truncateSync(path, 0)],
    ['cut in the middle of a page', 'SIGTERM', (path) => truncateSync(path, 5_000)],
    ['its first page gone', 'SIGTERM', (path) => overwrite(path, 0, Buffer.alloc(4_096))],
    ['its schema gone', 'SIGTERM', (path) => overwrite(path, 100, Buffer.alloc(3_000, 7))],
    [
      'every other page gone',
      'SIGTERM',
      (path) => {
        for (let page = 1; page < 16; page += 2)
          overwrite(path, page * 4_096, Buffer.alloc(4_096, 7));
      },
    ],
    [
      'no database, under a newer write-ahead log',
      'SIGKILL',
      (path) => writeFileSync(path, 'x'.repeat(65_536)),
    ],
    ['empty, under a newer write-ahead log', 'SIGKILL', (path) => truncateSync(path, 0)],
    ['its write-ahead log gone', 'SIGKILL', (path) => truncateSync(`${path}-wal`, 0)],
    [
      'its write-ahead log damaged',
      'SIGKILL',
      (path) => overwrite(`${path}-wal`, 40, Buffer.alloc(9_000, 7)),
    ],
    [
      'a folder',
      'SIGTERM',
      (path) => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
  ])('%s', async (_what, signal, damage) => {
    const { folder, database } = await folderWith(signal);
    damage(database('team-b'));
    const again = await startStele(folder, NOWHERE);
    expect(await statuses(again, 'default')).toEqual([200]);
    const [status] = await statuses(again, 'team-b');
    // A write-ahead log that is gone takes what was in it along, and the memory outside knows that.
    if (status !== 503) expect(again.output()).toMatch(/Log team-b accepts nothing/);
    expect((await fetch(`${again.server}/readyz`)).status).toBe(200);
    await again.stop('SIGTERM');
  });

  test('also the one in which administration is recorded', async () => {
    const { folder, database } = await folderWith('SIGTERM');
    writeFileSync(database('_admin'), 'x'.repeat(65_536));
    const again = await startStele(folder, NOWHERE);
    expect(again.output()).toMatch(/Log _admin accepts nothing: .*file is not a database/);
    expect(await statuses(again, 'default', 'team-b')).toEqual([200, 200]);
    await again.stop('SIGTERM');
  });

  test('also the one that the proxy writes to', async () => {
    const { folder, database } = await folderWith('SIGTERM');
    writeFileSync(database('default'), 'x'.repeat(65_536));
    rmSync(join(folder, 'data', 'trust.json'));
    const again = await startStele(folder, NOWHERE);
    expect(again.output()).toMatch(/Log default accepts nothing: .*file is not a database/);
    expect(await statuses(again, 'default', 'team-b')).toEqual([503, 200]);
    expect((await fetch(`${again.proxy}/readyz`)).status).toBeLessThan(600);
    await again.stop('SIGTERM');
  });
});
