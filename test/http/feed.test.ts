/** The feed: every entry a line that stands alone, and readers that cost nobody anything. */
import { type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { parseBase64, toHex } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { Tree } from '../../server/core/tree.ts';
import type { LeafIndex, TreeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { type Gateway, World, type WorldOptions } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;

afterEach(() => world.stop());

async function start(options: WorldOptions = {}, visibility: 'proofs' | 'public' = 'proofs') {
  world = await World.start(options);
  ({ log, gateway } = await world.log('a', visibility));
  token = world.token({ roles: ['read'], logs: ['a'] });
}

async function submit(count: number, commitments?: Readonly<Record<string, string>>) {
  for (let i = 0; i < count; i++) {
    const bytes = await gateway.entry(commitments === undefined ? {} : { commitments });
    await log.submit([{ admitted: await log.admit(decodeEntry(bytes)) }]);
  }
}

interface Line {
  readonly index: number;
  readonly leaf_hash: string;
  readonly entry: string;
  readonly record?: { readonly kind: string };
}

const linesOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

/** Follows the feed; `until` resolves when that many lines came, `ended` with how it ended. */
async function follow(query: string, how: { readonly token?: string | undefined } = { token }) {
  const { port } = new URL(world.server.url);
  const res = await new Promise<IncomingMessage>((resolve, reject) => {
    const headers = how.token === undefined ? {} : { authorization: `Bearer ${how.token}` };
    const path = `/logs/a/v1/feed?${query}`;
    const req = request({ host: '127.0.0.1', port, path, headers, agent: false });
    req.on('response', resolve).on('error', reject).end();
  });
  let text = '';
  let look = (): void => undefined;
  res.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    look();
  });
  const ended = new Promise<'whole' | 'cut'>((resolve) => {
    res.on('end', () => resolve('whole'));
    res.on('error', () => resolve('cut'));
  });
  const until = (done: (text: string) => boolean) =>
    new Promise<void>((resolve) => {
      look = () => {
        if (done(text)) resolve();
      };
      look();
    });
  return {
    res,
    ended,
    text: () => text,
    until: (count: number) => until((all) => linesOf(wholeOf(all)).length >= count),
    untilText: (part: string) => until((all) => all.includes(part)),
  };
}

const wholeOf = (text: string) => text.slice(0, text.lastIndexOf('\n') + 1);

/** Resolves once nothing is counted as under way any more. */
async function untilFree(): Promise<void> {
  while ((await world.get('/logs/a/v1/feed?limit=1', { token })).status === 429) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const LARGE = Object.fromEntries(
  Array.from({ length: 63 }, (_, i) => [`policy.${i}.reason`, 'A'.repeat(43)]),
);

describe('the feed', () => {
  test('has each entry in order, with what it takes to check it', async () => {
    await start();
    await submit(150);
    const answer = await world.get('/logs/a/v1/feed', { token });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      'content-type': 'application/x-ndjson',
      'cache-control': 'private, no-store',
    });
    const lines = linesOf(answer.text);
    const { size, root } = log.head();
    expect(lines.map(({ index }) => index)).toEqual(Array.from({ length: size }, (_, i) => i));
    const leaves = lines.map(({ entry }) => leafHash(parseBase64(entry, 'entry')));
    expect(lines.map((line) => line.leaf_hash)).toEqual(leaves.map(toHex));
    expect(Tree.empty().append(leaves).tree.root()).toEqual(root);
    expect(lines.slice(0, 3).map(({ record }) => record?.kind)).toEqual([
      'genesis',
      'key',
      'heartbeat',
    ]);
    expect(lines[7]?.record).toEqual(
      JSON.parse(Buffer.from(decodeEntry(await log.entry(7 as LeafIndex)).payload).toString()),
    );
  });

  test('goes on where it is told to, and stops after as many as are asked for', async () => {
    await start();
    await submit(10);
    const from = async (query: string) =>
      linesOf((await world.get(`/logs/a/v1/feed?${query}`, { token })).text).map((l) => l.index);
    expect(await from('from=9')).toEqual([9, 10, 11]);
    expect(await from('from=3&limit=2')).toEqual([3, 4]);
    expect(await from('from=11&limit=9007199254740991')).toEqual([11]);
    expect(await from('from=12')).toEqual([]);
    expect(await from('from=3&limit=2&follow=1')).toEqual([3, 4]);
  });

  test.each([
    ['from=13', 404, 'beyond the log'],
    ['from=-1', 400, 'from'],
    ['limit=0', 400, 'limit'],
    ['follow=yes', 400, 'neither 0 nor 1'],
    ['start=0', 400, 'from, limit, follow'],
  ])('refuses ?%s', async (query, status, reason) => {
    await start();
    await submit(10);
    const answer = await world.get(`/logs/a/v1/feed?${query}`, { token });
    expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(reason)]);
  });

  test('answers HEAD without a line, and without staying open', async () => {
    await start();
    const answer = await world.ask('HEAD', '/logs/a/v1/feed?follow=1', { token });
    expect([answer.status, answer.text]).toEqual([200, '']);
    await untilFree();
  });
});

