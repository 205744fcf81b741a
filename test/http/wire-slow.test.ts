/** Attacks on the wire: those who hold a connection for as long as they can. Bounds are small here, so nobody sleeps. */
import { afterEach, describe, expect, test } from 'vitest';
import { head, statusesOf, talk, type Wire } from './wire.ts';
import { World, type WorldOptions } from './world.ts';

let world: World;
let token: string;
const drips = new Set<NodeJS.Timeout>();

afterEach(async () => {
  for (const one of drips) clearInterval(one);
  drips.clear();
  await world.stop();
});

async function start(options: WorldOptions): Promise<void> {
  world = await World.start(options);
  await world.log('a');
  token = world.token({ roles: ['submit', 'read', 'admin'] });
}

/** Sends one byte after the other for as long as the connection lasts, the last again and again. */
function drip({ socket }: Wire, text: string): void {
  let at = 0;
  const timer = setInterval(() => {
    socket.write(text[Math.min(at, text.length - 1)] ?? '');
    at += 1;
  }, 5);
  drips.add(timer);
  socket.once('close', () => clearInterval(timer));
}

const HEADERS = { listen: { headersTimeoutMs: 200 } };
const BODY = { settings: { bodyTimeoutMs: 200, idleTimeoutMs: 200 } };

describe('headers', () => {
  test.each([
    ['byte by byte', 'GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: aaaaaaaaaaaa'],
    ['as one header after the other', 'GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\nc: d\r\n'],
    ['that are line ends before the request', '\r\n\r\n\r\n\r\n'],
    ['in the middle of the method', 'GE'],
  ])('%s are cut in time', async (_, text) => {
    await start(HEADERS);
    const wire = talk(world);
    drip(wire, text);
    const all = await wire.end();
    expect(statusesOf(all).filter((status) => status < 400)).toEqual([]);
    expect((await world.get('/healthz')).status).toBe(200);
  });

  test('that never begin are cut in time', async () => {
    await start(HEADERS);
    const wire = talk(world);
    expect(statusesOf(await wire.end())).toEqual([408]);
  });

  test('of the next request on a connection are cut as well', async () => {
    await start(HEADERS);
    const wire = talk(world);
    await wire.send(head('GET', '/healthz'));
    await wire.answers(1);
    drip(wire, 'GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: aaaa');
    expect(statusesOf(await wire.end())).toEqual([200]);
  });
});

describe('a body', () => {
  const begin = async (path: string, headers: Record<string, string>) => {
    const wire = talk(world);
    await wire.send(head('POST', path, { authorization: `Bearer ${token}`, ...headers }));
    return wire;
  };
  const PROTOBUF = { 'content-type': 'application/protobuf' };
  const CHUNKED = { 'transfer-encoding': 'chunked' };

  test.each([
    ['an entry', '/logs/a/v1/entries', PROTOBUF],
    ['a batch', '/logs/a/v1/entries/batch', PROTOBUF],
    ['a token', '/v1/admin/tokens', { 'content-type': 'application/json' }],
  ])('byte by byte is cut in time: %s', async (_, path, type) => {
    await start(BODY);
    const wire = await begin(path, { ...type, 'content-length': '60000' });
    drip(wire, '\n');
    expect(statusesOf(await wire.end())).toEqual([408]);
  });

  test('in chunks of one byte, or of which only the size comes, is cut in time', async () => {
    await start(BODY);
    for (const text of ['1\r\n\n\r\n'.repeat(500), '1;a=', '0000000']) {
      const wire = await begin('/logs/a/v1/entries', { ...PROTOBUF, ...CHUNKED });
      drip(wire, text);
      const statuses = statusesOf(await wire.end());
      expect(statuses, text.slice(0, 20)).toHaveLength(1);
      expect([400, 408, 413]).toContain(statuses[0]);
    }
  });

  test('in parts that stops is cut in time', async () => {
    await start(BODY);
    const wire = await begin('/logs/a/v1/entries', {
      'content-type': 'multipart/form-data; boundary=B',
      'content-length': '60000',
    });
    await wire.send('--B\r\ncontent-disposition: form-data; name="entry"\r\n\r\n');
    expect(statusesOf(await wire.end())).toEqual([408]);
  });

  test('whose refusal is not read keeps nothing', async () => {
    await start({ listen: { linger: { bytesMax: 1_000_000, ms: 300 } } });
    const closed = new Promise<void>((resolve) => {
      world.server.server.once('connection', (one) => one.once('close', () => resolve()));
    });
    const wire = talk(world);
    wire.socket.pause();
    await wire.send(head('POST', '/nothing', { 'content-length': '900000000' }));
    await closed;
    wire.socket.destroy();
  });
});

test('a hundred slow senders keep no other from being served', async () => {
  await start({ ...HEADERS, ...BODY });
  const slow = Array.from({ length: 100 }, () => talk(world));
  for (const wire of slow) drip(wire, 'POST /logs/a/v1/entries HTTP/1.1\r\nhost: x\r\nx-slow: aa');
  for (let i = 0; i < 50; i++) expect((await world.get('/healthz')).status).toBe(200);
  const ends = await Promise.all(slow.map((wire) => wire.end()));
  expect(ends.flatMap(statusesOf).filter((status) => status < 400)).toEqual([]);
});
