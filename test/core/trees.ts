/**
 * The trees that the tests of hashes, geometry, proofs and tiles share: the same entries for the code and
 * for the reference.
 */

import { invariant } from '../../server/core/errors.ts';
import type { NodeId } from '../../server/core/geometry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import type { ProofPlan } from '../../server/core/proof.ts';
import { tileOfNode } from '../../server/core/tile.ts';
import { type FullTile, Tree } from '../../server/core/tree.ts';
import {
  type Hash,
  type LeafIndex,
  leafIndex,
  type TreeSize,
  treeSize,
} from '../../server/core/units.ts';
import { type Bytes, type Data, listData } from '../reference/rfc6962.ts';

/** Sizes for which everything is tried. */
export const EXHAUSTIVE = 130;

export const index = (n: number | bigint): LeafIndex => leafIndex(Number(n));
export const size = (n: number | bigint): TreeSize => treeSize(Number(n));
export const asHashes = (list: readonly Bytes[]): Hash[] => list as Hash[];

/** Entry i is four bytes long and like no other. */
export function entryAt(i: number): Uint8Array {
  return Uint8Array.of(i % 256, Math.floor(i / 256) % 256, Math.floor(i / 65_536) % 256, 7);
}

export function entries(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => entryAt(i));
}

/** The reference's tree of the first `count` entries; the parts of one share what they know. */
export function reference(count: number): Data {
  return listData(entries(count));
}

/** A log in memory: the tree and the full tiles that left it. What a store would hold. */
export class TestLog {
  tree = Tree.empty();
  readonly tiles = new Map<string, FullTile>();

  append(leaves: readonly Hash[]): void {
    const { tree, tiles } = this.tree.append(leaves);
    for (const tile of tiles) this.tiles.set(`${tile.level}/${tile.index}`, tile);
    this.tree = tree;
  }

  /** As a reader does it: the edge first, then full tiles. Nothing is hashed. */
  node(id: NodeId): Hash {
    const { tile, row, offset } = tileOfNode(id);
    const hash =
      this.tree.node(id) ??
      this.tiles.get(`${tile.level}/${tile.index}`)?.expanded.node(row, offset);
    invariant(hash !== undefined, `node ${id.level}/${id.index} is stored`);
    return hash;
  }

  hashes(plan: ProofPlan): Hash[] {
    return plan.nodes.map((id) => this.node(id));
  }
}

export function logOf(count: number): TestLog {
  const log = new TestLog();
  log.append(entries(count).map(leafHash));
  return log;
}
