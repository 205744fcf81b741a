/**
 * The growing tree: its size and its right edge.
 *
 * On each tile level the newest tile is partial: at most 255 hashes, with the perfect nodes above them.
 * That is all a log needs in memory to take a leaf (one hash, and on average one node hash more) and to
 * give its root. A tile that fills up leaves the tree, and its root moves to the level above.
 *
 *     level 1    [ t0 t1 t2 … ]                      roots of full tiles below
 *     level 0    [ leaf hashes since the last full tile ]
 *
 * A tree never changes: `append` gives a new one, so that growth whose commit fails is thrown away.
 */
import { invariant, malformed } from './errors.ts';
import { compactRange, type NodeId } from './geometry.ts';
import { TILE_HEIGHT, TILE_WIDTH } from './limits.ts';
import { EMPTY_ROOT, nodeHash } from './merkle.ts';
import { ExpandedTile, tileOfNode } from './tile.ts';
import { HASH_BYTES, type Hash, hash as hashOf, type TreeSize, treeSize } from './units.ts';

export interface FullTile {
  readonly level: number;
  readonly index: number;
  /** 8,192 bytes. */
  readonly bytes: Uint8Array;
  readonly expanded: ExpandedTile;
}

/** A partial tile: row 0 has up to 255 hashes, each row above half as many, perfect nodes only. */
type Rows = readonly (readonly Hash[])[];

export class Tree {
  readonly size: TreeSize;
  readonly #edge: readonly Rows[];

  private constructor(size: TreeSize, edge: readonly Rows[]) {
    this.size = size;
    this.#edge = edge;
  }

  static empty(): Tree {
    return new Tree(treeSize(0), []);
  }

  /**
   * The tree of `size` leaves whose partial tile on level L has the hashes `edge[L]`: see `edgeTiles`
   * for where they come from. The caller compares the root with one that it trusts.
   */
  static restore(size: TreeSize, edge: readonly (readonly Hash[] | undefined)[]): Tree {
    const levels: Rows[] = [];
    for (let level = 0; TILE_WIDTH ** level <= size; level++) {
      const count = Math.floor(size / TILE_WIDTH ** level) % TILE_WIDTH;
      const hashes = edge[level] ?? [];
      if (hashes.length !== count) {
        throw malformed(
          'right edge',
          `${hashes.length} hashes on tile level ${level}; a tree of ${size} has ${count}`,
        );
      }
      const rows = emptyRows();
      for (const hash of hashes) push(rows, hashOf(hash, 'right edge'));
      levels.push(rows);
    }
    if (edge.length > levels.length) {
      throw malformed('right edge', `tile level ${edge.length - 1} in a tree of ${size}`);
    }
    return new Tree(size, levels);
  }

  /** The Merkle tree hash of all leaves [RFC 6962 §2.1]. */
  root(): Hash {
    let root: Hash | undefined;
    for (const node of [...compactRange(0, this.size)].reverse()) {
      const hash = this.node(node);
      invariant(hash !== undefined, 'the nodes of the whole tree’s compact range are in its edge');
      root = root === undefined ? hash : nodeHash(hash, root);
    }
    return root ?? EMPTY_ROOT;
  }

  /**
   * The tree with `leaves` after its own, and the tiles that they completed, lower levels first. The
   * hashes are kept as they are: whoever made them does not write into them again.
   */
  append(leaves: readonly Hash[]): { readonly tree: Tree; readonly tiles: readonly FullTile[] } {
    const size = treeSize(this.size + leaves.length);
    const edge = [...this.#edge];
    const tiles: FullTile[] = [];
    let arriving = leaves;
    for (let level = 0; arriving.length > 0; level++) {
      let index = Math.floor(this.size / TILE_WIDTH ** (level + 1));
      let rows = (edge[level] ?? []).map((row) => [...row]);
      if (rows.length === 0) rows = emptyRows();
      const above: Hash[] = [];
      for (const hash of arriving) {
        const root = push(rows, hash);
        if (root === undefined) continue;
        const expanded = ExpandedTile.fromRows(rows);
        tiles.push({ level, index, bytes: expanded.bytes, expanded });
        above.push(root);
        index++;
        rows = emptyRows();
      }
      edge[level] = rows;
      arriving = above;
    }
    return { tree: new Tree(size, edge), tiles };
  }

  /** A perfect node that lies in the edge; nothing if it lies in a full tile or does not exist. */
  node(id: NodeId): Hash | undefined {
    const { tile, row, offset } = tileOfNode(id);
    const full = Math.floor(this.size / TILE_WIDTH ** (tile.level + 1));
    return tile.index === full ? this.#edge[tile.level]?.[row]?.[offset] : undefined;
  }

  /** The first `width` hashes of the partial tile on a level. */
  partialTile(level: number, width: number): Uint8Array {
    const hashes = this.#edge[level]?.[0] ?? [];
    invariant(width > 0 && width <= hashes.length, 'a partial tile has the hashes asked for');
    const bytes = new Uint8Array(width * HASH_BYTES);
    for (const [i, hash] of hashes.slice(0, width).entries()) bytes.set(hash, i * HASH_BYTES);
    return bytes;
  }
}

/** What the partial tile on a level is made of. */
export interface EdgeTile {
  readonly level: number;
  /** On level 0 the index of its first leaf; above, of the first full tile one level below. */
  readonly first: number;
  /** How many leaves, or full tiles one level below. */
  readonly count: number;
}

/** What has to be hashed to restore a tree of `size`: at most 255 leaves or tiles on each level. */
export function edgeTiles(size: TreeSize): EdgeTile[] {
  const tiles: EdgeTile[] = [];
  for (let level = 0; TILE_WIDTH ** level <= size; level++) {
    const nodes = Math.floor(size / TILE_WIDTH ** level);
    const count = nodes % TILE_WIDTH;
    tiles.push({ level, first: nodes - count, count });
  }
  return tiles;
}

function emptyRows(): Hash[][] {
  return Array.from({ length: TILE_HEIGHT }, () => []);
}

/**
 * Adds a hash to the bottom row and every perfect node above that it completes. Gives the node above
 * the tile once the tile is full, and nothing before.
 */
function push(rows: readonly Hash[][], hash: Hash): Hash | undefined {
  let arriving = hash;
  for (const row of rows) {
    row.push(arriving);
    if (row.length % 2 === 1) return undefined;
    arriving = nodeHash(row[row.length - 2] as Hash, arriving);
  }
  return arriving;
}