describe('a follower', () => {
  test('gets what is there, then what comes', async () => {
    await start();
    const feed = await follow('from=1&follow=1');
    await feed.until(1);
    await submit(3);
    await feed.until(4);
    expect(linesOf(feed.text()).map(({ index }) => index)).toEqual([1, 2, 3, 4]);
    feed.res.destroy();
  });

  test('is connected before there is anything to tell it', async () => {
    await start();
    const feed = await follow(`from=${log.head().size}&follow=1`);
    expect(feed.text()).toBe('');
    await submit(1);
    await feed.until(1);
    feed.res.destroy();
  });

  test('hears an empty line where nothing happens', async () => {
    await start({ settings: { feedQuietMs: 20 } });
    const feed = await follow(`from=${log.head().size}&follow=1`);
    await feed.untilText('\n\n');
    await submit(1);
    await feed.until(1);
    feed.res.destroy();
  });

  test('gets a whole answer when the server stops', async () => {
    await start();
    const feed = await follow('follow=1');
    await feed.until(2);
    world.stopping.abort();
    expect(await feed.ended).toBe('whole');
    expect(feed.text().endsWith('\n')).toBe(true);
  });

  test('gets a whole answer when the log ends, with the entry that ends it', async () => {
    await start();
    const { until, ended, text } = await follow('from=0&follow=1');
    await until(2);
    await world.logs.freeze('a');
    expect(await ended).toBe('whole');
    expect(linesOf(text()).map(({ record }) => record?.kind)).toEqual(['genesis', 'key', 'policy']);
    const again = await follow('from=3&follow=1');
    expect(await again.ended).toBe('whole');
    expect(again.text()).toBe('');
  });

  test('gets a whole answer, and nothing more, when its token is revoked', async () => {
    await start();
    const admin = world.token({ roles: ['admin'] });
    const other = await follow('follow=1', { token: world.token({ roles: ['read'] }) });
    const feed = await follow('follow=1');
    await feed.until(2);
    const id = /^stele_([0-9a-f]+)_/.exec(token)?.[1] ?? '';
    expect((await world.ask('DELETE', `/v1/admin/tokens/${id}`, { token: admin })).status).toBe(
      200,
    );
    expect(await feed.ended).toBe('whole');
    await submit(1);
    await other.until(3);
    expect(linesOf(feed.text())).toHaveLength(2);
    other.res.destroy();
  });

  test('gets nothing more once its token has expired', async () => {
    await start();
    const feed = await follow('follow=1', {
      token: world.token({ roles: ['read'], expiresMs: world.now + 1_000 }),
    });
    await feed.until(2);
    world.now += 1_000;
    await submit(1);
    expect(await feed.ended).toBe('whole');
    expect(linesOf(feed.text())).toHaveLength(2);
  });

  test('breaks when the log is closed under it', async () => {
    await start();
    const feed = await follow('follow=1');
    await feed.until(2);
    await log.close();
    expect(await feed.ended).toBe('cut');
  });
});

describe('places', () => {
  test('are bounded for each token, and given back', async () => {
    await start({ settings: { feedsMax: 4, feedsPerTokenMax: 2 } });
    const feeds = [await follow('follow=1'), await follow('follow=1')];
    const refused = await world.get('/logs/a/v1/feed', { token });
    expect(refused.json()).toMatchObject({ status: 429, code: 'pushback' });
    const other = world.token({ roles: ['read'] });
    expect((await world.get('/logs/a/v1/feed', { token: other })).status).toBe(200);
    feeds[0]?.res.destroy();
    await untilFree();
    feeds[1]?.res.destroy();
  });

  test('are bounded for all, and strangers have half of them', async () => {
    await start({ settings: { feedsMax: 2, feedsPerTokenMax: 2 } }, 'public');
    const feeds = [await follow('follow=1', {})];
    expect((await world.get('/logs/a/v1/feed')).json()).toMatchObject({ code: 'pushback' });
    feeds.push(await follow('follow=1'));
    const other = world.token({ roles: ['read'] });
    const refused = await world.get('/logs/a/v1/feed', { token: other });
    expect(refused.json()).toMatchObject({ status: 429, code: 'pushback' });
    for (const { res } of feeds) res.destroy();
  });
});

describe('a reader that takes nothing', () => {
  /** Asks for the whole feed and reads none of it. */
  function stall() {
    const { port } = new URL(world.server.url);
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(
      `GET /logs/a/v1/feed?follow=1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n\r\n`,
    );
    return socket;
  }

  /** Entries that were read from the store. */
  function counted() {
    const count = { entries: 0 };
    const entries = log.entries.bind(log);
    log.entries = (begin: LeafIndex, end: TreeSize) => {
      count.entries += end - begin;
      return entries(begin, end);
    };
    return count;
  }

  test('has nothing read for it, keeps no writer waiting, and is cut', async () => {
    await start({ settings: { feedStallMs: 300 } });
    // More than the sockets of both sides take.
    await submit(2_000, LARGE);
    const count = counted();
    const cut = new Promise<void>((resolve) => {
      world.server.server.once('request', (_, res) => res.once('close', () => resolve()));
    });
    const socket = stall();
    await submit(5, LARGE);
    await cut;
    expect(count.entries).toBeLessThan(1_500);
    expect(count.entries).toBeGreaterThan(0);
    socket.destroy();
    await untilFree();
  }, 60_000);
});
