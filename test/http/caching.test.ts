/**
 * Caches between us and our callers, the careless kind: one that keys by path alone, that ignores
 * `Authorization`, `Vary` and even the query string, and only believes `cache-control`.
 *
 * The case is a log whose gateway cache gave one caller the consistency proof of another; see
 * docs/formats-http.md for what is cached.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toHex } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { patternOf } from '../../server/http/call.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { type Answer, type Ask, World } from './world.ts';

let world: World;
const tokens: Record<string, string> = {};
let paths: readonly string[];

beforeAll(async () => {
  world = await World.start();
  for (const [name, visibility] of [
    ['open', 'public'],
    ['half', 'proofs'],
    ['hidden', 'private'],
  ] as const) {
    const { log, gateway } = await world.log(name, visibility);
    for (let i = 0; i < 300; i++) {
      await log.submit([{ admitted: await log.admit(decodeEntry(await gateway.entry())) }]);
    }
  }
  const all = ['open', 'half', 'hidden'];
  tokens.reader = world.token({ roles: ['read', 'content'], logs: all });
  tokens.submitter = world.token({ roles: ['submit'], logs: all });
  tokens.admin = world.token({ roles: ['admin', 'keys'], logs: ['*'] });
  tokens.elsewhere = world.token({ roles: ['read', 'admin'], logs: ['elsewhere'] });
  const { log } = { log: (await world.logs.lease('open')).log };
  const leaf = toHex(leafHash(await log.entry(5 as never)));
  paths = [
    ...all.flatMap((name) =>
      [
        '/checkpoint',
        '/tile/0/000',
        '/tile/0/001.p/3',
        '/tile/entries/000',
        '/v1/tree-head',
        '/v1/tree-head/7',
        '/v1/proofs/inclusion/3/9',
        '/v1/proofs/inclusion/3/10',
        '/v1/proofs/consistency/3/9',
        '/v1/proofs/consistency/3/10',
        '/v1/entries/5',
        '/v1/entries?start=0&limit=2',
        '/v1/entries?start=2&limit=2',
        '/v1/tree-head?beyond=3',
        '/v1/feed?from=3&limit=2',
        '/v1/sources',
        '/v1/sources?limit=1',
        '/v1/receipts/5',
        '/v1/receipts/5?wait=0',
        `/v1/leaves/${leaf}`,
      ].map((path) => `/logs/${name}${path}`),
    ),
    '/v1/logs',
    '/v1/keys',
    '/.well-known/stele',
    '/readyz',
    '/v1/admin/logs',
    '/v1/admin/tokens',
    '/v1/admin/keys',
  ];
});

afterAll(() => world.stop());

/** Keeps whatever may be kept, under the path alone, and gives it to whoever asks next. */
class CarelessCache {
  readonly #kept = new Map<string, Answer>();
  served = 0;

  async get(path: string, ask: Ask): Promise<Answer> {
    const key = path.split('?', 1)[0] ?? '';
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      const control = kept.headers['cache-control'] ?? '';
      if (!control.includes('no-cache')) {
        this.served += 1;
        return kept;
      }
      // It knows that it must ask again, and hands on the caller's credentials with the question.
      const headers = { ...ask.headers, 'if-none-match': kept.headers.etag ?? '' };
      const fresh = await world.get(path, { ...ask, headers });
      if (fresh.status === 304) {
        this.served += 1;
        return kept;
      }
      this.#keep(key, fresh);
      return fresh;
    }
    const answer = await world.get(path, ask);
    this.#keep(key, answer);
    return answer;
  }

  #keep(key: string, answer: Answer): void {
    const control = answer.headers['cache-control'] ?? '';
    if (!/no-store|private/.test(control)) this.#kept.set(key, answer);
  }
}

const CALLERS = ['stranger', 'reader', 'submitter', 'admin', 'elsewhere'];
const as = (caller: string): Ask => {
  const token = tokens[caller];
  return token === undefined ? {} : { token };
};

describe('behind a careless cache', () => {
  // Every order of two callers, so that whoever fills the cache, the next one asks it.
  const orders = CALLERS.flatMap((first) => CALLERS.map((second) => [first, second] as const));

  test.each(orders)('after %s, %s gets what the server itself would say', async (first, second) => {
    const cache = new CarelessCache();
    for (const caller of [first, second]) {
      for (const path of paths) {
        const behind = await cache.get(path, as(caller));
        const direct = await world.get(path, as(caller));
        expect([behind.status, masked(behind)], `${caller}: ${path}`).toEqual([
          direct.status,
          masked(direct),
        ]);
      }
    }
    expect(cache.served).toBeGreaterThan(20);
  });

  function masked({ text, bytes, headers }: Answer): string {
    return headers['content-type']?.startsWith('application/octet') ? toHex(bytes) : text;
  }
});

