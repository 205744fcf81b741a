/**
 * Binary arithmetic up to 2^53 − 1, against big integers.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bitLength, floorLog2, hasBit, trailingZeros } from '../../server/core/bits.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const near = fc
  .tuple(fc.integer({ min: 0, max: 53 }), fc.integer({ min: -3, max: 3 }))
  .map(([level, off]) => Math.min(MAX, Math.max(0, 2 ** level + off)));
const shifted = fc
  .tuple(fc.nat(2 ** 20), fc.integer({ min: 0, max: 33 }))
  .map(([n, level]) => Math.min(MAX, n * 2 ** level));
const whole = fc.oneof(fc.maxSafeNat(), near, shifted);

test('every function is what the binary digits say', () => {
  fc.assert(
    fc.property(whole, (n) => {
      const digits = n === 0 ? '' : BigInt(n).toString(2);
      expect(bitLength(n)).toBe(digits.length);
      if (n > 0) {
        expect(floorLog2(n)).toBe(digits.length - 1);
        expect(trailingZeros(n)).toBe(digits.length - digits.lastIndexOf('1') - 1);
      }
      for (let level = 0; level <= 60; level++) {
        expect(hasBit(n, level)).toBe(digits.at(-1 - level) === '1');
      }
    }),
    { numRuns: 1000 },
  );
});

test('powers of two and their neighbors are told apart at every level', () => {
  for (let level = 1; level <= 52; level++) {
    const n = 2 ** level;
    expect([floorLog2(n - 1), floorLog2(n), floorLog2(n + 1)]).toEqual([level - 1, level, level]);
    expect([trailingZeros(n - 1), trailingZeros(n), trailingZeros(n + 1)]).toEqual([0, level, 0]);
    expect([bitLength(n - 1), bitLength(n)]).toEqual([level, level + 1]);
  }
  expect([floorLog2(MAX), trailingZeros(MAX), bitLength(MAX)]).toEqual([52, 0, 53]);
});

test('nothing has endless low zeros and no length', () => {
  expect([trailingZeros(0), bitLength(0), hasBit(0, 0)]).toEqual([
    Number.POSITIVE_INFINITY,
    0,
    false,
  ]);
});
