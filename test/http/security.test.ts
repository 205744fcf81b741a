/** The headers that tell a browser what an answer is not: on every answer, also on those that are no HTTP. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { patternOf } from '../../server/http/call.ts';
import { allRoutes } from '../../server/http/routes/all.ts';
import { type Answer, World } from './world.ts';

let world: World;
let token: string;

beforeAll(async () => {
  world = await World.start();
  await world.log('a', 'public');
  token = world.token({ roles: ['submit', 'read', 'content', 'keys', 'metrics', 'admin'] });
});

afterAll(() => world.stop());

const DATA = "default-src 'none'; frame-ancestors 'none'";

function checkHeaders(answer: Pick<Answer, 'headers'>, where: string): void {
  const { headers } = answer;
  const type = headers['content-type'] ?? '';
  expect(headers['x-content-type-options'], where).toBe('nosniff');
  expect(headers['referrer-policy'], where).toBe('no-referrer');
  expect(headers['cross-origin-resource-policy'], where).toMatch(/^(same|cross)-origin$/);
  expect(headers['content-security-policy'], where).toContain("default-src 'none'");
  expect(headers['content-security-policy'], where).toContain("frame-ancestors 'none'");
  // Never promised over a connection that has no TLS.
  expect(headers, where).not.toHaveProperty('strict-transport-security');
  const isPage = type.startsWith('text/html');
  expect(headers['x-frame-options'] === 'DENY', where).toBe(isPage);
  expect(headers['cross-origin-opener-policy'] === 'same-origin', where).toBe(isPage);
  expect(headers['permissions-policy'] !== undefined, where).toBe(isPage);
  if (!isPage) expect(headers['content-security-policy'], where).toBe(DATA);
  // Who may read it from another origin may load it there, and nobody else.
  const isOpen = headers['access-control-allow-origin'] === '*';
  const isPreflight = type === '';
  if (!isPreflight) {
    expect(headers['cross-origin-resource-policy'] === 'cross-origin', where).toBe(isOpen);
  }
}

test('are on the answers of every route, good or bad, with a token or without', async () => {
  let good = 0;
  for (const route of allRoutes({} as never)) {
    const { method } = route;
    const path = patternOf(route)
      .replace('{log}', 'a')
      .replaceAll('{index}', '0')
      .replaceAll('{size}', '1')
      .replaceAll(/\{(?:from|to)\}/g, '1')
      .replaceAll(/\{id\}/g, '0')
      .replaceAll('{path*}', '0/000.p/1')
      .replaceAll(/[{}*]/g, '');
    for (const ask of [{}, { token }, { token: 'nonsense' }]) {
      for (const one of [method, 'HEAD', 'OPTIONS', 'PUT']) {
        const answer = await world.ask(one, path, ask);
        checkHeaders(answer, `${one} ${path} ${answer.status}`);
        if (answer.status < 300) good += 1;
      }
    }
  }
  expect(good).toBeGreaterThan(60);
});

test.each(['/docs', '/logs/a/checkpoint', '/openapi.json'])('are on %s unchanged', async (path) => {
  const { etag = '' } = (await world.get(path)).headers;
  const answer = await world.get(path, { headers: { 'if-none-match': etag } });
  expect(answer.status).toBe(304);
  expect(answer.headers['x-content-type-options']).toBe('nosniff');
});

test('are on what is refused before it has a path', async () => {
  for (const text of ['noise\r\n\r\n', `GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`]) {
    const socket = connect(Number(new URL(world.server.url).port), '127.0.0.1');
    socket.end(text);
    const got: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => got.push(chunk));
    await once(socket, 'close');
    const [head = '', body = ''] = Buffer.concat(got).toString().split('\r\n\r\n');
    const headers = Object.fromEntries(
      head
        .split('\r\n')
        .slice(1)
        .map((line) => [line.split(': ')[0]?.toLowerCase(), line.split(': ')[1]]),
    );
    checkHeaders({ headers }, head);
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(body));
    expect(JSON.parse(body)).toMatchObject({ status: Number(head.split(' ')[1]) });
  }
});

describe('a page that fails', () => {
  test('is data like every problem', async () => {
    const answer = await world.get('/docs?x=1');
    expect([answer.status, answer.headers['content-security-policy']]).toEqual([400, DATA]);
  });
});
