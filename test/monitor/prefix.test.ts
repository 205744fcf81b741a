/** The root of a tree's first leaves, from tiles: right for every size, and never anything else. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { equalBytes } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkConsistency } from '../../server/core/proof.ts';
import { tileWidth } from '../../server/core/tile.ts';
import { Tree } from '../../server/core/tree.ts';
import { HASH_BYTES, type Hash, treeSize } from '../../server/core/units.ts';
import type { TileReader, TileWanted } from '../../server/log/audit/reader.ts';
import { prefixOf } from '../../server/monitor/prefix.ts';

const LEAVES = Array.from({ length: 700 }, (_, i) => leafHash(Uint8Array.of(i % 256, i >> 8)));

function treeOf(size: number): Tree {
  return Tree.empty().append(LEAVES.slice(0, size)).tree;
}

/** Tiles of a tree made the slow way: level 1 from roots of 256 leaves. */
function tilesOf(size: number): TileReader & { asked: TileWanted[] } {
  const asked: TileWanted[] = [];
  const hashAt = (level: number, i: number): Hash =>
    level === 0
      ? (LEAVES[i] as Hash)
      : Tree.empty()
          .append(LEAVES.slice(256 * i, 256 * (i + 1)))
          .tree.root();
  return {
    asked,
    hasPartialTiles: true,
    tiles: async (wanted) =>
      wanted.map((tile) => {
        asked.push(tile);
        expect(tile.width).toBe(tileWidth(tile.level, tile.index, size));
        const bytes = new Uint8Array(tile.width * HASH_BYTES);
        for (let i = 0; i < tile.width; i++) {
          bytes.set(hashAt(tile.level, 256 * tile.index + i), i * HASH_BYTES);
        }
        return bytes;
      }),
  };
}

test.for([1, 2, 3, 64, 255, 256, 257, 512, 600, 700])(
  'of a tree of %i it is right for every size, and proven',
  async (size) => {
    const tree = treeOf(size);
    const whole = { size: tree.size, root: tree.root() };
    for (let from = 0; from <= size; from += from < 70 || size - from < 70 ? 1 : 23) {
      const { root, proof } = await prefixOf(tilesOf(size), treeSize(from), whole);
      expect(equalBytes(root, treeOf(from).root()), `${from} of ${size}`).toBe(true);
      if (from === 0) continue;
      const claim = { from: treeSize(from), to: tree.size, fromRoot: root, toRoot: whole.root };
      expect(() => checkConsistency({ ...claim, proof })).not.toThrow();
    }
  },
);

test('no changed tile gives another root: it is told for what it is', async () => {
  const size = 700;
  const tree = treeOf(size);
  const whole = { size: tree.size, root: tree.root() };
  for (const from of [1, 100, 255, 256, 300, 512, 640, 699]) {
    const good = (await prefixOf(tilesOf(size), treeSize(from), whole)).root;
    for (let i = 0; i < 20; i++) {
      const honest = tilesOf(size);
      const [place = 0, tileAt = 0] = randomBytes(2);
      const spoiled: TileReader = {
        hasPartialTiles: true,
        tiles: async (wanted) => {
          const tiles = await honest.tiles(wanted);
          const at = tileAt % tiles.length;
          return tiles.map((tile, j) =>
            j === at && tile !== undefined
              ? tile.with((place * 37) % tile.length, (tile[(place * 37) % tile.length] ?? 0) ^ 1)
              : tile,
          );
        },
      };
      const found = await prefixOf(spoiled, treeSize(from), whole).catch((error: unknown) => error);
      const isTold = found instanceof SteleError && found.code === 'unverified';
      // A hash that the proof does not need may be anything.
      const isRight = !(found instanceof Error) && equalBytes((found as { root: Hash }).root, good);
      expect(isTold || isRight, `first ${from}, tile ${tileAt}, place ${place}`).toBe(true);
    }
  }
});

test('few tiles are asked for, each once', async () => {
  const tiles = tilesOf(700);
  const tree = treeOf(700);
  await prefixOf(tiles, treeSize(300), { size: tree.size, root: tree.root() });
  const names = tiles.asked.map(({ level, index }) => `${level}/${index}`);
  expect(names).toHaveLength(new Set(names).size);
  expect(names.length).toBeLessThanOrEqual(4);
});

test.for([
  ['missing', undefined],
  ['cut short', new Uint8Array(32)],
  ['too long', new Uint8Array(8_193)],
] as const)('a tile that is %s is told', async ([, tile]) => {
  const tree = treeOf(700);
  const reader: TileReader = { hasPartialTiles: true, tiles: async (w) => w.map(() => tile) };
  await expect(
    prefixOf(reader, treeSize(300), { size: tree.size, root: tree.root() }),
  ).rejects.toMatchObject({ code: 'unverified' });
});
