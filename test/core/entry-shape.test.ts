/** Entries that are small on the wire and would be large in memory: refused before anything is made of them. */
import { describe, expect, it } from 'vitest';
import { concat, utf8 } from '../../server/core/bytes.ts';
import { decodeEntry, encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { checkShape } from '../../server/core/entry-shape.ts';
import { hash } from '../../server/core/units.ts';
import { stele } from '../../server/gen/envelope.js';

/** A field that has a length. */
function field(number: number, value: Uint8Array): Uint8Array {
  return concat(varint(number * 8 + 2), varint(value.length), value);
}

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return Uint8Array.from([...bytes, value]);
}

const repeated = (bytes: Uint8Array, times: number) => concat(...Array(times).fill(bytes));
const NONE = new Uint8Array(0);
const STATEMENT = concat(field(1, utf8('x')), field(2, utf8('text/plain')));

describe('an entry that has more of something than it may have', () => {
  const bombs: Record<string, readonly [Uint8Array, string]> = {
    signatures: [concat(STATEMENT, repeated(field(3, NONE), 30_000)), 'more than 8 signatures'],
    payloads: [repeated(field(1, NONE), 30_000), 'more than 1 payload'],
    'payload types': [concat(STATEMENT, repeated(field(2, NONE), 30_000)), 'more than 1 payloadT'],
    'bytes of a signature': [
      concat(STATEMENT, field(3, repeated(field(1, NONE), 30_000))),
      'more than 1 sig',
    ],
    windows: [concat(STATEMENT, field(3, repeated(field(16, NONE), 20_000))), 'more than 1 window'],
    'hashes of a window': [
      concat(STATEMENT, field(3, field(16, repeated(field(3, NONE), 30_000)))),
      'more than 16 hashes',
    ],
    'unknown fields': [concat(STATEMENT, repeated(field(4, NONE), 30_000)), 'field 4'],
    groups: [concat(STATEMENT, new Uint8Array(60_000).fill(0x53)), 'wire type 3'],
    'fixed numbers': [concat(STATEMENT, new Uint8Array(60_000).fill(0x55)), 'wire type 5'],
  };
  it.each(Object.entries(bombs))('%s', (_, [bytes, rule]) => {
    expect(bytes.length).toBeLessThanOrEqual(65_535);
    const { decode } = stele.v1.Envelope;
    let decoded = 0;
    stele.v1.Envelope.decode = (...args) => {
      decoded += 1;
      return decode(...args);
    };
    try {
      expect(() => decodeEntry(bytes)).toThrow(rule);
    } finally {
      stele.v1.Envelope.decode = decode;
    }
    expect(decoded).toBe(0);
  });
});

it('takes as much of everything as an entry may have', () => {
  const hashes = Array.from({ length: 16 }, (_, i) => hash(new Uint8Array(32).fill(i)));
  const entry = {
    payloadType: RECORD_TYPE,
    payload: utf8('{}'),
    signatures: [...'abcdef01'].map((digit) => ({
      keyid: digit.repeat(64),
      sig: Uint8Array.of(1),
      window: { index: 65_535, size: 65_536, hashes },
    })),
  };
  const bytes = encodeEntry(entry);
  checkShape(bytes);
  expect(decodeEntry(bytes)).toEqual(entry);
});

it('says nothing of bytes that break off: that is for the decoder', () => {
  const bytes = concat(STATEMENT, field(3, field(16, field(3, new Uint8Array(32)))));
  for (let end = 0; end < bytes.length; end++) checkShape(bytes.subarray(0, end));
  for (const tail of [[0x1a], [0x1a, 0xff], [0x1a, 0x7f], Array(11).fill(0xff)]) {
    checkShape(concat(STATEMENT, Uint8Array.from(tail)));
  }
});
