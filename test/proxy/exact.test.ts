/** The bytes, and nothing but the bytes: when they come, as they come, and for as long as they come. */
import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { type ClientRequest, createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ownExchange } from '../replay/exchanges.ts';
import { startReplay } from '../replay/replay.ts';
import { FaultDisk } from './fault-disk.ts';
import { ask, gate, RawClient, setUp } from './harness.ts';

async function upstream(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const QUESTION = '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}';

/** What a client has of an answer's body, its chunks put together; as far as they came. */
function bodyOf({ received }: RawClient): Buffer {
  const head = received.indexOf('\r\n\r\n');
  const parts: Buffer[] = [];
  let at = head + 4;
  while (head >= 0 && at < received.length) {
    const line = received.indexOf('\r\n', at);
    if (line < 0) break;
    const size = Number.parseInt(received.toString('latin1', at, line), 16);
    if (size === 0) break;
    parts.push(received.subarray(line + 2, Math.min(line + 2 + size, received.length)));
    at = line + 2 + size + 2;
  }
  return Buffer.concat(parts);
}

describe('every piece is there before the next one is sent', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['openai-chat.sse', 1],
    ['openai-chat.sse', 64],
    ['openai-chat-crlf.sse', 37],
    ['openai-chat-cr.sse', 37],
    ['openai-chat-tools.sse', 61],
    ['anthropic-messages.sse', 61],
    ['anthropic-overloaded.sse', 13],
    ['responses.sse', 61],
    ['gemini.sse', 61],
    ['gemini-array.json', 61],
    ['bedrock-converse.jsonl', 61],
    ['ollama-chat.ndjson', 7],
    ['ollama-error.ndjson', 1],
  ];

  test.each(cases)('%s in pieces of %i bytes', async (name, pieces) => {
    const client = Promise.withResolvers<RawClient>();
    const seen: number[] = [];
    const own = ownExchange(name, {
      pieces,
      // The model goes on only when the client has all that it said so far.
      async beforePiece(sent) {
        const here = await client.promise;
        await here.until((c) => bodyOf(c).length >= sent);
        seen.push(sent);
      },
    });
    const provider = await startReplay({ exchanges: [own] });
    onTestFinished(() => provider.close());
    const { proxy, log } = await setUp({ upstream: provider.url });
    const raw = new RawClient(proxy.url);
    client.resolve(raw);
    raw.post(`/any${own.path}${name === 'gemini.sse' ? '?alt=sse' : ''}`, QUESTION);
    await raw.until((c) => c.text.endsWith('0\r\n\r\n'));
    expect(bodyOf(raw).equals(Buffer.from(own.body as Uint8Array))).toBe(true);
    // And once more behind the last one, while the connection is still open.
    expect(seen).toHaveLength(Math.ceil(own.body.length / pieces) + 1);
    const [record] = await log.untilCalls(1);
    const kept = log.of(record?.record_id ?? '').bodies.get('response.body');
    expect(kept?.equals(Buffer.from(own.body as Uint8Array))).toBe(true);
  });
});

describe('what completes an answer waits for the disk', () => {
  test.each([
    ['gemini.sse', 2, undefined],
    ['gemini-array.json', 2, undefined],
    ['ollama-chat.ndjson', 2, undefined],
    ['ollama-chat.ndjson', 2, 'application/json'],
    ['ollama-error.ndjson', 2, undefined],
    ['openai-chat-crlf.sse', 4, undefined],
    // By its type it is a body of which one byte waits, and the client has an empty line without that.
    ['openai-chat-crlf.sse', 4, 'application/json'],
    ['openai-chat-crlf.sse', 4, ''],
    ['openai-chat.json', 2, undefined],
  ])('%s, of which the last %i bytes, with content type %s', async (name, held, type) => {
    const own = ownExchange(name, type === undefined ? {} : { headers: { 'content-type': type } });
    const open = gate();
    // All in one piece, and the connection stays open behind it.
    const provider = await startReplay({
      exchanges: [{ ...own, pieces: own.body.length - 1 }],
    });
    onTestFinished(() => provider.close());
    const disk = new FaultDisk();
    const reached = gate();
    let isHeld = false;
    disk.gate = async () => {
      if (!isHeld) return;
      reached.open();
      await open.passed;
    };
    const { proxy } = await setUp({ upstream: provider.url, disk });
    // The request is on disk; from here on the disk is held.
    disk.after = (step) => {
      isHeld ||= step === 'sync';
    };
    const raw = new RawClient(proxy.url);
    raw.post(`/any${own.path}${name === 'gemini.sse' ? '?alt=sse' : ''}`, QUESTION);
    await reached.passed;
    const whole = Buffer.from(own.body as Uint8Array);
    await raw.until((c) => bodyOf(c).length >= whole.length - held - 2);
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    expect(bodyOf(raw).length).toBeLessThanOrEqual(whole.length - held);
    open.open();
    await raw.until((c) => c.text.endsWith('0\r\n\r\n'));
    expect(bodyOf(raw).equals(whole)).toBe(true);
  });
});

