/** The port: slow, oversized and broken senders, and letting go of connections at shutdown. */
import { afterEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { head as headOf, talk as talkTo } from './wire.ts';
import { type RecordOptions, World, type WorldOptions } from './world.ts';

let world: World;
let token: string;

afterEach(() => world.stop());

async function start(options: WorldOptions = {}) {
  world = await World.start(options);
  const { log, gateway } = await world.log('a');
  token = world.token({ roles: ['submit', 'read'], logs: ['a'] });
  return { log, gateway };
}

const talk = () => talkTo(world);

const head = (method: string, path: string, headers: Record<string, string> = {}) =>
  headOf(method, path, { authorization: `Bearer ${token}`, ...headers });

/** Commitments that make an entry large. */
const LARGE = Object.fromEntries(
  Array.from({ length: 63 }, (_, i) => [`policy.${i}.reason`, 'A'.repeat(43)]),
);

/** A sender that has its answer may go on for less than a moment. */
const SHORTLY = { listen: { linger: { bytesMax: 1_000_000, ms: 200 } } };

const PROTOBUF = { 'content-type': 'application/protobuf' };

describe('slow senders', () => {
  test('of headers are cut off', async () => {
    await start({ listen: { headersTimeoutMs: 200 } });
    const { send, end } = talk();
    await send('GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ');
    const text = await end();
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('application/problem+json');
  });

  test('of a body are cut off, however steadily they drip', async () => {
    const { log } = await start({ settings: { bodyTimeoutMs: 200 } });
    const before = log.head();
    const { send, socket, end } = talk();
    await send(head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': '1000' }));
    const drip = setInterval(() => socket.write('\n'), 20);
    const text = await end();
    clearInterval(drip);
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('not complete after 200 ms');
    expect(log.head()).toBe(before);
  });

  test('hold no memory after they hang up', async () => {
    await start({ settings: { heldBytesMax: 40_000 } });
    const full = head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': '60000' });
    for (let i = 0; i < 5; i++) {
      const begun = world.lines.length;
      const { send, socket } = talk();
      await send(full + 'x'.repeat(30_000));
      socket.destroy();
      while (
        !world.lines
          .slice(begun)
          .some((line) => line.includes('broke off') || line.includes('"request"'))
      ) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const { send, end } = talk();
    await send(
      head('POST', '/logs/a/v1/entries', {
        ...PROTOBUF,
        'content-length': '30000',
        connection: 'close',
      }),
    );
    await send('x'.repeat(30_000));
    expect(await end()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('too much', () => {
  test('of headers is 431', async () => {
    await start();
    const { send, end } = talk();
    await send(head('GET', '/healthz', { 'x-large': 'x'.repeat(20_000) }));
    const text = await end();
    expect(text).toMatch(/^HTTP\/1\.1 431 /);
    expect(text).toContain('"code":"too_large"');
  });

  test('of a body is refused unread, and the answer arrives', async () => {
    const { log } = await start(SHORTLY);
    const before = log.head();
    const { socket, end, send, until } = talk();
    await send(head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': '9000000000' }));
    await until('"code":"too_large"');
    // It goes on sending: bounded, then cut.
    const push = () => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', push);
    push();
    expect(await end()).toMatch(/^HTTP\/1\.1 413 /);
    expect(log.head()).toBe(before);
  });

  test('of a chunked body is refused at the bound', async () => {
    await start();
    const { send, end } = talk();
    await send(
      head('POST', '/logs/a/v1/entries', {
        ...PROTOBUF,
        'transfer-encoding': 'chunked',
        connection: 'close',
      }),
    );
    await send(`11000\r\n${'\n'.repeat(0x11000)}\r\n`);
    await send('0\r\n\r\n');
    const text = await end();
    expect(text).toMatch(/^HTTP\/1\.1 413 /);
    expect(text).toContain('more than 65535 bytes');
  });

  test('held by all requests together is pushed back', async () => {
    await start({ settings: { heldBytesMax: 50_000 } });
    const first = talk();
    await first.send(
      head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': '40001' }),
    );
    await first.send('x'.repeat(40_000));
    // The first is read before the second is: the server takes connections in turn.
    await world.get('/healthz');
    const second = await world.ask('POST', '/logs/a/v1/entries', {
      token,
      type: 'application/protobuf',
      body: 'x'.repeat(40_000),
    });
    expect([second.status, second.json().code]).toEqual([429, 'pushback']);
    first.socket.destroy();
  });

  test('of an answer is pushed back, and submissions go on', async () => {
    await startLarge({ settings: { answerBytesMax: 100_000 } });
    const answer = await world.get(PAGE, { token });
    expect(answer.json()).toMatchObject({ status: 429, code: 'pushback' });
    expect(answer.headers['cache-control']).toBe('no-store');
    expect((await world.get('/logs/a/v1/entries?start=2&limit=1', { token })).status).toBe(200);
  });

  test('that nobody takes is dropped with its connection', async () => {
    await startLarge({ listen: { stallMs: 500 } });
    const dropped = new Promise<void>((resolve) => {
      world.server.server.once('connection', (one) => one.once('close', () => resolve()));
    });
    const { socket } = talk();
    socket.pause();
    // More than the system's own buffers hold.
    socket.write(head('GET', PAGE).repeat(30));
    await dropped;
    socket.destroy();
    expect((await world.get(PAGE, { token })).status).toBe(200);
  });

  const PAGE = '/logs/a/v1/entries?start=2&limit=100';

  /** A log with a page of large entries. */
  async function startLarge(options: WorldOptions) {
    const { gateway, log } = await start(options);
    const items = Array.from({ length: 100 }, async () => {
      const entry = decodeEntry(await gateway.entry({ commitments: LARGE }));
      return { admitted: await log.admit(entry) };
    });
    await log.submit(await Promise.all(items));
  }

  test('connections at once are closed', async () => {
    await start({ listen: { connectionsMax: 2 } });
    const kept = [talk(), talk()];
    for (const one of kept) {
      await one.send(head('GET', '/healthz'));
      await one.until('"ok"');
    }
    const third = talk();
    await third.send(head('GET', '/healthz'));
    expect(await third.end()).toBe('');
    for (const one of kept) one.socket.destroy();
  });
});

describe('what is not HTTP', () => {
  test.each([
    ['noise', 'hello\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00'],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n'],
    ['two lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'],
    [
      'length and chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
    ],
    ['a bare line feed', 'GET /healthz HTTP/1.1\nhost: x\n\n'],
    ['a space before a colon', 'GET /healthz HTTP/1.1\r\nhost : x\r\n\r\n'],
  ])('%s is 400 and closed', async (_, text) => {
    await start();
    const { send, end } = talk();
    await send(text);
    expect(await end()).toMatch(/^HTTP\/1\.1 400 /);
    expect((await world.get('/healthz')).status).toBe(200);
  });

  test.each([
    ['an absolute target', 'GET http://evil.example/healthz HTTP/1.1'],
    ['an asterisk', 'OPTIONS * HTTP/1.1'],
  ])('%s is 400', async (_, line) => {
    await start();
    const { send, end } = talk();
    await send(`${line}\r\nhost: x\r\nconnection: close\r\n\r\n`);
    const text = await end();
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('does not begin with');
  });
});

describe('100 Continue', () => {
  test('is said only when the headers are good', async () => {
    const { gateway } = await start();
    const bytes = await gateway.entry({} satisfies RecordOptions);
    const good = talk();
    const headers = { ...PROTOBUF, 'content-length': String(bytes.length), expect: '100-continue' };
    await good.send(head('POST', '/logs/a/v1/entries', { ...headers, connection: 'close' }));
    await good.until('100 Continue');
    await good.send(bytes);
    expect(await good.end()).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /);

    const bad = talk();
    await bad.send(head('POST', '/logs/a/v1/entries', { ...headers, authorization: 'Bearer x' }));
    await bad.until('"status":401');
    expect(bad.text()).not.toContain('100 Continue');
    bad.socket.destroy();
  });
});

describe('a connection', () => {
  test('serves one request after another, also after a refusal', async () => {
    const { gateway } = await start();
    const bytes = await gateway.entry();
    const { send, until, socket, text } = talk();
    await send(head('GET', '/healthz'));
    await until('"ok"');
    await send(head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': '3' }));
    await send('abc');
    await until('"status":400');
    await send(head('POST', '/logs/b/v1/entries', { ...PROTOBUF, 'content-length': '3' }));
    await send('abc');
    await until('"status":404');
    await send(
      head('POST', '/logs/a/v1/entries', { ...PROTOBUF, 'content-length': String(bytes.length) }),
    );
    await send(bytes);
    await until('stele.receipt/1');
    expect(text().match(/HTTP\/1\.1 \d+/g)).toEqual([
      'HTTP/1.1 200',
      'HTTP/1.1 400',
      'HTTP/1.1 404',
      'HTTP/1.1 201',
    ]);
    socket.destroy();
  });
});

describe('a refusal in the middle of a body', () => {
  const TYPE = { 'content-type': 'multipart/form-data; boundary=B' };
  const opening = '--B\r\ncontent-disposition: form-data; name="other"\r\n\r\n';

  test('arrives, and the connection goes on once a short rest has come', async () => {
    await start();
    const { send, until, text, socket } = talk();
    const length = opening.length + 500_000;
    await send(head('POST', '/logs/a/v1/entries', { ...TYPE, 'content-length': String(length) }));
    await send(opening);
    await until('the entry must come first');
    await send(Buffer.alloc(500_000));
    await send(head('GET', '/healthz'));
    await until('"ok"');
    expect(text().match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400', 'HTTP/1.1 200']);
    socket.destroy();
  });

  test('arrives, and a long rest is not waited for', async () => {
    await start(SHORTLY);
    const { send, until, socket, end } = talk();
    await send(head('POST', '/logs/a/v1/entries', { ...TYPE, 'content-length': '2000000000' }));
    await send(opening);
    await until('the entry must come first');
    const push = () => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', push);
    push();
    expect(await end()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

test('a server that could take no entry is not ready, and says no name', async () => {
  let full = false;
  await start({
    checkSpace: () => {
      if (full) throw new SteleError('storage', 'the disk of log a is full', { retryAfterS: 7 });
    },
  });
  full = true;
  const answer = await world.get('/readyz');
  expect(answer.json()).toMatchObject({ status: 503, code: 'storage', retry_after: 7 });
  expect(answer.text).not.toContain('log a');
  expect((await world.get('/healthz')).status).toBe(200);
  full = false;
  expect((await world.get('/readyz')).status).toBe(200);
});

describe('shutdown', () => {
  test('finishes what is under way, takes nothing new, and closes what is idle', async () => {
    const { gateway, log } = await start();
    const bytes = await gateway.entry();
    const idle = talk();
    await idle.send(head('GET', '/healthz'));
    await idle.until('"ok"');
    const busy = talk();
    await busy.send(
      head('POST', '/logs/a/v1/entries', {
        ...PROTOBUF,
        'content-length': String(bytes.length),
        expect: '100-continue',
      }),
    );
    await busy.until('100 Continue');

    const closed = world.server.close();
    await idle.end();
    const late = talk();
    expect(await late.end()).toBe('');
    await busy.send(bytes);
    const text = await busy.end();
    expect(text).toContain('HTTP/1.1 201');
    await closed;
    expect(log.head().size).toBe(3);
    await world.listen();
  });

  test('cuts what does not end in time', async () => {
    await start({ listen: { graceMs: 100 } });
    const stuck = talk();
    await stuck.send(
      head('POST', '/logs/a/v1/entries', {
        ...PROTOBUF,
        'content-length': '100',
        expect: '100-continue',
      }),
    );
    await stuck.until('100 Continue');
    await world.server.close();
    expect(await stuck.end()).not.toContain('HTTP/1.1 2');
    await world.listen();
  });

  test('is seen by readyz first', async () => {
    await start();
    expect((await world.get('/readyz')).json()).toMatchObject({ status: 'ready' });
    world.stopping.abort();
    const answer = await world.get('/readyz');
    expect([answer.status, answer.json().code]).toEqual([503, 'pushback']);
    expect((await world.get('/healthz')).status).toBe(200);
  });
});
