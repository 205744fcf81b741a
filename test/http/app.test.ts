/** What every route shares: methods, request ids, faults of our own, and what the log keeps of it all. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { patternOf } from '../../server/http/call.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import type { Log } from '../../server/log/log.ts';
import { FsyncFailed } from '../../server/storage/sqlite/database.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;

beforeEach(async () => {
  world = await World.start();
  ({ log, gateway } = await world.log('a'));
});

afterEach(() => world.stop());

describe('methods', () => {
  test('that a route does not have are 405, and it says which it has', async () => {
    const methods = new Map<string, string[]>();
    for (const route of allRoutes({} as never)) {
      const path = patternOf(route).replace('{log}', 'a').replaceAll(/[{}*]/g, '');
      methods.set(path, [...(methods.get(path) ?? []), route.method]);
    }
    for (const [path, known] of methods) {
      for (const method of ['PUT', 'PATCH', 'POST', 'DELETE', 'TRACE', 'PROPFIND']) {
        if (known.includes(method)) continue;
        const answer = await world.ask(method, path);
        expect([answer.status, path], `${method} ${path}`).toEqual([405, path]);
        const allow = answer.headers.allow?.split(', ') ?? [];
        expect(allow).toEqual(expect.arrayContaining([...known, 'OPTIONS']));
        expect(allow).not.toContain(method);
      }
    }
  });

  test('HEAD is GET without the body', async () => {
    for (const path of [
      '/logs/a/checkpoint',
      '/logs/a/v1/proofs/inclusion/0/1',
      '/healthz',
      '/logs/b/checkpoint',
    ]) {
      const get = await world.get(path);
      const answer = await world.ask('HEAD', path);
      expect([answer.status, answer.text]).toEqual([get.status, '']);
      for (const name of ['content-type', 'content-length', 'etag', 'cache-control']) {
        expect(answer.headers[name], `${name} of ${path}`).toBe(get.headers[name]);
      }
    }
  });

  test('OPTIONS of nothing is 404', async () => {
    expect((await world.ask('OPTIONS', '/nothing')).status).toBe(404);
  });
});

describe('request ids', () => {
  test('are the caller’s own where they are plain, and ours where not', async () => {
    const own = await world.get('/healthz', { headers: { 'x-request-id': 'abc-1_X' } });
    expect(own.headers['x-request-id']).toBe('abc-1_X');
    for (const id of ['', 'a b', '<script>', 'x'.repeat(65), 'é']) {
      const answer = await world.get('/healthz', { headers: { 'x-request-id': id } });
      expect(answer.headers['x-request-id']).toMatch(/^[0-9a-f]{12}-[0-9a-z]+$/);
    }
    const ids = await Promise.all(Array.from({ length: 20 }, () => world.get('/healthz')));
    expect(new Set(ids.map((a) => a.headers['x-request-id'])).size).toBe(20);
  });
});

describe('a fault of our own', () => {
  const fail = (error: unknown) => {
    log.inclusion = async () => {
      throw error;
    };
  };

  test('is 500 with the request id and nothing else; the log has the rest', async () => {
    fail(new TypeError('cannot read property of /data/secret'));
    const answer = await world.get('/logs/a/v1/proofs/inclusion/0/1');
    expect(answer.status).toBe(500);
    expect(answer.json()).toEqual({
      type: 'about:blank',
      title: 'Internal error',
      status: 500,
      request_id: answer.headers['x-request-id'],
    });
    expect(answer.headers['cache-control']).toBe('no-store');
    const line = world.lines.find((text) => text.includes('/data/secret'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({
      id: answer.headers['x-request-id'],
      level: 50,
    });
  });

  test.each(['a string', undefined, null, 7, { status: 200 }])(
    'is 500 also when %j is thrown',
    async (thrown) => {
      fail(thrown);
      expect((await world.get('/logs/a/v1/proofs/inclusion/0/1')).status).toBe(500);
    },
  );

  test('leaves no header of the good answer behind', async () => {
    fail(new SteleError('storage', 'tile 0/0 is missing'));
    const answer = await world.get('/logs/a/v1/proofs/inclusion/0/1');
    expect(answer.status).toBe(503);
    expect(answer.headers['cache-control']).toBe('no-store');
    expect(answer.headers['retry-after']).toBe('5');
    expect(answer.headers).not.toHaveProperty('etag');
    expect(world.lines.join('')).toContain('tile 0/0 is missing');
  });
});

describe('what is wrong with the disk', () => {
  const fail = (error: Error) => {
    log.inclusion = async () => {
      throw error;
    };
  };
  const path = '/logs/a/v1/proofs/inclusion/0/1';

  test.each(['storage', 'split_view'] as const)(
    'is told to holders of a token alone (%s)',
    async (code) => {
      fail(new SteleError(code, '/data/logs/a.db: disk I/O error', { retryAfterS: 3 }));
      const stranger = await world.get(path);
      expect(stranger.json()).toMatchObject({ status: 503, code, retry_after: 3 });
      expect(stranger.text).not.toContain('/data');
      const holder = await world.get(path, { token: world.token({ roles: ['submit'] }) });
      expect(holder.text).toContain('/data/logs/a.db');
      expect(world.lines.join('')).toContain('/data/logs/a.db');
    },
  );

  test('makes one line a second, however many ask', async () => {
    fail(new SteleError('storage', 'the disk is full'));
    const errors = () => world.lines.filter((line) => line.includes('"level":50')).length;
    for (let i = 0; i < 5; i++) await world.get(path);
    expect(errors()).toBe(1);
    world.now += 1_000;
    for (let i = 0; i < 5; i++) await world.get(path);
    expect(errors()).toBe(2);
  });

  test('ends the process where an fsync failed (P9)', async () => {
    const error = new FsyncFailed('/data/vault/x', { cause: new Error('EIO') });
    fail(error);
    const answer = await world.get(path);
    expect(answer.status).toBe(500);
    expect(answer.text).not.toContain('/data');
    expect(world.fatal).toEqual([error]);
  });
});

describe('what the log keeps', () => {
  test('is no token, no query string, no reason and no body', async () => {
    const token = world.token({ roles: ['submit', 'read', 'content', 'admin'] });
    const { bytes, recordId } = await gateway.make();
    await world.ask('POST', '/logs/a/v1/entries', {
      token,
      body: bytes,
      type: 'application/protobuf',
    });
    await world.get('/logs/a/v1/entries?start=1&limit=1', { token });
    await world.get('/logs/a/v1/entries?token=query-secret', { token });
    await world.get(`/logs/a/v1/content/${recordId}/request.body`, {
      token,
      headers: { 'x-stele-reason': 'reason-secret' },
    });
    await world.get('/logs/a/v1/sources', { token: `${token}x` });
    await world.get('/logs/a/v1/sources', { headers: { authorization: 'Basic header-secret' } });
    const made = await world.ask('POST', '/v1/admin/tokens', {
      token,
      type: 'application/json',
      body: JSON.stringify({ holder: 'h', roles: ['read'], logs: ['a'] }),
    });
    const text = world.lines.join('');
    expect(world.lines.length).toBeGreaterThanOrEqual(7);
    for (const secret of [
      token,
      token.split('_').slice(2).join('_'),
      made.json<{ token: string }>().token,
      'query-secret',
      'reason-secret',
      'header-secret',
      'start=1',
      Buffer.from(decodeEntry(bytes).payload).toString().slice(0, 40),
    ]) {
      expect(text).not.toContain(secret);
    }
    // What it does keep: whose token it was, by its public id.
    expect(text).toContain(`"token":"${token.split('_')[1]}"`);
    expect(text).toContain('"path":"/logs/a/v1/entries"');
  });

  test('is no line for a stranger’s mistake, unless asked for everything', async () => {
    const level = (line: string) => (JSON.parse(line) as { level: number }).level;
    const begun = world.lines.length;
    await world.get('/nothing');
    await world.get('/logs/a/v1/entries/0');
    await world.get('/logs/a/v1/sources', { token: 'stele_x' });
    expect(world.lines.slice(begun).map(level)).toEqual([20, 20, 20]);
    await world.get('/nothing', { token: world.token({}) });
    await world.get('/logs/a/v1/entries/900', { token: world.token({}) });
    expect(world.lines.slice(begun + 3).map(level)).toEqual([30, 30]);
  });

  test('no answer says more than it must', async () => {
    const answer = await world.get('/healthz');
    expect(answer.headers).not.toHaveProperty('x-powered-by');
    expect(answer.headers).not.toHaveProperty('server');
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
  });
});

test('the well-known document names what there is', async () => {
  const known = (await world.get('/.well-known/stele')).json<{ logs: string; keys: string }>();
  expect(known).toMatchObject({ name: 'stele', version: '0.0.0' });
  expect((await world.get(known.logs)).json()).toEqual({
    logs: [{ name: 'a', origin: 'log.example/logs/a', visibility: 'proofs', state: 'active' }],
  });
  const { identity, anchor, sth } = log.verifierKeys();
  expect((await world.get(known.keys)).json()).toMatchObject({
    keys: [
      { log: 'a', origin: log.origin, purpose: 'identity', vkey: identity.text },
      { log: 'a', origin: log.origin, purpose: 'anchor', vkey: anchor.text },
      { log: 'a', origin: log.origin, purpose: 'sth', vkey: sth?.text },
    ],
  });
});
