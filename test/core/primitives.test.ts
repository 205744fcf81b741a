/**
 * Faster primitives: installed only if they give the same bytes.
 */
import { afterEach, expect, test } from 'vitest';
import { Bug } from '../../server/core/errors.ts';
import { type Primitives, primitives, usePrimitives } from '../../server/core/primitives.ts';

const portable = primitives();
afterEach(() => usePrimitives(portable));

test('the same under another name is installed', () => {
  const same: Primitives = { ...portable };
  usePrimitives(same);
  expect(primitives()).toBe(same);
});

const wrong: Record<string, Partial<Primitives>> = {
  'a hash of the wrong bytes': { sha256: (b) => portable.sha256(b.subarray(1)) },
  'a hash that is wrong past one block': { sha256: (b) => portable.sha256(b.subarray(0, 64)) },
  'a hash of the whole allocation': {
    sha256: (b) => portable.sha256(new Uint8Array(b.buffer)).fill(0, 31),
  },
  'a hash cut short': { sha256: (b) => portable.sha256(b).subarray(0, 31) },
  'upper-case hex': { toHex: (b) => portable.toHex(b).toUpperCase() },
  'base64 without padding': { toBase64: (b) => portable.toBase64(b).replaceAll('=', '') },
  'base64 for URLs': {
    toBase64: (b) => portable.toBase64(b).replaceAll('+', '-').replaceAll('/', '_'),
  },
};

test.each(Object.entries(wrong))('%s is refused, and what was there stays', (_, part) => {
  expect(() => usePrimitives({ ...portable, ...part })).toThrow(Bug);
  expect(primitives()).toBe(portable);
});
