/**
 * Attacks on the wire: requests that two readers could cut at different places. Behind each of them comes
 * another request; where the cut is in doubt, that one must never be served.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { statusesOf, talk } from './wire.ts';
import { World } from './world.ts';

let world: World;
let begin: string;

beforeAll(async () => {
  world = await World.start({ listen: { keepAliveMs: 500 } });
  const token = world.token({ roles: ['admin'] });
  begin =
    'POST /v1/admin/tokens HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n' +
    `authorization: Bearer ${token}\r\n`;
});

afterAll(() => world.stop());

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';
const BODY = '{}';
const CHUNKS = '2\r\n{}\r\n0\r\n\r\n';

/** Header lines, and what comes after them. */
const doubtful: Record<string, readonly [string, string]> = {
  'a length and chunks': ['content-length: 4\r\ntransfer-encoding: chunked', '0\r\n\r\n'],
  'chunks and a length': ['transfer-encoding: chunked\r\ncontent-length: 4', '0\r\n\r\n'],
  'two lengths that differ': ['content-length: 2\r\ncontent-length: 60', BODY],
  'the same length twice': ['content-length: 2\r\ncontent-length: 2', BODY],
  'a list of lengths': ['content-length: 2, 2', BODY],
  'a length with a sign': ['content-length: +2', BODY],
  'a negative length': ['content-length: -2', BODY],
  'a length in hex': ['content-length: 0x2', BODY],
  'a length with a space in it': ['content-length: 2 2', BODY],
  'an empty length': ['content-length: ', BODY],
  'a length beyond 2^64': ['content-length: 99999999999999999999999', BODY],
  'an unknown coding': ['transfer-encoding: xchunked', CHUNKS],
  'another coding before chunked': ['transfer-encoding: gzip, chunked', CHUNKS],
  'another coding after chunked': ['transfer-encoding: chunked, gzip', CHUNKS],
  'chunked twice': ['transfer-encoding: chunked\r\ntransfer-encoding: chunked', CHUNKS],
  'chunked, then identity': ['transfer-encoding: chunked\r\ntransfer-encoding: identity', CHUNKS],
  'identity and a length': ['transfer-encoding: identity\r\ncontent-length: 2', BODY],
  'a coding in quotes': ['transfer-encoding: "chunked"', CHUNKS],
  'a coding behind a vertical tab': ['transfer-encoding:\x0bchunked', CHUNKS],
  'a coding with a parameter': ['transfer-encoding: chunked;q=1', CHUNKS],
  'a space before the colon': ['transfer-encoding : chunked', CHUNKS],
  'a folded header': ['x-fold: a\r\n b\r\ncontent-length: 2', BODY],
  'a folded coding': ['transfer-encoding:\r\n chunked', CHUNKS],
  'a bare line feed between headers': ['x-a: b\ncontent-length: 2', BODY],
  'a bare carriage return between headers': ['x-a: b\rcontent-length: 2', BODY],
  'a NUL in a header': ['x-a: b\x00c\r\ncontent-length: 2', BODY],
  'a header without a name': [': a\r\ncontent-length: 2', BODY],
  'a header without a colon': ['content-length 2', BODY],
  'a chunk size with a line feed alone': ['transfer-encoding: chunked', '2\n{}\r\n0\r\n\r\n'],
  'a chunk that ends with a line feed': ['transfer-encoding: chunked', '2\r\n{}\n0\r\n\r\n'],
  'a chunk that is longer than it says': ['transfer-encoding: chunked', '2\r\n{}}}\r\n0\r\n\r\n'],
  'a chunk that runs into the next size': ['transfer-encoding: chunked', '2\r\n{}0\r\n\r\n'],
  'a chunk size with 0x': ['transfer-encoding: chunked', '0x2\r\n{}\r\n0\r\n\r\n'],
  'a negative chunk size': ['transfer-encoding: chunked', '-2\r\n{}\r\n0\r\n\r\n'],
  'a chunk size beyond 2^64': ['transfer-encoding: chunked', 'fffffffffffffffff2\r\n{}\r\n'],
  'a chunk size with a space': ['transfer-encoding: chunked', '2 \r\n{}\r\n0\r\n\r\n'],
  'a chunk extension with a line feed': ['transfer-encoding: chunked', '2;\n{}\r\n0\r\n\r\n'],
  'a chunk extension without end': [
    'transfer-encoding: chunked',
    `2;${'a'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
  ],
  'a length in the trailer': [
    'transfer-encoding: chunked',
    '2\r\n{}\r\n0\r\ncontent-length: 60\r\n\r\n',
  ],
  'two hosts': ['host: y\r\ncontent-length: 2', BODY],
  'two types of content': ['content-type: application/protobuf\r\ncontent-length: 2', BODY],
};

describe('a request with a doubtful end', () => {
  test.each(Object.entries(doubtful))('%s: what comes behind it is not served', async (_, how) => {
    const [lines, rest] = how;
    const wire = talk(world);
    await wire.send(Buffer.from(`${begin}${lines}\r\n\r\n${rest}${SMUGGLED}`, 'latin1'));
    const text = await wire.end();
    expect(text).not.toContain('smuggled');
    const statuses = statusesOf(text);
    expect(statuses).toHaveLength(1);
    expect([400, 413, 501]).toContain(statuses[0]);
    expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n');
    expect(text).toContain('"type":"urn:stele:error:');
  });

  test('of HTTP/1.0 with chunks: what comes behind it is not served', async () => {
    const wire = talk(world);
    const old = begin.replace('HTTP/1.1', 'HTTP/1.0');
    await wire.send(`${old}transfer-encoding: chunked\r\n\r\n${CHUNKS}${SMUGGLED}`);
    const text = await wire.end();
    expect(text).not.toContain('smuggled');
    expect(statusesOf(text)).toEqual([400]);
  });

  test('whose headers end with a line feed alone: what comes behind it is not served', async () => {
    const wire = talk(world);
    await wire.send(`${begin}content-length: 2\r\n\n{}${SMUGGLED}`);
    expect(await wire.end()).not.toContain('smuggled');
  });
});

/** Unusual, and clear: read as the rules say, to the byte. */
const clear: Record<string, readonly [string, string]> = {
  'a coding in capitals': ['Transfer-Encoding: CHUNKED', CHUNKS],
  'a coding behind a tab': ['transfer-encoding:\tchunked', CHUNKS],
  'a short chunk extension': ['transfer-encoding: chunked', '2;a=b\r\n{}\r\n0\r\n\r\n'],
  'chunk sizes with leading zeros': ['transfer-encoding: chunked', '0002\r\n{}\r\n000\r\n\r\n'],
  'a harmless trailer': ['transfer-encoding: chunked', '2\r\n{}\r\n0\r\nx-a: b\r\n\r\n'],
  'a length, and the next request at once': ['content-length: 2', BODY],
};

describe('a request with a clear end', () => {
  test.each(Object.entries(clear))('%s: the next begins behind it', async (_, [lines, rest]) => {
    const wire = talk(world);
    await wire.send(`${begin}${lines}\r\n\r\n${rest}${SMUGGLED}`);
    const text = await wire.end();
    expect(statusesOf(text)).toEqual([400, 404]);
    expect(text).toContain('body.holder');
    expect(text).toContain('smuggled');
  });

  test('a GET with a body: the body is not taken for a request', async () => {
    const wire = talk(world);
    const next = 'GET /logs/none/checkpoint HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n';
    await wire.send(
      `GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}${next}`,
    );
    const text = await wire.end();
    expect(statusesOf(text)).toEqual([200, 404]);
    expect(text).not.toContain('smuggled');
  });

  test('a refused upload: its rest is not taken for a request', async () => {
    const wire = talk(world);
    const body = SMUGGLED.repeat(40);
    await wire.send(
      `POST /logs/none/v1/entries HTTP/1.1\r\nhost: x\r\ncontent-type: application/protobuf\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    await wire.answers(1);
    await wire.send('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    const text = await wire.end();
    expect(statusesOf(text)).toEqual([404, 200]);
    expect(text).not.toContain('smuggled');
  });
});

test('after all of that the server serves, and made no token', async () => {
  expect((await world.get('/healthz')).status).toBe(200);
  expect(world.instance.listTokens()).toHaveLength(1);
});
