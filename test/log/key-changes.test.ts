/** An instance changes the keys of its logs, and ends old ones by itself, whenever the process ended. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import type { JsonObject } from '../../server/core/json.ts';
import { KeyChanges } from '../../server/log/key-changes.ts';
import type { Log } from '../../server/log/log.ts';
import type { LogsOptions } from '../../server/log/logs.ts';
import { temporaryFolder } from '../temporary.ts';
import { openInstance, openKey } from './instance.ts';
import { TestClock } from './make.ts';

const DAY_MS = 86_400_000;

function open(folder = temporaryFolder(), more: Partial<LogsOptions> = {}) {
  const opened = openInstance(folder, more);
  const { logs, instance, clock } = opened;
  const changed: string[] = [];
  const failures: string[] = [];
  const recorded: object[] = [];
  const make = (identityOverlapMs = 30 * DAY_MS) =>
    new KeyChanges({
      logs,
      instance,
      clock: more.clock ?? clock,
      identityOverlapMs,
      changed: ({ name }) => changed.push(name),
    });
  const changes = make();
  const finishDue = (by = changes) =>
    by.finishDue({
      recorded: (log, details, work) => {
        recorded.push({ log, ...details });
        return work();
      },
      failed: (log, error) => failures.push(`${log}: ${error.message}`),
    });
  return { ...opened, folder, recorded, changes, changed, failures, finishDue, make };
}

/** Makes no key in the place of one that was lost. */
const openExisting: LogsOptions['openKey'] = async (path, alg, mayCreate) => {
  if (mayCreate === true || existsSync(path)) return openKey(path, alg);
  throw new SteleError('not_found', `${path}: it is not there`);
};

/** How many keys of a purpose sign now. */
const live = (log: Log, purpose = 'identity') =>
  log.ownKeys().filter((key) => key.purpose === purpose && key.ended === undefined).length;

const othersOf = ({ others }: JsonObject) => others as readonly JsonObject[];

describe('an old identity key', () => {
  test('goes on until somebody ends it, which is not before the overlap is over', async () => {
    const { logs, changes, clock, finishDue, failures, changed } = open();
    await logs.create({ name: 'a' });
    const rotated = await changes.rotate('a', { purpose: 'identity' });
    expect(rotated).toMatchObject({ purpose: 'identity', registered: 1 });
    const [old] = othersOf(rotated);
    expect(old).toMatchObject({ finish: false, registered: 0 });
    expect(Date.parse(String(old?.retire_from))).toBe(clock.ms + 30 * DAY_MS);
    await expect(changes.retire('a', { purpose: 'identity' })).rejects.toThrow('signs until');
    clock.ms += 40 * DAY_MS;
    await finishDue();
    expect(await logs.use('a', live)).toBe(2);
    expect(await changes.retire('a', { purpose: 'identity' })).toMatchObject({
      keyid: old?.keyid,
      revoked: 2,
      last_size: 3,
    });
    expect(failures).toEqual([]);
    expect(changed).toEqual(['a', 'a']);
  });

  test('ends by itself where that was asked for, after the overlap that the settings have by then', async () => {
    const { logs, changes, clock, finishDue, instance, make } = open();
    await logs.create({ name: 'a' });
    const rotated = await changes.rotate('a', { purpose: 'identity', finish: true });
    expect(othersOf(rotated)).toMatchObject([{ finish: true }]);
    clock.ms += 30 * DAY_MS - 1;
    await finishDue();
    expect(await logs.use('a', live)).toBe(2);
    clock.ms += 1;
    // Meanwhile somebody wants more than was promised then.
    await finishDue(make(40 * DAY_MS));
    expect(await logs.use('a', live)).toBe(2);
    clock.ms += DAY_MS;
    await finishDue();
    expect(await logs.use('a', live)).toBe(1);
    expect(instance.endingKeys()).toEqual([]);
    await finishDue();
    expect(await logs.use('a', (log) => log.head().size)).toBe(3);
  });

  test('that others may have ends with the same command, and one that is on its way out too', async () => {
    const { logs, changes, instance } = open();
    await logs.create({ name: 'a' });
    await changes.rotate('a', { purpose: 'identity', finish: true });
    const rotated = await changes.rotate('a', { purpose: 'identity', compromised: true });
    expect(othersOf(rotated)).toMatchObject([
      { registered: 0, revoked: 3, last_size: 4 },
      { registered: 1, revoked: 4, last_size: 5 },
    ]);
    expect(await logs.use('a', live)).toBe(1);
    expect(instance.endingKeys()).toEqual([]);
  });

  test('of an access log is changed like any other', async () => {
    const { logs, changes } = open();
    await logs.create({ name: 'a' });
    const before = await logs.use('a', (log) => log.head().size);
    const rotated = await changes.rotate('a.access', { purpose: 'identity', compromised: true });
    expect(othersOf(rotated)).toMatchObject([{ last_size: 4 }]);
    expect(await logs.use('a.access', live)).toBe(1);
    expect(await logs.use('a', (log) => log.head().size)).toBe(before);
  });
});

