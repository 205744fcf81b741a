/** Content: in beside an entry, out with a reason and a trace, and nothing left of what was refused. */
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { toBase64url, toHex } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { SteleError } from '../../server/core/errors.ts';
import type { Json } from '../../server/core/json.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { type Answer, type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;
let reader: string;
let full = false;

beforeAll(async () => {
  world = await World.start({
    settings: { bodyBytesMax: 5_000_000, idleTimeoutMs: 300, uploadsPerTokenMax: 3 },
    checkSpace: () => {
      if (full) throw new SteleError('storage', 'the disk is full');
    },
  });
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['submit'], logs: ['a'] });
  reader = world.token({ roles: ['content'], logs: ['a'], holder: 'Åsa, audit' });
});

afterAll(() => world.stop());

const URL_PATH = '/logs/a/v1/entries';
const B = 'boundary-1';
const TYPE = `multipart/form-data; boundary=${B}`;

interface PartSpec {
  readonly disposition: string;
  readonly body: Uint8Array | string;
  readonly type?: string;
}

function multipart(parts: readonly PartSpec[]): Buffer {
  const pieces = parts.flatMap(({ disposition, body, type }) => [
    `--${B}\r\ncontent-disposition: form-data; ${disposition}\r\n`,
    type === undefined ? '\r\n' : `content-type: ${type}\r\n\r\n`,
    body,
    '\r\n',
  ]);
  return Buffer.concat([...pieces, `--${B}--\r\n`].map((piece) => Buffer.from(piece as string)));
}

const post = (body: Uint8Array, type = TYPE, by = token) =>
  world.ask('POST', URL_PATH, { token: by, body, type });

/** A record with a principal and a request body, in disclosures and bytes. */
async function sample(bytes: Uint8Array = randomBytes(50_000)) {
  const sha256 = toBase64url(createHash('sha256').update(bytes).digest());
  const value = { bytes: bytes.length, media_type: 'text/html', sha256 };
  const values: Record<string, Json> = { 'principal.id': 'alice', 'request.body': value };
  const made = Object.entries(values).map(([name, v]) => ({
    name,
    ...makeDisclosure(name, v, randomBytes(16)),
  }));
  const commitments = Object.fromEntries(made.map(({ name, digest }) => [name, digest]));
  const record = await gateway.make({ commitments });
  const entry: PartSpec = { disposition: 'name="entry"', body: record.bytes };
  const disclosures = made.map(
    ({ disclosure }): PartSpec => ({ disposition: 'name="disclosure"', body: disclosure }),
  );
  const body: PartSpec = { disposition: 'name="body"; field="request.body"', body: bytes };
  return { ...record, bytes, entry, disclosures, body, made };
}

const read = (path: string, headers: Record<string, string> = { 'x-stele-reason': 'ticket 7' }) =>
  world.get(`/logs/a/v1/content/${path}`, { token: reader, headers });

/** What lies in the vault and in its staging place. */
function vaultFiles(): string[] {
  return readdirSync(join(world.folder, 'vault'), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name));
}

