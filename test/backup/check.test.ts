/**
 * Damage on the disk is found by `stele log check` with its place, and a log whose tree is damaged signs
 * nothing until it was found whole again (P2, P4).
 */
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { CheckRequest } from '../../server/cli/program.ts';
import { checkLogs } from '../../server/main/checks/command.ts';
import { checkInThread } from '../../server/main/checks/thread.ts';
import { noteChecks } from '../../server/storage/checks.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { openKek } from '../../server/vault/keyring.ts';
import { configOf, type Made, makeData, makeFolder, openData, pathsBelow } from './folder.ts';

let made: Made;
beforeAll(async () => {
  made = await makeData();
});

/** A copy of the whole, data and state, for a test of its own. */
function copied(): { readonly folder: string; readonly data: string } {
  const folder = join(makeFolder(), 'copy');
  cpSync(made.folder, folder, { recursive: true });
  const data = join(folder, 'data');
  const instance = new InstanceStore(join(data, 'stele.db'));
  instance.close();
  return { folder, data };
}

function check(folder: string, name?: string, more: Partial<CheckRequest> = {}) {
  return checkLogs(configOf(folder), {
    name,
    bytesPerSecond: 1e9,
    progress: () => {},
    signal: new AbortController().signal,
    ...more,
  });
}

/** Changes rows that nobody may change. */
function spoil(path: string, ...sql: readonly string[]): void {
  const db = new Database(path);
  try {
    const triggers = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck();
    for (const name of triggers.all()) db.exec(`DROP TRIGGER ${String(name)}`);
    for (const one of sql) expect(db.prepare(one).run().changes).toBe(1);
  } finally {
    db.close();
  }
}

/** Flips one bit of a row's blob, at the byte that `at` finds in it. */
function flip(path: string, table: string, id: string, at: (data: Buffer) => number): void {
  const db = new Database(path);
  const data = db.prepare(`SELECT data FROM ${table} WHERE ${id}`).pluck().get() as Buffer;
  db.close();
  const place = at(data);
  data[place] = (data[place] ?? 0) ^ 1;
  spoil(path, `UPDATE ${table} SET data = x'${data.toString('hex')}' WHERE ${id}`);
}

/** In the signature of a chunk's first entry: the entry can still be read as one. */
const inSignature = (data: Buffer) => 2 + data.readUInt16BE(0) - 64 - 2 - 20;

const whole = [
  { log: 'default', size: 305, files: 3, tree: 'holds', content: 'holds', found: [] },
  { log: 'default.access', size: 2, files: 0, tree: 'holds', content: 'holds', found: [] },
];

test('a log that is whole holds, with all that was read', async () => {
  const { folder } = copied();
  expect(await check(folder)).toMatchObject([{ log: '_admin', found: [] }, ...whole]);
  expect(await check(folder, 'default')).toMatchObject(whole);
  expect(await check(folder, 'default.access')).toMatchObject([whole[1]]);
  await expect(check(folder, 'other')).rejects.toMatchObject({ code: 'not_found' });
});

describe('damage is found, with its place:', () => {
  const log = (data: string) => join(data, 'logs', 'default.db');
  const vault = (data: string) =>
    pathsBelow(join(data, 'vault')).map((path) => join('vault', path));

  test.each<[string, (data: string) => void, Partial<Record<'tree' | 'content', string>>, RegExp]>([
    [
      'a bit of an entry',
      (data) => flip(log(data), 'chunk', 'begin = 66', inSignature),
      { tree: 'damaged', content: 'holds' },
      /^entry 66: entry 66 was changed/,
    ],
    [
      'a bit of a newer entry, which is in no full tile',
      (data) => flip(log(data), 'chunk', 'begin = 258', inSignature),
      { tree: 'damaged', content: 'holds' },
      /one of the entries 256 to 304 was changed/,
    ],
    [
      'a bit of a tile',
      (data) => flip(log(data), 'tile', 'id = 0', () => 32 * 77),
      { tree: 'damaged', content: 'holds' },
      /^entry 77: tile 0\/0 was changed/,
    ],
    [
      'a length in a chunk',
      (data) => flip(log(data), 'chunk', 'begin = 66', () => 0),
      { tree: 'damaged', content: 'holds' },
      /chunk of entries at 66 is damaged/,
    ],
    [
      'a lost chunk',
      (data) => spoil(log(data), 'DELETE FROM chunk WHERE begin = 130'),
      { tree: 'damaged', content: 'holds' },
      /entry 130 is missing/,
    ],
    [
      'a bit of content',
      (data) => {
        const sizeOf = (path: string) => statSync(join(data, path)).size;
        const [path = ''] = vault(data).sort((a, b) => sizeOf(b) - sizeOf(a));
        const bytes = readFileSync(join(data, path));
        bytes[400_000] = (bytes[400_000] ?? 0) ^ 1;
        writeFileSync(join(data, path), bytes);
      },
      { tree: 'holds', content: 'damaged' },
      /^vault\/default\/000\/000\/[0-9a-f]{64}: body request\.body: .*chunk 0 does not open/,
    ],
    [
      'a data key',
      (data) => {
        const keys = new Database(join(data, 'vault-keys', 'default.db'));
        keys.exec('UPDATE content_file SET wrapped = zeroblob(80) WHERE seq = 2');
        keys.close();
      },
      { tree: 'holds', content: 'damaged' },
      /^vault\/default\/.*wrapped data key/,
    ],
    [
      'a lost content file of a record that is in the log',
      (data) => {
        const keys = new Database(join(data, 'vault-keys', 'default.db'));
        keys.exec('UPDATE content_file SET state = 1');
        keys.close();
        rmSync(join(data, vault(data)[0] ?? ''));
      },
      { tree: 'holds', content: 'damaged' },
      /^vault\/default\/.*: it is missing/,
    ],
    [
      'a database that is none',
      (data) => writeFileSync(log(data), 'x'.repeat(100_000)),
      { tree: 'unknown', content: 'holds' },
      /file is not a database/,
    ],
    [
      'another key-encryption key',
      (data) => writeFileSync(join(data, 'keys', 'vault.kek'), new Uint8Array(32)),
      { tree: 'holds', content: 'unknown' },
      /wrapped data key/,
    ],
  ])('%s', async (_what, damage, verdict, found) => {
    const { folder, data } = copied();
    damage(data);
    const [row] = await check(folder, 'default');
    expect(row).toMatchObject(verdict);
    expect(row?.found.join('\n')).toMatch(found);
  });
});

