/** Long bodies go by: what is held of them is a matter of bounds, not of their length (`npm run bench -- proxy-memory`). */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { setUp } from './harness.ts';

const MIB = 1_048_576;
const STREAM_BYTES = 128 * MIB;
/** A quarter of what passes; under it are 4 MiB on their way to the disk, sockets, and what is not collected yet. */
const HELD_BYTES_MAX = 64 * MIB;

const EVENT = Buffer.from(
  `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta: { content: 'x'.repeat(200) } }] })}\n\n`,
);
const PIECE = Buffer.concat(Array.from({ length: 240 }, () => EVENT));

test('a stream of 128 MiB passes with a fraction of it in memory', async () => {
  let sent = 0;
  const server = createServer((req, res) => {
    req.resume();
    res.setHeader('content-type', 'text/event-stream');
    const go = () => {
      while (sent < STREAM_BYTES) {
        sent += PIECE.length;
        if (!res.write(PIECE)) return;
      }
      res.off('drain', go);
      res.end('data: [DONE]\n\n');
    };
    res.on('drain', go);
    go();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const { proxy, log } = await setUp({ upstream: `http://127.0.0.1:${port}` });
  // The log of these tests keeps bodies; this one is given none until all has passed.
  const passed = Promise.withResolvers<void>();
  log.refuse = () => passed.promise;
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  let received = 0;
  const req = request(`${proxy.url}/any/v1/chat/completions`, { method: 'POST' });
  req.end('{"model":"m","stream":true,"messages":[]}');
  const [res] = (await once(req, 'response')) as [IncomingMessage];
  for await (const chunk of res as AsyncIterable<Buffer>) {
    received += chunk.length;
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  }
  expect(received).toBe(sent + 'data: [DONE]\n\n'.length);
  expect(most).toBeLessThan(HELD_BYTES_MAX);
  passed.resolve();
  const [record] = await log.untilCalls(1);
  expect(record?.outcome.status).toBe('ok');
  expect(log.of(record?.record_id ?? '').bodies.get('response.body')?.length).toBe(received);
}, 120_000);
