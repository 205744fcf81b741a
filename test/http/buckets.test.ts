/** Buckets: what they hold, what they owe, and how many of them there are. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { Buckets } from '../../server/http/buckets.ts';

let now: number;
const clock = { now: () => now };

beforeEach(() => {
  now = 1_000_000;
});

function make(perSecond: number, burst: number, max = 100): Buckets {
  return new Buckets({ perSecond, burst }, max, clock);
}

/** How many of `tries` are served at once. */
function served(buckets: Buckets, name: string, tries: number): number {
  return Array.from({ length: tries }, () => buckets.take(name)).filter((s) => s === undefined)
    .length;
}

describe('a bucket', () => {
  test('gives its burst at once, and then so many a second', () => {
    const buckets = make(10, 50);
    expect(served(buckets, 'a', 80)).toBe(50);
    now += 1_000;
    expect(served(buckets, 'a', 80)).toBe(10);
    now += 250;
    expect(served(buckets, 'a', 80)).toBe(2);
    now += 3_600_000;
    expect(served(buckets, 'a', 80)).toBe(50);
  });

  test('says in whole seconds when it has one again', () => {
    const slow = make(0.1, 1);
    expect(slow.take('a')).toBeUndefined();
    expect(slow.take('a')).toBe(10);
    now += 9_999;
    expect(slow.take('a')).toBe(1);
    now += 1;
    expect(slow.take('a')).toBeUndefined();
    const fast = make(1_000, 1);
    fast.take('a');
    expect(fast.take('a')).toBe(1);
  });

  test('of one name has nothing to do with that of another', () => {
    const buckets = make(1, 5);
    expect(served(buckets, 'a', 9)).toBe(5);
    expect(served(buckets, 'b', 9)).toBe(5);
  });

  test('owes what was dear, and the next waits until it is paid', () => {
    const buckets = make(10, 5);
    expect(buckets.take('a')).toBeUndefined();
    expect(buckets.owe('a', 100)).toBeUndefined();
    expect(buckets.owe('a', 1)).toBe(10);
    expect(buckets.take('a')).toBe(10);
    now += 9_600;
    expect(buckets.owe('a', 1)).toBeUndefined();
    expect(buckets.take('a')).toBe(1);
  });

  test('takes back what was given, and never more than it holds', () => {
    const buckets = make(1, 5);
    expect(served(buckets, 'a', 9)).toBe(5);
    buckets.giveBack('a', 2);
    expect(served(buckets, 'a', 9)).toBe(2);
    buckets.giveBack('a', 1_000);
    expect(served(buckets, 'a', 9)).toBe(5);
  });

  test('is not filled, and not emptied, by a clock that is set back', () => {
    const buckets = make(10, 5);
    expect(served(buckets, 'a', 3)).toBe(3);
    now -= 3_600_000;
    expect(served(buckets, 'a', 9)).toBe(2);
    now += 100;
    expect(served(buckets, 'a', 9)).toBe(1);
  });

  test('gives no more than burst and rate allow, whatever is asked when', () => {
    const step = fc.record({ waitMs: fc.nat(2_000), tries: fc.nat(40) });
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 30 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 30 }),
        (steps, perSecond, burst) => {
          const buckets = make(perSecond, burst);
          const begun = now;
          let got = 0;
          for (const { waitMs, tries } of steps) {
            now += waitMs;
            got += served(buckets, 'a', tries);
          }
          expect(got).toBeLessThanOrEqual(burst + ((now - begun) / 1_000) * perSecond + 1e-6);
        },
      ),
    );
  });
});

describe('the table', () => {
  test('is bounded, and forgets only those that are full again', () => {
    const buckets = make(1, 2, 3);
    for (const name of ['a', 'b', 'c']) expect(served(buckets, name, 5)).toBe(2);
    now += 2_000;
    for (const name of ['d', 'e', 'f']) expect(served(buckets, name, 5)).toBe(2);
    expect(buckets.size).toBe(3);
    // Whoever was forgotten has what it would have had.
    now += 2_000;
    expect(served(buckets, 'a', 5)).toBe(2);
  });

  test('has one bucket for all newcomers while it is full, so a crowd of names gains nothing', () => {
    const buckets = make(1, 10, 50);
    for (let i = 0; i < 50; i++) served(buckets, `known ${i}`, 5);
    let crowd = 0;
    for (let i = 0; i < 10_000; i++) crowd += served(buckets, `new ${i}`, 1);
    expect(crowd).toBe(10);
    expect(buckets.size).toBe(50);
    // Those who are known keep what is theirs.
    for (let i = 0; i < 50; i++) expect(served(buckets, `known ${i}`, 9)).toBe(5);
  });
});
