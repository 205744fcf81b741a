/** Rates: what one caller may ask for, whose share is whose, and what does not count. */
import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { networks } from '../../server/config/kinds.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { SteleError } from '../../server/core/errors.ts';
import { Rates } from '../../server/http/rates.ts';
import { HTTP_DEFAULTS } from '../../server/http/settings.ts';
import type { TokenRow } from '../../server/storage/instance.ts';
import { type Ask, World, type WorldOptions } from './world.ts';

let world: World;

afterEach(() => world?.stop());

const RATES = {
  token: { perSecond: 10, burst: 20 },
  address: { perSecond: 5, burst: 10 },
  trustedProxies: networks('127.0.0.1'),
};

async function start(options: WorldOptions = {}) {
  world = await World.start({ ...options, settings: { rates: RATES, ...options.settings } });
  return world.log('a');
}

const HEAD = '/logs/a/v1/tree-head';

/** Asks so often; how many were not told to come later. */
async function served(times: number, ask: Ask = {}, path = HEAD, method = 'GET'): Promise<number> {
  let count = 0;
  for (let i = 0; i < times; i++) {
    if ((await world.ask(method, path, ask)).status !== 429) count += 1;
  }
  return count;
}

const from = (address: string): Ask => ({ headers: { 'x-forwarded-for': address } });

describe('a caller', () => {
  test('with a token has its share, and no other token loses by it', async () => {
    await start();
    const token = world.token({});
    expect(await served(30, { token })).toBe(20);
    expect(await served(30, { token: world.token({}) })).toBe(20);
    expect(await served(3)).toBe(3);
    world.now += 500;
    expect(await served(30, { token })).toBe(5);
  });

  test('who asks too much hears when to come back, and a page of another origin hears it too', async () => {
    await start();
    const token = world.token({});
    await served(20, { token });
    const refused = await world.get(HEAD, { token });
    const id = token.split('_')[1];
    expect(refused.status).toBe(429);
    expect(refused.json()).toEqual({
      type: 'urn:stele:error:pushback',
      title: 'Too much at once',
      status: 429,
      detail: `rate: token ${id}: 10 a second are served, and more were sent`,
      code: 'pushback',
      retry_after: 1,
    });
    expect(refused.headers).toMatchObject({
      'retry-after': '1',
      'cache-control': 'no-store',
      'access-control-allow-origin': '*',
    });
    await served(10);
    const stranger = await world.get(HEAD);
    expect(stranger.json()).toMatchObject({ status: 429, code: 'pushback' });
    expect(stranger.text).not.toContain('127.0.0.1');
  });

  test('without a token has the share of the address, by /64 of IPv6', async () => {
    await start();
    expect(await served(15, from('192.0.2.1'))).toBe(10);
    expect(await served(15, from('192.0.2.2'))).toBe(10);
    expect(await served(7, from('2001:db8::1'))).toBe(7);
    expect(await served(7, from('2001:db8::2'))).toBe(3);
    expect(await served(7, from('2001:db8:0:1::1'))).toBe(7);
  });

  test('who guesses at tokens has the share of the address, which keeps no good token out', async () => {
    await start();
    const guess = `stele_${'0'.repeat(16)}_${'A'.repeat(43)}`;
    for (const bad of [guess, 'nonsense']) {
      expect(await served(9, { ...from('192.0.2.1'), token: bad })).toBe(bad === guess ? 9 : 1);
    }
    expect((await world.get(HEAD, from('192.0.2.1'))).status).toBe(429);
    const own = { ...from('192.0.2.1'), token: world.token({}) };
    expect((await world.get(HEAD, own)).status).toBe(200);
  });
});

describe('the address', () => {
  test('is the connection’s own where no proxy is trusted, whatever a header says', async () => {
    await start({ settings: { rates: { ...RATES, trustedProxies: [] } } });
    let count = 0;
    for (let i = 0; i < 30; i++) count += await served(1, from(`192.0.2.${i}`));
    expect(count).toBe(10);
  });

  test('is not what a caller writes in front of what the proxy saw', async () => {
    await start();
    let count = 0;
    for (let i = 0; i < 30; i++) count += await served(1, from(`192.0.2.${i}, 198.51.100.7`));
    expect(count).toBe(10);
  });
});

