/** Whoever is asked outside answers in bounds, or not at all. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Outbound, retryAfterOf } from '../../server/outbound.ts';

const outbound = new Outbound('1.2.3', 'ops@example.com');

async function served(handle: RequestListener): Promise<string> {
  const server = createServer(handle).listen(0, '127.0.0.1');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const bounds = { maxBytes: 100, timeoutMs: 10_000 };

test('it says who asks, and gives whatever status comes', async () => {
  const url = await served((req, res) => {
    res.writeHead(418, { 'retry-after': '7' }).end(req.headers['user-agent']);
  });
  const { status, bytes, retryAfterS } = await outbound.ask(url, bounds);
  expect([status, Buffer.from(bytes).toString(), retryAfterS]).toEqual([
    418,
    'stele/1.2.3 (ops@example.com)',
    7,
  ]);
});

test('a body goes as it is', async () => {
  const url = await served((req, res) => {
    req.pipe(res);
  });
  const body = new Uint8Array([0, 255, 10]);
  const answered = await outbound.ask(url, { ...bounds, method: 'POST', body });
  expect([...answered.bytes]).toEqual([0, 255, 10]);
});

test('a redirect is not followed', async () => {
  const url = await served((_, res) => {
    res.writeHead(307, { location: 'http://127.0.0.1:1/' }).end();
  });
  expect((await outbound.ask(url, bounds)).status).toBe(307);
});

test('an answer that does not end in bytes is refused', async () => {
  const url = await served((_, res) => {
    res.write(Buffer.alloc(101));
  });
  await expect(outbound.ask(url, bounds)).rejects.toMatchObject({ code: 'too_large' });
});

test('an answer that does not end in time is none', async () => {
  const url = await served((_, res) => {
    res.write('a');
  });
  await expect(outbound.ask(url, { ...bounds, timeoutMs: 50 })).rejects.toMatchObject({
    code: 'storage',
    message: expect.stringContaining('no answer within 50 ms'),
  });
});

test('nobody there, and a connection that breaks, have a reason', async () => {
  await expect(outbound.ask('http://127.0.0.1:1/', bounds)).rejects.toMatchObject({
    code: 'storage',
  });
  const url = await served((req) => req.socket.destroy());
  await expect(outbound.ask(url, bounds)).rejects.toMatchObject({ code: 'storage' });
});

test('whoever gives up is not kept waiting', async () => {
  const url = await served(() => undefined);
  const over = new AbortController();
  const asked = outbound.ask(url, { ...bounds, signal: over.signal });
  over.abort();
  await expect(asked).rejects.toMatchObject({ code: 'storage' });
});

test.each([
  ['120', 120],
  ['0', 0],
  ['99999999', 3_600],
  ['Thu, 01 Jan 1970 00:01:00 GMT', 60],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['Thu, 99 Foo 1970 00:00:00 GMT', undefined],
  ['soon', undefined],
  ['-1', undefined],
  [null, undefined],
])('retry-after %s is %s seconds', (header, seconds) => {
  expect(retryAfterOf(header, 0)).toBe(seconds);
});
