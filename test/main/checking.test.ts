/** Checks by a schedule: every log in its turn, and what is found is noted, said and heeded. */
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { validate } from 'node-cron';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checking, weeklyAt } from '../../server/main/checks/checking.ts';
import type { InstanceStore } from '../../server/storage/instance.ts';
import { configOf } from '../backup/folder.ts';
import { leased, openInstance } from '../log/instance.ts';
import { temporaryFolder } from '../temporary.ts';

let lines: { level: number; msg: string; log?: string }[];

beforeEach(() => {
  lines = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: Date.UTC(2026, 11, 31) });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Resolves once the thread of a check has answered for this log. */
async function noted(store: InstanceStore, log: string) {
  for (;;) {
    const row = store.check(log);
    if (row !== undefined) return row;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function begin(folder: string, schedule: string) {
  let store: InstanceStore | undefined;
  const { logs, instance } = openInstance(folder, {
    damageOf: (name) => {
      const row = store?.check(name);
      return row?.tree === 'damaged' ? row.found[0] : undefined;
    },
  });
  store = instance;
  const config = configOf(folder, { STELE_CHECK_SCHEDULE: schedule });
  const start = () =>
    checking({
      config,
      store: instance,
      logs,
      kek: new Uint8Array(32),
      logger: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }),
      fatal: (error) => {
        throw error;
      },
    });
  return { logs, store: instance, start };
}

describe('logs that are checked by a schedule', () => {
  test('are all of them, each with its access log; one that is damaged stops', async () => {
    const folder = temporaryFolder();
    const { logs, store, start } = begin(folder, '* * * * * *');
    for (const name of ['a', 'b']) await logs.create({ name });
    const [a, b] = [await leased(logs, 'a'), await leased(logs, 'b')];
    const db = new Database(join(folder, 'data', 'logs', 'b.db'));
    db.exec('DROP TRIGGER chunk_is_append_only_update');
    db.exec("UPDATE chunk SET data = unhex(replace(hex(data), hex('genesis'), hex('genesiz')))");
    db.close();
    const end = start();
    await vi.advanceTimersByTimeAsync(1_100);
    for (const name of ['a', 'a.access']) {
      expect(await noted(store, name)).toMatchObject({
        tree: 'holds',
        content: 'holds',
        found: [],
      });
    }
    expect(await noted(store, 'b')).toMatchObject({ tree: 'damaged' });
    await noted(store, 'b.access');
    await end();
    expect(a.stopped).toBeUndefined();
    expect(b.stopped).toMatchObject({ code: 'storage' });
    const errors = lines.filter(({ level }) => level >= 50);
    expect(errors).toMatchObject([{ log: 'b', msg: 'the log is damaged: it signs nothing more' }]);
    await logs.close();
  });

  test('are checked by nobody without a schedule', async () => {
    const { logs, store, start } = begin(temporaryFolder(), '');
    await logs.create({ name: 'a' });
    const end = start();
    await vi.advanceTimersByTimeAsync(86_400_000);
    await end();
    expect(store.checks()).toEqual([]);
    await logs.close();
  });

  test('are let go of when the server stops in the middle of a check', async () => {
    const { logs, store, start } = begin(temporaryFolder(), '* * * * * *');
    await logs.create({ name: 'a' });
    const end = start();
    await vi.advanceTimersByTimeAsync(1_100);
    await end();
    expect(store.checks()).toEqual([]);
    await logs.close();
  });
});

test('weekly is a minute of the week that differs from instance to instance, and stays', () => {
  const bases = Array.from({ length: 200 }, (_, i) => `localhost/${i}`);
  const times = bases.map(weeklyAt);
  expect(times.every((time) => validate(time))).toBe(true);
  expect(new Set(times).size).toBeGreaterThan(190);
  expect(times).toEqual(bases.map(weeklyAt));
});
