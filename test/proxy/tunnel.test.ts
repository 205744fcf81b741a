/** WebSockets: refused unless an upstream lets them through, and then on record as something that nobody saw. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { expect, onTestFinished, test } from 'vitest';
import { FaultDisk } from './fault-disk.ts';
import { ask, gate, RawClient, setUp } from './harness.ts';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const upstreamOptions = { websocket: 'record' } as const;

/** Echoes bytes in capitals, until it is told to end. */
async function model(onUpgrade?: (req: IncomingMessage, socket: Duplex) => void) {
  const seen: IncomingMessage[] = [];
  const sockets: Duplex[] = [];
  const server = createServer((_req, res) => res.writeHead(403, { 'x-why': 'no' }).end('refused'));
  server.on('upgrade', (req: IncomingMessage, socket: Duplex) => {
    seen.push(req);
    sockets.push(socket);
    if (onUpgrade !== undefined) return onUpgrade(req, socket);
    const accept = createHash('sha1')
      .update(`${req.headers['sec-websocket-key']}${GUID}`)
      .digest('base64');
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nX-Request-Id: req_ws\r\n\r\nHELLO`,
    );
    socket.on('data', (data: Buffer) => {
      socket.write(data.toString().toUpperCase());
      if (data.includes('bye')) socket.end();
    });
    socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function open(url: string, path: string, more = ''): RawClient {
  const client = new RawClient(url);
  client.socket.write(
    `GET ${path} HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\nAuthorization: Bearer sk-planted\r\n\r\n${more}`,
  );
  return client;
}

test('one that is let through reaches the model, and is a record and a gap', async () => {
  const { url, seen } = await model();
  const { proxy, log, lines } = await setUp({ upstream: url, upstreamOptions });
  const client = open(proxy.url, '/openai/v1/realtime?model=m&key=planted', 'early');
  await client.until((c) => c.text.includes('HELLOEARLY'));
  expect(client.text).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/);
  expect(client.text).toContain('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n');
  const [, id] = /x-stele-record-id: ([0-9a-f-]+)\r\n/.exec(client.text) ?? [];
  expect(seen[0]?.url).toBe('/v1/realtime?model=m&key=planted');
  expect(seen[0]?.headers).toMatchObject({
    upgrade: 'websocket',
    authorization: 'Bearer sk-planted',
  });
  client.socket.write('one secret word, bye');
  await client.until((c) => c.text.endsWith('ONE SECRET WORD, BYE'));
  await client.closed();

  const [record] = await log.untilCalls(1);
  expect(record).toMatchObject({
    record_id: id,
    source: { completeness: 'metadata-only' },
    ids: { upstream_request: 'req_ws' },
    input: { format: 'opaque', context: 'unknown' },
    outcome: { status: 'ok', http_status: 101 },
  });
  expect(record?.output).toBeUndefined();
  await log.until(() => log.gaps.length > 0);
  const [gap] = log.gaps;
  expect(gap).toMatchObject({ reason: 'websocket', count: 1, source: record?.source.id });
  expect(gap?.time_from).toBe(record?.time.received);
  expect(gap?.time_to?.localeCompare(record?.time.completed ?? '')).toBeGreaterThanOrEqual(0);
  const kept = log.logged.map(({ record, disclosures }) =>
    JSON.stringify([record, [...disclosures]]),
  );
  expect(kept.join('\n') + lines.join('\n')).not.toMatch(/planted|secret/i);
  log.checkChain();
});

test('a client that resets it is an abort', async () => {
  const { url } = await model();
  const { proxy, log } = await setUp({ upstream: url, upstreamOptions });
  const client = open(proxy.url, '/openai/v1/realtime');
  await client.until((c) => c.text.includes('HELLO'));
  client.socket.resetAndDestroy();
  expect((await log.untilCalls(1))[0]?.outcome.status).toBe('client-abort');
});

test('silence for the idle time ends it', async () => {
  const { url } = await model();
  const { proxy, log } = await setUp({ upstream: url, upstreamOptions, timeouts: { idleMs: 50 } });
  const client = open(proxy.url, '/openai/v1/realtime');
  await client.closed();
  expect((await log.untilCalls(1))[0]?.outcome.status).toBe('timeout');
});

test('an upstream that does not switch is relayed and recorded like any answer', async () => {
  const { url } = await model((_req, socket) => {
    socket.end('HTTP/1.1 426 Upgrade Required\r\nX-Why: no\r\nContent-Length: 7\r\n\r\nrefused');
  });
  const { proxy, log } = await setUp({ upstream: url, upstreamOptions });
  const client = open(proxy.url, '/openai/v1/realtime');
  await client.closed();
  expect(client.text).toMatch(/^HTTP\/1.1 426 Upgrade Required\r\nX-Why: no\r\n/);
  expect(client.text).toMatch(/\r\n\r\nrefused$/);
  const [record] = await log.untilCalls(1);
  expect(record).toMatchObject({
    source: { completeness: 'full' },
    outcome: { status: 'upstream-error', http_status: 426 },
  });
  expect(
    log
      .of(record?.record_id ?? '')
      .bodies.get('response.body')
      ?.toString(),
  ).toBe('refused');
  expect(log.gaps).toEqual([]);
});

test.each([
  ['a declared length', '200 OK', 'Content-Length: 5\r\n\r\n', 'whole'],
  ['no length', '200 OK', 'Connection: close\r\n\r\n', 'whole'],
  ['nothing in it', '204 No Content', '\r\n', ''],
])(
  'what it answers instead is whole only once it is on disk: %s',
  async (_, status, head, body) => {
    const { url } = await model((_req, socket) => {
      socket.end(`HTTP/1.1 ${status}\r\n${head}${body}`);
    });
    const disk = new FaultDisk();
    const held = gate();
    const reached = gate();
    let isHeld = false;
    disk.gate = async () => {
      if (!isHeld) return;
      reached.open();
      await held.passed;
    };
    const { proxy } = await setUp({ upstream: url, upstreamOptions, disk });
    // The request is on disk; from here on the disk is held.
    disk.after = (step) => {
      if (step === 'sync') isHeld = true;
    };
    const client = open(proxy.url, '/openai/v1/realtime');
    await reached.passed;
    await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} });
    if (body === '') expect(client.text).toBe('');
    else expect(client.text).not.toContain(body);
    held.open();
    await client.closed();
    expect(client.text).toContain(`HTTP/1.1 ${status}\r\n`);
    expect(client.text.endsWith(`\r\n\r\n${body}`)).toBe(true);
  },
);

test('an upstream that cannot be reached is a 502 and a record', async () => {
  const { proxy, log } = await setUp({ upstream: 'http://127.0.0.1:9', upstreamOptions });
  const client = open(proxy.url, '/openai/v1/realtime');
  await client.closed();
  expect(client.text).toMatch(/^HTTP\/1.1 502 /);
  expect(client.text).toContain('"code":"upstream_unreachable"');
  expect((await log.untilCalls(1))[0]?.outcome.status).toBe('transport-error');
});

test('without the setting it is refused in words, and nothing is forwarded', async () => {
  const { url, seen } = await model();
  const { proxy, log } = await setUp({ upstream: url });
  const client = open(proxy.url, '/openai/v1/realtime');
  await client.until((c) => c.text.includes('}'));
  expect(client.text).toMatch(/^HTTP\/1.1 501 /);
  expect(client.text).toContain('what goes over a WebSocket cannot be recorded');
  expect([seen, log.logged]).toEqual([[], []]);
});

test('another upgrade is a request like any other, and so is a WebSocket to nowhere', async () => {
  const { url } = await model();
  const { proxy, log } = await setUp({ upstream: url, upstreamOptions });
  const headers = { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'content-type': 'a/b' };
  const answer = await ask(`${proxy.url}/openai/v1/x`, { headers, body: '{}' });
  expect([answer.status, answer.body.toString()]).toEqual([403, 'refused']);
  const client = open(proxy.url, '/nobody/v1/realtime');
  await client.until((c) => c.text.includes('}'));
  expect(client.text).toMatch(/^HTTP\/1.1 404 /);
  expect((await log.untilCalls(1)).map((r) => r.outcome.http_status)).toEqual([403]);
});
