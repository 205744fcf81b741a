/** Turns: however many have long work, everybody else is served in between. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Turns } from '../../server/http/turns.ts';

let now = 0;
vi.spyOn(performance, 'now').mockImplementation(() => now);
afterEach(() => {
  now = 0;
});

/** Work of so many steps, each of which takes 1 ms. */
async function work(turns: Turns, steps: number, did: () => void): Promise<void> {
  const one = turns.begin();
  for (let i = 0; i < steps; i++) {
    await one.step();
    now += 1;
    did();
  }
}

describe('long work', () => {
  test('of twenty at once is done in one slice a round of the event loop', async () => {
    const turns = new Turns();
    let steps = 0;
    let most = 0;
    let rounds = 0;
    let isDone = false;
    const look = (): void => {
      most = Math.max(most, steps);
      steps = 0;
      rounds += 1;
      if (!isDone) setImmediate(look);
    };
    setImmediate(look);
    const all = Array.from({ length: 20 }, () => work(turns, 30, () => steps++));
    await Promise.all(all);
    isDone = true;
    expect(most).toBeLessThanOrEqual(5);
    expect(rounds).toBeGreaterThanOrEqual((20 * 30) / 5);
  });

  test('that throws keeps nobody else from a turn', async () => {
    const turns = new Turns();
    const broken = work(turns, 3, () => {
      throw new Error('no');
    });
    await expect(broken).rejects.toThrow('no');
    let steps = 0;
    await work(turns, 12, () => steps++);
    expect(steps).toBe(12);
  });
});
