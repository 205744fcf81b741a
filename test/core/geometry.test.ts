/**
 * Geometry: which nodes cover which leaves, up to 2^53 − 1 of them.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseHex, toHex } from '../../server/core/bytes.ts';
import { compactRange, splitPoint } from '../../server/core/geometry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { EXHAUSTIVE, reference, TestLog } from './trees.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const anySize = fc.oneof(
  fc.nat(5000),
  fc.maxSafeNat(),
  fc
    .integer({ min: 0, max: 53 })
    .chain((l) => fc.integer({ min: Math.max(0, 2 ** l - 3), max: Math.min(MAX, 2 ** l + 3) })),
);

/** The rules of a compact range, in big integers. */
function checkRange(begin: number, end: number): void {
  let at = BigInt(begin);
  let before: bigint | undefined;
  let falling = false;
  for (const { level, index } of compactRange(begin, end)) {
    const width = 1n << BigInt(level);
    expect(BigInt(index) * width).toBe(at);
    // Shortest: levels rise strictly to a top and then fall strictly, but for two equal at the top.
    if (before !== undefined && width <= before) {
      expect(!falling || width < before).toBe(true);
      falling = true;
    } else {
      expect(falling).toBe(false);
    }
    before = width;
    at += width;
  }
  expect(at).toBe(BigInt(Math.max(begin, end)));
}

describe('a compact range', () => {
  test('of 13 leaves is the one in the picture', () => {
    expect([...compactRange(0, 13)]).toEqual([
      { level: 3, index: 0 },
      { level: 2, index: 2 },
      { level: 0, index: 12 },
    ]);
  });

  test('covers exactly its leaves with the fewest nodes, for every range to 130', () => {
    for (let end = 0; end <= EXHAUSTIVE; end++) {
      for (let begin = 0; begin <= end; begin++) checkRange(begin, end);
    }
  });

  test('covers exactly its leaves with the fewest nodes, beyond 2^32', () => {
    fc.assert(fc.property(anySize, anySize, (a, b) => checkRange(Math.min(a, b), Math.max(a, b))));
    checkRange(0, MAX);
    checkRange(1, MAX);
    checkRange(MAX - 1, MAX);
    expect([...compactRange(0, MAX)]).toHaveLength(53);
    expect([...compactRange(0, 2 ** 52)]).toEqual([{ level: 52, index: 0 }]);
  });

  test('of nothing is empty', () => {
    for (const at of [0, 1, 7, 2 ** 32, MAX]) expect([...compactRange(at, at)]).toEqual([]);
  });
});

test('a tree splits at the largest power of two below its size', () => {
  for (let size = 2; size <= 2000; size++) {
    const k = splitPoint(size);
    expect([Number.isInteger(Math.log2(k)), k < size, 2 * k >= size]).toEqual([true, true, true]);
  }
  for (let level = 1; level <= 52; level++) {
    expect(splitPoint(2 ** level)).toBe(2 ** (level - 1));
    expect(splitPoint(2 ** level + 1)).toBe(2 ** level);
    expect(splitPoint(2 ** (level + 1) - 1)).toBe(2 ** level);
  }
});

test('the nodes of a tree are the hashes of the reference’s parts', () => {
  const log = new TestLog();
  const data = reference(EXHAUSTIVE);
  for (let end = 0; end <= EXHAUSTIVE; end++) {
    for (const { level, index } of compactRange(0, end)) {
      const [begin, width] = [BigInt(index * 2 ** level), BigInt(2 ** level)];
      expect(log.node({ level, index })).toEqual(data.slice(begin, begin + width).MTH());
    }
    if (end < EXHAUSTIVE) log.append([leafHash(Uint8Array.of(end % 256, 0, 0, 7))]);
  }
});

describe.skipIf(sharedMissing)('published compact ranges', () => {
  test('of transparency-dev/merkle', () => {
    const file = sharedJson(
      'vectors',
      'transparency-dev-merkle',
      'rfc6962-reference-tree.json',
    ) as { leafInputs: string[]; levels: string[][]; roots: string[]; compactRanges: string[][] };
    const log = new TestLog();
    for (let size = 0; size <= 8; size++) {
      expect(toHex(log.tree.root())).toBe(file.roots[size]);
      const range = [...compactRange(0, size)].map((id) => toHex(log.node(id)));
      expect(range).toEqual(file.compactRanges[size]);
      if (size < 8) log.append([leafHash(parseHex(file.leafInputs[size] ?? '', 'vector'))]);
    }
    expect(file.levels.length).toBe(4);
    for (const [level, hashes] of file.levels.entries()) {
      for (const [index, hash] of hashes.entries())
        expect(toHex(log.node({ level, index }))).toBe(hash);
    }
  });
});
