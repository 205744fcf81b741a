/** Calls that went through unrecorded are counted where the count outlives the process, and once. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Missed } from '../../server/proxy/missed.ts';
import { chat, chatProvider } from './calls.ts';
import { FaultDisk, ioError } from './fault-disk.ts';
import { setUp, TestLog, temporaryFolder } from './harness.ts';

const open = (disk: FaultDisk, recorded: readonly string[] = [], lines: string[] = []) => {
  const write = (facts: object, message: string) => void lines.push(message, JSON.stringify(facts));
  return Missed.open(disk, {
    random: (n) => new Uint8Array(randomBytes(n)),
    logger: { info: write, warn: write, error: write },
    recorded: new Set(recorded),
    isObserved: true,
  });
};

test('the count is found after a kill, and taken once', async () => {
  const disk = new FaultDisk();
  const first = await open(disk);
  first.add(10, 20, 'a call');
  first.add(5, 30);
  await first.close();
  const second = await open(disk.reopened('killed'));
  expect(second.count).toBe(2);
  expect(second.counts('a call')).toBe(true);
  const batch = second.take();
  expect(batch).toMatchObject({ count: 2, fromUs: 5, toUs: 30 });
  expect(second.take()).toBeUndefined();
});

test('a batch whose gap is in the journal is not counted again, one behind it is', async () => {
  const disk = new FaultDisk();
  const first = await open(disk);
  first.add(1, 1);
  const id = first.take()?.id ?? '';
  first.add(2, 2);
  await first.close();
  expect((await open(disk.reopened('killed'))).count).toBe(2);
  expect((await open(disk.reopened('killed'), [id])).count).toBe(1);
  const third = await open(disk.reopened('killed'), [id]);
  third.recorded('another');
  expect(third.count).toBe(1);
});

test('a count of many calls has room', async () => {
  const disk = new FaultDisk();
  const first = await open(disk);
  for (let i = 0; i < 500; i++) {
    first.add(1.79e15 + i, 1.79e15 + i, `0197f0a0-0000-7000-8000-${String(i).padStart(12, '0')}`);
    if (i === 250) first.take();
  }
  await first.close();
  expect((await open(disk.reopened('killed'))).count).toBe(500);
});

test('a file that is not whole is nothing, and a disk that takes nothing is said once', async () => {
  const disk = new FaultDisk();
  const lines: string[] = [];
  const first = await open(disk, [], lines);
  const [name] = [...disk.files.keys()];
  disk.before = (step) => {
    if (step === 'write') throw ioError('EIO');
  };
  first.add(1, 1);
  first.add(1, 1);
  await first.close();
  expect(first.count).toBe(2);
  expect(lines.filter((line) => line.includes('in memory only'))).toHaveLength(1);
  disk.before = () => {};
  const file = await disk.open(name ?? '');
  await file.write([Buffer.from('[{"id":')], 0);
  expect((await open(disk)).count).toBe(0);
});

test('a proxy that is killed while its journal fails puts the gap on record when it is back', async () => {
  const provider = await chatProvider();
  const disk = new FaultDisk();
  const options = { upstream: provider.url, posture: 'observe' as const };
  const first = await setUp({ ...options, disk });
  let failing = true;
  // A full disk: nothing grows any more, and what is there can be written over.
  disk.grows = () => {
    if (failing) throw ioError('ENOSPC');
  };
  for (let i = 0; i < 3; i++) expect((await chat(first.proxy)).isWhole).toBe(true);
  await expect
    .poll(() => disk.reopened('killed').everything().toString('latin1'), { timeout: 30_000 })
    .toContain('"count":3');
  const found = disk.reopened('killed');
  failing = false;
  const { signer, kek } = first;
  const later = new TestLog(signer);
  await setUp({ ...options, disk: found, signer, kek, log: later, dir: temporaryFolder() });
  await later.until(() => later.gaps.length > 0);
  expect(later.gaps).toMatchObject([{ reason: 'journal-unwritable', count: 3 }]);
  expect(later.calls).toEqual([]);
});
