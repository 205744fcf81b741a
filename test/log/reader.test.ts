/** Proofs from tiles: however many are asked for at once, each is made from the tiles it needs. */
import { expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkInclusion } from '../../server/core/proof.ts';
import { Tree } from '../../server/core/tree.ts';
import { leafIndex } from '../../server/core/units.ts';
import { Reader } from '../../server/log/reader.ts';
import { MemoryStore } from '../../server/storage/memory.ts';

test('more proofs at once than tiles are kept in memory are all made', async () => {
  const tilesWanted = 1_500;
  const leaves = Array.from({ length: tilesWanted * 256 }, (_, i) => leafHash(utf8(`leaf ${i}`)));
  const { tree, tiles } = Tree.empty().append(leaves);
  const stored = new Map(tiles.map(({ level, index, bytes }) => [`${level}/${index}`, bytes]));
  const store = new MemoryStore();
  store.readTiles = async (wanted) =>
    wanted.map(({ level, index }) => stored.get(`${level}/${index}`) ?? new Uint8Array(0));
  const reader = new Reader(store, () => tree);
  const root = tree.root();
  const indexes = Array.from({ length: tilesWanted }, (_, i) => leafIndex(256 * i + (i % 256)));
  const proofs = await Promise.all(indexes.map((index) => reader.inclusion(index, tree.size)));
  for (const [i, index] of indexes.entries()) {
    const proof = proofs[i] ?? [];
    checkInclusion({ index, size: tree.size, root, proof, leafHash: leaves[index]! });
  }
  expect(proofs).toHaveLength(tilesWanted);
});
