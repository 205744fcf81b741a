/** Attacks on the wire: request lines, targets, methods, versions and headers that nobody sends in good faith. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { head, statusesOf, talk } from './wire.ts';
import { World } from './world.ts';

let world: World;

beforeAll(async () => {
  world = await World.start({ listen: { keepAliveMs: 500 } });
  await world.log('a');
});

afterAll(() => world.stop());

/** Sends this, byte for byte, and returns all that comes back until the connection is closed. */
async function exchange(text: string): Promise<string> {
  const wire = talk(world);
  await wire.send(Buffer.from(text, 'latin1'));
  return wire.end();
}

const CLOSE = { connection: 'close' };
const get = (target: string, headers = {}) =>
  exchange(head('GET', target, { ...CLOSE, ...headers }));

describe('a target that another reader could take for something else', () => {
  test.each([
    '/logs/a%2fcheckpoint',
    '/logs/a/%63heckpoint',
    '/logs/a/checkpoint%00',
    '/logs/a/../a/checkpoint',
    '/logs/./a/checkpoint',
    '/logs/a/%2e%2e/%2e%2e/v1/admin/tokens',
    '/logs/a/..%2f..%2fv1/admin/tokens',
    '/logs/a//checkpoint',
    '//logs/a/checkpoint',
    '//evil.example/healthz',
    '/logs/a/checkpoint/',
    '/logs/a\\checkpoint',
    '\\healthz',
    '/healthz;jsessionid=1',
    '/healthz#fragment',
    '/health*',
    '/logs/a/checkpoint|id',
    'http://x/healthz',
    'https://evil.example/healthz',
    'HTTP://x/healthz',
    'x:443',
    '*',
    '?x=1',
    'healthz',
  ])('%s is 400, and nothing is cleaned', async (target) => {
    const text = await get(target);
    expect(statusesOf(text)).toEqual([400]);
    expect(text).toContain('"code":"malformed"');
  });

  test.each([
    ['a NUL', '/healthz\x00'],
    ['a letter beyond ASCII', '/health\xe9'],
    ['a letter in UTF-8', '/health\xc3\xa9'],
    ['an overlong slash', '/logs\xc0\xafa'],
    ['a carriage return', '/healthz\rx'],
    ['a space', '/health z'],
    ['a tab', '/health\tz'],
    ['delete', '/healthz\x7f'],
  ])('%s is 400', async (_, target) => {
    expect(statusesOf(await get(target))).toEqual([400]);
  });

  test('16 KiB of it is 431, and half of that is 404', async () => {
    expect(statusesOf(await get(`/${'a'.repeat(20_000)}`))).toEqual([431]);
    expect(statusesOf(await get(`/${'a'.repeat(8_000)}`))).toEqual([404]);
  });

  test('thousands of parameters are 400 at the first that is not known', async () => {
    const text = await get(`/logs/a/v1/tree-head?${'a&'.repeat(7_000)}`);
    expect(statusesOf(text)).toEqual([400]);
    expect(text.length).toBeLessThan(1_500);
  });
});

describe('a method', () => {
  test.each(['TRACE', 'PUT', 'PATCH', 'PROPFIND', 'LOCK', 'M-SEARCH', 'PURGE'])(
    '%s is 405, and echoes nothing',
    async (method) => {
      const text = await exchange(head(method, '/healthz', { ...CLOSE, cookie: 'planted=1' }));
      expect(statusesOf(text)).toEqual([405]);
      expect(text).not.toContain('planted');
    },
  );

  test.each(['BREW', 'get', 'GE', 'GET\x00', 'GETT', 'G\xc9T'])('%j is 400', async (method) => {
    expect(statusesOf(await exchange(head(method, '/healthz', CLOSE)))).toEqual([400]);
  });

  test.each(['x:443', '127.0.0.1:22', '/healthz'])('CONNECT %s makes no tunnel', async (target) => {
    const text = await exchange(head('CONNECT', target));
    expect(statusesOf(text).filter((status) => status < 300)).toEqual([]);
  });
});

