/**
 * The Ed25519 rule, case by case, on every engine.
 */
import { getPublicKey, hashes, Point, sign, utils, verify } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, parseHex, toHex, utf8 } from '../../server/core/bytes.ts';
import { checkEd25519Key, precheckEd25519 } from '../../server/core/ed25519.ts';
import { ed25519Spki, parsePublicKey, rawEd25519 } from '../../server/core/keys.ts';
import { enginesFor, holds } from '../keys/engines.ts';

hashes.sha512 = sha512;

const L = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
const P = 2n ** 255n - 19n;
const seed = new Uint8Array(32).fill(7);
const raw = getPublicKey(seed);
const key = parsePublicKey('ed25519', ed25519Spki(raw));
const message = utf8('a leaf');
const honest = sign(message, seed);

/** A point of order 8: any point's multiple by L has an order that divides 8. */
const order8 = (() => {
  for (let y = 2n; ; y++) {
    try {
      const point = Point.fromBytes(little(y), true).multiplyUnsafe(L - 1n);
      const torsion = point.add(Point.fromBytes(little(y), true));
      if (!torsion.double().double().is0()) return torsion;
    } catch {
      // Every second y is of no point.
    }
  }
})();

function little(n: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((n >> BigInt(8 * i)) & 0xffn));
}

function fromLittle(bytes: Uint8Array): bigint {
  return BigInt(`0x${toHex(bytes.toReversed())}`);
}

/** The eight points of small order. */
const smallOrder = (() => {
  const points = [Point.ZERO];
  while (points.length < 8) points.push((points.at(-1) ?? Point.ZERO).add(order8));
  return points;
})();

/** Signs with R moved by a point of small order: only the cofactored equation holds. */
function signWithTorsion(torsion: Point): Uint8Array {
  const { scalar } = utils.getExtendedPublicKey(seed);
  const r = 123_456_789n;
  const bytesR = Point.BASE.multiply(r).add(torsion).toBytes();
  const k = fromLittle(sha512(concat(bytesR, raw, message))) % L;
  return concat(bytesR, little((r + k * scalar) % L));
}

describe('a key', () => {
  test('that is honest is accepted and gives its raw form back', () => {
    expect(() => checkEd25519Key(raw)).not.toThrow();
    expect(rawEd25519(key)).toEqual(raw);
  });

  test('is refused with the reason when it is of small order, in every encoding', () => {
    expect(new Set(smallOrder.map((p) => p.toHex())).size).toBe(8);
    for (const point of smallOrder) {
      for (const sign of [0, 0x80]) {
        const bytes = point.toBytes();
        bytes[31] = ((bytes[31] ?? 0) & 0x7f) | sign;
        expect(() => checkEd25519Key(bytes)).toThrow('ed25519 key: of small order');
      }
    }
  });

  test('is refused when y is not below the prime', () => {
    for (const y of [P, P + 1n, P + 2n, 2n ** 255n - 1n]) {
      for (const sign of [0n, 2n ** 255n]) {
        expect(() => checkEd25519Key(little(y + sign))).toThrow('not canonical');
      }
    }
  });

  test('is refused when it has a component of small order', () => {
    const mixed = Point.fromBytes(raw).add(order8).toBytes();
    expect(() => checkEd25519Key(mixed)).toThrow('ed25519 key: not torsion-free');
  });

  test('is refused when it is no point of the curve', () => {
    expect(() => checkEd25519Key(little(7n))).toThrow('ed25519 key: not a point of the curve');
  });

  test.each([0, 31, 33])('is refused with %i bytes', (length) => {
    expect(() => checkEd25519Key(new Uint8Array(length))).toThrow(
      `ed25519 key: ${length} bytes where a key has 32`,
    );
  });
});

describe('the precheck', () => {
  test('refuses R of small order, in every encoding', () => {
    for (const point of smallOrder) {
      for (const sign of [0, 0x80]) {
        const bytes = point.toBytes();
        bytes[31] = ((bytes[31] ?? 0) & 0x7f) | sign;
        expect(() => precheckEd25519(concat(bytes, honest.subarray(32)))).toThrow(
          'R is of small order',
        );
      }
    }
  });

  test('refuses S from the group order up', () => {
    for (const s of [L, L + 1n, 2n ** 253n, 2n ** 256n - 1n]) {
      expect(() => precheckEd25519(concat(honest.subarray(0, 32), little(s)))).toThrow(
        'S is not below the group order',
      );
    }
    expect(() => precheckEd25519(concat(honest.subarray(0, 32), little(L - 1n)))).not.toThrow();
  });
});

describe.each(enginesFor('ed25519'))('$name', (engine) => {
  test('accepts what an honest signer makes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(holds(engine, key, bytes, sign(bytes, seed))).toBe(true);
      }),
      { numRuns: 20 },
    );
  });

  const spoiled: Record<string, Uint8Array> = {
    'S plus the group order': concat(
      honest.subarray(0, 32),
      little(fromLittle(honest.subarray(32)) + L),
    ),
    'S zero': concat(honest.subarray(0, 32), new Uint8Array(32)),
    'one bit of R': honest.with(3, (honest[3] ?? 0) ^ 1),
    'one bit of S': honest.with(40, (honest[40] ?? 0) ^ 1),
    'the sign of R': honest.with(31, (honest[31] ?? 0) ^ 0x80),
    'R not on the curve': concat(little(7n), honest.subarray(32)),
    'R not canonical': concat(little(P + 3n), honest.subarray(32)),
    'one byte short': honest.subarray(0, 63),
    'one byte extra': concat(honest, Uint8Array.of(0)),
    'nothing at all': new Uint8Array(0),
  };

  test.each(Object.entries(spoiled))('refuses a signature with %s', (_, signature) => {
    expect(holds(engine, key, message, signature)).toBe(false);
  });

  test('says itself, and not its library, what is wrong with a form', () => {
    const reason =
      (name: string): (() => void) =>
      () =>
        engine.check(key, message, spoiled[name] ?? honest);
    expect(reason('S plus the group order')).toThrow('S is not below the group order');
    expect(reason('R not canonical')).toThrow('R is not canonical');
    expect(reason('one byte short')).toThrow('63 bytes where a signature has 64');
    expect(reason('one bit of S')).toThrow('does not fit the message and key');
  });

  test('refuses another message and another key', () => {
    const other = parsePublicKey('ed25519', ed25519Spki(getPublicKey(new Uint8Array(32).fill(8))));
    expect(holds(engine, key, utf8('a leaf.'), honest)).toBe(false);
    expect(holds(engine, other, message, honest)).toBe(false);
  });

  test('refuses what only the cofactored equation accepts', () => {
    expect(holds(engine, key, message, signWithTorsion(Point.ZERO))).toBe(true);
    for (const torsion of smallOrder.slice(1)) {
      const signature = signWithTorsion(torsion);
      // The library's own verdict shows that the case is real.
      expect(verify(signature, message, raw)).toBe(true);
      expect(holds(engine, key, message, signature)).toBe(false);
    }
  });
});

test('a key of the RFC is accepted as it is printed there', () => {
  // [RFC 8032 §7.1] test 2: the second byte string is the public key of the first.
  const secret = parseHex('4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', 's');
  const spki = ed25519Spki(getPublicKey(secret));
  expect(toHex(rawEd25519(parsePublicKey('ed25519', spki)))).toBe(
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
  );
});
