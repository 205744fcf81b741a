/**
 * ECDSA over P-256 and P-384: DER and nothing else, either s, on every engine.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { p256, p384 } from '@noble/curves/nist.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, toHex, utf8 } from '../../server/core/bytes.ts';
import { parseEcdsaSignature } from '../../server/core/ecdsa.ts';
import { hasCode } from '../../server/core/errors.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { enginesFor, holds } from '../keys/engines.ts';

const CURVES = [
  {
    alg: 'ecdsa-p256',
    curve: 'prime256v1',
    digest: 'sha256',
    wrong: 'sha384',
    width: 32,
    n: p256.Point.CURVE().n,
  },
  {
    alg: 'ecdsa-p384',
    curve: 'secp384r1',
    digest: 'sha384',
    wrong: 'sha256',
    width: 48,
    n: p384.Point.CURVE().n,
  },
] as const;

const message = utf8('a leaf');

function publicOf(alg: string, key: KeyObject) {
  return parsePublicKey(alg, new Uint8Array(key.export({ format: 'der', type: 'spki' })));
}

/** DER as it should be: minimal INTEGERs in a SEQUENCE. */
function der(r: bigint, s: bigint): Uint8Array {
  const body = concat(integer(r), integer(s));
  return concat(Uint8Array.of(0x30, body.length), body);
}

function integer(n: bigint): Uint8Array {
  const hex = n.toString(16);
  const bytes = new Uint8Array(Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex'));
  const signed = (bytes[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes;
  return concat(Uint8Array.of(0x02, signed.length), signed);
}

describe.each(CURVES)('$alg', ({ alg, curve, digest, wrong, width, n }) => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
  const key = publicOf(alg, publicKey);
  const other = publicOf(alg, generateKeyPairSync('ec', { namedCurve: curve }).publicKey);
  const good = new Uint8Array(sign(digest, message, privateKey));
  const compact = parseEcdsaSignature(alg, good);
  const r = BigInt(`0x${toHex(compact.subarray(0, width))}`);
  const s = BigInt(`0x${toHex(compact.subarray(width))}`);
  const rBytes = integer(r);
  const sBytes = integer(s);

  const spoiled: Record<string, Uint8Array> = {
    'a trailing byte': concat(good, Uint8Array.of(0)),
    'a trailing byte inside': (() => {
      const body = concat(rBytes, sBytes, Uint8Array.of(0));
      return concat(Uint8Array.of(0x30, body.length), body);
    })(),
    'a third INTEGER': (() => {
      const body = concat(rBytes, sBytes, integer(1n));
      return concat(Uint8Array.of(0x30, body.length), body);
    })(),
    'only one INTEGER': concat(Uint8Array.of(0x30, rBytes.length), rBytes),
    'a long-form length': concat(Uint8Array.of(0x30, 0x81, good.length - 2), good.subarray(2)),
    'an indefinite length': concat(
      Uint8Array.of(0x30, 0x80),
      good.subarray(2),
      Uint8Array.of(0, 0),
    ),
    'a zero before r': (() => {
      const padded = concat(Uint8Array.of(0x02, (rBytes[1] ?? 0) + 1, 0), rBytes.subarray(2));
      const body = concat(padded, sBytes);
      return concat(Uint8Array.of(0x30, body.length), body);
    })(),
    'a negative r': der(0n, 0n).with(4, 0x80),
    'an empty r': (() => {
      const body = concat(Uint8Array.of(0x02, 0), sBytes);
      return concat(Uint8Array.of(0x30, body.length), body);
    })(),
    'r zero': der(0n, s),
    's zero': der(r, 0n),
    'r plus the order': der(r + n, s),
    's plus the order': der(r, s + n),
    'r the order': der(n, s),
    'a SET for the SEQUENCE': good.with(0, 0x31),
    'one bit of s': good.with(-1, (good.at(-1) ?? 0) ^ 1),
    'r and s swapped': der(s, r),
    'no DER but r and s': compact,
    'one byte short': good.subarray(0, -1),
    'nothing at all': new Uint8Array(0),
  };

  describe.each(enginesFor(alg))('$name', (engine) => {
    test('accepts an honest signature, with either s', () => {
      const low = s < n - s ? s : n - s;
      expect(holds(engine, key, message, good)).toBe(true);
      expect(holds(engine, key, message, der(r, low))).toBe(true);
      expect(holds(engine, key, message, der(r, n - low))).toBe(true);
    });

    test.each(Object.entries(spoiled))('refuses %s', (_, signature) => {
      expect(holds(engine, key, message, signature)).toBe(false);
    });

    test('refuses another message, another key and another digest', () => {
      expect(holds(engine, key, utf8('a leaf.'), good)).toBe(false);
      expect(holds(engine, other, message, good)).toBe(false);
      const odd = new Uint8Array(sign(wrong, message, privateKey));
      expect(holds(engine, key, message, odd)).toBe(false);
    });
  });

  test('takes r and s from 1 to the order less 1, and says so', () => {
    expect(parseEcdsaSignature(alg, der(1n, n - 1n))).toHaveLength(2 * width);
    for (const [a, b] of [
      [0n, 1n],
      [1n, 0n],
      [n, 1n],
      [1n, n],
    ] as const) {
      expect(() => parseEcdsaSignature(alg, der(a, b))).toThrow('r and s must be from 1 to');
    }
  });

  test('wants a zero before an INTEGER exactly where its first bit is set', () => {
    for (const first of [0x7f, 0x80]) {
      const plain = Uint8Array.of(0x30, 7, 2, 2, first, 1, 2, 1, 1);
      const padded = Uint8Array.of(0x30, 8, 2, 3, 0, first, 1, 2, 1, 1);
      const [good, bad] = first === 0x7f ? [plain, padded] : [padded, plain];
      expect(parseEcdsaSignature(alg, good)).toHaveLength(2 * width);
      expect(() => parseEcdsaSignature(alg, bad)).toThrow('not DER: ');
    }
  });

  test('reads back every DER that it would print, and nothing else', () => {
    const below = fc.bigInt({ min: 1n, max: n - 1n });
    fc.assert(
      fc.property(below, below, (a, b) => {
        const read = parseEcdsaSignature(alg, der(a, b));
        expect(BigInt(`0x${toHex(read.subarray(0, width))}`)).toBe(a);
        expect(BigInt(`0x${toHex(read.subarray(width))}`)).toBe(b);
      }),
    );
    const near = fc.tuple(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }));
    fc.assert(
      fc.property(near, ([at, flip]) => {
        const changed = good.with(at, (good[at] ?? 0) ^ flip);
        try {
          const read = parseEcdsaSignature(alg, changed);
          const [a, b] = [read.subarray(0, width), read.subarray(width)];
          expect(der(BigInt(`0x${toHex(a)}`), BigInt(`0x${toHex(b)}`))).toEqual(changed);
        } catch (error) {
          if (!hasCode(error, 'unverified')) throw error;
        }
      }),
    );
  });
});
