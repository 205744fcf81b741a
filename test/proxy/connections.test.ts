/** Connections to the proxy that make no call: bounded in number and in time. */
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ask, RawClient, setUp } from './harness.ts';

const NOWHERE = { upstream: 'http://127.0.0.1:9' };

describe('a connection without a call', () => {
  test('that says nothing is closed after a while', async () => {
    const { proxy } = await setUp({ ...NOWHERE, timeouts: { headersMs: 100 } });
    const silent = new RawClient(proxy.url);
    const slow = new RawClient(proxy.url);
    slow.socket.write('POST /openai/v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nX-Slow: ');
    const drip = setInterval(() => slow.socket.write('x'), 10);
    await Promise.all([silent.closed(), slow.closed()]);
    clearInterval(drip);
    expect(proxy.state().calls).toBe(0);
    expect((await ask(`${proxy.url}/healthz`, { method: 'GET' })).status).toBe(200);
  });

  test('is one of so many, and one more is closed at once', async () => {
    const { proxy } = await setUp({ ...NOWHERE, limits: { connections: 2 } });
    const kept = [new RawClient(proxy.url), new RawClient(proxy.url)];
    for (const one of kept) {
      one.socket.write('GET /healthz HTTP/1.1\r\nHost: proxy\r\n\r\n');
      await one.until(({ text }) => text.includes('"ok"'));
    }
    const third = new RawClient(proxy.url);
    await third.closed();
    expect(third.text).toBe('');
    for (const one of kept) one.socket.destroy();
    for (const one of kept) await one.closed();
    // Their places are free again, as soon as the proxy has seen them go.
    for (let status = 0; status !== 200; ) {
      const again = ask(`${proxy.url}/healthz`, { method: 'GET' });
      status = await again.then(
        (answer) => answer.status,
        () => 0,
      );
    }
  });
});

test('a request of more headers than Node counts to passes with all of them', async () => {
  const provider = createServer({ maxHeaderSize: 65_536 });
  provider.maxHeadersCount = 0;
  let seen: IncomingMessage['rawHeaders'] = [];
  provider.on('request', (req, res) => {
    seen = req.rawHeaders;
    res.end('{}');
  });
  provider.listen(0, '127.0.0.1');
  await once(provider, 'listening');
  onTestFinished(() => void provider.close());
  const { port } = provider.address() as AddressInfo;
  const { proxy } = await setUp({ upstream: `http://127.0.0.1:${port}` });
  const many = Array.from({ length: 1_500 }, (_, i) => [`a${i}`, '1']).flat();
  const begin = ['host', 'proxy', 'content-type', 'application/json', 'content-length', '2'];
  const headers = [...begin, ...many, 'x-last', 'here'];
  const answer = await ask(`${proxy.url}/openai/v1/chat/completions`, { headers, body: '{}' });
  expect(answer.status).toBe(200);
  expect(seen.filter((_, i) => i % 2 === 0 && /^a\d+$/.test(seen[i] ?? ''))).toHaveLength(1_500);
  expect(seen).toContain('x-last');
});

test.each([
  [
    'that is no call',
    'POST /nowhere HTTP/1.1\r\nHost: proxy\r\nContent-Length: 8000000\r\n\r\n',
    404,
  ],
  ['whose call is too large', callOf('Content-Length: 9000000\r\n'), 413],
  ['in chunks that are too many', `${callOf('Transfer-Encoding: chunked\r\n')}7a1200\r\n`, 413],
  ['that is not HTTP', 'hello', 400],
])(
  'a sender that reads nothing before all is sent gets the refusal: one %s',
  async (_, request, status) => {
    const { proxy } = await setUp({ ...NOWHERE, limits: { requestBytes: 1_000_000 } });
    const client = new RawClient(proxy.url);
    const errors: Error[] = [];
    client.socket.on('error', (error) => errors.push(error)).pause();
    client.socket.write(request);
    await new Promise<void>((resolve) => {
      client.socket.write(Buffer.alloc(8_000_000, 'x'), () => resolve());
    });
    client.socket.resume();
    await client.closed();
    expect(errors).toEqual([]);
    expect(client.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  },
);

function callOf(length: string): string {
  return `POST /openai/v1/chat/completions HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n${length}\r\n`;
}
