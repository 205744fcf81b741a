/**
 * Refusals that come before all was sent: whoever sends everything first and reads afterwards gets them, and
 * nobody can go on sending for ever.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { TlsFiles } from '../../server/keys/tls-pair.ts';
import { Issuer, opensslMissing } from '../certificates.ts';
import { temporaryFolder } from '../temporary.ts';
import { head, statusesOf, talk } from './wire.ts';
import { World, type WorldOptions } from './world.ts';

let world: World;
let token: string;

afterEach(() => world.stop());

async function start(options: WorldOptions = {}): Promise<void> {
  world = await World.start(options);
  await world.log('a');
  token = world.token({ roles: ['submit', 'read'], logs: ['a'] });
}

const MEGABYTES = 8 * 1024 ** 2;
const ENTRIES = '/logs/a/v1/entries';
const BATCH = `${ENTRIES}/batch`;
const PROTOBUF = { 'content-type': 'application/protobuf' };
const MULTIPART = { 'content-type': 'multipart/form-data; boundary=B' };
const CHUNKED = { 'transfer-encoding': 'chunked' };
const ENTRY_PART = '--B\r\ncontent-disposition: form-data; name="entry"\r\n\r\n';

/** Sends all of it before it reads a byte, as many clients do. Resolves with what it then reads. */
async function sendFirst(request: string, rest: Uint8Array): Promise<string> {
  const wire = talk(world);
  const errors: Error[] = [];
  wire.socket.on('error', (error) => errors.push(error)).pause();
  await wire.send(request);
  await new Promise<void>((resolve, reject) => {
    wire.socket.write(rest, (error) => (error == null ? resolve() : reject(error)));
  });
  wire.socket.resume();
  await wire.until('\r\n\r\n');
  await wire.until('}');
  wire.socket.end();
  const text = await wire.end();
  expect(errors).toEqual([]);
  return text;
}

interface Refused {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** What the body begins with. */
  readonly begins?: string;
  readonly status: number;
  readonly token?: string;
}

const EARLY: { readonly [what: string]: Refused } = {
  'a token that is not known': { path: ENTRIES, headers: PROTOBUF, status: 401, token: 'x' },
  'a role that is missing': {
    path: '/v1/admin/tokens',
    headers: { 'content-type': 'application/json' },
    status: 403,
  },
  'a log that there is not': { path: '/logs/b/v1/entries', headers: PROTOBUF, status: 404 },
  'a path that takes no body': { path: '/healthz', headers: {}, status: 405 },
  'another type': { path: ENTRIES, headers: { 'content-type': 'text/plain' }, status: 415 },
  'an entry that is too large': { path: ENTRIES, headers: PROTOBUF, status: 413 },
  'a part that is too large': {
    ...{ path: ENTRIES, headers: MULTIPART, begins: ENTRY_PART },
    status: 413,
  },
  'a part without a name': {
    path: ENTRIES,
    headers: MULTIPART,
    begins: '--B\r\ncontent-disposition: form-data\r\n\r\n',
    status: 400,
  },
  'a connection that is not kept': {
    path: ENTRIES,
    headers: { ...PROTOBUF, connection: 'close' },
    status: 413,
  },
};

describe('a refusal that comes before all was sent is read by its sender', () => {
  const asked = ({ path, headers, begins = '', token: other = token }: Refused, length: object) =>
    head('POST', path, { authorization: `Bearer ${other}`, ...headers, ...length }) + begins;

  test.each(Object.entries(EARLY))('%s', async (_, refused) => {
    await start();
    const length = MEGABYTES + (refused.begins ?? '').length;
    const text = await sendFirst(
      asked(refused, { 'content-length': `${length}` }),
      new Uint8Array(MEGABYTES),
    );
    expect(statusesOf(text)).toEqual([refused.status]);
  });

  test.each([
    ['an entry', ENTRIES, 1_000_000],
    ['a batch', BATCH, 24 * 1024 ** 2],
  ])('%s in chunks that is too large', async (_, path, bytes) => {
    await start();
    const request = head('POST', path, {
      authorization: `Bearer ${token}`,
      ...PROTOBUF,
      ...CHUNKED,
    });
    const first = `${request}${bytes.toString(16)}\r\n`;
    expect(statusesOf(await sendFirst(first, new Uint8Array(bytes)))).toEqual([413]);
  });

  test('a batch whose announced length is too large', async () => {
    await start();
    const request = asked(
      { path: BATCH, headers: PROTOBUF, status: 413 },
      { 'content-length': `${24 * 1024 ** 2}` },
    );
    expect(statusesOf(await sendFirst(request, new Uint8Array(MEGABYTES * 3)))).toEqual([413]);
  });

  test('too many requests', async () => {
    const rates = {
      token: { perSecond: 1, burst: 1 },
      address: { perSecond: 0, burst: 1 },
      trustedProxies: [],
    };
    await start({ settings: { rates } });
    expect((await world.get('/v1/logs', { token })).status).toBe(200);
    const request = asked(
      { path: ENTRIES, headers: PROTOBUF, status: 429 },
      { 'content-length': `${MEGABYTES}` },
    );
    expect(statusesOf(await sendFirst(request, new Uint8Array(MEGABYTES)))).toEqual([429]);
  });

  test('a body that was too slow, and then comes', async () => {
    await start({ settings: { bodyTimeoutMs: 100 } });
    const wire = talk(world);
    await wire.send(
      asked({ path: BATCH, headers: PROTOBUF, status: 408 }, { 'content-length': `${MEGABYTES}` }),
    );
    await wire.until('"code"');
    wire.socket.pause();
    await wire.send(new Uint8Array(MEGABYTES));
    wire.socket.resume();
    expect(statusesOf(await wire.end())).toEqual([408]);
  });

  test('headers that are too long', async () => {
    await start();
    const text = await sendFirst(
      'GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: ',
      Buffer.alloc(MEGABYTES, 'x'),
    );
    expect(statusesOf(text)).toEqual([431]);
  });

  test('what is not HTTP', async () => {
    await start();
    expect(statusesOf(await sendFirst('hello', Buffer.alloc(MEGABYTES, 'x')))).toEqual([400]);
  });
});