test('without the key-encryption key content is not opened, and the tree is checked all the same', async () => {
  const { folder, data } = copied();
  rmSync(join(data, 'keys', 'vault.kek'));
  expect(await check(folder, 'default')).toMatchObject([
    { tree: 'holds', content: 'unknown', found: [] },
    whole[1],
  ]);
});

test('in a thread it finds the same, and ends when it is told to', async () => {
  const { data } = copied();
  const instance = new InstanceStore(join(data, 'stele.db'));
  onTestFinished(() => instance.close());
  const origin = instance.log('default')?.origin ?? '';
  const kek = await openKek(join(data, 'keys', 'vault.kek'));
  const task = { data, name: 'default', origin, kek, bytesPerSecond: 1e9 };
  const { signal } = new AbortController();
  expect(await checkInThread(task, signal)).toMatchObject({ size: 305, files: 3, tree: 'holds' });
  const interrupt = new AbortController();
  const slow = checkInThread({ ...task, bytesPerSecond: 65_536 }, interrupt.signal);
  interrupt.abort();
  await expect(slow).rejects.toMatchObject({ code: 'storage' });
});

describe('a log that was found damaged', () => {
  /** A data folder whose log is spoiled and was checked. */
  async function damaged() {
    const { folder, data } = copied();
    const path = join(data, 'logs', 'default.db');
    flip(path, 'chunk', 'begin = 66', inSignature);
    const [row] = await check(folder, 'default');
    if (row === undefined) throw new Error('nothing was checked');
    return { folder, data, path, row };
  }

  test('is read and signs nothing, also after a start, until a check finds it whole', async () => {
    const { folder, data, path, row } = await damaged();
    // A copied folder would ask first.
    const accept = { accept: true };
    const opened = await openData(folder, accept);
    await opened.logs.use('default', async (log) => {
      expect(log.stopped).toMatchObject({
        code: 'storage',
        message: expect.stringContaining('entry 66 was changed'),
      });
      expect(log.head().size).toBe(305);
      const published = log.published();
      await expect(log.registerGateway(made.key)).rejects.toMatchObject({ code: 'storage' });
      expect(log.published()).toBe(published);
    });
    await opened.logs.use('default.access', (log) => expect(log.stopped).toBeUndefined());
    await opened.close();

    // The one bit as it was.
    flip(path, 'chunk', 'begin = 66', inSignature);
    expect(await check(folder, 'default')).toMatchObject(whole);
    const mended = await openData(folder);
    await mended.logs.use('default', (log) => expect(log.stopped).toBeUndefined());

    // While it runs, another process finds it damaged, and then whole.
    noteChecks(join(data, 'stele.db'), [row]);
    const lease = await mended.logs.lease('default');
    await mended.logs.heedChecks();
    expect(lease.log.stopped).toMatchObject({ code: 'storage' });
    noteChecks(join(data, 'stele.db'), [{ ...row, tree: 'holds', found: [] }]);
    await mended.logs.heedChecks();
    // Somebody works on it.
    expect(lease.log.stopped).toMatchObject({ code: 'storage' });
    lease.release();
    await mended.logs.heedChecks();
    await mended.logs.use('default', async (log) => {
      expect(log.stopped).toBeUndefined();
      expect(await log.registerGateway(made.key)).toBeGreaterThan(0);
    });
    await mended.close();
  });

  test('publishes nothing that waits to be published', async () => {
    const { folder, data, row } = await damaged();
    noteChecks(join(data, 'stele.db'), [{ ...row, tree: 'holds' }]);
    const opened = await openData(folder, { accept: true });
    await opened.logs.use('default', async (log) => {
      await log.registerGateway(made.key);
      const { size } = log.published();
      expect(size).toBeLessThan(log.head().size);
      noteChecks(join(data, 'stele.db'), [row]);
      await opened.logs.heedChecks();
      await opened.close();
      expect(log.published().size).toBe(size);
    });
  });

  test('is not noted by another release, whose schema this one does not know', async () => {
    const { data, row } = await damaged();
    const db = new Database(join(data, 'stele.db'));
    db.exec("INSERT INTO migration (number, name) SELECT max(number) + 1, 'x' FROM migration");
    db.close();
    expect(() => noteChecks(join(data, 'stele.db'), [row])).toThrow(/is not noted/);
  });
});
