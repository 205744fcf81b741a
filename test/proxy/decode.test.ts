import {
  brotliCompressSync,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeContent, isIdentity } from '../../server/proxy/decode.ts';

const text = Buffer.from('the same words, '.repeat(500));
const codings: [string, (bytes: Buffer) => Buffer][] = [
  ['gzip', gzipSync],
  ['x-gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
  ['br', brotliCompressSync],
  ['zstd', zstdCompressSync],
  ['identity', (bytes) => bytes],
];

test.each(codings)('undoes %s', (name, encode) => {
  expect(decodeContent(encode(text), name, text.length)).toEqual(text);
});

test('undoes several codings, the last one first', () => {
  expect(decodeContent(gzipSync(brotliCompressSync(text)), 'br, gzip', 1e6)).toEqual(text);
});

test.each(codings.slice(0, -1))('refuses more output than the bound (%s)', (name, encode) => {
  expect(decodeContent(encode(text), name, text.length - 1)).toBeUndefined();
});

test.each([
  ['an unknown coding', text, 'compress'],
  ['bytes that are not gzip', text, 'gzip'],
  ['more codings than anybody applies', gzipSync(text), 'gzip, gzip, gzip, gzip'],
])('gives nothing for %s', (_, bytes, coding) => {
  expect(decodeContent(bytes, coding, 1e6)).toBeUndefined();
});

test.each(codings.slice(0, -1))(
  'gives the beginning of a body that was cut (%s)',
  (name, encode) => {
    // Little that repeats, so that a cut body still has something whole in it.
    const noise = Buffer.from(
      Array.from({ length: 60_000 }, (_, i) => `${(i * 7919) % 10_007},`).join(''),
    );
    const wire = encode(noise);
    const part = decodeContent(wire.subarray(0, wire.length - 20), name, 1e6);
    expect(part).toBeDefined();
    expect(noise.subarray(0, part?.length)).toEqual(Buffer.from(part ?? []));
  },
);

test('knows identity by any of its spellings', () => {
  expect([undefined, '', ' identity ', 'Identity, identity'].every(isIdentity)).toBe(true);
  expect(isIdentity('gzip')).toBe(false);
});

test('never throws', () => {
  const coding = fc.constantFrom('gzip', 'deflate', 'br', 'zstd', 'gzip, br', 'x');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), coding, (bytes, name) => {
      const decoded = decodeContent(bytes, name, 1000);
      expect(decoded?.length ?? 0).toBeLessThanOrEqual(1000);
    }),
  );
});
