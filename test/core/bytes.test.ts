/**
 * Bytes and their text forms: one spelling each, on every machine.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  concat,
  equalBytes,
  parseBase64,
  parseBase64url,
  parseHex,
  parseUtf8,
  sha256,
  toBase64,
  toBase64url,
  toHex,
  utf8,
} from '../../server/core/bytes.ts';
import { primitives, usePrimitives } from '../../server/core/primitives.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { codeOf } from './codes.ts';

const bytes = fc.uint8Array({ maxLength: 200 });
const portable = primitives();

describe.each(['portable', 'native'])('%s', (which) => {
  beforeAll(() => (which === 'native' ? useNativePrimitives() : usePrimitives(portable)));
  afterAll(() => usePrimitives(portable));

  test('hex, base64 and base64url are what Node prints, and are read back', () => {
    fc.assert(
      fc.property(bytes, (b) => {
        const node = Buffer.from(b);
        expect(toHex(b)).toBe(node.toString('hex'));
        expect(toBase64(b)).toBe(node.toString('base64'));
        expect(toBase64url(b)).toBe(node.toString('base64url'));
        expect(parseHex(toHex(b), 'test')).toEqual(b);
        expect(parseBase64(toBase64(b), 'test')).toEqual(b);
        expect(parseBase64url(toBase64url(b), 'test')).toEqual(b);
      }),
    );
  });

  test('a view is encoded and hashed as itself, not as its whole allocation', () => {
    const whole = Uint8Array.from({ length: 64 }, (_, i) => i);
    const view = whole.subarray(5, 9);
    expect(toHex(view)).toBe('05060708');
    expect(toBase64(view)).toBe('BQYHCA==');
    expect(sha256(view)).toEqual(sha256(Uint8Array.of(5, 6, 7, 8)));
  });

  test('SHA-256 gives 32 bytes of their own [FIPS 180-4]', () => {
    const first = sha256(utf8('abc'));
    expect(toHex(first)).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    expect([first.length, first.byteOffset, first.buffer.byteLength]).toEqual([32, 0, 32]);
  });
});

/** A text that a parser takes is the one that its formatter prints; anything else is malformed. */
function checkStrict(
  parse: (text: string) => Uint8Array,
  format: (b: Uint8Array) => string,
  alphabet: string,
) {
  const outcomes = new Set<boolean>();
  const noise = fc.array(fc.constantFrom(...alphabet), { maxLength: 9 }).map((c) => c.join(''));
  const near = fc
    .tuple(bytes, fc.nat(), fc.constantFrom('', ...alphabet), fc.nat(2))
    .map(([b, at, char, cut]) => {
      const text = format(b);
      const i = at % (text.length + 1);
      return text.slice(0, i) + char + text.slice(i + cut);
    });
  fc.assert(
    fc.property(fc.oneof(noise, near), (text) => {
      let parsed: Uint8Array | undefined;
      const code = codeOf(() => (parsed = parse(text)));
      expect(code === undefined || code === 'malformed').toBe(true);
      if (parsed !== undefined) expect(format(parsed)).toBe(text);
      outcomes.add(parsed !== undefined);
    }),
    { numRuns: 3000 },
  );
  expect(outcomes.size).toBe(2);
}

describe('near misses', () => {
  test('of hex', () => {
    checkStrict((t) => parseHex(t, 'test'), toHex, '09afAFg x\n-');
    for (const text of ['0', 'AB', 'aB', '0x', '0g', ' 00', '00 ', '00\n', '-1', '٠٠', '000']) {
      expect(codeOf(() => parseHex(text, 'test'))).toBe('malformed');
    }
  });

  test('of hex of a known length', () => {
    expect(parseHex('00ff', 'test', 2)).toEqual(Uint8Array.of(0, 255));
    for (const [text, length] of [
      ['', 1],
      ['00', 0],
      ['00', 2],
      ['0000', 1],
      ['000', 1],
      ['zz', 1],
    ] as const) {
      expect(codeOf(() => parseHex(text, 'test', length))).toBe('malformed');
    }
  });

  test('of a long hex text are found without going back', () => {
    const long = 'ab'.repeat(8_000_000);
    expect(codeOf(() => parseHex(`${long}x0`, 'test'))).toBe('malformed');
    expect(parseHex(long.slice(0, 200_000), 'test')).toHaveLength(100_000);
  });

  test('of base64', () => {
    checkStrict((t) => parseBase64(t, 'test'), toBase64, 'AQgwx/+=-_ \n');
    for (const text of [
      'A',
      'AA',
      'AAA',
      'AA=',
      'A===',
      '=',
      '==',
      '====',
      'AAAA=',
      'AAAA==',
      'AAAA====',
      'AB==',
      'AAB=',
      'AA==AA==',
      'AA=A',
      '=AAA',
      'AA A',
      'AAAA\n',
      ' AAAA',
      'AA-_',
      'AAA\u0141',
      'AAAé',
    ]) {
      expect([text, codeOf(() => parseBase64(text, 'test'))]).toEqual([text, 'malformed']);
    }
    expect(parseBase64('', 'test')).toEqual(new Uint8Array(0));
    expect(parseBase64('+/+/', 'test')).toEqual(Uint8Array.of(0xfb, 0xff, 0xbf));
  });

  test('of base64url', () => {
    checkStrict((t) => parseBase64url(t, 'test'), toBase64url, 'AQgwx/+=-_ \n');
    for (const text of [
      'A',
      'AAAAA',
      'AA==',
      'AAA=',
      '=',
      'AB',
      'AAB',
      'AA+/',
      'AAAA\n',
      'AA AA',
    ]) {
      expect([text, codeOf(() => parseBase64url(text, 'test'))]).toEqual([text, 'malformed']);
    }
    expect(parseBase64url('-_-_', 'test')).toEqual(Uint8Array.of(0xfb, 0xff, 0xbf));
  });

  test('of UTF-8', () => {
    const wrong = [
      [0x80],
      [0xc0, 0x80],
      [0xc3],
      [0xe2, 0x82],
      [0xed, 0xa0, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xff],
    ];
    for (const b of wrong)
      expect(codeOf(() => parseUtf8(Uint8Array.from(b), 'test'))).toBe('malformed');
    // A byte-order mark stays: it is part of what was signed.
    expect(parseUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61), 'test')).toBe('\ufeffa');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(parseUtf8(utf8(text), 'test')).toBe(text);
      }),
    );
  });
});

test('bytes are put together and compared whole', () => {
  expect(concat()).toEqual(new Uint8Array(0));
  expect(concat(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3))).toEqual(
    Uint8Array.of(1, 2, 3),
  );
  const a = Uint8Array.of(1, 2, 3);
  expect(equalBytes(a, Uint8Array.of(1, 2, 3))).toBe(true);
  for (const b of [[1, 2], [1, 2, 4], [0, 2, 3], [1, 2, 3, 0], []]) {
    expect(equalBytes(a, Uint8Array.from(b))).toBe(false);
  }
});
