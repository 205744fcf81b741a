/** `receipts/{id}?wait=N`: held until the entry is logged, and never longer than anyone wants. */

import { request } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { toHex } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import type { Log } from '../../server/log/log.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;

beforeEach(async () => {
  world = await World.start({ settings: { waitersMax: 4 } });
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['read'], logs: ['a'] });
});

afterEach(() => world.stop());

const receipt = (id: string, query = '?wait=20') =>
  world.get(`/logs/a/v1/receipts/${id}${query}`, { token });

async function submit(bytes: Uint8Array) {
  await log.submit([{ admitted: await log.admit(decodeEntry(bytes)) }]);
}

/** Resolves when `count` requests wait for the log to grow. */
async function waiting(count: number): Promise<void> {
  while (waiters.get(log) !== count) await new Promise((resolve) => setImmediate(resolve));
}

/** How many calls of `grown` each log has pending: seen from outside, by wrapping it. */
const waiters = new WeakMap<Log, number>();
beforeEach(() => {
  const grown = log.grown.bind(log);
  waiters.set(log, 0);
  log.grown = async (beyond, signal) => {
    waiters.set(log, (waiters.get(log) ?? 0) + 1);
    try {
      await grown(beyond, signal);
    } finally {
      waiters.set(log, (waiters.get(log) ?? 0) - 1);
    }
  };
});

describe('a request that waits', () => {
  test('is answered when its entry is logged, under each of its names', async () => {
    const { bytes, recordId } = await gateway.make();
    const index = log.head().size + 1;
    const asked = [recordId, toHex(leafHash(bytes)), String(index)].map((id) => receipt(id));
    await waiting(3);
    // Another entry wakes them, and they go on waiting.
    await submit(await gateway.entry());
    await waiting(3);
    await submit(bytes);
    for (const answer of await Promise.all(asked)) {
      expect(answer.status).toBe(200);
      expect(parseReceipt(answer.bytes)).toMatchObject({ index, entry: bytes });
      expect(answer.headers['cache-control']).toBe('private, no-store');
    }
    expect(waiters.get(log)).toBe(0);
  });

  test('is answered at once when the entry is there', async () => {
    expect((await receipt('0')).status).toBe(200);
  });

  test('is told to ask again when the time is up', async () => {
    const { recordId } = await gateway.make();
    const answer = await receipt(recordId, '?wait=1');
    expect(answer.json()).toMatchObject({ status: 404, code: 'not_yet', retry_after: 1 });
    expect(answer.text).toContain('not logged within 1 s');
  });

  test('ends at once when the server stops', async () => {
    const { recordId } = await gateway.make();
    const asked = receipt(recordId);
    await waiting(1);
    world.stopping.abort();
    expect((await asked).json()).toMatchObject({ code: 'not_yet' });
  });

  test('holds nothing once its client is gone', async () => {
    const { recordId } = await gateway.make();
    const { port } = new URL(world.server.url);
    const req = request({
      port,
      host: '127.0.0.1',
      path: `/logs/a/v1/receipts/${recordId}?wait=20`,
      headers: { authorization: `Bearer ${token}` },
    });
    req.on('error', () => undefined);
    req.end();
    await waiting(1);
    req.destroy();
    await waiting(0);
  });

  test('is refused where too many wait', async () => {
    const { bytes, recordId } = await gateway.make();
    const asked = Array.from({ length: 4 }, () => receipt(recordId));
    await waiting(4);
    const answer = await receipt(recordId);
    expect([answer.status, answer.json().code]).toEqual([429, 'pushback']);
    await submit(bytes);
    expect((await Promise.all(asked)).map((a) => a.status)).toEqual([200, 200, 200, 200]);
    expect((await receipt(recordId)).status).toBe(200);
  });
});