describe('what is said to caches', () => {
  const PUBLIC = 'public, max-age=31536000, immutable';

  test.each([
    ['/logs/open/tile/0/000', PUBLIC],
    ['/logs/open/tile/entries/000', PUBLIC],
    ['/logs/open/v1/entries/5', PUBLIC],
    ['/logs/open/v1/proofs/inclusion/3/9', PUBLIC],
    ['/logs/open/v1/proofs/consistency/3/9', PUBLIC],
    ['/logs/open/checkpoint', 'no-cache'],
    ['/logs/open/v1/tree-head', 'no-cache'],
    ['/logs/open/v1/tree-head/7', 'no-cache'],
    ['/logs/open/v1/entries', 'no-store'],
    ['/logs/open/v1/receipts/5', 'no-store'],
    ['/logs/open/v1/sources', 'no-store'],
    ['/v1/logs', 'no-store'],
    ['/healthz', 'no-store'],
    ['/openapi.json', 'no-cache'],
    ['/docs', 'no-cache'],
  ])('%s without a token: %s', async (path, control) => {
    const answer = await world.get(path);
    expect([answer.status, answer.headers['cache-control']]).toEqual([200, control]);
    if (control === 'no-cache') expect(answer.headers.etag).toBeDefined();
  });

  test('the same public answer is as public when asked with a token', async () => {
    const path = '/logs/open/v1/entries/5';
    const plain = await world.get(path);
    const asked = await world.get(path, as('reader'));
    expect(asked.headers['cache-control']).toBe(plain.headers['cache-control']);
    expect(asked.bytes.equals(plain.bytes)).toBe(true);
  });

  test('whatever needed a token is for its holder alone', async () => {
    let seen = 0;
    for (const path of paths) {
      const stranger = await world.get(path);
      const reader = await world.get(path, as('reader'));
      if (stranger.status === 200 || reader.status !== 200) continue;
      seen += 1;
      expect(reader.headers['cache-control'], path).toBe('private, no-store');
      expect(reader.headers.etag, path).toBeUndefined();
    }
    expect(seen).toBeGreaterThan(15);
  });

  test('no error is kept', async () => {
    for (const path of [
      '/logs/open/tile/0/009',
      '/logs/none/checkpoint',
      '/x',
      '/%',
      '/v1/admin/logs',
    ]) {
      const answer = await world.get(path);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.headers['cache-control']).toBe('no-store');
    }
  });

  test('lists that depend on the caller say so', async () => {
    for (const path of ['/v1/logs', '/v1/keys']) {
      expect((await world.get(path)).headers.vary).toBe('Authorization');
    }
  });
});

describe('pages of other origins', () => {
  const origin = { origin: 'https://elsewhere.example' };

  test('may read what strangers may read', async () => {
    for (const path of [
      '/logs/open/checkpoint',
      '/logs/open/v1/entries/5',
      '/logs/half/v1/tree-head',
    ]) {
      const answer = await world.get(path, { headers: origin });
      expect(answer.headers['access-control-allow-origin']).toBe('*');
      expect(answer.headers['access-control-expose-headers']).toContain('etag');
      expect(answer.headers).not.toHaveProperty('access-control-allow-credentials');
    }
  });

  test('are told so before they ask, and never get to send a token', async () => {
    const answer = await world.ask('OPTIONS', '/logs/half/v1/tree-head', {
      headers: {
        ...origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'authorization',
      },
    });
    expect([answer.status, answer.text]).toEqual([204, '']);
    expect(answer.headers).toMatchObject({
      allow: 'GET, HEAD, OPTIONS',
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, HEAD',
      'access-control-allow-headers': 'if-none-match',
    });
  });

  test('may not administer, submit or read content', async () => {
    const closed = allRoutes({} as never).filter(
      ({ method, access }) => method !== 'GET' || ['content', 'admin', 'keys'].includes(access),
    );
    expect(closed.length).toBeGreaterThan(10);
    for (const route of closed) {
      const { pattern } = route;
      const path = patternOf(route).replace('{log}', 'open').replaceAll(/[{}]/g, '');
      const answer = await world.ask('OPTIONS', path, { headers: origin });
      const methods = answer.headers['access-control-allow-methods'] ?? '';
      expect(methods, path).not.toMatch(/POST|DELETE/);
      if (pattern.includes('admin') || pattern.includes('content')) {
        expect(answer.headers, path).not.toHaveProperty('access-control-allow-origin');
      }
    }
  });

  test('an answer about a private log is the same as about none', async () => {
    const ask = (name: string) =>
      world.ask('OPTIONS', `/logs/${name}/checkpoint`, { headers: origin });
    const { date: _, 'x-request-id': __, ...hidden } = (await ask('hidden')).headers;
    expect((await ask('none')).headers).toMatchObject(hidden);
  });
});
