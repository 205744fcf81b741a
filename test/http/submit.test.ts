/** POST one entry: 201 with a receipt, 200 for a repeat, and a specific refusal for everything else. */

import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { pae } from '../../server/core/pae.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { buildWindow } from '../../server/core/window.ts';
import type { Log } from '../../server/log/log.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;

beforeAll(async () => {
  world = await World.start();
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['submit'], logs: ['a'] });
});

afterAll(() => world.stop());

const PROTOBUF = 'application/protobuf';

function post(body: Uint8Array | string, type = PROTOBUF) {
  return world.ask('POST', '/logs/a/v1/entries', { token, body, type });
}

describe('an entry', () => {
  test.each([
    ['protobuf', PROTOBUF, (bytes: Uint8Array) => bytes],
    ['protobuf, by its old name', 'application/x-protobuf', (bytes: Uint8Array) => bytes],
    ['bytes', 'application/octet-stream', (bytes: Uint8Array) => bytes],
    ['a DSSE envelope', 'application/vnd.dsse.envelope.v1+json', envelope],
    ['an envelope', 'application/vnd.stele.envelope.v1+json', envelope],
    ['JSON with a charset', 'Application/JSON; charset=utf-8', envelope],
  ])('as %s gets a receipt that has it', async (_, type, spell) => {
    const bytes = await gateway.entry();
    const answer = await post(spell(bytes), type);
    expect(answer.text).toContain('stele.receipt/1');
    expect(answer.status).toBe(201);
    expect(answer.headers['content-type']).toBe('application/vnd.stele.receipt.v1+json');
    expect(answer.headers['cache-control']).toBe('private, no-store');
    const receipt = parseReceipt(answer.bytes);
    expect(receipt.entry).toEqual(bytes);
    expect(receipt.index).toBe(log.head().size - 1);
    expect(answer.headers.location).toBe(`/logs/a/v1/entries/${receipt.index}`);
    // What the server admits, the offline verifier accepts (P5).
    const verdict = verifyReceipt(answer.bytes, trust());
    expect(verdict.steps.filter(({ status }) => status === 'invalid')).toEqual([]);
    expect(verdict.holds).toBe(true);
  });

  test('again is a repeat: 200 and the first index', async () => {
    const bytes = await gateway.entry();
    const first = await post(bytes);
    await post(await gateway.entry());
    const again = await post(bytes);
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(parseReceipt(again.bytes).index).toBe(parseReceipt(first.bytes).index);
    expect(again.headers.location).toBe(first.headers.location);
  });
});

/** What a stranger got elsewhere: the log's keys. */
function trust() {
  const { identity, anchor } = log.verifierKeys();
  const keys = [{ vkey: identity.text }, { vkey: anchor.text }];
  const logs = [{ origin: log.origin, keys, gateways: [] }];
  return parseTrust(Buffer.from(JSON.stringify({ format: 'stele.trust/1', logs })));
}

function envelope(bytes: Uint8Array): string {
  return formatEnvelopeJson(decodeEntry(bytes));
}

/** Sends what must be refused; the log must be as it was, and the refusal specific. */
async function refused(
  send: () => ReturnType<typeof post>,
  [status, code, rule]: readonly [number, string, string],
) {
  const before = log.head();
  const answer = await send();
  expect(answer.text).toContain(rule);
  expect([answer.status, answer.json().code]).toEqual([status, code]);
  expect(answer.headers['content-type']).toBe('application/problem+json');
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(log.head()).toBe(before);
  return answer;
}