describe('a version', () => {
  test('that is none, as in HTTP/0.9, is refused', async () => {
    expect(statusesOf(await exchange('GET /healthz\r\n\r\n'))).toEqual([505]);
  });

  test('of HTTP/1.0 is served, and its connection is closed', async () => {
    const text = await exchange('GET /healthz HTTP/1.0\r\n\r\n');
    expect(statusesOf(text)).toEqual([200]);
  });

  test.each(['HTTP/1.2', 'HTTP/2.0', 'HTTP/9.9', 'http/1.1', 'HTTP/1.10', 'ICY/1.1'])(
    'of %s is refused',
    async (version) => {
      const text = await exchange(
        `GET /healthz ${version}\r\nhost: x\r\nconnection: close\r\n\r\n`,
      );
      expect([[400], [505]]).toContainEqual(statusesOf(text));
    },
  );

  test('of HTTP/2 without asking is 400', async () => {
    expect(statusesOf(await exchange('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))).toEqual([400]);
  });
});

describe('an upgrade', () => {
  test.each([
    ['websocket', { 'sec-websocket-key': 'A'.repeat(22), 'sec-websocket-version': '13' }],
    ['h2c', { 'http2-settings': 'AAMAAABkAAQAAP__' }],
    ['TLS/1.2', {}],
  ])('to %s is passed over, and the protocol stays', async (upgrade, headers) => {
    const wire = talk(world);
    await wire.send(head('GET', '/healthz', { connection: 'upgrade', upgrade, ...headers }));
    await wire.answers(1);
    wire.socket.destroy();
    expect(statusesOf(wire.text())).toEqual([200]);
  });
});

describe('headers', () => {
  test.each(['host', 'authorization', 'content-type', 'expect', 'Host'])(
    '%s twice is 400',
    async (name) => {
      const twice = `${name}: x\r\n${name}: y\r\n`;
      const text = await exchange(`GET /healthz HTTP/1.1\r\nhost: x\r\n${twice}\r\n`);
      expect(statusesOf(text)).toEqual([400]);
      expect(text).toContain('is given twice');
    },
  );

  test('more than 200 are 431, however small, and so is one that is large', async () => {
    const many = Object.fromEntries(Array.from({ length: 250 }, (_, i) => [`a${i}`, '']));
    const text = await get('/healthz', many);
    expect([statusesOf(text), text.includes('252 where at most 200')]).toEqual([[431], true]);
    const most = Object.fromEntries(Array.from({ length: 198 }, (_, i) => [`a${i}`, '']));
    expect(statusesOf(await get('/healthz', most))).toEqual([200]);
    expect(statusesOf(await get('/healthz', { 'x-a': 'a'.repeat(17_000) }))).toEqual([431]);
  });

  test('what a proxy has added last is read, whatever a caller put before it', async () => {
    const filler = Object.fromEntries(Array.from({ length: 1_500 }, (_, i) => [`a${i}`, '']));
    const text = await get('/healthz', { ...filler, 'x-forwarded-for': '192.0.2.1' });
    // Node by itself would have passed over all after the thousandth.
    expect(statusesOf(text)).toEqual([431]);
  });

  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])(
    'of the name %s are headers like any other',
    async (name) => {
      expect(statusesOf(await get('/logs/a/checkpoint', { [name]: 'x' }))).toEqual([200]);
    },
  );

  test.each(['200-ok', '100-continue, x', ''])('expect: %j is 417', async (expected) => {
    const text = await get('/healthz', { expect: expected });
    expect(statusesOf(text)).toEqual([417]);
    expect(text).toContain('"code":"malformed"');
  });

  test.each(['gzip', 'br', 'deflate', 'identity', 'GZIP', 'gzip, gzip', 'zstd'])(
    'content-encoding: %s is 415: nothing is ever unpacked',
    async (encoding) => {
      const token = world.token({ roles: ['submit', 'admin'] });
      for (const [path, type] of [
        ['/logs/a/v1/entries', 'application/protobuf'],
        ['/logs/a/v1/entries', 'multipart/form-data; boundary=B'],
        ['/logs/a/v1/entries/batch', 'application/x-ndjson'],
        ['/v1/admin/tokens', 'application/json'],
      ] as const) {
        const text = await exchange(
          head('POST', path, {
            ...CLOSE,
            authorization: `Bearer ${token}`,
            'content-type': type,
            'content-encoding': encoding,
            'content-length': '1000000',
            expect: '100-continue',
          }),
        );
        expect(statusesOf(text), path).toEqual([415]);
      }
    },
  );
});

describe('a pipeline', () => {
  test('of a hundred requests is answered in order, each once', async () => {
    const paths = Array.from({ length: 100 }, (_, i) => `/logs/a/v1/tree-head/${i}`);
    const wire = talk(world);
    await wire.send(paths.map((path) => head('GET', path)).join(''));
    await wire.answers(100);
    await wire.send(head('GET', '/healthz', CLOSE));
    const text = await wire.end();
    const statuses = statusesOf(text);
    expect(statuses).toHaveLength(101);
    // Sizes 0 to 2 exist; the rest does not.
    expect(statuses.slice(0, 3)).toEqual([200, 200, 200]);
    expect(new Set(statuses.slice(3, 100))).toEqual(new Set([404]));
    expect(statuses.at(-1)).toBe(200);
  });

  test('with noise in it is answered up to there, and closed', async () => {
    const wire = talk(world);
    await wire.send(head('GET', '/healthz'));
    await wire.answers(1);
    await wire.send(`noise\r\n\r\n${head('GET', '/healthz')}`);
    expect(statusesOf(await wire.end())).toEqual([200]);
  });
});