test('an old anchor key ends a day later by itself', async () => {
  const { logs, changes, clock, finishDue } = open();
  await logs.create({ name: 'a' });
  const rotated = await changes.rotate('a', { purpose: 'anchor' });
  const [old] = othersOf(rotated);
  expect(old).toMatchObject({ finish: true });
  expect(Date.parse(String(old?.retire_from))).toBe(clock.ms + DAY_MS);
  await expect(changes.rotate('a', { purpose: 'anchor' })).rejects.toThrow('already');
  clock.ms += DAY_MS;
  await finishDue();
  expect(await logs.use('a', (log) => live(log, 'anchor'))).toBe(1);
  await changes.rotate('a', { purpose: 'anchor' });
});

describe('what was cut short', () => {
  const STEPS = ['before the announcement', 'after the announcement', 'after the end'] as const;

  test.each(STEPS)('%s is completed by the next start', async (step) => {
    const folder = temporaryFolder();
    const clock = new TestClock();
    const first = open(folder, { clock });
    await first.logs.create({ name: 'a' });
    const gone = new SteleError('storage', 'the process is gone');
    const { logs } = first;
    await logs.use('a', async (log) => {
      const rotateKey = log.rotateKey.bind(log);
      const retireKey = log.retireKey.bind(log);
      log.rotateKey = async (...args) => {
        if (step === 'before the announcement') throw gone;
        await rotateKey(...args);
        if (step === 'after the announcement') throw gone;
        return rotateKey(...args);
      };
      log.retireKey = async (...args) => {
        await retireKey(...args);
        throw gone;
      };
      if (step === 'after the end') log.rotateKey = rotateKey;
      await expect(
        first.changes.rotate('a', { purpose: 'identity', compromised: true }),
      ).rejects.toBe(gone);
    });
    await logs.close();
    const second = open(folder, { clock });
    await second.finishDue();
    const { size, keys } = await second.logs.use('a', (log) => ({
      size: log.head().size,
      keys: log.ownKeys().filter(({ purpose }) => purpose === 'identity'),
    }));
    // Nothing was announced, so there is nothing to end; else the old key has ended, once.
    const isDone = step !== 'before the announcement';
    expect(size).toBe(isDone ? 3 : 1);
    expect(keys.filter(({ ended }) => ended === undefined)).toHaveLength(1);
    expect(second.instance.endingKeys()).toEqual([]);
    expect(second.failures).toEqual([]);
    await second.logs.close();
  });

  test('a change that was refused leaves the wishes that there were', async () => {
    const { logs, changes, instance } = open();
    await logs.create({ name: 'a' });
    await changes.rotate('a', { purpose: 'identity', finish: true });
    const before = instance.endingKeys();
    expect(before).toHaveLength(1);
    await expect(changes.rotate('a', { purpose: 'identity', finish: true })).rejects.toThrow();
    expect(instance.endingKeys()).toEqual(before);
  });

  test('what cannot be ended is told of, and keeps no other log from it', async () => {
    const folder = temporaryFolder();
    const clock = new TestClock();
    const first = open(folder, { clock });
    for (const name of ['a', 'b', 'c']) {
      await first.logs.create({ name });
      await first.changes.rotate(name, { purpose: 'identity', finish: true });
    }
    await first.logs.freeze('c', {});
    await first.logs.close();
    rmSync(join(folder, 'data', 'keys', 'logs', 'a', 'identity-2.pem'));
    clock.ms += 30 * DAY_MS;
    const second = open(folder, { clock, openKey: openExisting });
    await second.finishDue();
    expect(second.failures).toEqual([expect.stringContaining('a: log a signs nothing')]);
    expect(await second.logs.use('b', live)).toBe(1);
    // An ended log says nothing more, and is asked no more.
    expect(second.instance.endingKeys()).toMatchObject([{ log: 'a' }]);
    await second.logs.close();
  });

  test('a log that was removed is forgotten', async () => {
    const { instance, finishDue } = open();
    instance.noteEndingKey({ log: 'gone', keyid: '0'.repeat(64), dueMs: 0, atOnce: false });
    await finishDue();
    expect(instance.endingKeys()).toEqual([]);
  });
});

test('two changes of one log at once are one change', async () => {
  const { logs, changes, instance } = open();
  await logs.create({ name: 'a' });
  const both = await Promise.allSettled(
    [1, 2].map(() => changes.rotate('a', { purpose: 'identity', compromised: true })),
  );
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(await logs.use('a', live)).toBe(1);
  expect(instance.endingKeys()).toEqual([]);
});
