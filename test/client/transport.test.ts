/** One exchange with a server: what it sends, what it takes back, how it fails. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Transport } from '../../server/client/transport.ts';
import { CODES, SteleError } from '../../server/core/errors.ts';

async function serve(handle: RequestListener): Promise<string> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function failure(work: Promise<unknown>): Promise<SteleError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SteleError)) throw new Error(`not refused: ${String(error)}`);
  return error;
}

test('the token goes along, and nowhere else', async () => {
  const seen: (string | undefined)[] = [];
  const elsewhere = await serve((request, response) => {
    seen.push(request.headers.authorization);
    response.end('caught');
  });
  const base = await serve((request, response) => {
    if (request.url === '/here') response.end(request.headers.authorization);
    else response.writeHead(302, { location: elsewhere }).end();
  });
  const http = new Transport({ base, token: 'stele_x' });
  expect(Buffer.from((await http.ask('/here')).bytes).toString()).toBe('Bearer stele_x');
  expect((await failure(http.ask('/away'))).message).toBe('the server answered 302');
  expect(seen).toEqual([]);
});

test('an answer over its bound is refused, however it comes', async () => {
  const base = await serve((request, response) => {
    if (request.url === '/chunked') for (let i = 0; i < 11; i++) response.write('x'.repeat(100));
    response.end('x'.repeat(1001));
  });
  const http = new Transport({ base });
  for (const path of ['/', '/chunked']) {
    expect(await failure(http.ask(path, { maxBytes: 1_000 }))).toMatchObject({
      code: 'too_large',
      message: 'the answer has more than 1000 bytes',
    });
  }
  expect((await http.ask('/', { maxBytes: 1_001 })).bytes).toHaveLength(1_001);
});

test('every code comes back from a problem document, with its retry-after', async () => {
  const base = await serve((request, response) => {
    const code = (request.url ?? '').slice(1);
    response.writeHead(418, { 'content-type': 'application/problem+json', 'retry-after': '7' });
    response.end(JSON.stringify({ code, detail: `about ${code}`, status: 418 }));
  });
  const http = new Transport({ base });
  for (const code of CODES) {
    expect(await failure(http.ask(`/${code}`))).toMatchObject({
      code,
      message: `about ${code}`,
      retryAfterS: 7,
    });
  }
  expect(await failure(http.ask('/unheard_of'))).toMatchObject({ code: 'malformed' });
});

test('without a problem document the status speaks', async () => {
  const base = await serve((request, response) => {
    const status = Number((request.url ?? '').slice(1));
    response.writeHead(status, { 'retry-after': 'Thu, 01 Jan 2026 00:00:00 GMT' }).end('<html>');
  });
  const http = new Transport({ base });
  const codes = {
    401: 'unauthenticated',
    403: 'forbidden',
    404: 'not_found',
    413: 'too_large',
    429: 'pushback',
    400: 'malformed',
    502: 'storage',
  };
  for (const [status, code] of Object.entries(codes)) {
    const error = await failure(http.ask(`/${status}`));
    expect(error).toMatchObject({ code, message: `the server answered ${status}` });
    expect(error.retryAfterS).toBe(0);
  }
});

test('no answer is `storage`, with the reason, and the deadline is kept', async () => {
  const silent = await serve(() => undefined);
  const http = new Transport({ base: silent, timeoutMs: 50 });
  expect(await failure(http.ask('/'))).toMatchObject({
    code: 'storage',
    message: expect.stringMatching(/^127\.0\.0\.1:\d+: no answer within 0\.05 s$/),
  });
  const cut = await serve((_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('half');
    response.destroy();
  });
  expect(await failure(new Transport({ base: cut }).ask('/'))).toMatchObject({ code: 'storage' });
  const nobody = new Transport({ base: 'http://127.0.0.1:1' });
  expect(await failure(nobody.ask('/'))).toMatchObject({
    code: 'storage',
    message: expect.stringContaining('127.0.0.1:1'),
  });
});

test('whoever asked can give up', async () => {
  const base = await serve(() => undefined);
  const stop = new AbortController();
  const asked = failure(new Transport({ base }).ask('/', { signal: stop.signal }));
  stop.abort();
  expect(await asked).toMatchObject({ code: 'not_yet' });
});

test('an address with a slash at its end, or that is none, is refused', () => {
  for (const base of ['http://a/', 'ftp://a', 'a', '']) {
    expect(() => new Transport({ base }), base).toThrow(/not an http or https address/);
  }
});