describe('no limit is on the whole', () => {
  test('of Node’s own none is set: on a request, a socket, or a whole exchange', async () => {
    const up: ClientRequest[] = [];
    const down: { server: Server; socket: Socket }[] = [];
    const started = (message: unknown) => up.push((message as { request: ClientRequest }).request);
    const arrived = (message: unknown) => down.push(message as (typeof down)[0]);
    channel('http.client.request.start').subscribe(started);
    channel('http.server.request.start').subscribe(arrived);
    onTestFinished(() => {
      channel('http.client.request.start').unsubscribe(started);
      channel('http.server.request.start').unsubscribe(arrived);
    });
    const answering = gate();
    const url = await upstream(async (_req, res) => {
      await answering.passed;
      res.end('{}');
    });
    const { proxy } = await setUp({ upstream: url });
    const waiting = ask(`${proxy.url}/any/api/chat`, { body: QUESTION });
    while (up.length < 2) await new Promise<void>((resolve) => setImmediate(resolve));
    const forwarded = up.find(({ path }) => path === '/api/chat');
    await new Promise<void>((resolve) => {
      const socket = forwarded?.socket;
      if (socket) resolve();
      else forwarded?.once('socket', () => resolve());
    });
    // What undici calls headersTimeout and bodyTimeout (300 s) are socket timeouts here.
    expect(forwarded?.socket?.timeout ?? 0).toBe(0);
    const port = Number(new URL(proxy.url).port);
    const here = down.filter(({ socket }) => socket.localPort === port);
    expect(here).toHaveLength(1);
    expect(
      here.map(({ server, socket }) => [
        server.requestTimeout,
        server.timeout,
        socket.timeout ?? 0,
      ]),
    ).toEqual([[0, 0, 0]]);
    answering.open();
    expect((await waiting).status).toBe(200);
  });

  test('a model may be silent for as long as is set, however often', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const ANOTHER = 599_000;
    const steps = Array.from({ length: 4 }, gate);
    const url = await upstream(async (_req, res) => {
      await steps[0]?.passed;
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: {"choices":[]}\n\n');
      await steps[1]?.passed;
      res.write('data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n');
      await steps[2]?.passed;
      res.end('data: [DONE]\n\n');
    });
    const { proxy, log } = await setUp({ upstream: url });
    const raw = new RawClient(proxy.url);
    raw.post('/any/v1/chat/completions', QUESTION);
    // Of each silence all but the last second passes: half an hour in all.
    for (const [i, has] of ['', '"choices":[]', '"stop"'].entries()) {
      await raw.until((c) => c.text.includes(has));
      if (i === 0) while ((await state(proxy.url)).calls === 0);
      await quiet();
      vi.advanceTimersByTime(ANOTHER);
      await quiet();
      steps[i]?.open();
    }
    await raw.until((c) => c.text.includes('[DONE]'));
    vi.useRealTimers();
    await log.until(() => log.calls.length > 0);
    expect(log.calls[0]?.outcome.status).toBe('ok');
  });
});

async function state(url: string): Promise<{ readonly calls: number }> {
  const { body } = await ask(`${url}/readyz`, { method: 'GET', headers: {} });
  return JSON.parse(body.toString());
}

