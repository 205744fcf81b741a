import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { canonicalize, parseCanonical } from '../../server/core/canonical.ts';
import { type Json, parseJson } from '../../server/core/json.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { expectOneSpelling } from './near-miss.ts';

const read = (text: string, options = {}) => parseJson(utf8(text), 'test', options);
const plain = (value: Json): unknown => JSON.parse(JSON.stringify(value));

describe('parseJson', () => {
  it('reads what JSON.parse reads', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 5 }), (text) => {
        const expected: unknown = JSON.parse(text);
        let value: Json;
        try {
          value = read(text);
        } catch {
          // Only what I-JSON forbids may be refused.
          expect(text).toMatch(/\\ud[89a-f]|[0-9]{16}|-0/);
          return;
        }
        expect(plain(value)).toEqual(expected);
      }),
    );
  });

  it.each([
    ['duplicate names', '{"a":1,"a":2}', /member "a" occurs twice/],
    ['duplicate names, one escaped', '{"a":1,"\\u0061":2}', /occurs twice/],
    ['an integer beyond 2^53 - 1', '9007199254740993', /beyond 2\^53 - 1/],
    ['an integer that a double holds but does not tell apart', '9007199254740992', /beyond/],
    ['overflow', '1e400', /larger than any/],
    ['NaN', 'NaN', /not a JSON value/],
    ['a plus', '+1', /not a JSON value/],
    ['a leading zero', '01', /something follows/],
    ['a lone high surrogate', '"\\ud83d"', /lone surrogate/],
    ['a lone low surrogate', '"\\ude00"', /lone surrogate/],
    ['surrogates the wrong way round', '"\\ude00\\ud83d"', /lone surrogate/],
    ['a lone surrogate as a name', '{"\\ud83d":1}', /lone surrogate/],
    ['a byte-order mark', '\ufeff{}', /not a JSON value/],
    ['something after the value', '{} x', /something follows/],
    ['a trailing comma', '[1,]', /not a JSON value/],
    ['a comment', '[/**/]', /not a JSON value/],
    ['a raw control character', '"a\nb"', /control character/],
    ['an unknown escape', '"\\x41"', /not an escape/],
    ['a short escape', '"\\u041"', /not an escape/],
    ['a string without end', '"abc', /no end/],
    ['a list without end', '[1', /"," or an end/],
    ['nothing', '', /not a JSON value/],
    ['33 levels', '['.repeat(33) + ']'.repeat(33), /deeper than 32/],
    ['very many levels', '['.repeat(100_000), /deeper than 32/],
  ])('refuses %s', (_, text, rule) => {
    expect(() => read(text)).toThrow(rule);
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22), 'test')).toThrow(/not valid UTF-8/);
    // CESU: a surrogate pair in six bytes.
    const cesu = Uint8Array.of(0x22, 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, 0x22);
    expect(() => parseJson(cesu, 'test')).toThrow(/not valid UTF-8/);
  });

  it.each(['1.5', '1.0', '1e2', '-0'])('refuses %s where only integers are wanted', (text) => {
    expect(read(text)).toBe(Number(text));
    expect(() => read(text, { integersOnly: true })).toThrow(/number/);
  });

  it('takes 32 levels, and pairs of escaped surrogates', () => {
    expect(read('['.repeat(32) + ']'.repeat(32))).toBeInstanceOf(Array);
    expect(read('"\\ud83d\\ude00"')).toBe('😀');
  });

  it('makes objects on which __proto__ is a plain name', () => {
    const value = read('{"__proto__":{"admin":true},"constructor":1}') as { admin?: unknown };
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor']);
    expect(value.admin).toBeUndefined();
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
  });
});

describe('canonicalize', () => {
  it('sorts by UTF-16 code units, integer-like names too', () => {
    const text = '{"\\u20ac":1,"10":2,"9":3,"\\ud83d\\ude00":4,"\\ufb33":5}';
    expect(canonicalize(read(text))).toBe('{"10":2,"9":3,"€":1,"😀":4,"\ufb33":5}');
  });

  it.each([
    [Number.NaN, /not finite/],
    [Number.POSITIVE_INFINITY, /not finite/],
    ['\ud83d', /lone surrogate/],
    [undefined as unknown as Json, /has no JSON form/],
    [10n as unknown as Json, /has no JSON form/],
  ])('refuses %s', (value, rule) => {
    expect(() => canonicalize([value])).toThrow(rule);
  });

  it('is a fixed point: printing what was read of it gives the same text', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5, noUnicodeString: false }), (value) => {
        let text: string;
        try {
          text = canonicalize(value as Json);
          read(text);
        } catch {
          return;
        }
        expect(canonicalize(read(text))).toBe(text);
        expect(plain(parseCanonical(utf8(text), 'test'))).toEqual(JSON.parse(text));
      }),
    );
  });

  it('reads only its own spelling', () => {
    const samples = [
      '{"a":1,"b":[true,null,"é😀\\n\\u0001"],"c":{"10":0,"9":-7}}',
      '[0.5,1e+21,1e-7,"\\\\"]',
      '{}',
    ].map(utf8);
    expectOneSpelling(samples, (bytes) => utf8(canonicalize(parseCanonical(bytes, 'test'))));
  });

  it.each([
    ['a space', '{"a": 1}'],
    ['names in another order', '{"b":1,"a":2}'],
    ['integer-like names in the order of numbers', '{"9":1,"10":2}'],
    ['an escape that need not be', '"\\u0041"'],
    ['an upper-case escape', '"\\u001F"'],
    ['another number spelling', '1.0'],
    ['minus zero', '-0'],
    ['a duplicate', '{"a":1,"a":1}'],
    ['a line feed', '1\n'],
  ])('does not read %s', (_, text) => {
    expect(() => parseCanonical(utf8(text), 'test')).toThrow(/test: not/);
  });
});

describe.skipIf(sharedMissing)('published JCS vectors', () => {
  it.each(['arrays', 'french', 'values', 'weird'])('%s', (name) => {
    const value = parseJson(sharedBytes('vectors', 'jcs', 'input', `${name}.json`), name);
    const expected = sharedBytes('vectors', 'jcs', 'output', `${name}.json`);
    expect(Buffer.from(utf8(canonicalize(value)))).toEqual(Buffer.from(expected));
  });

  it('prints 1,000 numbers as ECMAScript does', () => {
    const text = Buffer.from(sharedBytes('vectors', 'jcs', 'es6-numbers-1-1000.txt')).toString();
    const lines = text.trimEnd().split('\n');
    expect(lines).toHaveLength(1_000);
    for (const line of lines) {
      const [hex = '', printed] = line.split(',');
      const number = Buffer.from(hex.padStart(16, '0'), 'hex').readDoubleBE();
      expect(canonicalize(number)).toBe(printed);
    }
  });

  const edge = sharedMissing
    ? { accept: [], refuse: [] }
    : (sharedJson('fixtures', 'record', 'jcs-edge-cases.json') as {
        accept: { in: string; out: string }[];
        refuse: { in: string; why: string }[];
      });

  it.each(edge.accept)('edge case $in', (example) => {
    expect(canonicalize(read(example.in))).toBe(example.out);
  });

  it.each(edge.refuse)('refuses $in: $why', (example) => {
    expect(() => read(example.in)).toThrow(expect.objectContaining({ code: 'malformed' }));
  });
});
