/** A check reads everything, and pays for every byte of it before it goes on. */
import { expect, test } from 'vitest';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import { checkTree } from '../../server/log/check.ts';
import { Pace } from '../../server/log/pace.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, logOptions, ORIGIN, startLog } from './make.ts';

test('a log of three tiles is paid for in full: its entries and its tiles', async () => {
  const store = new MemoryStore();
  const { log, gateway } = await startLog(logOptions({ stateFolder: temporaryFolder(), store }));
  await append(log, ...(await gateway.many(800)));
  const { size } = log.head();
  const entries = await store.readEntries(0 as never, size);
  await log.close();
  const clock = { ms: 0 };
  const pace = new Pace({
    bytesPerSecond: 1_000,
    now: () => clock.ms,
    sleep: async (ms) => {
      clock.ms += ms;
    },
  });
  const seen: number[] = [];
  const progress = (done: number) => seen.push(done);
  const checked = await checkTree({
    reader: new StoreReader(store),
    origin: ORIGIN,
    pace,
    progress,
  });
  expect(checked).toEqual({ size, damage: [] });
  expect(seen.at(-1)).toBe(size);
  // Control records are read once more, for the keys that sign the head.
  const least = entries.reduce((sum, { length }) => sum + length, 0) + 3 * 8_192;
  expect(clock.ms).toBeGreaterThanOrEqual(least);
  expect(clock.ms).toBeLessThan(least + 4_096);
});
