import { createCipheriv, hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, equalBytes, parseUtf8, toHex, utf8 } from '../../server/core/bytes.ts';
import {
  associatedData,
  CHUNK_BYTES,
  deriveKey,
  Opener,
  open,
  plainLength,
  Sealer,
  seal,
  sealedLength,
} from '../../server/vault/chunks.ts';

const dataKey = new Uint8Array(32).fill(7);
const place = { origin: 'example.com/logs/a', recordId: 'r', field: 'input.raw' };
const key = deriveKey(dataKey, 'body', 'input.raw');
const ad = associatedData(place);
const SEALED = CHUNK_BYTES + 16;

/** Bytes that differ from place to place, so that a swap shows. */
function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 12)) & 255;
  return bytes;
}

const BORDERS = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7];

function* pieces(bytes: Uint8Array, cuts: readonly number[]): Generator<Uint8Array> {
  let at = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    yield bytes.subarray(at, Math.max(at, cut));
    at = Math.max(at, cut);
  }
  yield bytes.subarray(at);
}

describe('sealed chunks', () => {
  test('are what the documentation says, byte by byte', () => {
    const info = concat(
      Uint8Array.of(0, 0, 0, 18),
      utf8('stele vault v1 key'),
      Uint8Array.of(0, 0, 0, 4),
      utf8('body'),
      Uint8Array.of(0, 0, 0, 9),
      utf8('input.raw'),
    );
    const expectedKey = Buffer.from(hkdfSync('sha256', dataKey, '', info, 32));
    expect(toHex(key)).toBe(expectedKey.toString('hex'));
    expect(parseUtf8(ad, 'associated data')).toBe(
      '\0\0\0\x0estele vault v1\0\0\0\x12example.com/logs/a\0\0\0\x01r\0\0\0\x09input.raw',
    );

    const plain = pattern(CHUNK_BYTES + 5);
    const parts: Uint8Array[] = [];
    for (const [nonce, begin, end] of [
      ['000000000000000000000000', 0, CHUNK_BYTES],
      ['000000000000000000000101', CHUNK_BYTES, CHUNK_BYTES + 5],
    ] as const) {
      const cipher = createCipheriv('aes-256-gcm', expectedKey, Buffer.from(nonce, 'hex'));
      cipher.setAAD(ad);
      parts.push(cipher.update(plain.subarray(begin, end)), cipher.final(), cipher.getAuthTag());
    }
    expect(equalBytes(seal(key, ad, plain), concat(...parts))).toBe(true);
  });

  test.each(BORDERS)('of %i bytes come back, and their length tells the plain length', (length) => {
    const plain = pattern(length);
    const sealed = seal(key, ad, plain);
    expect(sealed.length).toBe(sealedLength(length));
    expect(plainLength(sealed.length)).toBe(length);
    expect(equalBytes(open(key, ad, sealed), plain)).toBe(true);
  });

  test('do not depend on how the bytes arrived', () => {
    const near = fc
      .constantFrom(...BORDERS)
      .chain((n) => fc.integer({ min: Math.max(0, n - 40), max: n + 40 }));
    const cuts = fc.array(fc.integer({ min: 0, max: 3 * SEALED }), { maxLength: 6 });
    fc.assert(
      fc.property(near, cuts, cuts, (length, plainCuts, sealedCuts) => {
        const plain = pattern(length);
        const sealer = new Sealer(key, ad);
        const out: Uint8Array[] = [];
        for (const piece of pieces(plain, plainCuts)) out.push(...sealer.push(piece.slice()));
        const sealed = concat(...out, ...sealer.end());
        expect(equalBytes(sealed, seal(key, ad, plain))).toBe(true);
        const opener = new Opener(key, ad);
        const back: Uint8Array[] = [];
        for (const piece of pieces(sealed, sealedCuts)) back.push(...opener.push(piece));
        expect(equalBytes(concat(...back, ...opener.end()), plain)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });

  test('survive a caller that uses its buffer again', () => {
    const buffer = new Uint8Array(1000);
    const sealer = new Sealer(key, ad);
    const out: Uint8Array[] = [];
    for (let round = 0; round < 1100; round++) out.push(...sealer.push(buffer.fill(round)));
    const plain = open(key, ad, concat(...out, ...sealer.end()));
    expect(plain.length).toBe(1_100_000);
    expect(plain.every((byte, i) => byte === Math.floor(i / 1000) % 256)).toBe(true);
  });

  test('never lie in memory by more than one', () => {
    const sealer = new Sealer(key, ad);
    for (let i = 0; i < 64; i++) {
      const ready = sealer.push(new Uint8Array(65_536));
      const bytes = ready.reduce((sum, part) => sum + part.length, 0);
      expect(bytes).toBeLessThanOrEqual(SEALED);
    }
  });

  const whole = seal(key, ad, pattern(3 * CHUNK_BYTES + 7));
  const chunk = (i: number) => whole.subarray(i * SEALED, Math.min((i + 1) * SEALED, whole.length));
  const flipped = (at: number) => {
    const copy = whole.slice();
    copy[at] = (copy[at] ?? 0) ^ 0x10;
    return copy;
  };
  const spoilers: Record<string, () => Uint8Array> = {
    'cut inside the last chunk': () => whole.subarray(0, whole.length - 1),
    'cut before the last chunk': () => whole.subarray(0, 3 * SEALED),
    'cut to one chunk': () => whole.subarray(0, SEALED),
    'cut inside a tag': () => whole.subarray(0, SEALED - 3),
    'cut to nothing': () => whole.subarray(0, 0),
    'first two chunks exchanged': () => concat(chunk(1), chunk(0), chunk(2), chunk(3)),
    'a chunk repeated': () => concat(chunk(0), chunk(0), chunk(1), chunk(2), chunk(3)),
    'a chunk left out': () => concat(chunk(0), chunk(2), chunk(3)),
    'something after the end': () => concat(whole, Uint8Array.of(0)),
    'the last chunk twice': () => concat(whole, chunk(3)),
    'first bit flipped': () => flipped(0),
    'a bit flipped in the middle': () => flipped(2 * SEALED + 12_345),
    'a bit flipped in a tag': () => flipped(SEALED - 1),
    'last bit flipped': () => flipped(whole.length - 1),
  };
  test.each(Object.keys(spoilers))('do not open with %s', (name) => {
    const spoiled = spoilers[name]?.() ?? whole;
    expect(() => open(key, ad, spoiled)).toThrow(expect.objectContaining({ code: 'unverified' }));
  });

  test.each([
    ['another data key', deriveKey(new Uint8Array(32), 'body', 'input.raw'), ad],
    ['the key of another field', deriveKey(dataKey, 'body', 'output.raw'), ad],
    ['labels that run together alike', deriveKey(dataKey, 'bodyinput', '.raw'), ad],
    ['another origin', key, associatedData({ ...place, origin: 'example.com/logs/b' })],
    ['another record', key, associatedData({ ...place, recordId: 's' })],
    ['another field', key, associatedData({ ...place, field: 'output.raw' })],
  ])('do not open under %s', (_, otherKey, otherAd) => {
    const sealed = seal(key, ad, pattern(100));
    expect(() => open(otherKey, otherAd, sealed)).toThrow(
      expect.objectContaining({ code: 'unverified' }),
    );
  });

  test('have no length that whole chunks do not have', () => {
    for (const length of [0, 1, 15, SEALED + 1, SEALED + 16, 2 * SEALED + 7]) {
      expect(() => plainLength(length)).toThrow(expect.objectContaining({ code: 'unverified' }));
    }
  });

  test('take nothing after the end, since a position would be sealed twice', () => {
    const sealer = new Sealer(key, ad);
    sealer.end();
    expect(() => sealer.push(Uint8Array.of(1))).toThrow('broken invariant');
    expect(() => sealer.end()).toThrow('broken invariant');
  });
});