describe('what it costs', () => {
  test('a request that is wrong costs as much as one that is right', async () => {
    await start();
    const wrong = ['/nothing', '/logs/b/checkpoint', '/logs/a/%2e', `${HEAD}?x=1`, `${HEAD}/9`];
    for (const [i, path] of wrong.entries()) {
      expect(await served(12, from(`192.0.2.${i}`), path), path).toBe(10);
    }
    expect(await served(12, from('192.0.2.50'), HEAD, 'DELETE')).toBe(10);
    expect(await served(12, from('192.0.2.51'), HEAD, 'OPTIONS')).toBe(10);
  });

  test('whether the server lives and is ready is free', async () => {
    await start();
    expect(await served(40, {}, '/healthz')).toBe(40);
    expect(await served(40, {}, '/readyz')).toBe(40);
    expect(await served(15)).toBe(10);
  });

  test.each([
    ['storage', new SteleError('storage', 'the disk is full')],
    ['split_view', new SteleError('split_view', 'two histories')],
    ['pushback', new SteleError('pushback', 'too much waits')],
    ['a fault', new TypeError('no')],
  ])('what is refused with %s is given back', async (_, error) => {
    const { log } = await start();
    const { inclusion } = log;
    log.inclusion = async () => {
      throw error;
    };
    const path = '/logs/a/v1/proofs/inclusion/0/2';
    const token = world.token({});
    for (let i = 0; i < 60; i++) {
      expect((await world.get(path, { token })).text).not.toContain('rate:');
    }
    log.inclusion = inclusion;
    expect(await served(30, { token }, path)).toBe(20);
  });

  test('a page of entries costs one more for each 64 that it has', async () => {
    const { log, gateway } = await start();
    const bytes = await Promise.all(Array.from({ length: 126 }, () => gateway.entry()));
    const admitted = await Promise.all(bytes.map((one) => log.admit(one)));
    await log.submit(admitted.map((one) => ({ admitted: one })));
    const token = world.token({});
    // 128 entries: three each.
    expect(await served(20, { token }, '/logs/a/v1/entries?limit=1000')).toBe(7);
  });

  test('a request that waits costs once', async () => {
    await start();
    const waiting = Array.from({ length: 4 }, () => world.get(`${HEAD}?wait=20&beyond=99`));
    while (!(await ownFigures()).includes('\nstele_head_waiters 4\n'));
    expect(await served(20)).toBe(6);
    world.now += 100_000;
    expect(await served(20)).toBe(10);
    world.stopping.abort();
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  });

  /** With a token of its own each time, so that this costs nobody anything. */
  async function ownFigures(): Promise<string> {
    return (await world.get('/metrics', { token: world.token({ roles: ['metrics'] }) })).text;
  }
});

describe('a batch', () => {
  const LINES = { type: 'application/x-ndjson' };
  const batch = (entries: number) => '{}\n'.repeat(entries);
  const PATH = '/logs/a/v1/entries/batch';

  test('costs by its entries, is taken whole, and is paid off before the next', async () => {
    await start();
    const token = world.token({ roles: ['submit'] });
    const first = await world.ask('POST', PATH, { ...LINES, token, body: batch(400) });
    expect(first.text.split('\n')).toHaveLength(402);
    // 20 had it, 101 it cost.
    const second = await world.ask('POST', PATH, { ...LINES, token, body: batch(1) });
    expect(second.json()).toMatchObject({ code: 'pushback', retry_after: 9 });
    world.now += 8_200;
    const third = await world.ask('POST', PATH, { ...LINES, token, body: batch(1) });
    expect(third.status).toBe(200);
  });

  test('gives back what those of its entries cost that were refused for no fault of theirs', async () => {
    const { log, gateway } = await start();
    log.submit = async (items) => items.map(() => new SteleError('pushback', 'too much waits'));
    const token = world.token({ roles: ['submit'] });
    const good = [];
    for (let i = 0; i < 8; i++) {
      good.push(`${formatEnvelopeJson(decodeEntry(await gateway.entry()))}\n`);
    }
    // 8 that are pushed back, and 4 that are wrong: 1 and 3, less 2.
    const mixed = good.join('') + batch(4);
    for (let i = 0; i < 10; i++) {
      const answer = await world.ask('POST', PATH, { ...LINES, token, body: mixed });
      expect(answer.status).toBe(200);
    }
    expect((await world.get(HEAD, { token })).status).toBe(429);
    // Nothing but those: the whole request is pushed back, and costs nothing.
    world.now += 10_000;
    for (let i = 0; i < 40; i++) {
      const answer = await world.ask('POST', PATH, { ...LINES, token, body: good.join('') });
      expect(answer.json().detail).toBe('too much waits');
    }
  });
});