describe('an entry with content', () => {
  test('is logged, and its content comes back byte for byte', async () => {
    const { entry, disclosures, body, bytes, recordId, made } = await sample();
    const answer = await post(multipart([entry, ...disclosures, body]));
    expect(answer.text).toContain('stele.receipt/1');
    expect(answer.status).toBe(201);
    expect(toHex(parseReceipt(answer.bytes).entry)).toBe(toHex(entry.body as Uint8Array));
    for (const { name, disclosure } of made) {
      const one = await read(`${recordId}/${name}`);
      expect([one.status, one.text]).toEqual([200, disclosure]);
      expect(one.headers['cache-control']).toBe('private, no-store');
    }
    const whole = await read(`${recordId}/request.body/body`);
    expect(whole.status).toBe(200);
    expect(whole.bytes.equals(bytes)).toBe(true);
    expect(whole.headers).toMatchObject({
      'content-length': String(bytes.length),
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-store',
    });
  });

  test.each([
    ['by the field in the name', { disposition: 'name="body; field=request.body"' }],
    ['with a file name', { disposition: 'name=body; filename="x.bin"; field=request.body' }],
  ])('takes a body %s', async (_, { disposition }) => {
    const { entry, disclosures, body, recordId, bytes } = await sample();
    expect((await post(multipart([entry, ...disclosures, { ...body, disposition }]))).status).toBe(
      201,
    );
    expect((await read(`${recordId}/request.body/body`)).bytes.equals(bytes)).toBe(true);
  });

  test('takes the entry as an envelope', async () => {
    const { entry, disclosures } = await sample();
    const text = formatEnvelopeJson(decodeEntry(entry.body as Uint8Array));
    const part = { ...entry, body: text, type: 'application/vnd.dsse.envelope.v1+json' };
    expect((await post(multipart([part, ...disclosures]))).status).toBe(201);
  });

  test('takes an entry alone, and content that is not complete', async () => {
    const { entry, disclosures, recordId } = await sample();
    expect((await post(multipart([entry]))).status).toBe(201);
    const [first] = disclosures;
    if (first === undefined) throw new Error('no disclosure');
    const again = await post(multipart([entry, first]));
    expect(again.status).toBe(200);
    expect((await read(`${recordId}/principal.id`)).status).toBe(200);
    expect((await read(`${recordId}/request.body`)).status).toBe(404);
  });

  test('a repeat supplies what was missing', async () => {
    const { entry, disclosures, body, bytes, recordId } = await sample();
    expect((await post(entry.body as Uint8Array, 'application/protobuf')).status).toBe(201);
    expect((await read(`${recordId}/request.body/body`)).status).toBe(404);
    expect((await post(multipart([entry, ...disclosures, body]))).status).toBe(200);
    expect((await read(`${recordId}/request.body/body`)).bytes.equals(bytes)).toBe(true);
  });

  test('of several megabytes arrives in pieces, chunked and after 100 Continue', async () => {
    const { entry, disclosures, body, bytes, recordId } = await sample(randomBytes(4_000_000));
    const whole = multipart([entry, ...disclosures, body]);
    const text = await slowly([whole.subarray(0, 1000), whole.subarray(1000)], {
      expect: '100-continue',
    });
    expect(text).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 /);
    expect((await read(`${recordId}/request.body/body`)).bytes.equals(bytes)).toBe(true);
  });
});

/** Sends the body in chunks, and resolves to what came back when the connection has ended. */
function slowly(
  pieces: readonly Uint8Array[],
  headers: Record<string, string> = {},
  last = '0\r\n\r\n',
): Promise<string> {
  const { port } = new URL(world.server.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.on('data', (data) => {
      text += String(data);
    });
    socket.on('end', () => socket.end());
    socket.on('close', () => resolve(text)).on('error', reject);
    const all = {
      host: 'x',
      authorization: `Bearer ${token}`,
      'content-type': TYPE,
      'transfer-encoding': 'chunked',
      connection: 'close',
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`POST ${URL_PATH} HTTP/1.1\r\n${lines.join('')}\r\n`);
    for (const piece of pieces) {
      socket.write(`${piece.length.toString(16)}\r\n`);
      socket.write(piece);
      socket.write('\r\n');
    }
    socket.write(last);
  });
}

