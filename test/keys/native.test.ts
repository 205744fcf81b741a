/**
 * Node's primitives give the same bytes as the portable ones, and a wrong one cannot be installed.
 */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sha256, toBase64, toHex } from '../../server/core/bytes.ts';
import { primitives, usePrimitives } from '../../server/core/primitives.ts';
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
    { ...before, toBase64: (bytes: Uint8Array) => before.toBase64(bytes).replaceAll('=', '') },
  ]) {
    expect(() => usePrimitives(wrong)).toThrow('installed primitives agree');
  }
  expect(primitives()).toBe(before);
});
