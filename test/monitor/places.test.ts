/** How long a monitor waits for a log: until it has grown, or until it is time. */
import { expect, test } from 'vitest';
import { treeSize } from '../../server/core/units.ts';
import { LogPlace } from '../../server/monitor/places.ts';

const root = Buffer.alloc(32).toString('base64');
const never = new AbortController().signal;

/** A place whose tree head has these sizes, one answer after the other; a number below 0 is a status. */
function place(sizes: readonly number[], asked: string[] = []): LogPlace {
  const fetch = async (input: Parameters<typeof globalThis.fetch>[0]) => {
    asked.push(String(input).replace('http://log.example', ''));
    const size = sizes[asked.length - 1] ?? sizes.at(-1) ?? 0;
    if (size < 0) return new Response('', { status: -size });
    return Response.json({ origin: 'o', size, root });
  };
  return new LogPlace({ url: 'http://log.example', fetch });
}

test('a log of ours wakes it when it has grown', async () => {
  const asked: string[] = [];
  const log = place([5, 5, 5, 6], asked);
  await log.head(never);
  const begun = performance.now();
  await log.grown(treeSize(5), 600_000, never);
  expect(performance.now() - begun).toBeLessThan(60_000);
  expect(asked).toEqual([
    '/v1/tree-head',
    ...Array.from({ length: 3 }, () => '/v1/tree-head?wait=20&beyond=5'),
  ]);
});

test('a log of others is let be until it is time', async () => {
  const asked: string[] = [];
  const log = place([-404], asked);
  expect(await log.head(never)).toBeUndefined();
  await log.grown(treeSize(5), 5, never);
  expect(asked).toHaveLength(1);
});

test('one that refuses is not asked again before it is time', async () => {
  const asked: string[] = [];
  const log = place([5, -429], asked);
  await log.head(never);
  await log.grown(treeSize(5), 30, never);
  expect(asked).toHaveLength(2);
});

test('whoever stops it is not kept waiting', async () => {
  const log = place([5, -503]);
  await log.head(never);
  const stop = new AbortController();
  const waiting = log.grown(treeSize(5), 600_000, stop.signal);
  stop.abort();
  await waiting;
});

test('one that was ours and is not any more is told, and not taken for another kind', async () => {
  const log = place([-404]);
  log.expectStele();
  await expect(log.head(never)).rejects.toMatchObject({ code: 'not_found' });
});
