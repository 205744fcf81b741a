/** Batch framings: where one entry ends and the next begins, and results that read back. */
import protobuf from 'protobufjs/minimal.js';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { hash } from '../../server/core/units.ts';
import { delimited, type Framing, ndjson } from '../../server/http/framing.ts';
import { problemOf } from '../../server/http/problem.ts';

function refusal(framing: Framing, body: Uint8Array): SteleError {
  try {
    framing.split(body);
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const texts = (frames: Uint8Array[]) => frames.map((f) => Buffer.from(f).toString());

describe('lines', () => {
  test('with or without the last line end', () => {
    expect(texts(ndjson.split(Buffer.from('{}\n{"a":1}\n')))).toEqual(['{}', '{"a":1}']);
    expect(texts(ndjson.split(Buffer.from('{}\n{"a":1}')))).toEqual(['{}', '{"a":1}']);
    expect(ndjson.split(bytes())).toEqual([]);
  });

  test('refuses empty lines, lines that are too long, and too many', () => {
    expect(refusal(ndjson, Buffer.from('{}\n\n{}')).message).toContain('line 1 is empty');
    expect(refusal(ndjson, Buffer.from('\n')).message).toContain('line 0 is empty');
    expect(refusal(ndjson, Buffer.alloc(131_073, 32)).code).toBe('too_large');
    expect(ndjson.split(Buffer.from('1\n'.repeat(10_000)))).toHaveLength(10_000);
    expect(refusal(ndjson, Buffer.from('1\n'.repeat(10_001))).code).toBe('too_large');
  });
});

describe('lengths', () => {
  test('of one to three bytes', () => {
    const long = Buffer.alloc(300, 7);
    const longest = Buffer.alloc(65_535, 9);
    const body = Buffer.concat([
      bytes(2, 1, 2, 0),
      bytes(0xac, 0x02),
      long,
      bytes(0xff, 0xff, 0x03),
      longest,
    ]);
    expect(delimited.split(body).map((f) => f.length)).toEqual([2, 0, 300, 65_535]);
  });

  test.each([
    ['a length that breaks off', bytes(0x80), 'breaks off'],
    ['an overlong length', bytes(0x81, 0x00, 1), 'overlong'],
    ['a length of four bytes', bytes(0x81, 0x81, 0x81, 1), 'is over 65535'],
    ['more than is there', bytes(3, 1, 2), 'entry 0 has 3 bytes where 2 are left'],
    ['a second entry that breaks off', bytes(1, 1, 2, 1), 'entry 1 has 2 bytes where 1 are left'],
  ])('refuses %s', (_, body, rule) => {
    expect(refusal(delimited, body).code).toBe('malformed');
    expect(refusal(delimited, body).message).toContain(rule);
  });

  test('refuses an entry that is too large', () => {
    const body = Buffer.concat([bytes(0x80, 0x80, 0x04), Buffer.alloc(65_536)]);
    expect(refusal(delimited, body).code).toBe('too_large');
  });
});

describe('results', () => {
  const one = hash(new Uint8Array(32).fill(1));
  const two = hash(new Uint8Array(32).fill(2));
  const result = { index: 300, leafHash: one, proof: [one, two], repeat: true };
  const problem = problemOf(new SteleError('unverified', 'signature 0: no'), 'id');

  test('as lines', () => {
    const text = Buffer.concat([
      ndjson.head({ checkpoint: 'a\n5\n', size: 5 }),
      ndjson.result(result),
      ndjson.problem(problem),
    ]).toString();
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(lines[0]).toEqual({ checkpoint: 'a\n5\n', size: 5 });
    expect(lines[1]).toEqual({
      index: 300,
      leaf_hash: '01'.repeat(32),
      proof: [one, two].map((h) => Buffer.from(h).toString('base64')),
      repeat: true,
    });
    expect(lines[2]).toMatchObject({ code: 'unverified', status: 422 });
  });

  test('as protobuf messages', () => {
    const reader = protobuf.Reader.create(
      Buffer.concat([
        delimited.head({ checkpoint: 'a\n5\n', size: 5 }),
        delimited.result(result),
        delimited.result({ index: 0, leafHash: two, proof: [], repeat: false }),
        delimited.problem(problem),
      ]),
    );
    expect(fields(reader)).toEqual([
      [1, Buffer.from('a\n5\n').toString('hex')],
      [2, 5],
    ]);
    expect(fields(reader)).toEqual([
      [1, 300],
      [2, '01'.repeat(32)],
      [3, '01'.repeat(32)],
      [3, '02'.repeat(32)],
      [4, 1],
    ]);
    expect(fields(reader)).toEqual([[2, '02'.repeat(32)]]);
    const [field] = fields(reader);
    expect(field?.[0]).toBe(5);
    expect(JSON.parse(Buffer.from(String(field?.[1]), 'hex').toString())).toEqual(problem);
    expect(reader.pos).toBe(reader.len);
  });

  /** One length-delimited message: its fields in order, bytes in hex. */
  function fields(reader: protobuf.Reader): [number, number | string][] {
    const end = reader.uint32() + reader.pos;
    const found: [number, number | string][] = [];
    while (reader.pos < end) {
      const tag = reader.uint32();
      const value =
        tag % 8 === 2 ? Buffer.from(reader.bytes()).toString('hex') : Number(reader.uint64());
      found.push([Math.floor(tag / 8), value]);
    }
    return found;
  }
});
