/** Work that nobody waits for goes at its rate, and never in a rush. */
import { expect, test } from 'vitest';
import { Pace } from '../../server/log/pace.ts';

function paceOf(bytesPerSecond: number) {
  const clock = { ms: 0 };
  const pace = new Pace({
    bytesPerSecond,
    now: () => clock.ms,
    sleep: async (ms) => {
      clock.ms += ms;
    },
  });
  return { clock, pace };
}

test('a thousand pieces take the time that their bytes take', async () => {
  const { clock, pace } = paceOf(1_000_000);
  for (let i = 0; i < 1_000; i++) await pace.spend(5_000);
  expect(clock.ms).toBeCloseTo(5_000, 3);
});

test('work that is slower than the rate does not wait', async () => {
  const { clock, pace } = paceOf(1_000);
  await pace.spend(1_000);
  expect(clock.ms).toBe(1_000);
  clock.ms = 60_000;
  await pace.spend(10);
  expect(clock.ms).toBe(60_010);
});

test('what was not used in a pause is not made up for', async () => {
  const { clock, pace } = paceOf(1_000);
  await pace.spend(1);
  clock.ms = 3_600_000;
  const before = clock.ms;
  for (let i = 0; i < 10; i++) await pace.spend(1_000);
  expect(clock.ms - before).toBeCloseTo(10_000, 3);
});
