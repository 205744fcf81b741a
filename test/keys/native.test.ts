/**
 * Node's primitives give the same bytes as the portable ones, and a wrong one cannot be installed.
 */
import { createHash } from 'node:crypto';
import { Point } from '@noble/ed25519';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sha256, toBase64, toHex } from '../../server/core/bytes.ts';
import { checkEd25519Key } from '../../server/core/ed25519.ts';
import { PORTABLE, primitives, usePrimitives } from '../../server/core/primitives.ts';
import { useNativePrimitives } from '../../server/native.ts';

test('the native primitives agree with the portable ones on any view of any bytes', () => {
  const portable = primitives();
  useNativePrimitives();
  const native = primitives();
  expect(native).not.toBe(portable);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(20), (bytes, skip) => {
      const view = bytes.subarray(Math.min(skip, bytes.length));
      expect(native.sha256(view)).toEqual(portable.sha256(view));
      expect(native.toHex(view)).toBe(portable.toHex(view));
      expect(native.toBase64(view)).toBe(portable.toBase64(view));
    }),
  );
});

test('a key is one to both or to neither: sums of points of any order, and bytes at random', () => {
  useNativePrimitives();
  const native = primitives();
  // Of order 8; its multiples are all points of small order.
  const small = Point.fromHex('c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a');
  fc.assert(
    fc.property(fc.bigInt({ min: 1n, max: 2n ** 250n }), fc.nat(7), (scalar, times) => {
      let point = Point.BASE.multiply(scalar);
      for (let i = 0; i < times; i++) point = point.add(small);
      const key = point.toBytes();
      expect(native.isEd25519Key(key)).toBe(times === 0);
      expect(PORTABLE.isEd25519Key(key)).toBe(times === 0);
    }),
    { numRuns: 60 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
      const verdict = (check: (key: Uint8Array) => void) => {
        try {
          check(key);
          return 'good';
        } catch (error) {
          return (error as Error).message;
        }
      };
      usePrimitives(native);
      const said = verdict(checkEd25519Key);
      usePrimitives(PORTABLE);
      expect(said).toBe(verdict(checkEd25519Key));
      usePrimitives(native);
    }),
    { numRuns: 60 },
  );
});

test('a native digest is an allocation of its own', () => {
  useNativePrimitives();
  const digest = sha256(new Uint8Array(3));
  expect(digest.buffer.byteLength).toBe(32);
  expect(toHex(digest)).toBe(createHash('sha256').update(new Uint8Array(3)).digest('hex'));
  expect(toBase64(digest)).toBe(Buffer.from(digest).toString('base64'));
});

test('primitives that give other bytes are not installed', () => {
  useNativePrimitives();
  const before = primitives();
  for (const wrong of [
    { ...before, sha256: (bytes: Uint8Array) => before.sha256(bytes).fill(0, 31) },
    { ...before, toHex: (bytes: Uint8Array) => before.toHex(bytes).toUpperCase() },
    { ...before, isEd25519Key: () => true },
    { ...before, isEd25519Key: () => false },
    { ...before, toBase64: (bytes: Uint8Array) => before.toBase64(bytes).replaceAll('=', '') },
  ]) {
    expect(() => usePrimitives(wrong)).toThrow('installed primitives agree');
  }
  expect(primitives()).toBe(before);
});