describe('what is refused leaves nothing: not in the log, not in the vault', () => {
  type Sample = Awaited<ReturnType<typeof sample>>;
  const other = makeDisclosure('principal.id', 'mallory', new Uint8Array(16));
  const stray = makeDisclosure('client.address', '::1', new Uint8Array(16));
  const cases: Record<string, readonly [(s: Sample) => PartSpec[], number, string, string]> = {
    'no entry': [
      ({ disclosures }) => [...disclosures],
      400,
      'malformed',
      'the entry must come first',
    ],
    'nothing at all': [() => [], 400, 'malformed', 'multipart'],
    'a disclosure before the entry': [
      ({ entry, disclosures }) => [...disclosures, entry],
      400,
      'malformed',
      'the entry must come first',
    ],
    'two entries': [({ entry }) => [entry, entry], 400, 'malformed', 'is none of entry'],
    'a body before a disclosure': [
      ({ entry, disclosures: [first, second], body }) =>
        [entry, second, body, first].filter((p) => p !== undefined),
      400,
      'malformed',
      'a disclosure comes after a body',
    ],
    'an unknown part': [
      ({ entry, body }) => [entry, { ...body, disposition: 'name="file"' }],
      400,
      'malformed',
      'is none of entry, disclosure, body',
    ],
    'a body without a field': [
      ({ entry, disclosures, body }) => [
        entry,
        ...disclosures,
        { ...body, disposition: 'name=body' },
      ],
      400,
      'malformed',
      "not a commitment's name",
    ],
    'a body for a path': [
      ({ entry, disclosures, body }) => [
        entry,
        ...disclosures,
        { ...body, disposition: 'name=body; field="../../x"' },
      ],
      400,
      'malformed',
      "not a commitment's name",
    ],
    'two bodies for one field': [
      ({ entry, disclosures, body }) => [entry, ...disclosures, body, body],
      400,
      'malformed',
      'two bodies for field',
    ],
    'an empty disclosure': [
      ({ entry }) => [entry, { disposition: 'name=disclosure', body: '' }],
      400,
      'malformed',
      'disclosure',
    ],
    "another value's disclosure": [
      ({ entry }) => [entry, { disposition: 'name=disclosure', body: other.disclosure }],
      422,
      'unverified',
      'its digest',
    ],
    'a disclosure that the record does not name': [
      ({ entry }) => [entry, { disposition: 'name=disclosure', body: stray.disclosure }],
      422,
      'unverified',
      'no commitment named',
    ],
    'a disclosure that is too large': [
      ({ entry }) => [entry, { disposition: 'name=disclosure', body: 'A'.repeat(1_048_577) }],
      413,
      'too_large',
      'more than 1048576 bytes',
    ],
    'too many disclosures': [
      ({ entry, disclosures: [first] }) => [
        entry,
        ...Array.from({ length: 65 }, () => first as PartSpec),
      ],
      413,
      'too_large',
      'more than 64 disclosures',
    ],
    'a body without its disclosure': [
      ({ entry, body }) => [entry, body],
      422,
      'unverified',
      'no disclosure that names a body',
    ],
    'a body with a byte changed': [
      ({ entry, disclosures, body, bytes }) => [
        entry,
        ...disclosures,
        { ...body, body: Uint8Array.from(bytes).map((b, i) => (i === 9 ? b ^ 1 : b)) },
      ],
      422,
      'unverified',
      'its SHA-256 is not',
    ],
    'a body that is short': [
      ({ entry, disclosures, body, bytes }) => [
        entry,
        ...disclosures,
        { ...body, body: bytes.subarray(1) },
      ],
      422,
      'unverified',
      '49999 of the 50000 bytes',
    ],
    'a body that is long': [
      ({ entry, disclosures, body, bytes }) => [
        entry,
        ...disclosures,
        { ...body, body: Buffer.concat([bytes, Buffer.from('x')]) },
      ],
      422,
      'unverified',
      'over the 50000 bytes',
    ],
    'an entry that is too large': [
      ({ entry }) => [{ ...entry, body: Buffer.alloc(65_536, 10) }],
      413,
      'too_large',
      'entry: more than 65535 bytes',
    ],
    'an entry of another type': [
      ({ entry }) => [{ ...entry, type: 'text/plain' }],
      415,
      'malformed',
      'text/plain',
    ],
    'an entry that does not verify': [
      ({ entry }) => {
        const bytes = Uint8Array.from(entry.body as Uint8Array);
        bytes[bytes.length - 90] = (bytes[bytes.length - 90] ?? 0) ^ 1;
        return [{ ...entry, body: bytes }];
      },
      422,
      'unverified',
      'signature',
    ],
  };

  test.each(Object.entries(cases))('%s', async (_, [spoil, status, code, rule]) => {
    const made = await sample();
    const body = multipart(spoil(made));
    await expectNothing(() => post(body), [status, code, rule]);
    expect((await post(multipart([made.entry, ...made.disclosures, made.body]))).status).toBe(201);
  });

  test('content for a record without commitments', async () => {
    const { bytes } = await gateway.make();
    const parts = [
      { disposition: 'name=entry', body: bytes },
      { disposition: 'name=disclosure', body: other.disclosure },
    ];
    await expectNothing(() => post(multipart(parts)), [400, 'malformed', 'has no commitments']);
  });

  test('content from another gateway key for a record that is logged', async () => {
    const { entry, disclosures } = await sample();
    await post(entry.body as Uint8Array, 'application/protobuf');
    const b = await world.log('b-log');
    const stolen = await b.gateway.entry({ log: log.origin });
    const parts = [{ ...entry, body: stolen }, ...disclosures];
    await expectNothing(() => post(multipart(parts)), [403, 'forbidden', 'is not registered']);
  });

  test.each([
    ['no boundary', 'multipart/form-data'],
    ['an empty boundary', 'multipart/form-data; boundary='],
  ])('%s', async (_, type) => {
    const { entry } = await sample();
    await expectNothing(() => post(multipart([entry]), type), [400, 'malformed', 'no boundary']);
  });

  test.each([
    ['bytes after the end', (b: Buffer) => Buffer.concat([b, Buffer.from('x')])],
    ['bytes before the start', (b: Buffer) => Buffer.concat([Buffer.from('x'), b])],
    ['no end', (b: Buffer) => b.subarray(0, -B.length - 6)],
    ['half a body', (b: Buffer) => b.subarray(0, 20_000)],
  ])('%s', async (_, spoil) => {
    const { entry, disclosures, body } = await sample();
    const whole = multipart([entry, ...disclosures, body]);
    await expectNothing(() => post(spoil(whole)), [400, 'malformed', 'multipart']);
  });

  test('a full disk, before a byte of content is taken', async () => {
    const { entry, disclosures, body } = await sample();
    full = true;
    try {
      const send = () => post(multipart([entry, ...disclosures, body]));
      await expectNothing(send, [503, 'storage', 'full']);
    } finally {
      full = false;
    }
  });

  test('a sender that stops', async () => {
    const { entry, disclosures, body } = await sample();
    const whole = multipart([entry, ...disclosures, body]);
    const before = [log.head(), vaultFiles()];
    const text = await slowly([whole.subarray(0, 30_000)], {}, '');
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('not complete after 300 ms');
    expect([log.head(), vaultFiles()]).toEqual(before);
  });

  test('a sender that hangs up', async () => {
    const { entry, disclosures, body } = await sample();
    const whole = multipart([entry, ...disclosures, body]);
    const before = [log.head(), vaultFiles()];
    const { port } = new URL(world.server.url);
    const begun = world.lines.length;
    const socket = connect(Number(port), '127.0.0.1');
    socket.write(
      `POST ${URL_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
        `content-type: ${TYPE}\r\ncontent-length: ${whole.length}\r\n\r\n`,
    );
    socket.write(whole.subarray(0, 30_000), () => socket.destroy());
    await until(() => world.lines.slice(begun).some((line) => line.includes('"request"')));
    expect([log.head(), vaultFiles()]).toEqual(before);
  });

  test('more at once than a token may have under way', async () => {
    const { entry } = await sample();
    const { port } = new URL(world.server.url);
    const sockets = Array.from({ length: 3 }, () => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(
        `POST ${URL_PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
          `content-type: ${TYPE}\r\ncontent-length: 100000\r\nexpect: 100-continue\r\n\r\n`,
      );
      return socket;
    });
    await Promise.all(sockets.map((s) => new Promise((resolve) => s.once('data', resolve))));
    const answer = await post(multipart([entry]));
    expect([answer.status, answer.json().code]).toEqual([429, 'pushback']);
    for (const socket of sockets) socket.destroy();
    await until(async () => (await post(multipart([entry]))).status === 201);
  });

  async function expectNothing(
    send: () => Promise<Answer>,
    [status, code, rule]: readonly [number, string, string],
  ): Promise<void> {
    const before = [log.head(), vaultFiles()];
    const answer = await send();
    expect(answer.text).toContain(rule);
    expect([answer.status, answer.json().code]).toEqual([status, code]);
    expect([log.head(), vaultFiles()]).toEqual(before);
  }
});

