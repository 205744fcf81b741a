import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createGzip } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Exchange, startReplay } from '../replay/replay.ts';
import { FaultDisk, ioError } from './fault-disk.ts';
import { ask, gate, RawClient, setUp } from './harness.ts';

const CHAT = '/openai/v1/chat/completions';
const REQUEST = JSON.stringify({
  model: 'gpt-test',
  stream: true,
  messages: [{ role: 'user', content: 'hello' }],
});

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-test-1',
    choices: [{ index: 0, delta, finish_reason: finish }],
  })}\n\n`;

const STREAM =
  chunk({ role: 'assistant', content: 'Hel' }) +
  chunk({ content: 'lo' }) +
  chunk({}, 'stop') +
  'data: [DONE]\n\n';

async function replay(exchange: Partial<Exchange> & Pick<Exchange, 'body'>) {
  const server = await startReplay({
    exchanges: [{ path: '/v1/chat/completions', ...exchange }],
  });
  onTestFinished(() => server.close());
  return server;
}

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

const sse = { 'content-type': 'text/event-stream' };

describe('a call', () => {
  test('goes through byte for byte and becomes a record with its content', async () => {
    const provider = await replay({ headers: { ...sse, 'X-Request-Id': 'req_1' }, body: STREAM });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const answer = await ask(`${proxy.url}${CHAT}?x=1`, {
      body: REQUEST,
      headers: { 'content-type': 'application/json', 'user-agent': 'tester/1' },
    });
    expect(answer).toMatchObject({ status: 200, isWhole: true });
    expect(answer.body.toString()).toBe(STREAM);
    expect(provider.requests[0]?.target).toBe('/v1/chat/completions?x=1');
    expect(Buffer.from(provider.requests[0]?.body ?? []).toString()).toBe(REQUEST);

    const [record] = await log.untilCalls(1);
    expect(record).toMatchObject({
      record_id: answer.recordId,
      auth: { tenant: 'default', method: 'none' },
      ids: { gateway_request: answer.recordId, upstream_request: 'req_1', attempt: 1 },
      source: { seq: 0, prev: null, provenance: 'observed', completeness: 'full' },
      input: { format: 'openai.chat', context: 'complete', messages: 1 },
      model: { provider: 'openai', operation: 'chat', requested: 'gpt-test', served: 'gpt-test-1' },
      output: { finish_reasons: ['stop'], stream: { terminated: 'done' } },
      outcome: { status: 'ok', http_status: 200 },
    });
    const { bodies, disclosures } = log.of(answer.recordId);
    expect(bodies.get('request.body')?.toString()).toBe(REQUEST);
    expect(bodies.get('response.body')?.toString()).toBe(STREAM);
    expect(disclosures.get('user_agent')).toBe('tester/1');
    expect(disclosures.get('client.address')).toBe('127.0.0.1');
    expect(JSON.stringify(disclosures.get('response.messages'))).toContain('Hello');
    log.checkChain();
  });

  test('of Azure is known by the id that its diagnostic log has, beside another', async () => {
    const ids = { 'x-request-id': 'ours-in-no-log', 'apim-request-id': 'correlation-1' };
    const provider = await replay({ headers: { ...sse, ...ids }, body: STREAM });
    const { proxy, log } = await setUp({ upstream: provider.url });
    await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    const [record] = await log.untilCalls(1);
    expect(record?.ids.upstream_request).toBe('correlation-1');
  });

  test.each([1, 7, 37])('is the same in pieces of %i bytes', async (pieces) => {
    const provider = await replay({ headers: sse, body: STREAM, pieces });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer.body.toString()).toBe(STREAM);
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('ok');
    expect(log.of(answer.recordId).bodies.get('response.body')?.toString()).toBe(STREAM);
  });

  test('without a body, and with an empty answer, is one too', async () => {
    const url = await upstream((req, res) => {
      res.writeHead(req.method === 'DELETE' ? 204 : 200, { 'content-length': '5' });
      res.end(req.method === 'DELETE' ? undefined : 'hello');
    });
    const { proxy, log } = await setUp({ upstream: url });
    const got = await ask(`${proxy.url}/openai/v1/models`, { method: 'GET', headers: {} });
    expect(got.body.toString()).toBe('hello');
    const head = await ask(`${proxy.url}/openai/v1/models`, { method: 'HEAD', headers: {} });
    expect(head).toMatchObject({ status: 200, isWhole: true });
    expect(head.headers['content-length']).toBe('5');
    const gone = await ask(`${proxy.url}/openai/v1/files/1`, { method: 'DELETE', headers: {} });
    expect(gone).toMatchObject({ status: 204, isWhole: true });
    const records = await log.untilCalls(3);
    expect(records.map((r) => r.output !== undefined)).toEqual([true, false, false]);
    expect(records.map((r) => 'request.body' in r.commitments.fields)).toEqual([
      false,
      false,
      false,
    ]);
    expect(records.map((r) => r.metrics.ttfb_us !== undefined)).toEqual([true, false, false]);
    expect(records.map((r) => r.outcome.status)).toEqual(['ok', 'ok', 'ok']);
  });

  test('keeps status line, header case, order and repetitions, and trailers', async () => {
    const url = await upstream((_req, res) => {
      res.sendDate = false;
      res.writeHead(207, 'Rather Fine', [
        'X-B',
        'one',
        'x-a',
        '1',
        'X-B',
        'two',
        'Keep-Alive',
        'timeout=7',
        'X-Stele-Fake',
        'yes',
        'Trailer',
        'X-Sum',
      ]);
      res.write('body');
      res.addTrailers({ 'X-Sum': 'abc' });
      res.end();
    });
    const { proxy } = await setUp({ upstream: url });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer).toMatchObject({ status: 207, statusMessage: 'Rather Fine', isWhole: true });
    expect(answer.rawHeaders.slice(0, 6)).toEqual(['X-B', 'one', 'x-a', '1', 'X-B', 'two']);
    expect(answer.rawTrailers).toEqual(['X-Sum', 'abc']);
    expect(answer.headers).not.toHaveProperty('x-stele-fake');
    expect(answer.headers).not.toHaveProperty('date');
    expect(answer.headers['keep-alive']).not.toBe('timeout=7');
    expect(answer.headers['x-stele-overhead-us']).toMatch(/^[0-9]+$/);
  });

  test('of 60 MB goes through in bounded memory, read back from the journal', async () => {
    const big = Buffer.alloc(60_000_000, 'abcdefghij');
    const seen: number[] = [];
    const url = await upstream((req, res) => {
      let bytes = 0;
      req.on('data', (d: Buffer) => (bytes += d.length));
      req.on('end', () => {
        seen.push(bytes);
        res.end(big);
      });
    });
    const { proxy, log } = await setUp({ upstream: url, limits: { memoryBytes: 1_000_000 } });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: big });
    expect(seen).toEqual([big.length]);
    expect(answer.body.equals(big)).toBe(true);
    await log.untilCalls(1);
    const { bodies } = log.of(answer.recordId);
    expect(bodies.get('request.body')?.equals(big)).toBe(true);
    expect(bodies.get('response.body')?.equals(big)).toBe(true);
  });

  test('larger than the limit is refused, not forwarded, and recorded as blocked', async () => {
    const provider = await replay({ body: '{}' });
    const { proxy, log } = await setUp({ upstream: provider.url, limits: { requestBytes: 1_000 } });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: 'x'.repeat(5_000) });
    expect(answer.status).toBe(413);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ code: 'too_large' });
    expect(provider.requests).toEqual([]);
    expect((await log.untilCalls(1))[0]?.outcome.status).toBe('blocked');
  });

  test('with Expect: 100-continue is told to go on', async () => {
    const provider = await replay({ headers: sse, body: STREAM });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const client = new RawClient(proxy.url);
    client.socket.write(
      `POST ${CHAT} HTTP/1.1\r\nHost: p\r\nExpect: 100-continue\r\nContent-Length: ${REQUEST.length}\r\n\r\n`,
    );
    await client.until((c) => c.text.startsWith('HTTP/1.1 100 Continue\r\n\r\n'));
    client.socket.write(REQUEST);
    await client.until((c) => c.text.endsWith('0\r\n\r\n'));
    expect(provider.requests[0]?.headers).not.toHaveProperty('expect');
    await log.untilCalls(1);
  });
});

describe('routes', () => {
  test('that are no calls', async () => {
    const { proxy } = await setUp({ upstream: 'http://127.0.0.1:9' });
    const get = async (path: string, headers = {}) => {
      const answer = await ask(`${proxy.url}${path}`, { method: 'GET', headers });
      return [answer.status, JSON.parse(answer.body.toString())] as const;
    };
    expect(await get('/healthz')).toEqual([200, { status: 'ok' }]);
    expect(await get('/readyz')).toMatchObject([200, { status: 'ready', logs: { default: {} } }]);
    expect(await get('/nobody/v1/x')).toMatchObject([404, { code: 'not_found' }]);
    expect(await get('/openai/v2/x')).toMatchObject([404, {}]);
    for (const path of [
      '/..',
      '/.',
      '/%2e%2e/x',
      '/a/.%2E',
      '/a%2f..%2fb',
      '/a\\..\\b',
      '/a/../b?c',
    ]) {
      // A well-behaved client would resolve these itself.
      const client = new RawClient(proxy.url);
      client.post(`/openai/v1${path}`, '');
      await client.until((c) => c.text.includes('}'));
      expect(client.text, path).toContain('400 Bad Request');
      expect(client.text, path).toContain('has a dot segment');
    }
    const upgrade = { connection: 'Upgrade', upgrade: 'websocket' };
    expect(await get('/openai/v1/realtime', upgrade)).toMatchObject([501, {}]);
  });
});

describe('headers', () => {
  test('reach the provider as they should, and secrets reach nothing else', async () => {
    const secrets = [
      'sk-planted-1',
      'sk-planted-2',
      'planted-cookie',
      'planted-query',
      'sk-planted-3',
    ];
    const provider = await replay({
      headers: { ...sse, 'set-cookie': 'session=sk-planted-3' },
      body: STREAM,
    });
    const disk = new FaultDisk();
    const { proxy, log, lines } = await setUp({ upstream: provider.url, disk });
    const answer = await ask(`${proxy.url}${CHAT}?key=planted-query&alt=sse`, {
      body: REQUEST,
      headers: [
        ...['Host', 'proxy.example'],
        ...['Authorization', 'Bearer sk-planted-1'],
        ...['X-Api-Key', 'sk-planted-2'],
        ...['Cookie', 'planted-cookie'],
        ...['Connection', 'x-hop, close'],
        ...['X-Hop', 'gone'],
        ...['TE', 'trailers'],
        ...['Proxy-Authorization', 'Basic planted-cookie'],
        ...['X-Stele-Prompt-Name', 'greeting'],
        ...['X-Unknown', 'kept'],
        ...['Accept-Encoding', 'gzip, br'],
        ...['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
        ...['X-Stainless-Retry-Count', '2'],
        ...['Content-Type', 'application/json'],
        ...['Content-Length', String(REQUEST.length)],
      ],
    });
    const { headers, rawHeaders, target } = provider.requests[0] as (typeof provider.requests)[0];
    expect(target).toBe('/v1/chat/completions?key=planted-query&alt=sse');
    expect(headers).toMatchObject({
      authorization: 'Bearer sk-planted-1',
      'x-api-key': 'sk-planted-2',
      cookie: 'planted-cookie',
      'x-unknown': 'kept',
      'accept-encoding': 'identity',
      'content-length': String(REQUEST.length),
      host: new URL(provider.url).host,
    });
    for (const name of ['x-hop', 'te', 'proxy-authorization', 'x-stele-prompt-name']) {
      expect(headers, name).not.toHaveProperty(name);
    }
    expect(rawHeaders).toContain('X-Api-Key');

    const [record] = await log.untilCalls(1);
    expect(record).toMatchObject({
      ids: { attempt: 3, trace: '4bf92f3577b34da6a3ce929d0e0e4736', span: '00f067aa0ba902b7' },
      input: { prompt_name: 'greeting' },
    });
    const { entry, disclosures, bodies } = log.of(answer.recordId);
    const stored = Buffer.concat([
      disk.everything(),
      entry,
      Buffer.from(JSON.stringify([...disclosures])),
      ...bodies.values(),
      Buffer.from(lines.join('\n')),
      Buffer.from(JSON.stringify([...proxy.state().logs])),
    ]);
    for (const secret of [...secrets, 'hello', 'tester/1']) {
      // Content is in the bodies that went to the log, and nowhere in clear on the disk.
      const where = secret.includes('planted') ? stored : disk.everything();
      expect(where.includes(secret), secret).toBe(false);
    }
  });
});

describe('hold-back', () => {
  /** A disk that stops at the sync that `when` asks for. */
  function heldDisk() {
    const disk = new FaultDisk();
    const held = { isHeld: false, at: gate(), reached: gate() };
    disk.gate = async () => {
      if (!held.isHeld) return;
      held.reached.open();
      await held.at.passed;
    };
    return { disk, held };
  }

  test('no byte of a request leaves before the request is on disk', async () => {
    const provider = await replay({ headers: sse, body: STREAM });
    const { disk, held } = heldDisk();
    const { proxy } = await setUp({ upstream: provider.url, disk });
    held.isHeld = true;
    const answered = ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    await held.reached.passed;
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    expect(provider.requests).toEqual([]);
    held.at.open();
    expect((await answered).isWhole).toBe(true);
  });

  test('a stream flows, but for the line end of its last event, until the answer is on disk', async () => {
    const lastPiece = gate();
    const provider = await replay({
      headers: sse,
      body: STREAM,
      pieces: STREAM.length - 10,
      beforePiece: async (sent) => {
        if (sent > 0) await lastPiece.passed;
      },
    });
    const { disk, held } = heldDisk();
    const { proxy } = await setUp({ upstream: provider.url, disk });
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    await client.until((c) => c.text.includes('"lo"'));
    held.isHeld = true;
    lastPiece.open();
    await client.until((c) => c.text.includes('[DONE]'));
    await held.reached.passed;
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    expect(client.text).not.toContain('[DONE]\n');
    held.at.open();
    await client.until((c) => c.text.endsWith('0\r\n\r\n'));
    expect(client.text).toContain('[DONE]');
  });

  test('of a stream that is compressed all the same, no piece is there before it is on disk', async () => {
    const zip = createGzip();
    const url = await upstream((_req, res) => {
      res.writeHead(200, { ...sse, 'content-encoding': 'gzip' });
      zip.pipe(res);
      // Whole to a client that reads events, though the compression goes on.
      zip.write(STREAM);
      zip.flush();
    });
    const { disk, held } = heldDisk();
    const { proxy } = await setUp({ upstream: url, disk });
    const early = gate();
    disk.after = (step) => {
      if (step === 'sync' && !held.isHeld) {
        held.isHeld = true;
        early.open();
      }
    };
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    await early.passed;
    await client.until((c) => c.text.includes('\r\n\r\n'));
    await held.reached.passed;
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    expect(client.text).toMatch(/\r\n\r\n$/);
    held.at.open();
    await client.until((c) => !c.text.endsWith('\r\n\r\n'));
    zip.end();
    await client.until((c) => c.text.endsWith('0\r\n\r\n'));
  });

  test.each([
    ['a declared length', true],
    ['chunks', false],
  ])('another answer keeps its last byte back: %s', async (_, hasLength) => {
    const body = JSON.stringify({ id: 'x', object: 'chat.completion', choices: [] });
    const provider = await replay({ body, hasLength });
    const { disk, held } = heldDisk();
    const { proxy } = await setUp({ upstream: provider.url, disk });
    const early = gate();
    disk.after = (step) => {
      // The request is on disk; from here on the disk is held.
      if (step === 'sync' && !held.isHeld) {
        held.isHeld = true;
        early.open();
      }
    };
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST.replace('"stream":true', '"stream":false'));
    await early.passed;
    await client.until((c) => c.text.includes(body.slice(0, -1)));
    await held.reached.passed;
    expect(client.text).not.toContain(body);
    held.at.open();
    await client.until((c) => c.text.endsWith(hasLength ? body : '0\r\n\r\n'));
  });

  test('the head of an empty answer waits', async () => {
    const url = await upstream((_req, res) => {
      res.writeHead(204);
      res.end();
    });
    const { disk, held } = heldDisk();
    const { proxy } = await setUp({ upstream: url, disk });
    const early = gate();
    disk.after = (step) => {
      if (step === 'sync' && !held.isHeld) {
        held.isHeld = true;
        early.open();
      }
    };
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    await early.passed;
    await held.reached.passed;
    expect(client.text).toBe('');
    held.at.open();
    await client.until((c) => c.text.startsWith('HTTP/1.1 204'));
  });

  test('an answer that cannot be recorded is broken off, never ended', async () => {
    for (const [body, headers] of [
      [STREAM, sse],
      ['{"id":"x"}', { 'content-type': 'application/json' }],
    ] as const) {
      const provider = await replay({ headers, body });
      const disk = new FaultDisk();
      const { proxy } = await setUp({ upstream: provider.url, disk });
      let syncs = 0;
      disk.after = (step) => {
        if (step === 'sync') syncs++;
      };
      disk.before = (step) => {
        if (step === 'write' && syncs > 0) throw ioError('ENOSPC');
      };
      const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
      expect(answer.isWhole).toBe(false);
      expect(answer.body.length).toBeLessThan(body.length);
      disk.before = () => {};
    }
  });
});

describe('when it goes wrong', () => {
  test('an upstream that cannot be reached is a 502 and a record', async () => {
    const { proxy, log } = await setUp({ upstream: 'http://127.0.0.1:1' });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer).toMatchObject({ status: 502, isWhole: true });
    expect(JSON.parse(answer.body.toString()).code).toBe('upstream_unreachable');
    const [record] = await log.untilCalls(1);
    expect(record?.record_id).toBe(answer.recordId);
    expect(record?.outcome).toEqual({ status: 'transport-error', error_type: 'ECONNREFUSED' });
    expect(record).not.toHaveProperty('output');
    expect(record?.metrics).not.toHaveProperty('ttfb_us');
  });

  test('an upstream that breaks off breaks off the client, with what came', async () => {
    for (const hasLength of [true, false]) {
      const provider = await replay({ headers: sse, body: STREAM, cutAfter: 200, hasLength });
      const { proxy, log } = await setUp({ upstream: provider.url });
      const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
      expect(answer.isWhole).toBe(false);
      expect(answer.body.toString()).toBe(STREAM.slice(0, 200));
      const [record] = await log.untilCalls(1);
      expect(record?.outcome.status).toBe('transport-error');
      expect(record?.output?.stream?.terminated).toBe('eof-cut');
      expect(record?.source.completeness).toBe('full');
      expect(record?.commitments.fields).not.toHaveProperty('response.delivered');
    }
  });

  test('a stream that ends well without its end mark is incomplete', async () => {
    const provider = await replay({ headers: sse, body: STREAM.replace('data: [DONE]\n\n', '') });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer.isWhole).toBe(true);
    expect((await log.untilCalls(1))[0]?.outcome.status).toBe('incomplete');
  });

  test('silence for the idle time is a 504, or a break in the middle', async () => {
    const silent = await upstream(() => {});
    const first = await setUp({ upstream: silent, timeouts: { idleMs: 50 } });
    const answer = await ask(`${first.proxy.url}${CHAT}`, { body: REQUEST });
    expect(answer.status).toBe(504);
    expect((await first.log.untilCalls(1))[0]?.outcome.status).toBe('timeout');

    const stalling = await replay({ headers: sse, body: STREAM, stallAfter: 300 });
    const second = await setUp({ upstream: stalling.url, timeouts: { idleMs: 50 } });
    const cut = await ask(`${second.proxy.url}${CHAT}`, { body: REQUEST });
    expect(cut.isWhole).toBe(false);
    expect(cut.body.toString()).toBe(STREAM.slice(0, 300));
    const [record] = await second.log.untilCalls(1);
    expect(record?.outcome.status).toBe('timeout');
    expect(record?.output?.stream?.terminated).toBe('timeout');
  });

  test('a client that leaves in the middle stops the upstream, and the record says what it got', async () => {
    const gone = gate();
    const provider = await replay({
      headers: sse,
      body: STREAM,
      pieces: 250,
      beforePiece: async (sent) => {
        if (sent > 0) await gone.passed;
      },
    });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    await client.until((c) => c.text.includes('Hel'));
    client.socket.destroy();
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('client-abort');
    expect(record?.output?.stream?.terminated).toBe('client-abort');
    const { bodies } = log.of(record?.record_id ?? '');
    expect(bodies.get('response.body')?.toString()).toBe(STREAM.slice(0, 250));
    gone.open();
    await expect.poll(() => provider.requests[0]?.wasAborted()).toBe(true);
  });

  test('a client that leaves behind an event too large to be read has not had the whole', async () => {
    const gone = gate();
    const event = `data: {"x":"${'y'.repeat(17_000_000)}"}\n\n`;
    const provider = await replay({
      path: '/v1/of-no-known-format',
      headers: sse,
      body: `${event}data: {}\n\n`,
      pieces: event.length,
      beforePiece: async (sent) => {
        if (sent > 0) await gone.passed;
      },
    });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const client = new RawClient(proxy.url);
    client.post('/any/v1/of-no-known-format', REQUEST);
    await client.until((c) => c.received.subarray(-4).equals(Buffer.from('\n\n\r\n')));
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    client.socket.destroy();
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('client-abort');
    gone.open();
  });

  test('a client that leaves can be outlived, so that the usage is known', async () => {
    const gone = gate();
    const provider = await replay({
      headers: sse,
      body: STREAM,
      pieces: 250,
      beforePiece: async (sent) => {
        if (sent > 0) await gone.passed;
      },
    });
    const { proxy, log } = await setUp({ upstream: provider.url, onClientAbort: 'drain' });
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    await client.until((c) => c.text.includes('Hel'));
    client.socket.destroy();
    await client.closed();
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    gone.open();
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('client-abort');
    const { bodies } = log.of(record?.record_id ?? '');
    expect(bodies.get('response.body')?.toString()).toBe(STREAM);
    expect(bodies.get('response.delivered')?.toString()).toBe(STREAM.slice(0, 250));
  });

  test('leaving after the end mark is no abort', async () => {
    const never = gate();
    const provider = await replay({
      headers: sse,
      body: STREAM,
      pieces: STREAM.length,
      beforePiece: async (sent) => {
        if (sent > 0) await never.passed;
      },
    });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    // The held line ends come as a chunk of their own.
    await client.until((c) => c.text.endsWith('[DONE]\r\n2\r\n\n\n\r\n'));
    client.socket.destroy();
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('ok');
    expect(log.of(record?.record_id ?? '').bodies.has('response.delivered')).toBe(false);
    never.open();
  });

  test('a client that leaves before its request is whole is on record, and nothing is forwarded', async () => {
    const provider = await replay({ body: '{}' });
    const { proxy, log } = await setUp({ upstream: provider.url });
    const client = new RawClient(proxy.url);
    client.socket.write(
      `POST ${CHAT} HTTP/1.1\r\nHost: p\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf`,
    );
    await expect.poll(() => proxy.state().calls).toBe(1);
    client.socket.destroy();
    const [record] = await log.untilCalls(1);
    expect(record?.outcome.status).toBe('client-abort');
    expect(
      log
        .of(record?.record_id ?? '')
        .bodies.get('request.body')
        ?.toString(),
    ).toBe('half');
    expect(provider.requests).toEqual([]);
  });

  test('an upstream that answers before it has read the request is heard', async () => {
    const url = await upstream((req: IncomingMessage, res) => {
      res.writeHead(413);
      res.end('too much');
      // One that closes at once may reset the connection before its answer was read.
      req.resume();
    });
    const { proxy, log } = await setUp({ upstream: url, limits: { memoryBytes: 1_000 } });
    const answer = await ask(`${proxy.url}${CHAT}`, { body: Buffer.alloc(3_000_000, 'x') });
    expect(answer).toMatchObject({ status: 413, isWhole: true });
    expect((await log.untilCalls(1))[0]?.outcome).toMatchObject({ status: 'upstream-error' });
  });

  test('a slow client slows the upstream down instead of filling memory', async () => {
    let sent = 0;
    const total = 200_000_000;
    const piece = Buffer.alloc(65_536, 'z');
    const url = await upstream((_req, res) => {
      res.writeHead(200, { 'content-type': 'application/octet-stream' });
      const pump = () => {
        while (sent < total && !res.destroyed) {
          sent += piece.length;
          if (!res.write(piece)) {
            res.once('drain', pump);
            return;
          }
        }
        res.end();
      };
      pump();
    });
    const { proxy, log } = await setUp({ upstream: url });
    const client = new RawClient(proxy.url);
    client.post(CHAT, REQUEST);
    client.socket.pause();
    let before = -1;
    await expect
      .poll(
        () => {
          const isStill = sent === before && sent > 0;
          before = sent;
          return isStill;
        },
        { interval: 200, timeout: 20_000 },
      )
      .toBe(true);
    expect(sent).toBeLessThan(total / 2);
    client.socket.destroy();
    expect((await log.untilCalls(1))[0]?.outcome.status).toBe('client-abort');
  });
});
