/**
 * Reading a log: tiles, entries, roots and proofs, for every size that is committed.
 *
 * Perfect nodes of the right edge come from the tree in memory, all others from full tiles, expanded
 * once and kept. A proof is planned in whole numbers, its tiles are asked for at once, and it is
 * computed without waiting.
 */
import { encodeBundle } from '../core/bundle.ts';
import { invariant, SteleError } from '../core/errors.ts';
import type { NodeId } from '../core/geometry.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import {
  type Folds,
  type ProofPlan,
  planConsistency,
  planInclusion,
  planRoot,
  prove,
} from '../core/proof.ts';
import { ExpandedTile, type TileId, type TilePath, tileOfNode, tileWidth } from '../core/tile.ts';
import type { FullTile, Tree } from '../core/tree.ts';
import { type Hash, type LeafIndex, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { LogStore } from '../storage/store.ts';
import { TileCache } from './tile-cache.ts';

/** Entries that one page may hold, and entries read from the store at once. */
export const PAGE_ENTRIES_MAX = 1_024;

export class Reader {
  readonly #store: LogStore;
  readonly #tree: () => Tree;
  readonly #tiles: TileCache;
  readonly #prefix: string;
  #folds = { size: treeSize(0), folds: new Map() as Folds };

  /** `tree` gives the committed tree of this moment. */
  constructor(store: LogStore, tree: () => Tree, tiles = new TileCache()) {
    this.#store = store;
    this.#tree = tree;
    this.#tiles = tiles;
    this.#prefix = tiles.prefix();
  }

  async entry(index: LeafIndex): Promise<Uint8Array> {
    this.checkIndex(index, this.#tree().size);
    const [entry] = await this.#store.readEntries(index, treeSize(index + 1));
    invariant(entry !== undefined, 'a store never gives a short answer');
    return entry;
  }

  /** The entries [begin, end), at most `PAGE_ENTRIES_MAX`. */
  async entries(begin: LeafIndex, end: TreeSize): Promise<Uint8Array[]> {
    this.checkSize(end);
    invariant(end - begin <= PAGE_ENTRIES_MAX, `a page has at most ${PAGE_ENTRIES_MAX} entries`);
    return begin >= end ? [] : this.#store.readEntries(begin, end);
  }

  async inclusion(index: LeafIndex, size: TreeSize): Promise<Hash[]> {
    this.checkSize(size);
    this.checkIndex(index, size);
    return this.#compute(planInclusion(index, size), this.#foldsOf(size));
  }

  async consistency(from: TreeSize, to: TreeSize): Promise<Hash[]> {
    this.checkSize(to);
    if (from < 1 || from > to) {
      throw new SteleError(
        'malformed',
        `a consistency proof goes from 1 or more to a size that is not smaller, not from ${from} to ${to}`,
      );
    }
    return this.#compute(planConsistency(from, to));
  }

  async root(size: TreeSize): Promise<Hash> {
    this.checkSize(size);
    const [root] = await this.#compute(planRoot(size));
    invariant(root !== undefined, 'a root plan gives one hash');
    return root;
  }

  /** A tile or entry bundle of any width that the committed tree has. */
  async tile(path: TilePath): Promise<Uint8Array> {
    const { size } = this.#tree();
    const level = path.kind === 'entries' ? 0 : path.level;
    const width = tileWidth(level, path.index, size);
    if (path.width > width) {
      throw new SteleError(
        'not_found',
        `tile ${level}/${path.index} has ${width} of ${path.width} in a tree of ${size}`,
      );
    }
    if (path.kind === 'entries') {
      const begin = leafIndex(path.index * TILE_WIDTH);
      return encodeBundle(await this.#store.readEntries(begin, treeSize(begin + path.width)));
    }
    if (width < TILE_WIDTH) return this.#tree().partialTile(level, path.width);
    const tile = await this.#expanded(level, path.index);
    return tile.bytes.subarray(0, path.width * 32);
  }

  /** Tiles that a commit completed: what is asked for next is usually among them. */
  remember(tiles: readonly FullTile[]): void {
    for (const tile of tiles) this.#tiles.set(this.#prefix + keyOf(tile), tile.expanded);
  }

  /** `not_found` unless the log has integrated `size` leaves. */
  checkSize(size: TreeSize): void {
    const { size: current } = this.#tree();
    if (size > current) {
      throw new SteleError('not_found', `size ${size} is beyond the log's ${current} entries`);
    }
  }

  /** `not_found` unless leaf `index` is in a tree of `size`. */
  checkIndex(index: LeafIndex, size: TreeSize): void {
    if (index >= size) {
      throw new SteleError('not_found', `leaf ${index} is not in a tree of ${size}`);
    }
  }

  /** Proofs are mostly asked for under one size at a time, that of the newest head. */
  #foldsOf(size: TreeSize): Folds {
    if (this.#folds.size !== size) this.#folds = { size, folds: new Map() };
    return this.#folds.folds;
  }

  async #compute(plan: ProofPlan, folds?: Folds): Promise<Hash[]> {
    const tree = this.#tree();
    const missing = new Map<string, TileId>();
    const hashes: (Hash | undefined)[] = plan.nodes.map(
      (node) => tree.node(node) ?? this.#lookUp(node, missing),
    );
    if (missing.size > 0) {
      const reads = [...missing].map(
        async ([key, { level, index }]) => [key, await this.#expanded(level, index)] as const,
      );
      // Held here as well: what others read meanwhile may push these out of memory again.
      const read = new Map(await Promise.all(reads));
      for (const [i, node] of plan.nodes.entries()) {
        const { tile, row, offset } = tileOfNode(node);
        hashes[i] ??= read.get(keyOf(tile))?.node(row, offset);
      }
    }
    const all = hashes.filter((hash) => hash !== undefined);
    invariant(all.length === plan.nodes.length, 'tiles just read are at hand');
    return prove(plan, all, folds);
  }

  /** The hash of a node from the tiles in memory; a tile that must be read first is put into `missing`. */
  #lookUp(node: NodeId, missing: Map<string, TileId>): Hash | undefined {
    const { tile, row, offset } = tileOfNode(node);
    const key = keyOf(tile);
    const known = this.#tiles.get(this.#prefix + key);
    if (known === undefined) missing.set(key, tile);
    return known?.node(row, offset);
  }

  async #expanded(level: number, index: number): Promise<ExpandedTile> {
    const key = this.#prefix + keyOf({ level, index });
    const cached = this.#tiles.get(key);
    if (cached !== undefined) return cached;
    const [bytes] = await this.#store.readTiles([{ level, index }]);
    invariant(bytes !== undefined, 'a store never gives a short answer');
    const tile = ExpandedTile.of(bytes);
    this.#tiles.set(key, tile);
    return tile;
  }
}

function keyOf({ level, index }: TileId): string {
  return `${level}/${index}`;
}