/** Waits for what other callbacks bring about: turn by turn, not by the clock. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

describe('reading content', () => {
  let made: Awaited<ReturnType<typeof sample>>;

  beforeAll(async () => {
    made = await sample();
    await post(multipart([made.entry, ...made.disclosures, made.body]));
  });

  async function accessLog() {
    const access = (await world.logs.lease('a.access')).log;
    const { size } = access.head();
    const last = decodeEntry(await access.entry(leafIndex(size - 1)));
    return { size, last: parseRecord(last.payload, access.origin) };
  }

  test('is logged first: who, what and why', async () => {
    const before = await accessLog();
    const reason = 'Beschwerde №7, § 3';
    const headers = { 'x-stele-reason': Buffer.from(reason).toString('latin1') };
    expect((await read(`${made.recordId}/principal.id`, headers)).status).toBe(200);
    const { size, last } = await accessLog();
    expect(size).toBe(before.size + 1);
    expect(last).toMatchObject({
      kind: 'access',
      access: {
        log: log.origin,
        record_id: made.recordId,
        source: 'gateway-1',
        fields: ['principal.id'],
        reason,
        holder: 'Åsa, audit',
      },
    });
  });

  test('each read of a body leaves an entry of its own', async () => {
    const before = await accessLog();
    for (let i = 0; i < 3; i++) await read(`${made.recordId}/request.body/body`);
    expect((await accessLog()).size).toBe(before.size + 3);
  });

  test('is refused where the trace cannot be left', async () => {
    const before = await accessLog();
    full = true;
    try {
      for (const path of ['principal.id', 'request.body', 'request.body/body']) {
        const answer = await read(`${made.recordId}/${path}`);
        expect([answer.status, answer.json().code]).toEqual([503, 'storage']);
        expect(answer.text).not.toContain(made.made[0]?.disclosure);
      }
    } finally {
      full = false;
    }
    expect((await accessLog()).size).toBe(before.size);
    expect((await read(`${made.recordId}/principal.id`)).status).toBe(200);
  });

  test.each([
    ['no reason', {}, 'is missing'],
    ['an empty reason', { 'x-stele-reason': '' }, 'has 0 characters'],
    ['a blank reason', { 'x-stele-reason': '   ' }, 'has 0 characters'],
    ['a reason that is too long', { 'x-stele-reason': 'x'.repeat(501) }, 'has 501 characters'],
    ['a reason that is not UTF-8', { 'x-stele-reason': '\xff' }, 'not valid UTF-8'],
    ['a reason with a control character', { 'x-stele-reason': 'a\tb' }, 'control character'],
  ])('with %s is refused, and leaves no trace', async (_, headers, rule) => {
    const before = await accessLog();
    const answer = await read(`${made.recordId}/principal.id`, headers as Record<string, string>);
    expect(answer.json()).toMatchObject({ code: 'malformed', status: 400 });
    expect(answer.text).toContain(rule);
    expect((await accessLog()).size).toBe(before.size);
  });

  test('a reason in the URL is refused, and never logged', async () => {
    const answer = await read(`${made.recordId}/principal.id?reason=secret-reason`);
    expect(answer.status).toBe(400);
    expect(world.lines.join('')).not.toContain('secret-reason');
  });

  test.each([
    ['a field without content', 'response.body'],
    ['a body of what is no body', 'principal.id/body'],
    ['an unknown field', 'constructor'],
  ])('%s is not found, and leaves no trace', async (_, path) => {
    const before = await accessLog();
    expect((await read(`${made.recordId}/${path}`)).status).toBe(404);
    expect((await accessLog()).size).toBe(before.size);
  });

  test('HEAD does not read content', async () => {
    const path = `/logs/a/v1/content/${made.recordId}/principal.id`;
    const answer = await world.ask('HEAD', path, { token: reader });
    expect([answer.status, answer.headers.allow]).toEqual([405, 'GET, OPTIONS']);
  });

  test('an access log has no content of its own', async () => {
    const access = (await world.logs.lease('a.access')).log;
    const { last } = await accessLog();
    const answer = await world.get(`/logs/a.access/v1/content/${last.record_id}/principal.id`, {
      token: reader,
      headers: { 'x-stele-reason': 'x' },
    });
    expect([answer.status, access.name]).toEqual([404, 'a.access']);
  });

  test('content that is damaged on disk never ends as if it were whole', async () => {
    const damaged = await sample(randomBytes(3_000_000));
    const known = new Set(vaultFiles());
    await post(multipart([damaged.entry, ...damaged.disclosures, damaged.body]));
    const [path] = vaultFiles().filter((file) => !known.has(file));
    if (path === undefined) throw new Error('no file');
    const { readFileSync, writeFileSync, chmodSync } = await import('node:fs');
    const bytes = readFileSync(path);
    bytes[2_500_000] = (bytes[2_500_000] ?? 0) ^ 1;
    chmodSync(path, 0o600);
    writeFileSync(path, bytes);
    await expect(read(`${damaged.recordId}/request.body/body`)).rejects.toThrow();
  });
});
