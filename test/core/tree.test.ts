/**
 * The growing tree: the same whatever the batches, never changed, and restored only from what fits.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseBase64, toBase64 } from '../../server/core/bytes.ts';
import { Bug } from '../../server/core/errors.ts';
import { compactRange } from '../../server/core/geometry.ts';
import { EMPTY_ROOT, leafHash } from '../../server/core/merkle.ts';
import { primitives, usePrimitives } from '../../server/core/primitives.ts';
import { planInclusion, prove } from '../../server/core/proof.ts';
import { ExpandedTile } from '../../server/core/tile.ts';
import { edgeTiles, Tree } from '../../server/core/tree.ts';
import { type Hash, hash, treeSize } from '../../server/core/units.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { hugeData, PATH } from '../reference/rfc6962.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';
import {
  asHashes,
  EXHAUSTIVE,
  entries,
  entryAt,
  index,
  logOf,
  reference,
  size,
  TestLog,
} from './trees.ts';

beforeAll(useNativePrimitives);

const COUNT = 1500;
const leaves = entries(COUNT).map(leafHash);
const whole = logOf(COUNT);

/** What a store would have to read and hash to restore the tree of `n` leaves. */
function edgeOf(n: number): Hash[][] {
  return edgeTiles(treeSize(n)).map(({ level, first, count }) =>
    Array.from({ length: count }, (_, i) => {
      if (level === 0) return leaves[first + i] as Hash;
      const tile = whole.tiles.get(`${level - 1}/${first + i}`);
      return ExpandedTile.of(tile?.bytes ?? new Uint8Array(0)).root();
    }),
  );
}

describe('a tree', () => {
  test('has the reference’s root at every size to 130, one leaf at a time', () => {
    const data = reference(EXHAUSTIVE);
    let tree = Tree.empty();
    expect(tree.root()).toEqual(EMPTY_ROOT);
    for (let n = 1; n <= EXHAUSTIVE; n++) {
      tree = tree.append(leaves.slice(n - 1, n)).tree;
      expect([tree.size, tree.root()]).toEqual([n, data.slice(0n, BigInt(n)).MTH()]);
    }
  });

  test('is the same in any batches, and so are its tiles and their order', () => {
    const data = reference(COUNT);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 600 }), { minLength: 1, maxLength: 12 }),
        (batches) => {
          const log = new TestLog();
          const names: string[] = [];
          for (const batch of batches) {
            const begin: number = log.tree.size;
            const { tree, tiles } = log.tree.append(leaves.slice(begin, begin + batch));
            for (const tile of tiles) {
              names.push(`${tile.level}/${tile.index}`);
              expect(tile.bytes).toEqual(whole.tiles.get(`${tile.level}/${tile.index}`)?.bytes);
              expect(tile.expanded.bytes).toEqual(tile.bytes);
            }
            log.tree = tree;
          }
          const full = Math.floor(log.tree.size / 256);
          expect(names).toEqual(Array.from({ length: full }, (_, i) => `0/${i}`));
          expect(log.tree.root()).toEqual(data.slice(0n, BigInt(log.tree.size)).MTH());
        },
      ),
      { numRuns: 60 },
    );
  });

  test('stays as it was when another grows out of it', () => {
    for (const n of [0, 1, 255, 256, 257, 511, 700]) {
      const old = logOf(n).tree;
      const before = [old.size, toBase64(old.root())];
      const width = n % 256;
      const tile = width > 0 ? old.partialTile(0, width) : undefined;
      const one = old.append(leaves.slice(n, n + 400)).tree;
      const other = old.append(leaves.slice(0, 300)).tree;
      expect([old.size, toBase64(old.root())]).toEqual(before);
      if (tile !== undefined) expect(old.partialTile(0, width)).toEqual(tile);
      // The growth thrown away left no trace in the one that is kept.
      expect(one.root()).toEqual(logOf(n + 400).tree.root());
      expect(other.root()).not.toEqual(one.root());
    }
  });

  test('takes nothing and is as it was', () => {
    const { tree, tiles } = whole.tree.append([]);
    expect([tree.size, tree.root(), tiles]).toEqual([COUNT, whole.tree.root(), []]);
  });

  test('costs one node hash a leaf, and a proof none but the folding', () => {
    const native = primitives();
    let hashed = 0;
    usePrimitives({
      ...native,
      sha256(bytes) {
        if (bytes.length === 65) hashed++;
        return native.sha256(bytes);
      },
    });
    try {
      hashed = 0;
      let tree = Tree.empty();
      const rounds = Math.floor(66_000 / COUNT);
      for (let i = 0; i < rounds; i++) tree = tree.append(leaves).tree;
      expect(hashed).toBeLessThan(tree.size);
      hashed = 0;
      const log = logOf(COUNT);
      hashed = 0;
      for (let n = 1; n <= COUNT; n += 7) {
        const plan = planInclusion(index(n - 1), size(n));
        const hashes = log.hashes(plan);
        expect(hashed).toBe(0);
        prove(plan, hashes);
        expect(hashed).toBeLessThan(12);
        hashed = 0;
      }
    } finally {
      usePrimitives(native);
    }
  });

  test('holds the perfect nodes of its edge and no others', () => {
    for (const n of [1, 2, 3, 255, 256, 300, 511, 512, 1023, 1300]) {
      const { tree } = logOf(n);
      for (let level = 0; level <= 11; level++) {
        for (let i = 0; i * 2 ** level < COUNT; i++) {
          const isPerfect = (i + 1) * 2 ** level <= n;
          const tileLeaves = 256 ** (Math.floor(level / 8) + 1);
          const inEdge = Math.floor((i * 2 ** level) / tileLeaves) === Math.floor(n / tileLeaves);
          const held = tree.node({ level, index: i });
          if (isPerfect && inEdge) expect(held).toEqual(whole.node({ level, index: i }));
          else expect(held).toBeUndefined();
        }
      }
    }
  });

  test('cuts a partial tile to any width it has', () => {
    const { tree } = logOf(700);
    for (const width of [1, 2, 187, 188]) {
      const bytes = tree.partialTile(0, width);
      expect(bytes).toEqual(Uint8Array.from(leaves.slice(512, 512 + width).flatMap((h) => [...h])));
    }
    expect(tree.partialTile(1, 2)).toHaveLength(64);
    for (const [level, width] of [
      [0, 0],
      [0, 189],
      [0, -1],
      [1, 3],
      [2, 1],
    ] as const) {
      expect(() => tree.partialTile(level, width)).toThrow(Bug);
    }
  });

  test('grows on three tile levels', () => {
    const log = new TestLog();
    const same = leafHash(entryAt(0));
    for (let i = 0; i < 66; i++) log.append(new Array<Hash>(1000).fill(same));
    const data = hugeData(66_000n, entryAt(0), new Map());
    expect(log.tree.root()).toEqual(data.MTH());
    expect([...log.tiles.keys()].filter((name) => !name.startsWith('0/'))).toEqual(['1/0']);
    for (const at of [0, 255, 65_535, 65_536, 65_999]) {
      const plan = planInclusion(index(at), size(66_000));
      expect(prove(plan, log.hashes(plan))).toEqual(PATH(BigInt(at), data));
    }
  });
});

