/** `tree-head?wait=N&beyond=SIZE`: monitors that wait instead of asking again. */
import { request } from 'node:http';
import { afterEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { TreeSize } from '../../server/core/units.ts';
import { Growth } from '../../server/log/growth.ts';
import type { Log } from '../../server/log/log.ts';
import { type Ask, type Gateway, World, type WorldOptions } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
/** Calls of `grown` that are pending: seen from outside, by wrapping it. */
let pending: number;

afterEach(() => world.stop());

async function start(options: WorldOptions = {}) {
  world = await World.start(options);
  ({ log, gateway } = await world.log('a'));
  pending = 0;
  const grown = log.grown.bind(log);
  log.grown = async (beyond, signal) => {
    pending += 1;
    try {
      await grown(beyond, signal);
    } finally {
      pending -= 1;
    }
  };
}

async function submit() {
  await log.submit([{ admitted: await log.admit(decodeEntry(await gateway.entry())) }]);
}

const poll = (query: string, ask: Ask = {}) => world.get(`/logs/a/v1/tree-head?${query}`, ask);

async function waiting(count: number): Promise<void> {
  while (pending !== count) await new Promise((resolve) => setImmediate(resolve));
}

describe('a poll', () => {
  test('is answered when the log has grown beyond its size, and not before', async () => {
    await start();
    const { size } = log.head();
    const soon = poll(`wait=20&beyond=${size}`);
    const later = poll(`wait=20&beyond=${size + 1}`);
    await waiting(2);
    await submit();
    expect((await soon).json()).toMatchObject({ size: size + 1 });
    await waiting(1);
    await submit();
    expect((await later).json()).toMatchObject({ size: size + 2 });
  });

  test('is answered at once where the log is larger already, or need not wait', async () => {
    await start();
    const { size } = log.head();
    for (const query of [
      'wait=20',
      `wait=20&beyond=${size - 1}`,
      `beyond=${size}`,
      `wait=0&beyond=99`,
    ]) {
      expect((await poll(query)).json()).toMatchObject({ size });
    }
  });

  test('gets the head as it is when the time is up: 304 to one who has it', async () => {
    await start();
    const { size } = log.head();
    const { etag } = (await poll('')).headers;
    const query = `wait=1&beyond=${size}`;
    const [full, unchanged] = await Promise.all([
      poll(query),
      poll(query, { headers: { 'if-none-match': etag ?? '' } }),
    ]);
    expect([full.status, full.headers.etag, full.headers['cache-control']]).toEqual([
      200,
      etag,
      'no-cache',
    ]);
    expect([unchanged.status, unchanged.text]).toEqual([304, '']);
  });

  test('is answered when the server stops', async () => {
    await start();
    const asked = poll('wait=20&beyond=1000');
    await waiting(1);
    world.stopping.abort();
    expect((await asked).status).toBe(200);
  });

  test('holds nothing once its client is gone', async () => {
    await start({ settings: { headWaitersMax: 2 } });
    const { port } = new URL(world.server.url);
    const path = '/logs/a/v1/tree-head?wait=20&beyond=1000';
    const req = request({ host: '127.0.0.1', port, path });
    req.on('error', () => undefined).end();
    await waiting(1);
    expect((await poll('wait=20&beyond=1000')).json()).toMatchObject({
      status: 429,
      code: 'pushback',
    });
    req.destroy();
    await waiting(0);
    expect((await poll('wait=1&beyond=1000')).status).toBe(200);
  });

  test.each([
    ['wait=21&beyond=1', 'more than the 20 s'],
    ['wait=1&beyond=x', 'plain decimal'],
    ['size=1', 'wait, beyond'],
  ])('is refused as ?%s', async (query, reason) => {
    await start();
    const answer = await poll(query);
    expect([answer.status, answer.text]).toEqual([400, expect.stringContaining(reason)]);
  });

  test('of a log that is closed is refused', async () => {
    await start();
    const asked = poll('wait=20&beyond=1000');
    await waiting(1);
    await log.close();
    expect((await asked).json()).toMatchObject({ status: 503, code: 'storage' });
  });
});

describe('thousands who wait', () => {
  test('are all told, without one turn that tells them all', async () => {
    await start();
    const growth = new Growth('a');
    let size = 5 as TreeSize;
    const { signal } = new AbortController();
    let told = 0;
    const all = Array.from({ length: 5_000 }, () =>
      growth.wait(size, () => size, signal).then(() => (told += 1)),
    );
    size = 6 as TreeSize;
    growth.grown(size);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toBeGreaterThan(0);
    expect(told).toBeLessThan(1_000);
    await Promise.all(all);
    expect(told).toBe(5_000);
  });

  test('for a size far away are not looked at while the log grows to it', async () => {
    await start();
    const growth = new Growth('a');
    const { signal } = new AbortController();
    let size = 0;
    let looks = 0;
    const look = () => {
      looks += 1;
      return size as TreeSize;
    };
    const all = Array.from({ length: 1_000 }, (_, i) =>
      growth.wait((10_000 + i) as TreeSize, look, signal),
    );
    expect(looks).toBe(1_000);
    while (size < 10_000) growth.grown(++size as TreeSize);
    await Promise.resolve();
    expect(looks).toBe(1_000);
    while (size < 11_000) growth.grown(++size as TreeSize);
    await Promise.all(all);
  });
});
