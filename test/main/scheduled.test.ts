/** Work on a schedule: one turn at a time, and a turn that fails is not the last. */
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Journal } from '../../server/admin/journal.ts';
import { SteleError } from '../../server/core/errors.ts';
import { rolling } from '../../server/main/rolling.ts';
import { scheduled } from '../../server/main/scheduled.ts';
import { openInstance } from '../log/instance.ts';
import { temporaryFolder } from '../temporary.ts';

const EVERY_SECOND = '* * * * * *';

let lines: { level: number; msg: string }[];
let fatal: Error[];

function scheduling() {
  lines = [];
  fatal = [];
  const logger = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) });
  return { logger, fatal: (error: Error) => fatal.push(error) };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: Date.UTC(2026, 11, 31) });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('scheduled work', () => {
  test('has its turn each time, and none after it was ended', async () => {
    let turns = 0;
    const end = scheduled(EVERY_SECOND, 'work', async () => void turns++, scheduling());
    await vi.advanceTimersByTimeAsync(3_500);
    expect(turns).toBe(3);
    await end();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(turns).toBe(3);
  });

  test('is left out while the last turn still runs, and its end is waited for', async () => {
    let begun = 0;
    let finish = (): void => undefined;
    const work = () =>
      new Promise<void>((resolve) => {
        begun++;
        finish = resolve;
      });
    const end = scheduled(EVERY_SECOND, 'work', work, scheduling());
    await vi.advanceTimersByTimeAsync(4_500);
    expect(begun).toBe(1);
    expect(lines).toHaveLength(3);
    let ended = false;
    const ending = end().then(() => {
      ended = true;
    });
    await vi.advanceTimersByTimeAsync(100);
    expect(ended).toBe(false);
    finish();
    await ending;
    expect(begun).toBe(1);
  });

  test('that fails is said, and has its next turn', async () => {
    let turns = 0;
    const work = async () => {
      turns++;
      throw new SteleError('storage', 'the disk is full');
    };
    const end = scheduled(EVERY_SECOND, 'sweeping', work, scheduling());
    await vi.advanceTimersByTimeAsync(2_500);
    await end();
    expect(turns).toBe(2);
    expect(lines.map(({ msg }) => msg)).toEqual(
      Array(2).fill('sweeping failed; it is tried again at its next turn'),
    );
    expect(fatal).toEqual([]);
  });

  test('that breaks a promise of ours ends the process', async () => {
    const work = async () => {
      throw new Error('a bug');
    };
    const end = scheduled(EVERY_SECOND, 'work', work, scheduling());
    await vi.advanceTimersByTimeAsync(1_500);
    await end();
    expect(fatal).toMatchObject([{ message: 'a bug' }]);
  });
});

describe('logs that are rolled over by a schedule', () => {
  test('are the newest of each series, and one that cannot be keeps no other from it', async () => {
    const { logs, clock } = openInstance(temporaryFolder());
    clock.ms = Date.UTC(2027, 0, 1);
    for (const name of ['a', 'b']) await logs.create({ name });
    await logs.roll('a', 'a-2');
    const end = rolling(
      { schedule: '0 0 1 1 *', logs: ['a', 'missing', 'b'] },
      logs,
      scheduling(),
      new Journal(logs, expect.unreachable),
    );
    await vi.advanceTimersByTimeAsync(23 * 3_600_000);
    expect(logs.newest('a')).toBe('a-2');
    await vi.advanceTimersByTimeAsync(2 * 3_600_000);
    await end();
    expect(logs.newest('a')).toBe('a-2-2027');
    expect(logs.newest('b')).toBe('b-2027');
    expect(lines.filter(({ level }) => level >= 50).map(({ msg }) => msg)).toEqual([
      'the log could not be rolled over',
    ]);
    expect(fatal).toEqual([]);
    await logs.close();
  });

  test('are none without a schedule', async () => {
    const { logs } = openInstance(temporaryFolder());
    await logs.create({ name: 'a' });
    const end = rolling(
      { schedule: undefined, logs: ['a'] },
      logs,
      scheduling(),
      new Journal(logs, expect.unreachable),
    );
    await vi.advanceTimersByTimeAsync(400 * 86_400_000);
    await end();
    expect(logs.newest('a')).toBe('a');
    await logs.close();
  });
});
