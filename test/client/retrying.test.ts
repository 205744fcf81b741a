/** Trying again: what is tried, how long is waited, when it ends. */
import { expect, test } from 'vitest';
import { retrying } from '../../server/client/retrying.ts';
import { CODES, SteleError } from '../../server/core/errors.ts';

/** Fails with these errors in turn, then succeeds; keeps what was waited. */
function attempts(errors: readonly Error[], random = 0.5) {
  const waits: number[] = [];
  let calls = 0;
  const work = async () => {
    const error = errors[calls++];
    if (error !== undefined) throw error;
    return 'done';
  };
  const options = {
    random: () => random,
    wait: async (ms: number) => {
      waits.push(ms);
    },
  };
  return { work, options, waits, calls: () => calls };
}

const passing = () => new SteleError('pushback', 'later');

test('what passes is tried again, waiting twice as long each time', async () => {
  const { work, options, waits } = attempts([passing(), passing(), passing()]);
  expect(await retrying(work, options)).toBe('done');
  expect(waits).toEqual([100, 200, 400]);
});

test('waits are spread at random, never over the maximum, never less than was asked for', async () => {
  const early = attempts([passing(), passing()], 0);
  await retrying(early.work, early.options);
  expect(early.waits).toEqual([50, 100]);
  const bounded = attempts([passing(), passing(), passing()]);
  await retrying(bounded.work, { ...bounded.options, maxWaitMs: 150 });
  expect(bounded.waits).toEqual([100, 150, 150]);
  const asked = attempts([new SteleError('storage', 'full', { retryAfterS: 30 })]);
  await retrying(asked.work, asked.options);
  expect(asked.waits).toEqual([30_000]);
});

test('a longer wait than one has patience for is a failure at once', async () => {
  const full = () => new SteleError('storage', 'full', { retryAfterS: 30 });
  const { work, options, waits } = attempts([full()]);
  await expect(retrying(work, { ...options, maxAskedS: 5 })).rejects.toThrow('full');
  expect(waits).toEqual([]);
  const patient = attempts([full()]);
  expect(await retrying(patient.work, { ...patient.options, maxAskedS: 30 })).toBe('done');
});

test('it ends with the last attempt', async () => {
  const { work, options, waits, calls } = attempts([passing(), passing(), passing()]);
  await expect(retrying(work, { ...options, attempts: 3 })).rejects.toMatchObject({
    code: 'pushback',
  });
  expect([calls(), waits.length]).toEqual([3, 2]);
});

test('what does not pass, and what is no refusal, is not tried again', async () => {
  const goesAway = ['pushback', 'storage', 'not_yet'];
  for (const code of CODES.filter((c) => !goesAway.includes(c))) {
    const { work, options, calls } = attempts([new SteleError(code, 'no')]);
    await expect(retrying(work, options)).rejects.toMatchObject({ code });
    expect(calls()).toBe(1);
  }
  const { work, options } = attempts([new TypeError('ours')]);
  await expect(retrying(work, options)).rejects.toThrow('ours');
});

test('once it is given up nothing more is tried, not even after a wait that has begun', async () => {
  const stop = new AbortController();
  let calls = 0;
  const work = async () => {
    calls++;
    throw passing();
  };
  const ended = retrying(work, { signal: stop.signal, random: () => 1, maxWaitMs: 3_600_000 });
  stop.abort();
  await expect(ended).rejects.toMatchObject({ code: 'pushback' });
  expect(calls).toBeLessThanOrEqual(2);
});
