/** What targets outside said: in lists, in heads, in receipts, and never more than there is (P6). */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { anchoredText, parseAnchor } from '../../server/core/anchor.ts';
import { toBase64 } from '../../server/core/bytes.ts';
import { formatCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { type TreeSize, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from './world.ts';

let world: World;
let log: Log;
let read: string;

beforeEach(async () => {
  world = await World.start();
  const made = await world.log('team', 'public');
  log = made.log;
  for (let i = 0; i < 4; i++) {
    const { bytes } = await made.gateway.make();
    await log.submit([{ admitted: await log.admit(decodeEntry(bytes)) }]);
  }
  read = world.token({ roles: ['read'] });
});

afterEach(() => world.stop());

const get = (path: string, token?: string, headers = {}) =>
  world.ask('GET', `/logs/team/v1/${path}`, { token, headers });

/** Plans the head of this size for a target. */
async function plan(target: string, kind: 'rekor' | 'rfc3161', size: TreeSize): Promise<number> {
  const { root } = await log.headAt(size);
  const text = formatCheckpoint({ origin: log.origin, size, root });
  const keys = { signature: new Uint8Array([1]), spki: new Uint8Array([1]) };
  world.instance.anchors.plan({
    ...{ log: 'team', target, kind, size, root, text, ...keys },
    plannedMs: world.now,
  });
  return world.instance.anchors.due(target, world.now, 1)[0]?.id ?? 0;
}

async function publish(target: string, kind: 'rekor' | 'rfc3161', at: number): Promise<void> {
  const { anchors } = world.instance;
  const id = await plan(target, kind, treeSize(at));
  anchors.change(id, 'planned', { state: 'received', attempts: 1 }, world.now);
  const instance = { base_url: 'https://r', key_id: toBase64(new Uint8Array(32)), api: 2 };
  const said =
    kind === 'rekor'
      ? { type: kind, v: 1, instance, bundle: { of: at } }
      : { type: kind, v: 1, imprint: 'note-text', response: 'AAAA' };
  anchors.publish(id, { anchor: JSON.stringify(said), timeMs: world.now + at }, world.now);
}

describe('a receipt', () => {
  test('carries of each target the earliest that covers the entry, with its own proof', async () => {
    for (const size of [2, 4, 6]) await publish('one', 'rekor', size);
    await publish('two', 'rfc3161', 6);
    const { index, entry, anchors, checkpoint } = parseReceipt((await get('receipts/3')).bytes);
    expect(anchors).toHaveLength(2);
    const found = anchors.map((one, i) => parseAnchor(one, `anchor ${i}`));
    expect(found.map((one) => [one?.type, one?.of.size])).toEqual([
      ['rekor', 4],
      ['rfc3161', 6],
    ]);
    for (const one of found) {
      const { size, root } = one!.of;
      expect(one!.of.origin).toBe(log.origin);
      // Whatever is signed or stamped can be made again from what the receipt says.
      const text = formatCheckpoint({ origin: log.origin, size, root });
      expect(Buffer.from(anchoredText(one!.of)).toString()).toBe(text);
      if (checkpoint.includes(`\n${size}\n`)) expect(one!.proof).toBeUndefined();
      else checkInclusion({ index, size, root, leafHash: leafHash(entry), proof: one!.proof! });
    }
    // Nothing that is too small is claimed to cover an entry.
    const last = parseReceipt((await get('receipts/5')).bytes);
    expect(last.anchors.map((one) => parseAnchor(one, 'anchor')?.of.size)).toEqual([6, 6]);
  });

  test('that has to carry one waits until there is', async () => {
    const { status, headers } = await get('receipts/1?require=rekor');
    expect([status, headers['retry-after']]).toEqual([404, '60']);
    await publish('one', 'rekor', 4);
    expect((await get('receipts/1?require=rekor')).status).toBe(200);
    const both = (await get('receipts/1?require=rekor,rfc3161')).json();
    expect(both).toMatchObject({ code: 'not_yet', detail: expect.stringContaining('no rfc3161') });
    expect((await get('receipts/5?require=rekor')).status).toBe(404);
    expect((await get('receipts/5?require=rekor,gold')).status).toBe(400);
  });

  test('carries nothing of a target that has two histories', async () => {
    await publish('one', 'rekor', 4);
    const id = await plan('one', 'rekor', treeSize(6));
    world.instance.anchors.suspect(id, 'two', '{}', world.now);
    expect(parseReceipt((await get('receipts/1')).bytes).anchors).toEqual([]);
    expect((await get('receipts/1?require=rekor')).status).toBe(404);
  });
});

describe('a head', () => {
  test('says what was said of it, and how far each target has got', async () => {
    await publish('one', 'rekor', 4);
    await plan('one', 'rekor', treeSize(5));
    await plan('one', 'rekor', treeSize(6));
    const head = (await get('tree-head')).json();
    expect(head).toMatchObject({ size: 6, anchors: [] });
    expect(head.anchoring).toEqual([
      {
        target: 'one',
        type: 'rekor',
        size: 4,
        time: expect.stringMatching(/Z$/),
        pending: { size: 6, since: expect.stringMatching(/Z$/), attempts: 0 },
        missed: 1,
      },
    ]);
    expect((await get('tree-head/4')).json()).toMatchObject({
      size: 4,
      anchors: [{ target: 'one', type: 'rekor' }],
    });
  });

  test('has another tag when something was said of it', async () => {
    const { etag } = (await get('tree-head')).headers;
    expect((await get('tree-head', undefined, { 'if-none-match': etag })).status).toBe(304);
    await publish('one', 'rekor', 6);
    const again = await get('tree-head', undefined, { 'if-none-match': etag });
    expect(again.json()).toMatchObject({ anchors: [{ target: 'one' }] });
  });
});

describe('the list', () => {
  test('has the newest first, holes included, and pages', async () => {
    for (const size of [2, 3, 4]) await plan('one', 'rekor', treeSize(size));
    await publish('one', 'rekor', 5);
    const sizes = async (query: string) =>
      (await get(`anchors${query}`))
        .json<{ anchors: { size: number; state: string }[] }>()
        .anchors.map(({ size, state }) => `${size} ${state}`);
    expect(await sizes('')).toEqual([
      '5 published',
      '4 superseded',
      '3 superseded',
      '2 superseded',
    ]);
    expect(await sizes('?limit=1')).toEqual(['5 published']);
    expect(await sizes('?before=4&limit=1')).toEqual(['3 superseded']);
    for (const limit of ['0', '101', 'x']) {
      expect((await get(`anchors?limit=${limit}`)).status).toBe(400);
    }
  });

  test('says why an attempt failed to those who hold a token', async () => {
    const id = await plan('one', 'rekor', treeSize(4));
    const reason = 'rekor.internal: connect ECONNREFUSED';
    world.instance.anchors.change(id, 'planned', { reason }, world.now);
    expect((await get('anchors', read)).text).toContain(reason);
    expect((await get('anchors')).text).not.toContain('internal');
  });

  test('of a private log is for those who may know of it', async () => {
    await world.logs.changeVisibility('team', 'private');
    expect((await get('anchors')).status).toBe(404);
    expect((await get('anchors', read)).status).toBe(200);
  });
});

test('an answer is served as other tools read it', async () => {
  await publish('one', 'rekor', 4);
  await publish('two', 'rfc3161', 4);
  const bundle = await get('anchors/one/4');
  expect(bundle.headers['content-type']).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
  expect(bundle.json()).toEqual({ of: 4 });
  const response = await get('anchors/two/4');
  expect(response.headers['content-type']).toBe('application/timestamp-reply');
  expect([...response.bytes]).toEqual([0, 0, 0]);
  for (const path of ['anchors/one/5', 'anchors/none/4', 'anchors/one/x']) {
    expect((await get(path)).status).toBeGreaterThanOrEqual(400);
  }
});