describe('what is refused, and leaves the log as it was', () => {
  const DSSE = 'application/vnd.dsse.envelope.v1+json';
  const WINDOWED = 'application/vnd.stele.envelope.v1+json';
  type Make = () => Promise<Uint8Array | string>;
  const good = () => gateway.entry();
  const json = async () => envelope(await gateway.entry());

  const bodies: Record<string, readonly [Make, string, readonly [number, string, string]]> = {
    'nothing, as protobuf': [async () => '', PROTOBUF, [400, 'malformed', 'is empty']],
    'nothing, as JSON': [async () => '', DSSE, [400, 'malformed', 'is empty']],
    noise: [async () => Buffer.from('hello'), PROTOBUF, [400, 'malformed', '0x0a']],
    'a truncated entry': [
      async () => (await good()).slice(0, -1),
      PROTOBUF,
      [400, 'malformed', 'entry'],
    ],
    'an entry with a byte behind it': [
      async () => Buffer.concat([await good(), Buffer.from([0])]),
      PROTOBUF,
      [400, 'malformed', 'entry'],
    ],
    'an entry that is too large': [
      async () => Buffer.alloc(65_536, 10),
      PROTOBUF,
      [413, 'too_large', '65536 bytes where at most 65535'],
    ],
    'an envelope that is too large': [
      async () => Buffer.alloc(131_073, 32),
      DSSE,
      [413, 'too_large', '131073 bytes where at most 131072'],
    ],
    'a truncated envelope': [
      async () => (await json()).slice(0, -1),
      DSSE,
      [400, 'malformed', 'envelope'],
    ],
    'bytes behind an envelope': [
      async () => `${await json()} x`,
      DSSE,
      [400, 'malformed', 'envelope'],
    ],
    'duplicate names': [
      async () => (await json()).replace('{"payload":', '{"payload":"","payload":'),
      WINDOWED,
      [400, 'malformed', 'envelope'],
    ],
    'an unknown member': [
      async () => (await json()).replace('{"payload":', '{"extra":1,"payload":'),
      WINDOWED,
      [400, 'malformed', 'envelope'],
    ],
    'not UTF-8': [
      async () => Buffer.concat([Buffer.from('{"payload":"'), Buffer.from([0xff])]),
      DSSE,
      [400, 'malformed', 'UTF-8'],
    ],
    'url-safe base64': [
      async () => (await json()).replace('"payload":"ey', '"payload":"_y'),
      DSSE,
      [400, 'malformed', 'base64'],
    ],
    'deep nesting': [async () => '['.repeat(1000), WINDOWED, [400, 'malformed', 'envelope']],
    'protobuf sent as JSON': [good, DSSE, [400, 'malformed', 'envelope']],
    'JSON sent as protobuf': [json, PROTOBUF, [400, 'malformed', '0x0a']],
    'a window in a DSSE envelope': [
      async () =>
        (await json()).replace('"sig":', '"window":{"hashes":[],"index":0,"size":1},"sig":'),
      DSSE,
      [400, 'malformed', 'window'],
    ],
    'a changed payload': [
      async () => {
        const { entry } = await gateway.make();
        const payload = Buffer.from(
          Buffer.from(entry.payload).toString().replace('test/1', 'test/2'),
        );
        return encodeEntry({ ...entry, payload });
      },
      PROTOBUF,
      [422, 'unverified', 'signature'],
    ],
    'an unknown key': [
      async () => new Gateway(log, () => world.now).entry(),
      PROTOBUF,
      [403, 'forbidden', 'is not registered'],
    ],
    'a record made for another log': [
      () => gateway.entry({ log: 'log.example/logs/b' }),
      PROTOBUF,
      [400, 'malformed', 'was made for log'],
    ],
    'a source of the log itself': [
      () => gateway.entry({ source: '_log' }),
      PROTOBUF,
      [403, 'forbidden', '_log'],
    ],
    'a payload type that the log does not take': [
      async () => {
        const payload = Buffer.from('x');
        const { keyid } = gateway.signer.publicKey;
        const sig = await gateway.signer.sign(pae('text/plain', payload));
        return encodeEntry({ payloadType: 'text/plain', payload, signatures: [{ keyid, sig }] });
      },
      PROTOBUF,
      [403, 'forbidden', 'text/plain'],
    ],
  };

  test.each(Object.entries(bodies))('%s', async (_, [make, type, expected]) => {
    const body = await make();
    await refused(() => post(body, type), expected);
  });

  const url = '/logs/a/v1/entries';
  const headers: Record<
    string,
    readonly [() => ReturnType<typeof post>, readonly [number, string, string]]
  > = {
    'no content type': [
      () => world.ask('POST', url, { token, body: 'x' }),
      [415, 'malformed', 'content-type'],
    ],
    'another content type': [
      () => world.ask('POST', url, { token, body: 'x', type: 'text/plain' }),
      [415, 'malformed', 'text/plain'],
    ],
    'a content encoding': [
      () =>
        world.ask('POST', url, {
          token,
          body: 'x',
          type: PROTOBUF,
          headers: { 'content-encoding': 'gzip' },
        }),
      [415, 'malformed', 'gzip'],
    ],
    'a query string': [
      () => world.ask('POST', `${url}?x=1`, { token, body: 'x', type: PROTOBUF }),
      [400, 'malformed', 'query'],
    ],
    'an unknown log': [
      () =>
        world.ask('POST', '/logs/b/v1/entries', {
          token: world.token({ roles: ['submit'] }),
          body: 'x',
          type: PROTOBUF,
        }),
      [404, 'not_found', 'there is no log \\"b\\" here'],
    ],
  };

  test.each(Object.entries(headers))('%s', async (_, [send, expected]) => {
    await refused(send, expected);
  });

  test('neither a length nor chunks', async () => {
    const { port } = new URL(world.server.url);
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('data', (chunk) => {
        text += String(chunk);
      });
      socket.on('end', () => resolve(text)).on('error', reject);
      socket.end(
        `POST ${url} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n` +
          `content-type: ${PROTOBUF}\r\nconnection: close\r\n\r\n`,
      );
    });
    expect(answer).toMatch(/^HTTP\/1\.1 411 /);
    expect(answer).toContain('"code":"malformed"');
  });

  test('a revoked key, while what it signed before stays readable', async () => {
    const other = new Gateway(log, () => world.now);
    await log.registerGateway(other.signer.publicKey);
    const first = await other.make({ source: 'other' });
    expect((await post(first.bytes)).status).toBe(201);
    await log.revokeGateway(other.signer.publicKey.keyid);
    const late = await other.entry({ source: 'other' });
    await refused(() => post(late), [403, 'forbidden', 'was revoked at entry']);
    const read = world.token({ roles: ['read'] });
    const answer = await world.get(`/logs/a/v1/records/${first.recordId}`, { token: read });
    expect(answer.status).toBe(200);
  });

  test("another gateway's source", async () => {
    const other = new Gateway(log, () => world.now);
    await log.registerGateway(other.signer.publicKey);
    const bytes = await other.entry({ source: 'gateway-1' });
    await refused(() => post(bytes), [403, 'forbidden', 'belongs to key']);
  });

  test("a key of another log's gateway", async () => {
    const b = await world.log('other-log');
    const bytes = await b.gateway.entry({ log: log.origin });
    await refused(() => post(bytes), [403, 'forbidden', 'is not registered']);
  });

  test('the same record id with another statement', async () => {
    const first = await gateway.make();
    expect((await post(first.bytes)).status).toBe(201);
    const second = await gateway.entry({ recordId: first.recordId });
    await refused(() => post(second), [409, 'conflict', 'with another statement']);
  });
});

