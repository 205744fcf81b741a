/**
 * What is the root of the first leaves of a signed tree? From tiles alone, so that any log that has them can
 * be asked; and proven by the root that was signed, so that no tile is believed.
 *
 *     tiles ──▶ root of the first n leaves ──┐
 *           └─▶ consistency proof ───────────┴──▶ the signed root, or the tiles are wrong
 *
 * Where the proof holds and somebody else has a head of n leaves with another root, there are two histories:
 * no tile can be to blame.
 */

import { equalBytes } from '../core/bytes.ts';
import { unverified } from '../core/errors.ts';
import type { NodeId } from '../core/geometry.ts';
import { EMPTY_ROOT, nodeHash } from '../core/merkle.ts';
import { planConsistency, planRoot, prove, rootsFromConsistency } from '../core/proof.ts';
import { tileOfNode, tileWidth } from '../core/tile.ts';
import { HASH_BYTES, type Hash, type TreeSize } from '../core/units.ts';
import type { TileReader, TileWanted } from '../log/audit/reader.ts';

export interface Tree {
  readonly size: TreeSize;
  readonly root: Hash;
}

export interface Prefix {
  readonly root: Hash;
  /** The consistency proof from it to the whole tree. */
  readonly proof: readonly Hash[];
}

/** Throws `unverified` where the tiles do not lead to the root of `tree`. 0 ≤ `size` ≤ that of `tree`. */
export async function prefixOf(reader: TileReader, size: TreeSize, tree: Tree): Promise<Prefix> {
  if (size === 0) return { root: EMPTY_ROOT, proof: [] };
  if (size === tree.size) return { root: tree.root, proof: [] };
  const own = planRoot(size);
  const rest = planConsistency(size, tree.size);
  const hashes = await readNodes(reader, [...own.nodes, ...rest.nodes], tree.size);
  const [root = EMPTY_ROOT] = prove(own, hashes.slice(0, own.nodes.length));
  const proof = prove(rest, hashes.slice(own.nodes.length));
  const roots = rootsFromConsistency({ from: size, to: tree.size, fromRoot: root, proof });
  if (!equalBytes(roots.to, tree.root) || !equalBytes(roots.from, root)) {
    const what = `they do not lead from its first ${size} leaves to the root that was signed`;
    throw unverified(`tiles of the tree of ${tree.size}`, what);
  }
  return { root, proof };
}

/** The hashes of perfect nodes in the order asked. Throws `unverified` where a tile is missing, or cut short. */
async function readNodes(
  reader: TileReader,
  nodes: readonly NodeId[],
  size: TreeSize,
): Promise<Hash[]> {
  const places = nodes.map(tileOfNode);
  const wanted = new Map<string, TileWanted>();
  for (const { tile } of places) {
    wanted.set(nameOf(tile), { ...tile, width: tileWidth(tile.level, tile.index, size) });
  }
  const list = [...wanted.values()];
  const read = await reader.tiles(list);
  const tiles = new Map(list.map((tile, i) => [nameOf(tile), checked(tile, read[i])]));
  return places.map(({ tile, row, offset }) => {
    const bytes = tiles.get(nameOf(tile)) ?? new Uint8Array();
    return nodeIn(bytes, row, offset);
  });
}

function checked(tile: TileWanted, bytes: Uint8Array | undefined): Uint8Array {
  const name = `tile ${nameOf(tile)}`;
  if (bytes === undefined) throw unverified(name, 'it is missing');
  if (bytes.length !== tile.width * HASH_BYTES) {
    throw unverified(name, `${bytes.length} bytes where it has ${tile.width * HASH_BYTES}`);
  }
  return bytes;
}

function nodeIn(tile: Uint8Array, row: number, offset: number): Hash {
  if (row === 0) return tile.slice(offset * HASH_BYTES, (offset + 1) * HASH_BYTES) as Hash;
  return nodeHash(nodeIn(tile, row - 1, 2 * offset), nodeIn(tile, row - 1, 2 * offset + 1));
}

function nameOf({ level, index }: { readonly level: number; readonly index: number }): string {
  return `${level}/${index}`;
}
