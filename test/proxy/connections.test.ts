/** Connections to the proxy that make no call: bounded in number and in time. */
import { describe, expect, test } from 'vitest';
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