describe('a restored tree', () => {
  test('is the tree that was, and grows as it would have', () => {
    for (let n = 0; n <= COUNT - 300; n += n < 20 ? 1 : 37) {
      const restored = Tree.restore(treeSize(n), edgeOf(n));
      const { tree } = logOf(n);
      expect([restored.size, restored.root()]).toEqual([n, tree.root()]);
      for (const id of compactRange(0, n)) expect(restored.node(id)).toEqual(tree.node(id));
      const grown = restored.append(leaves.slice(n, n + 300));
      expect(grown.tree.root()).toEqual(logOf(n + 300).tree.root());
      for (const tile of grown.tiles) {
        expect(tile.bytes).toEqual(whole.tiles.get(`${tile.level}/${tile.index}`)?.bytes);
      }
    }
  });

  test('is refused from an edge that does not fit its size', () => {
    const edge = edgeOf(700);
    const [low = [], high = []] = edge;
    const stranger = leaves[0] as Hash;
    const wrong: Record<string, readonly (readonly Hash[])[]> = {
      'nothing at all': [],
      'one level short': [low],
      'one hash short': [low.slice(1), high],
      'one hash extra': [[...low, stranger], high],
      'one hash short above': [low, high.slice(1)],
      'one hash extra above': [low, [...high, stranger]],
      'one level extra': [low, high, [stranger]],
      'an empty level extra': [low, high, []],
      'the levels exchanged': [high, low],
      'a hash a byte short': [low.with(3, stranger.subarray(1) as Hash), high],
      'a hash a byte long': [low, high.with(0, Uint8Array.from([...stranger, 0]) as Hash)],
    };
    expect(codeOf(() => Tree.restore(treeSize(700), edge))).toBeUndefined();
    for (const [name, spoiled] of Object.entries(wrong)) {
      expect([name, codeOf(() => Tree.restore(treeSize(700), spoiled))]).toEqual([
        name,
        'malformed',
      ]);
    }
    for (const n of [0, 1, 699, 701, 956, 2 ** 32 + 700]) {
      expect(codeOf(() => Tree.restore(treeSize(n), edge))).toBe('malformed');
    }
    expect(codeOf(() => Tree.restore(treeSize(0), []))).toBeUndefined();
  });

  test('of another edge has another root', () => {
    const edge = edgeOf(700);
    const stranger = leaves[0] as Hash;
    for (const [level, hashes] of edge.entries()) {
      for (let i = 0; i < hashes.length; i += 13) {
        const spoiled = edge.with(level, hashes.with(i, stranger));
        expect(Tree.restore(treeSize(700), spoiled).root()).not.toEqual(logOf(700).tree.root());
      }
    }
  });

  test('beyond 2^32 has the reference’s root and grows over the next tiles', () => {
    for (const n of [2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 3 * 2 ** 40 + 511, 2 ** 53 - 300]) {
      // All leaves are the same, so the root of a full tile is known for each level.
      const all = hugeData(2n ** 53n, entryAt(0), new Map());
      const at = (level: number) => all.slice(0n, 256n ** BigInt(level)).MTH() as Hash;
      const edge = edgeTiles(treeSize(n)).map(({ level, count }) =>
        new Array<Hash>(count).fill(at(level)),
      );
      const restored = Tree.restore(treeSize(n), edge);
      expect(restored.root()).toEqual(all.slice(0n, BigInt(n)).MTH());
      const { tree, tiles } = restored.append(new Array<Hash>(290).fill(leafHash(entryAt(0))));
      expect([tree.size, tree.root()]).toEqual([n + 290, all.slice(0n, BigInt(n + 290)).MTH()]);
      expect(tiles[0]?.index).toBe(Math.floor(n / 256));
      expect(tiles.filter((t) => t.level === 0)).toHaveLength(
        Math.floor((n + 290) / 256) - Math.floor(n / 256),
      );
    }
  });

  test('does not grow past 2^53 − 1', () => {
    const n = 2 ** 53 - 2;
    const stranger = leaves[0] as Hash;
    const edge = edgeTiles(treeSize(n)).map(({ count }) => new Array<Hash>(count).fill(stranger));
    const tree = Tree.restore(treeSize(n), edge);
    expect(tree.append([stranger]).tree.size).toBe(2 ** 53 - 1);
    expect(codeOf(() => tree.append([stranger, stranger]))).toBe('malformed');
  });
});

