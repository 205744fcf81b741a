/** Attacks on the wire: bodies that are small to send and would be dear to read. Each is refused, and the next is served. */
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { toBase64url } from '../../server/core/bytes.ts';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { decodeEntry, encodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { pae } from '../../server/core/pae.ts';
import type { Log } from '../../server/log/log.ts';
import { head, talk } from './wire.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;
let before: unknown;

beforeAll(async () => {
  world = await World.start({ settings: { idleTimeoutMs: 2_000 } });
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['submit', 'admin', 'keys'] });
  before = log.head();
});

afterEach(async () => {
  expect(log.head()).toBe(before);
  expect((await world.get('/healthz')).status).toBe(200);
});

afterAll(() => world.stop());

const ENTRIES = '/logs/a/v1/entries';
const MULTIPART = 'multipart/form-data; boundary=B';

const post = (path: string, type: string, body: Uint8Array | string) =>
  world.ask('POST', path, { token, type, body });

describe('JSON that is more than it seems', () => {
  const nested = (open: string, close: string, depth: number) =>
    open.repeat(depth) + close.repeat(depth);
  const bombs: Record<string, string> = {
    'lists in lists': nested('[', ']', 30_000),
    'lists that never end': '['.repeat(60_000),
    'objects in objects': `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
    'a list of empty lists': `[${'[],'.repeat(20_000)}[]]`,
    'an object of many members': `{${Array.from({ length: 6_000 }, (_, i) => `"${i}":0`).join()}}`,
    'one member again and again': `{${Array(8_000).fill('"a":0').join()}}`,
    'a number with a huge exponent': '{"holder":1e999999999}',
    'a number of sixty thousand digits': `{"holder":${'9'.repeat(60_000)}}`,
    'a number with sixty thousand decimals': `{"holder":0.${'1'.repeat(60_000)}}`,
    'a text of escapes': `{"holder":"${'\\u0041'.repeat(10_000)}"}`,
    'a text of escaped quotes': `{"holder":"${'\\"'.repeat(30_000)}"}`,
    'a lone surrogate': '{"holder":"\\ud800"}',
    'a text that is not UTF-8': '{"holder":"\xff\xfe"}',
    'a byte order mark': '\ufeff{}',
    'UTF-16': Buffer.from('{"holder":"x"}', 'utf16le').toString('latin1'),
    'a NUL behind it': '{}\x00',
    'two values': '{}{}',
    'a comment': '{/* x */}',
    __proto__: '{"__proto__":{"roles":["admin"]},"holder":"x","logs":["*"]}',
    constructor: '{"constructor":{"prototype":{"roles":["admin"]}},"holder":"x","logs":["*"]}',
    'white space and nothing else': ' '.repeat(60_000),
    'white space, then a list that never ends': ' '.repeat(50_000) + '['.repeat(10_000),
  };

  test.each(Object.entries(bombs))('as administration: %s', async (_, text) => {
    const answer = await post('/v1/admin/tokens', 'application/json', Buffer.from(text, 'latin1'));
    expect([answer.status, answer.json().code]).toEqual([400, 'malformed']);
    expect(answer.bytes.length).toBeLessThan(2_000);
    expect(world.instance.listTokens()).toHaveLength(1);
  });

  test.each(Object.entries(bombs))('as an envelope: %s', async (_, text) => {
    const type = 'application/vnd.stele.envelope.v1+json';
    const answer = await post(ENTRIES, type, Buffer.from(text, 'latin1'));
    expect([answer.status, answer.json().code]).toEqual([400, 'malformed']);
    expect(answer.bytes.length).toBeLessThan(2_000);
  });

  test('as a record inside a signed entry: each is malformed, whoever signed it', async () => {
    for (const text of Object.values(bombs)) {
      const payload = Buffer.from(text, 'latin1').subarray(0, 60_000);
      const { keyid } = gateway.signer.publicKey;
      const type = 'application/vnd.stele.record.v1+json';
      const sig = await gateway.signer.sign(pae(type, payload));
      const entry = encodeEntry({ payloadType: type, payload, signatures: [{ keyid, sig }] });
      const answer = await post(ENTRIES, 'application/protobuf', entry);
      expect([answer.status, answer.json().code]).toEqual([400, 'malformed']);
    }
  });

  test('as the lines of a batch: a result for each, in bounded bytes', async () => {
    const lines = Object.values(bombs).filter((text) => !/[\n\r]/.test(text));
    const body = Buffer.from(`${lines.join('\n')}\n`, 'latin1');
    const answer = await post(`${ENTRIES}/batch`, 'application/x-ndjson', body);
    const [, ...results] = answer.text.trimEnd().split('\n');
    expect(results).toHaveLength(lines.length);
    for (const line of results) expect(JSON.parse(line)).toMatchObject({ code: 'malformed' });
    expect(answer.bytes.length).toBeLessThan(lines.length * 1_500);
  });

  test('ten thousand lines of two bytes are ten thousand short results', async () => {
    const answer = await post(`${ENTRIES}/batch`, 'application/x-ndjson', '[]\n'.repeat(10_000));
    expect(answer.status).toBe(200);
    expect(answer.text.split('\n')).toHaveLength(10_002);
    const one = await post(`${ENTRIES}/batch`, 'application/x-ndjson', '[]\n'.repeat(10_001));
    expect(one.json()).toMatchObject({ status: 413 });
  });
});

describe('parts without end', () => {
  const part = (disposition: string, body: Uint8Array | string = '', more = '') =>
    Buffer.concat([
      Buffer.from(`--B\r\ncontent-disposition: form-data; ${disposition}\r\n${more}\r\n`),
      Buffer.from(body as string),
      Buffer.from('\r\n'),
    ]);
  const END = Buffer.from('--B--\r\n');

  /** An entry that commits to as much as an entry may, and one disclosure of it. */
  async function committed() {
    const sha256 = toBase64url(createHash('sha256').update('x').digest());
    const value = { bytes: 1, media_type: 'text/plain', sha256 };
    const { disclosure, digest } = makeDisclosure('request.body', value, randomBytes(16));
    const { bytes } = await gateway.make({ commitments: { 'request.body': digest } });
    return {
      entry: part('name="entry"', bytes),
      disclosure: part('name="disclosure"', disclosure),
    };
  }

  const cases: Record<string, readonly [(e: Buffer, d: Buffer) => Buffer[], number, string]> = {
    'ten thousand empty parts': [
      () => Array<Buffer>(10_000).fill(part('name="entry"')),
      400,
      'is empty',
    ],
    'ten thousand parts that nobody knows': [
      (e) => [e, ...Array<Buffer>(10_000).fill(part('name="x"'))],
      400,
      'none of entry, disclosure, body',
    ],
    'the same disclosure again and again': [
      (e, d) => [e, ...Array<Buffer>(200).fill(d)],
      413,
      'more than 64 disclosures',
    ],
    'a disclosure that is too long': [
      (e) => [e, part('name="disclosure"', Buffer.alloc(1_100_000, 'A'))],
      413,
      'more than 1048576 bytes',
    ],
    'an entry that is too long': [
      () => [part('name="entry"', Buffer.alloc(70_000, 10))],
      413,
      'more than 65535 bytes',
    ],
    'headers that are too long': [
      (e) => [e, part('name="x"', '', `x: ${'y'.repeat(3_000)}\r\n`)],
      413,
      "a part's headers",
    ],
    'hundreds of headers': [
      (e) => [
        e,
        part('name="x"', '', Array.from({ length: 500 }, (_, i) => `a${i}:\r\n`).join('')),
      ],
      413,
      "a part's headers",
    ],
    'a body before anything is disclosed': [
      (e) => [e, part('name="body"; field="request.body"', Buffer.alloc(100_000))],
      422,
      'request.body',
    ],
    'a body of a field that was not committed to': [
      (e, d) => [e, d, part('name="body"; field="output.body"', 'x')],
      422,
      'output.body',
    ],
    'almost boundaries': [
      (e) => [e, part('name="x"', '\r\n--A'.repeat(100_000))],
      400,
      'none of entry',
    ],
    'parts in a part': [
      (e) => [e, part('name="x"', Buffer.concat([part('name="entry"'), END]))],
      400,
      'none of entry',
    ],
  };
  test.each(Object.entries(cases))('%s', async (_, [build, status, rule]) => {
    const { entry, disclosure } = await committed();
    const answer = await post(
      ENTRIES,
      MULTIPART,
      Buffer.concat([...build(entry, disclosure), END]),
    );
    expect([answer.status, answer.json().detail]).toEqual([status, expect.stringContaining(rule)]);
  });

  test('a gigabyte is announced, and only what comes before the refusal is read', async () => {
    const wire = talk(world);
    await wire.send(
      head('POST', ENTRIES, {
        authorization: `Bearer ${token}`,
        'content-type': MULTIPART,
        'content-length': '1000000000',
      }),
    );
    await wire.send(part('name="x"'));
    await wire.until('the entry must come first');
    wire.socket.destroy();
  });
});

test('an envelope of nothing but signatures is refused by their number', async () => {
  const { keyid } = gateway.signer.publicKey;
  const good = JSON.parse(formatEnvelopeJson(decodeEntry(await gateway.entry()))) as object;
  const signatures = Array.from({ length: 1_000 }, () => ({ keyid, sig: 'AA==' }));
  const body = JSON.stringify({ ...good, signatures });
  const answer = await post(ENTRIES, 'application/vnd.stele.envelope.v1+json', body);
  expect([answer.status, answer.json().code]).toEqual([400, 'malformed']);
});
