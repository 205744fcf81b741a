/** A clock that was set is told from one that drifts, and is steady again after a minute. */
import { describe, expect, test } from 'vitest';
import { ClockWatch } from '../../server/log/clock-watch.ts';

function watched() {
  const time = { ms: Date.UTC(2026, 0, 1), monotonic: 0 };
  const watch = new ClockWatch({ now: () => time.ms, monotonic: () => time.monotonic });
  /** So much time goes by, and the clock says something else. */
  const pass = (ms: number, clockMs = ms) => {
    time.monotonic += ms;
    time.ms += clockMs;
    return watch.isSteady();
  };
  return pass;
}

describe('a clock is steady', () => {
  test('that goes as time goes, however seldom it is looked at', () => {
    const pass = watched();
    for (const ms of [0, 1, 1_000, 3_600_000, 30 * 86_400_000]) expect(pass(ms)).toBe(true);
  });

  test('that drifts, or is slewed, as clocks are', () => {
    const pass = watched();
    expect(pass(86_400_000, 86_400_000 + 43_000)).toBe(true);
    expect(pass(86_400_000, 86_400_000 - 43_000)).toBe(true);
    expect(pass(1_000, 5_500)).toBe(true);
  });
});

describe('a clock that was set', () => {
  test.each([-3_600_000, -6_500, 7_500, 86_400_000])('by %i ms is not, for a minute', (by) => {
    const pass = watched();
    expect(pass(1_000)).toBe(true);
    expect(pass(1_000, 1_000 + by)).toBe(false);
    expect(pass(30_000)).toBe(false);
    expect(pass(29_999)).toBe(false);
    expect(pass(1)).toBe(true);
  });

  test('back to what it was is as far from steady', () => {
    const pass = watched();
    expect(pass(1_000, 11_000)).toBe(false);
    expect(pass(59_000, 49_000)).toBe(false);
    expect(pass(59_000)).toBe(false);
    expect(pass(1_000)).toBe(true);
  });
});