/** Whatever is under way in this process and on loopback has had its turns. */
async function quiet(): Promise<void> {
  for (let i = 0; i < 200; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

describe('what comes before an answer', () => {
  test.each([
    [102, []],
    [103, ['Link', '</a>; rel=preload', 'link', '</b>; rel=preload', 'X-Stele-Fake', 'no']],
  ])('with status %i is passed on', async (status, headers) => {
    const sockets = await upstream((req, res) => {
      const lines = [];
      for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
      req.socket.write(`HTTP/1.1 ${status} Early\r\n${lines.map((l) => `${l}\r\n`).join('')}\r\n`);
      res.end('{}');
    });
    const { proxy, log } = await setUp({ upstream: sockets });
    const raw = new RawClient(proxy.url);
    raw.post('/any/v1/models', '{}');
    await raw.until((c) => c.text.endsWith('{}'));
    const [early = '', head = ''] = raw.text.split('\r\n\r\n');
    expect(early).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    const passed = headers.slice(0, 4);
    for (let i = 0; i < passed.length; i += 2)
      expect(early).toContain(`${passed[i]}: ${passed[i + 1]}`);
    expect(early).not.toContain('Fake');
    expect(head).toMatch(/^HTTP\/1.1 200 /);
    expect((await log.untilCalls(1))[0]?.outcome.http_status).toBe(200);
  });

  test('is not for clients that would take it for the answer', async () => {
    const url = await upstream((req, res) => {
      req.socket.write('HTTP/1.1 103 Early Hints\r\n\r\n');
      res.end('{}');
    });
    const { proxy } = await setUp({ upstream: url });
    const raw = new RawClient(proxy.url);
    raw.socket.write('GET /any/v1/models HTTP/1.0\r\nHost: p\r\n\r\n');
    await raw.closed();
    expect(raw.text).toMatch(/^HTTP\/1.1 200 /);
  });
});

describe('what a client decides by', () => {
  test('retry headers, limits and ids pass as they came', async () => {
    const headers = [
      ...['Retry-After', '7', 'retry-after-ms', '6543', 'X-Should-Retry', 'false'],
      ...['x-ratelimit-remaining-requests', '0', 'anthropic-ratelimit-tokens-reset', 'soon'],
      ...['X-Request-Id', 'req_1', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'],
    ];
    const url = await upstream((_req, res) => {
      res.sendDate = false;
      res.writeHead(429, 'Slow Down', headers);
      res.end('{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}');
    });
    const { proxy, log } = await setUp({ upstream: url });
    const answer = await ask(`${proxy.url}/any/v1/chat/completions`, { body: QUESTION });
    expect(answer).toMatchObject({ status: 429, statusMessage: 'Slow Down' });
    expect(answer.rawHeaders.slice(0, headers.length)).toEqual(headers);
    const [record] = await log.untilCalls(1);
    expect(record?.outcome).toEqual({
      status: 'upstream-error',
      http_status: 429,
      error_type: 'requests',
      error_code: 'rate_limit_exceeded',
    });
  });

  test('each attempt is a record, with its number', async () => {
    const url = await upstream((_req, res) => void res.writeHead(500).end('{}'));
    const { proxy, log } = await setUp({ upstream: url });
    for (const count of ['0', '1', '2']) {
      const headers = { 'content-type': 'application/json', 'x-stainless-retry-count': count };
      await ask(`${proxy.url}/any/v1/chat/completions`, { body: QUESTION, headers });
    }
    expect((await log.untilCalls(3)).map(({ ids }) => ids.attempt)).toEqual([1, 2, 3]);
  });
});

test('a compressed stream passes as it came, and what it says is on record', async () => {
  for (const coding of ['gzip', 'br', 'zstd'] as const) {
    for (const name of [
      'openai-chat.sse',
      'ollama-chat.ndjson',
      'bedrock-converse.jsonl',
      'gemini-array.json',
    ]) {
      const own = ownExchange(name, { coding, pieces: 5 });
      const provider = await startReplay({ exchanges: [own] });
      const { proxy, log } = await setUp({ upstream: provider.url });
      const answer = await ask(`${proxy.url}/any${own.path}`, { body: QUESTION });
      expect(answer.body.equals(Buffer.from(provider.requests[0]?.sent ?? [])), name).toBe(true);
      const [record] = await log.untilCalls(1);
      expect(record?.metrics.usage_source, name).toBe('provider');
      expect(record?.output?.stream?.events, name).toBeGreaterThan(3);
      await provider.close();
    }
  }
});
