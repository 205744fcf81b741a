import { describe, expect, test } from 'vitest';
import { Backlog, type Waiting } from '../../server/proxy/backlog.ts';

function filled(records: number, loadedMax = 20) {
  const all: Waiting[] = [];
  let finds = 0;
  const backlog = new Backlog({
    blockRecords: 10,
    loadedMax,
    find: async (first, last) => {
      finds++;
      return all.filter(({ position }) => position >= first && position <= last);
    },
  });
  for (let i = 0; i < records; i++) {
    const record = { position: 100 + i * 10, begin: 100 + i * 10 - 7 };
    all.push(record);
    backlog.push(record);
  }
  return { backlog, all, finds: () => finds };
}

describe('backlog', () => {
  test('gives every record once, in order, however much of it was forgotten', async () => {
    const { backlog, all, finds } = filled(1_000);
    expect(backlog.count).toBe(1_000);
    const seen: number[] = [];
    for (;;) {
      const head = await backlog.head(4);
      if (head.length === 0) break;
      seen.push(...head);
      for (const position of head) backlog.done(position);
    }
    expect(seen).toEqual(all.map(({ position }) => position));
    expect(backlog.count).toBe(0);
    expect(finds()).toBeGreaterThan(90);
  });

  test('its floor is the lowest begin that is still needed, loaded or not', async () => {
    const { backlog, all } = filled(100);
    expect(backlog.floor).toBe(93);
    for (const [i, { position }] of all.entries()) {
      await backlog.head(1);
      backlog.done(position);
      expect(backlog.floor).toBe(all[i + 1]?.begin ?? Number.POSITIVE_INFINITY);
    }
  });

  test('takes ends in any order, across blocks', async () => {
    const { backlog, all } = filled(25, 1_000);
    const [first, ...rest] = all.map(({ position }) => position);
    for (const position of rest.toReversed()) backlog.done(position);
    expect(await backlog.head(5)).toEqual([first]);
    expect(backlog.floor).toBe(93);
    backlog.done(first ?? 0);
    backlog.done(first ?? 0);
    expect(backlog.count).toBe(0);
    expect(await backlog.head(5)).toEqual([]);
  });

  test('grows while it is emptied', async () => {
    const { backlog } = filled(0);
    let next = 0;
    let seen = 0;
    for (let round = 0; round < 200; round++) {
      for (let i = 0; i < 3; i++) {
        backlog.push({ position: next, begin: next });
        next++;
      }
      for (const position of await backlog.head(4)) {
        expect(position).toBe(seen++);
        backlog.done(position);
      }
    }
    expect(seen + backlog.count).toBe(600);
    expect(backlog.count).toBe(0);
  });
});
