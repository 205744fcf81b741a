import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Delivery } from '../../server/proxy/delivery.ts';

/** An answer to a client that takes nothing after it has asked. */
async function toStuckClient(): Promise<ServerResponse> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect(port, '127.0.0.1').pause();
  client.on('error', () => {});
  onTestFinished(() => {
    client.destroy();
    server.close();
  });
  client.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n');
  const [, res] = (await once(server, 'request')) as [unknown, ServerResponse];
  return res;
}

test('a client that takes nothing for the idle time is taken for gone', async () => {
  const res = await toStuckClient();
  let gone = 0;
  const delivery = new Delivery(res, 20, () => gone++);
  res.writeHead(200);
  const part = new Uint8Array(1_048_576);
  for (let i = 0; i < 256 && !delivery.isGone; i++) await delivery.write(part);
  expect([delivery.isGone, gone]).toEqual([true, 1]);
});

test('a client that does not take the end either is cut', async () => {
  const res = await toStuckClient();
  const delivery = new Delivery(res, 20, () => {});
  res.writeHead(200);
  const closed = once(res, 'close');
  // More than the sockets hold, and nobody waits for room.
  void delivery.write(new Uint8Array(64 * 1_048_576));
  delivery.end([]);
  await closed;
  expect(delivery.isGone).toBe(true);
});