describe('windows', () => {
  const WINDOWED = 'application/vnd.stele.envelope.v1+json';

  /** Entries of one window, for the log of `origin`. */
  async function windowed(origin: string): Promise<Uint8Array[]> {
    const payloads = [gateway.payload(), gateway.payload(), gateway.payload()];
    const statements = payloads.map((payload) => ({ payloadType: RECORD_TYPE, payload }));
    const { message, windows } = buildWindow(origin, statements);
    const { keyid } = gateway.signer.publicKey;
    const sig = await gateway.signer.sign(message);
    return statements.map((statement, i) => {
      const window = windows[i];
      if (window === undefined) throw new Error('no window');
      return encodeEntry({ ...statement, signatures: [{ keyid, sig, window }] });
    });
  }

  test('each entry of a window stands alone, in either spelling', async () => {
    const [first, second] = await windowed(log.origin);
    const answers = [
      await post(first ?? ''),
      await post(envelope(second ?? new Uint8Array()), WINDOWED),
    ];
    expect(answers.map(({ status }) => status)).toEqual([201, 201]);
    expect(answers.map(({ bytes }) => verifyReceipt(bytes, trust()).holds)).toEqual([true, true]);
  });

  test('a window made for another log is refused', async () => {
    const [first] = await windowed('log.example/logs/b');
    await refused(() => post(first ?? ''), [422, 'unverified', 'signature']);
  });

  test("another entry's place in the window is refused", async () => {
    const [first, second] = await windowed(log.origin);
    const entry = decodeEntry(first ?? new Uint8Array());
    const replayed = encodeEntry({
      ...entry,
      signatures: decodeEntry(second ?? new Uint8Array()).signatures,
    });
    await refused(() => post(replayed), [422, 'unverified', 'signature']);
  });

  test('the same statement in a new window is a repeat', async () => {
    const [bytes] = await windowed(log.origin);
    const first = await post(bytes ?? '');
    const entry = decodeEntry(bytes ?? new Uint8Array());
    const { keyid } = gateway.signer.publicKey;
    const sig = await gateway.signer.sign(pae(entry.payloadType, entry.payload));
    const again = await post(encodeEntry({ ...entry, signatures: [{ keyid, sig }] }));
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(parseReceipt(again.bytes).entry).toEqual(bytes);
  });
});