test('a connection whose body ends in time is kept', async () => {
  await start();
  const wire = talk(world);
  await wire.send(
    head('POST', ENTRIES, { ...PROTOBUF, 'content-length': `${MEGABYTES}` }) +
      'x'.repeat(MEGABYTES),
  );
  await wire.send(head('GET', '/healthz', { connection: 'close' }));
  expect(statusesOf(await wire.end())).toEqual([401, 200]);
});

describe('nobody goes on sending for ever', () => {
  const BOUNDS = { bytesMax: 1024 ** 2, ms: 300 };
  /** What the kernel and Node hold beside what was read. */
  const HELD_BYTES = 1024 ** 2;

  const endless: { readonly [what: string]: string } = {
    'a body of which nothing was read': head('POST', ENTRIES, {
      ...PROTOBUF,
      'content-length': '9000000000',
    }),
    'parts of which some were read': `${head('POST', ENTRIES, {
      ...MULTIPART,
      'content-length': '9000000000',
    })}${ENTRY_PART}`,
    'a body on a connection that is not kept': head('POST', ENTRIES, {
      ...{ ...PROTOBUF, ...CHUNKED, connection: 'close' },
    }),
    headers: 'GET /healthz HTTP/1.1\r\nhost: x\r\nx-large: ',
    'what is not HTTP': 'hello',
  };

  test.each(Object.entries(endless))('%s', async (_, request) => {
    await start({ listen: { linger: BOUNDS } });
    const cut = new Promise<Socket>((resolve) => {
      world.server.server.once('connection', (one) => one.once('close', () => resolve(one)));
    });
    const port = Number(new URL(world.server.url).port);
    // It does not stop because the other side has.
    const sender = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    sender.on('error', () => undefined).resume();
    sender.write(request.replace('host: x\r\n', `host: x\r\nauthorization: Bearer ${token}\r\n`));
    const chunk = Buffer.alloc(65_536, 'x');
    const body = request.includes('chunked')
      ? Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')])
      : chunk;
    const push = (): void => {
      while (!sender.destroyed && sender.write(body));
    };
    sender.on('drain', push);
    push();
    expect((await cut).bytesRead).toBeLessThan(BOUNDS.bytesMax + HELD_BYTES);
    sender.destroy();
  });
});

describe.skipIf(opensslMissing)('over TLS (skipped where openssl is missing)', () => {
  test.each([
    ['that is kept', {}],
    ['that is not kept', { connection: 'close' }],
  ])(
    'a sender that reads nothing before all is sent gets the refusal: on a connection %s',
    async (_, more) => {
      const issuer = new Issuer(temporaryFolder());
      const pair = issuer.make({ names: ['log.example'] });
      const tls = await TlsFiles.open(pair, { now: Date.now, changed: () => {}, failed: () => {} });
      onTestFinished(() => tls.close());
      await start({ listen: { tls } });
      const { port } = new URL(world.server.url);
      const socket = connectTls({
        ...{ host: '127.0.0.1', port: Number(port), servername: 'log.example', ca: issuer.pem },
      });
      const errors: Error[] = [];
      socket.on('error', (error) => errors.push(error)).pause();
      await once(socket, 'secureConnect');
      const headers = { ...PROTOBUF, ...more, authorization: `Bearer ${token}` };
      socket.write(head('POST', ENTRIES, { ...headers, 'content-length': `${MEGABYTES}` }));
      await new Promise<void>((resolve) => {
        socket.write(new Uint8Array(MEGABYTES), () => resolve());
      });
      let text = '';
      const answered = new Promise<void>((resolve) => {
        socket.on('data', (chunk: Buffer) => {
          text += chunk.toString();
          if (text.includes('}')) resolve();
        });
      });
      socket.resume();
      await answered;
      expect(errors).toEqual([]);
      expect(statusesOf(text)).toEqual([413]);
      socket.destroy();
    },
  );
});
