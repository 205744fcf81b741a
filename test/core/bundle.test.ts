/**
 * Entry bundles: one spelling, and nothing left over.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeBundle, encodeBundle } from '../../server/core/bundle.ts';
import { parseBase64, sha256, toHex, utf8 } from '../../server/core/bytes.ts';
import { Bug } from '../../server/core/errors.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';

const entry = fc.uint8Array({ maxLength: 600 });

describe('an entry bundle', () => {
  test('has two bytes of length before each entry', () => {
    expect(encodeBundle([utf8('hello'), utf8('hi'), new Uint8Array(0)])).toEqual(
      Uint8Array.from([0, 5, 104, 101, 108, 108, 111, 0, 2, 104, 105, 0, 0]),
    );
    expect(encodeBundle([])).toEqual(new Uint8Array(0));
    expect(decodeBundle(new Uint8Array(0))).toEqual([]);
  });

  test('gives back what was put in', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 256 }), (entries) => {
        expect(decodeBundle(encodeBundle(entries))).toEqual(entries);
      }),
    );
  });

  test('what is decoded at all encodes to the same bytes, noise too', () => {
    const outcomes = new Set<boolean>();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40, max: 9 }), (bytes) => {
        let entries: Uint8Array[] | undefined;
        const code = codeOf(() => (entries = decodeBundle(bytes)));
        expect(code === undefined || code === 'malformed').toBe(true);
        if (entries !== undefined) expect(encodeBundle(entries)).toEqual(bytes);
        outcomes.add(entries !== undefined);
      }),
      { numRuns: 1000 },
    );
    expect(outcomes.size).toBe(2);
  });

  test('is refused wherever it is cut inside an entry', () => {
    const entries = [utf8('one'), utf8(''), utf8('three'), new Uint8Array(300)];
    const bytes = encodeBundle(entries);
    const ends = entries.map((_, i) => encodeBundle(entries.slice(0, i)).length);
    for (let length = 0; length < bytes.length; length++) {
      const code = codeOf(() => decodeBundle(bytes.subarray(0, length)));
      expect(code).toBe(ends.includes(length) ? undefined : 'malformed');
    }
  });

  test('is refused with bytes after the last entry, and with over 256 entries', () => {
    const full = encodeBundle(new Array<Uint8Array>(256).fill(utf8('x')));
    expect(decodeBundle(full)).toHaveLength(256);
    const spoiled = [
      [...full, 0, 1, 120], // one more entry
      [...full, 0, 0], // one more, empty
      [...full, 0], // half a length
      [0, 1, 120, 0],
      [0, 1, 120, 0, 1],
      [255, 255, 120],
    ];
    for (const bytes of spoiled) {
      expect(codeOf(() => decodeBundle(Uint8Array.from(bytes)))).toBe('malformed');
    }
  });

  test('holds entries to their largest size', () => {
    const largest = new Uint8Array(65_535).fill(7);
    expect(encodeBundle([largest]).subarray(0, 3)).toEqual(Uint8Array.of(255, 255, 7));
    expect(decodeBundle(encodeBundle([largest, largest]))).toEqual([largest, largest]);
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(Bug);
    expect(() => encodeBundle(new Array<Uint8Array>(257).fill(utf8('x')))).toThrow(Bug);
  });

  test('is read where it lies in a larger buffer', () => {
    const bytes = encodeBundle([utf8('one'), utf8('two')]);
    const buffer = new Uint8Array(100).fill(9);
    buffer.set(bytes, 31);
    expect(decodeBundle(buffer.subarray(31, 31 + bytes.length))).toEqual([
      utf8('one'),
      utf8('two'),
    ]);
  });
});

describe.skipIf(sharedMissing)('published bundles', () => {
  test('of tessera, at every width', () => {
    const { entries } = sharedJson('vectors', 'tessera-log', 'index.json') as { entries: string[] };
    const all = entries.map((text) => parseBase64(text, 'vector'));
    for (let width = 1; width <= 15; width++) {
      const bytes = sharedBytes(
        'vectors',
        'tessera-log',
        'tile',
        'entries',
        '000.p',
        String(width),
      );
      expect(decodeBundle(bytes)).toEqual(all.slice(0, width));
      expect(encodeBundle(all.slice(0, width))).toEqual(bytes);
    }
  });

  test('of a constructed tree, by digest', () => {
    const file = sharedJson('vectors', 'constructed-trees', 'tree-1000.json') as {
      entryBundles: { index: number; partial: number; bytes: number; sha256: string }[];
    };
    expect(file.entryBundles).toHaveLength(3);
    for (const { index, partial, bytes, sha256: digest } of file.entryBundles) {
      const length = partial === 0 ? 256 : partial;
      const entries = Array.from({ length }, (_, i) => utf8(String(index * 256 + i)));
      const bundle = encodeBundle(entries);
      expect([bundle.length, toHex(sha256(bundle))]).toEqual([bytes, digest]);
    }
  });
});
