/** Alarms reach who is to be told, or it is said that they did not; never where to. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Webhook } from '../../server/monitor/webhook.ts';
import { Outbound } from '../../server/outbound.ts';

async function hook(statuses: readonly number[]) {
  const got: string[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += chunk.toString()));
    req.on('end', () => {
      const status = statuses[got.length] ?? 200;
      got.push(`${req.method} ${req.headers['content-type']} ${body.trim()}`);
      res.writeHead(status, { location: 'http://127.0.0.1:1/' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const failures: string[] = [];
  const webhook = new Webhook({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/services/SECRET`,
    outbound: new Outbound('0.0.0-test'),
    failed: (line) => failures.push(line),
    wait: async () => undefined,
  });
  return { webhook, got, failures };
}

test('each event is posted once, in order, and again until it is taken', async () => {
  const { webhook, got, failures } = await hook([500, 503, 200, 200]);
  webhook.post({ n: 1 });
  webhook.post({ n: 2 });
  await webhook.settled();
  const line = (n: number) => `POST application/json {"n":${n}}`;
  expect(got).toEqual([line(1), line(1), line(1), line(2)]);
  expect(failures).toEqual([]);
});

test.for([
  ['that refuses', [404], 1],
  ['that never takes it', [500, 500, 500, 500, 500], 5],
  ['that leads elsewhere', [302], 1],
] as const)(
  'an address %s is given up and told of, without its secret',
  async ([, statuses, n]) => {
    const { webhook, got, failures } = await hook(statuses);
    webhook.post({ n: 1 });
    await webhook.settled();
    expect(got).toHaveLength(n);
    expect(failures).toEqual([expect.stringMatching(/^webhook: an event was not delivered: /)]);
    expect(failures.join()).not.toContain('SECRET');
    webhook.post({ n: 2 });
    await webhook.settled();
    expect(got.at(-1)).toContain('{"n":2}');
  },
);

test('an address that is away is told of, and the queue is bounded', async () => {
  const failures: string[] = [];
  const webhook = new Webhook({
    url: 'http://127.0.0.1:1/SECRET',
    outbound: new Outbound('0.0.0-test'),
    failed: (line) => failures.push(line),
    wait: async () => undefined,
  });
  for (let i = 0; i < 300; i++) webhook.post({ i });
  expect(failures).toHaveLength(300 - 256);
  await webhook.settled();
  expect(failures).toHaveLength(300);
  expect(failures.join()).not.toContain('SECRET');
}, 60_000);
