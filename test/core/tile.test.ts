/**
 * Tiles: where each perfect node lies, and the one path of each tile.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { sha256, toHex, utf8 } from '../../server/core/bytes.ts';
import { Bug } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import {
  ExpandedTile,
  formatTilePath,
  parseTilePath,
  type TilePath,
  tileOfNode,
  tileWidth,
} from '../../server/core/tile.ts';
import { edgeTiles } from '../../server/core/tree.ts';
import { treeSize } from '../../server/core/units.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { leaf, listData } from '../reference/rfc6962.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';
import { entries, TestLog } from './trees.ts';

beforeAll(useNativePrimitives);

const MAX = Number.MAX_SAFE_INTEGER;
const hashes = (level: number, index: number, width = 256): TilePath => ({
  kind: 'hashes',
  level,
  index,
  width,
});
const bundle = (index: number, width = 256): TilePath => ({
  kind: 'entries',
  level: 0,
  index,
  width,
});

const anyPath = fc
  .record({
    kind: fc.constantFrom('hashes' as const, 'entries' as const),
    level: fc.integer({ min: 0, max: 63 }),
    index: fc.oneof(fc.nat(2000), fc.maxSafeNat()),
    width: fc.integer({ min: 1, max: 256 }),
  })
  .map((t): TilePath => (t.kind === 'entries' ? { ...t, level: 0 } : t));

describe('a tile path', () => {
  const known: readonly (readonly [string, TilePath])[] = [
    ['tile/0/000', hashes(0, 0)],
    ['tile/0/001', hashes(0, 1)],
    ['tile/63/999', hashes(63, 999)],
    ['tile/0/x001/000', hashes(0, 1000)],
    ['tile/0/x001/234.p/5', hashes(0, 1234, 5)],
    ['tile/1/x001/x234/067', hashes(1, 1_234_067)],
    ['tile/2/000.p/255', hashes(2, 0, 255)],
    ['tile/0/x009/x007/x199/x254/x740/991.p/1', hashes(0, MAX, 1)],
    ['tile/entries/000', bundle(0)],
    ['tile/entries/x123/x456/789.p/41', bundle(123_456_789, 41)],
  ];

  test.each(known)('%s is read and printed', (text, tile) => {
    expect(parseTilePath(text)).toEqual(tile);
    expect(formatTilePath(tile)).toBe(text);
  });

  test('is read back whatever it names', () => {
    fc.assert(
      fc.property(anyPath, (tile) => {
        expect(parseTilePath(formatTilePath(tile))).toEqual(tile);
      }),
    );
  });

  test.each([
    '',
    'tile',
    'tile/',
    'tile/0',
    'tile/0/',
    '/tile/0/000',
    'tile/0/000/',
    'tile/0/000\n',
    ' tile/0/000',
    'tile/0/0',
    'tile/0/00',
    'tile/0/0000',
    'tile/0/x000/001', // a group of zeros in front
    'tile/0/x000/x001/234',
    'tile/0/x001', // no last group
    'tile/0/x001/',
    'tile/0/001/234', // no x
    'tile/0/x001/x234',
    'tile/0/X001/234',
    'tile/0/x01/234',
    'tile/0/x0001/234',
    'tile/0/x001//234',
    'tile/0/-01',
    'tile/0/+01',
    'tile/0/1e2',
    'tile/0/٠٠١', // digits, but not ASCII
    'tile/00/000',
    'tile/01/000',
    'tile/64/000',
    'tile/99/000',
    'tile/100/000',
    'tile/-1/000',
    'tile/ 1/000',
    'tile/0x1/000',
    'tile/0/000.p',
    'tile/0/000.p/',
    'tile/0/000.p/0',
    'tile/0/000.p/00',
    'tile/0/000.p/01',
    'tile/0/000.p/256',
    'tile/0/000.p/257',
    'tile/0/000.p/999',
    'tile/0/000.p/1000',
    'tile/0/000.p/-1',
    'tile/0/000.p/5/',
    'tile/0/000.p/5.p/5',
    'tile/0/000.P/5',
    'tile/0/000p/5',
    'tile/0/000%2ep/5',
    'tile/0/../0/000',
    'tile/Entries/000',
    'tile/entries/x000/001',
    'tile/entries/0/000',
    'tile/entries/000.p/0',
    'tile/entries/000.p/256',
    'tile/data/000',
    'tile/8/0/000', // the Go checksum database's scheme
    'tile/0/x009/x007/x199/x254/x740/992', // 2^53
    'tile/63/x999/x999/x999/x999/x999/999.p/255', // 10^18 − 1, past our indexes
    `tile/0/${'x999/'.repeat(50_000)}999`,
  ])('%j is malformed', (text) => {
    expect(codeOf(() => parseTilePath(text))).toBe('malformed');
  });

  test('with any one character changed is malformed or another path', () => {
    fc.assert(
      fc.property(
        anyPath,
        fc.nat(),
        fc.constantFrom(...'0159x/.p-e %'),
        fc.nat(2),
        (tile, at, char, cut) => {
          const text = formatTilePath(tile);
          const i = at % (text.length + 1);
          const near = text.slice(0, i) + char + text.slice(i + cut);
          const code = codeOf(() => expect(formatTilePath(parseTilePath(near))).toBe(near));
          expect(code === undefined || code === 'malformed').toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('a tile', () => {
  test('has as many hashes as nodes exist', () => {
    const rows: readonly (readonly [number, number, number, number])[] = [
      // level, index, size, width
      [0, 0, 0, 0],
      [0, 0, 1, 1],
      [0, 0, 255, 255],
      [0, 0, 256, 256],
      [0, 0, 70_000, 256],
      [0, 1, 256, 0],
      [0, 273, 70_000, 112],
      [0, 274, 70_000, 0],
      [1, 0, 255, 0],
      [1, 0, 256, 1],
      [1, 1, 70_000, 17],
      [2, 0, 70_000, 1],
      [3, 0, 70_000, 0],
      [0, 2 ** 45 - 1, MAX, 255],
      [0, 2 ** 45 - 2, MAX, 256],
      [0, MAX, MAX, 0],
      [6, 0, MAX, 31],
      [7, 0, MAX, 0],
      [63, 0, MAX, 0],
      [0, 2 ** 24, 2 ** 32 + 7, 7],
    ];
    for (const [level, index, size, width] of rows) {
      expect([level, index, size, tileWidth(level, index, treeSize(size))]).toEqual([
        level,
        index,
        size,
        width,
      ]);
    }
  });

  test('holds each node once, and shares its corner with the level above', () => {
    expect(tileOfNode({ level: 0, index: 256 })).toEqual({
      tile: { level: 0, index: 1 },
      row: 0,
      offset: 0,
    });
    expect(tileOfNode({ level: 7, index: 3 })).toEqual({
      tile: { level: 0, index: 1 },
      row: 7,
      offset: 1,
    });
    expect(tileOfNode({ level: 8, index: 3 })).toEqual({
      tile: { level: 1, index: 0 },
      row: 0,
      offset: 3,
    });
    expect(tileOfNode({ level: 52, index: 1 })).toEqual({
      tile: { level: 6, index: 0 },
      row: 4,
      offset: 1,
    });
    const node = fc.integer({ min: 0, max: 52 }).chain((level) =>
      fc.record({
        level: fc.constant(level),
        index: fc.integer({ min: 0, max: 2 ** (53 - level) - 1 }),
      }),
    );
    fc.assert(
      fc.property(node, ({ level, index }) => {
        const { tile, row, offset } = tileOfNode({ level, index });
        expect(tile.level * 8 + row).toBe(level);
        const width = 256n >> BigInt(row);
        expect([row <= 7, BigInt(offset) < width]).toEqual([true, true]);
        expect(BigInt(tile.index) * width + BigInt(offset)).toBe(BigInt(index));
      }),
    );
  });
});

describe('an expanded tile', () => {
  const data = listData(entries(256));
  const bottom = new Uint8Array(8192);
  for (const [i, entry] of entries(256).entries()) bottom.set(leaf(entry), 32 * i);
  const tile = ExpandedTile.of(bottom);

  test('has every inner node and the root above, as the reference has them', () => {
    for (let row = 0; row <= 7; row++) {
      const width = 2 ** row;
      for (let i = 0; i < 256 / width; i++) {
        const part = data.slice(BigInt(i * width), BigInt((i + 1) * width));
        expect(tile.node(row, i)).toEqual(part.MTH());
      }
    }
    expect(tile.root()).toEqual(data.MTH());
    expect(tile.bytes).toEqual(bottom);
  });

  test('has no other nodes', () => {
    const none = [
      [0, 256],
      [1, 128],
      [7, 2],
      [8, 0],
      [-1, 0],
      [0, -1],
      [3, 1.5],
    ] as const;
    for (const [row, offset] of none) expect(() => tile.node(row, offset)).toThrow(Bug);
  });

  test('is made of a full tile only', () => {
    for (const length of [0, 32, 8160, 8191, 8193, 8224]) {
      expect(() => ExpandedTile.of(new Uint8Array(length))).toThrow(Bug);
    }
    const rows = Array.from({ length: 8 }, (_, r) =>
      Array.from({ length: 256 / 2 ** r }, (_, i) => tile.node(r, i)),
    );
    expect(ExpandedTile.fromRows(rows).root()).toEqual(tile.root());
    expect(() => ExpandedTile.fromRows(rows.slice(1))).toThrow(Bug);
    expect(() => ExpandedTile.fromRows([...rows].reverse())).toThrow(Bug);
    expect(() => ExpandedTile.fromRows(rows.with(3, rows[3]?.slice(1) ?? []))).toThrow(Bug);
  });

  test('does not follow the bytes it was made of', () => {
    const bytes = Uint8Array.from(bottom);
    const own = ExpandedTile.of(bytes);
    bytes.fill(0);
    expect(own.node(0, 0)).toEqual(tile.node(0, 0));
  });
});

describe.skipIf(sharedMissing)('published tiles', () => {
  interface Paths {
    readonly tilePaths: readonly { level: string; index: string; partial: number; path: string }[];
    readonly entryPaths: readonly { index: string; partial: number; path: string }[];
    readonly parseOk: readonly { level: string; index: string; n: string; partial: number }[];
    readonly parseError: readonly { level: string; index: string }[];
    readonly tilesForSize: readonly {
      size: string;
      levels: readonly { level: number; fullTiles: string; partialWidth: number }[];
    }[];
  }

  test('paths of tessera', () => {
    const file = sharedJson('vectors', 'tlog-notes', 'tile-paths.json') as Paths;
    const widthOf = (partial: number) => (partial === 0 ? 256 : partial);
    expect([file.tilePaths.length, file.entryPaths.length]).toEqual([6, 5]);
    for (const { level, index, partial, path } of file.tilePaths) {
      const tile = hashes(Number(level), Number(index), widthOf(partial));
      expect(formatTilePath(tile)).toBe(path);
      expect(parseTilePath(path)).toEqual(tile);
    }
    for (const { index, partial, path } of file.entryPaths) {
      const tile = bundle(Number(index), widthOf(partial));
      expect(formatTilePath(tile)).toBe(path);
      expect(parseTilePath(path)).toEqual(tile);
    }
    expect([file.parseOk.length, file.parseError.length > 10]).toEqual([4, true]);
    for (const { level, index, n, partial } of file.parseOk) {
      const path = `tile/${level}/${index}`;
      if (Number.isSafeInteger(Number(n))) {
        expect(parseTilePath(path)).toEqual(hashes(Number(level), Number(n), widthOf(partial)));
      } else {
        // The format goes on to 2^63; our indexes end at 2^53.
        expect(codeOf(() => parseTilePath(path))).toBe('malformed');
      }
    }
    for (const { level, index } of file.parseError) {
      expect(codeOf(() => parseTilePath(`tile/${level}/${index}`))).toBe('malformed');
    }
  });

  test('widths of tessera', () => {
    const file = sharedJson('vectors', 'tlog-notes', 'tile-paths.json') as Paths;
    expect(file.tilesForSize.length).toBeGreaterThan(8);
    for (const { size, levels } of file.tilesForSize) {
      const of = treeSize(Number(size));
      expect(edgeTiles(of).map((t) => [t.level, t.count])).toEqual(
        levels.map((l) => [l.level, l.partialWidth]),
      );
      for (const { level, fullTiles, partialWidth } of levels) {
        const full = Number(fullTiles);
        expect(tileWidth(level, full, of)).toBe(partialWidth);
        if (full > 0) expect(tileWidth(level, full - 1, of)).toBe(256);
        expect(tileWidth(level, full + 1, of)).toBe(0);
      }
    }
  });

  test('of a constructed tree, by digest', () => {
    const file = sharedJson('vectors', 'constructed-trees', 'tree-1000.json') as {
      tiles: { level: number; index: number; partial: number; sha256: string }[];
    };
    const log = new TestLog();
    log.append(Array.from({ length: 1000 }, (_, i) => leafHash(utf8(String(i)))));
    expect(file.tiles).toHaveLength(5);
    for (const { level, index, partial, sha256: digest } of file.tiles) {
      // A partial tile is a prefix, of the full tile once there is one.
      const full = log.tiles.get(`${level}/${index}`)?.bytes;
      const bytes =
        full?.subarray(0, 32 * (partial || 256)) ?? log.tree.partialTile(level, partial);
      expect(toHex(sha256(bytes))).toBe(digest);
    }
  });

  test('of a mirror of 300 leaves: the level above and the root follow from the level below', () => {
    const full = sharedBytes('vectors', 'sunlight-mirror-300', 'tile', '0', '000');
    const above = sharedBytes('vectors', 'sunlight-mirror-300', 'tile', '1', '000.p', '1');
    expect(ExpandedTile.of(full).root()).toEqual(above);
  });
});