test('is refused before anything of the body is asked for', async () => {
  await start();
  const token = world.token({ roles: ['submit'] });
  await served(20, { token });
  const { port } = new URL(world.server.url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(
    `POST /logs/a/v1/entries/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
      'content-type: application/protobuf\r\ncontent-length: 16000000\r\nexpect: 100-continue\r\n\r\n',
  );
  const first = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  expect(first.toString()).toMatch(/^HTTP\/1\.1 429 /);
  socket.destroy();
});

test('200 monitors behind one address, each asking twice a second, live by the defaults', async () => {
  await start({ settings: { rates: HTTP_DEFAULTS.rates } });
  for (let second = 0; second < 8; second++) {
    const asked = Array.from({ length: 400 }, () => world.get(HEAD));
    expect((await Promise.all(asked)).every(({ status }) => status === 200)).toBe(true);
    world.now += 1_000;
  }
  // And without any rest between.
  expect(await served(1_000)).toBe(1_000);
});

test('a rate of 0 is no limit', async () => {
  const none = { perSecond: 0, burst: 1 };
  await start({ settings: { rates: { ...RATES, token: none, address: none } } });
  expect(await served(40)).toBe(40);
  expect(await served(40, { token: world.token({}) })).toBe(40);
});

test('are counted by kind, and make one line a second', async () => {
  await start();
  const token = world.token({});
  await served(25, { token });
  await served(13);
  const figures = await world.get('/metrics', { token: world.token({ roles: ['metrics'] }) });
  expect(figures.text).toContain('stele_rate_limited_total{by="token"} 5\n');
  expect(figures.text).toContain('stele_rate_limited_total{by="address"} 3\n');
  const lines = () => world.lines.filter((line) => /"level":30.*"status":429/.test(line));
  expect(lines()).toHaveLength(1);
  expect(lines()[0]).toContain(token.split('_')[1]);
  world.now += 1_000;
  await served(25, { token });
  expect(lines()).toHaveLength(2);
});

test('a crowd of addresses takes nothing from a token, and no memory without end', async () => {
  await start();
  const rates = new Rates(RATES, { now: () => 0 });
  const token = { id: 'one' } as TokenRow;
  const ask = (address: string, row?: TokenRow) => {
    const headers = { 'x-forwarded-for': address };
    const socket = { remoteAddress: '127.0.0.1' };
    rates.take({ url: HEAD, headers, socket } as unknown as IncomingMessage, row);
  };
  for (let i = 0; i < 15; i++) ask('192.0.2.1', token);
  let refused = 0;
  for (let i = 0; i < 100_000; i++) {
    try {
      ask(`198.${51 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      refused += 1;
    }
  }
  expect(rates.callers).toBeLessThanOrEqual(65_536 + 10_000);
  // Those who found no room share one bucket.
  expect(refused).toBeGreaterThan(100_000 - 65_536 - 20);
  for (let i = 0; i < 5; i++) ask('192.0.2.1', token);
  expect(() => ask('192.0.2.1', token)).toThrow('token one');
});