test('the edge of a size takes whole leaves and tiles up to the last', () => {
  expect(edgeTiles(treeSize(0))).toEqual([]);
  expect(edgeTiles(treeSize(255))).toEqual([{ level: 0, first: 0, count: 255 }]);
  expect(edgeTiles(treeSize(70_000))).toEqual([
    { level: 0, first: 69_888, count: 112 },
    { level: 1, first: 256, count: 17 },
    { level: 2, first: 0, count: 1 },
  ]);
  const largest = edgeTiles(treeSize(2 ** 53 - 1));
  expect(largest.map((t) => t.count)).toEqual([255, 255, 255, 255, 255, 255, 31]);
});

describe.skipIf(sharedMissing)('published logs', () => {
  test('of tessera: a root and a tile for every size', () => {
    const file = sharedJson('vectors', 'tessera-log', 'index.json') as {
      entries: string[];
      roots: Record<string, string>;
    };
    let tree = Tree.empty();
    for (let n = 0; n <= 15; n++) {
      expect(toBase64(tree.root())).toBe(file.roots[n]);
      if (n > 0) {
        const bytes = sharedBytes('vectors', 'tessera-log', 'tile', '0', '000.p', String(n));
        expect(tree.partialTile(0, n)).toEqual(bytes);
      }
      if (n < 15) tree = tree.append([leafHash(parseBase64(file.entries[n] ?? '', 'vector'))]).tree;
    }
  });

  test('of a mirror of 300 leaves: tiles lead to the root that its checkpoint names', () => {
    const read = (...path: string[]) => sharedBytes('vectors', 'sunlight-mirror-300', ...path);
    const split = (bytes: Uint8Array) =>
      Array.from({ length: bytes.length / 32 }, (_, i) =>
        hash(bytes.subarray(32 * i, 32 * i + 32)),
      );
    const full = read('tile', '0', '000');
    const partial = read('tile', '0', '001.p', '44');
    const above = read('tile', '1', '000.p', '1');
    const [, count, root] = Buffer.from(read('checkpoint')).toString('utf8').split('\n');
    const restored = Tree.restore(treeSize(Number(count)), [split(partial), split(above)]);
    expect(toBase64(restored.root())).toBe(root);
    const { tree, tiles } = Tree.empty().append([...split(full), ...asHashes(split(partial))]);
    expect(toBase64(tree.root())).toBe(root);
    expect(tiles.map((t) => t.bytes)).toEqual([full]);
    expect([tree.partialTile(0, 44), tree.partialTile(1, 1)]).toEqual([partial, above]);
  });
});
