/**
 * The tree of an audit: made again from the entries alone, and compared with everything that claims to
 * be part of it: stored tiles, heads, the root that was signed.
 *
 * Where an entry and its tile disagree, the signed root decides which of them was changed.
 */
import { equalBytes } from '../../core/bytes.ts';
import { invariant, SteleError } from '../../core/errors.ts';
import type { NodeId } from '../../core/geometry.ts';
import { TILE_WIDTH } from '../../core/limits.ts';
import { leafHash } from '../../core/merkle.ts';
import { checkInclusion, planInclusion, prove } from '../../core/proof.ts';
import { ExpandedTile, tileOfNode, tileWidth } from '../../core/tile.ts';
import { type FullTile, Tree } from '../../core/tree.ts';
import { HASH_BYTES, type Hash, leafIndex, type TreeSize } from '../../core/units.ts';
import type { Findings } from './findings.ts';
import type { TileReader } from './reader.ts';

interface Difference {
  readonly index: number;
  readonly stored: Hash;
}

/** Changed leaves that are remembered, to tell what follows from them from what does not. */
const CHANGED_MAX = 10_000;

export class TreeCheck {
  readonly #reader: TileReader;
  readonly #findings: Findings;
  #tree: Tree;
  /** The first leaf whose stored hash is not the one of its entry. */
  #first: Difference | undefined;
  /** Leaves whose stored hash is not the one of their entry. */
  readonly #changed: number[] = [];

  /** `tree` is that of the entries before, for who does not begin with the first. */
  constructor(reader: TileReader, findings: Findings, tree = Tree.empty()) {
    this.#reader = reader;
    this.#findings = findings;
    this.#tree = tree;
  }

  get tree(): Tree {
    return this.#tree;
  }

  get size(): TreeSize {
    return this.#tree.size;
  }

  root(): Hash {
    return this.#tree.root();
  }

  /** Takes the next entries and compares every tile that they complete. */
  async add(entries: readonly Uint8Array[]): Promise<void> {
    await this.addLeaves(entries.map((entry) => leafHash(entry)));
  }

  /** The same, where of the entries only the hashes are at hand. */
  async addLeaves(hashes: readonly Hash[]): Promise<void> {
    const { tree, tiles } = this.#tree.append(hashes);
    this.#tree = tree;
    if (tiles.length === 0) return;
    const stored = await this.#reader.tiles(
      tiles.map(({ level, index }) => ({ level, index, width: TILE_WIDTH })),
    );
    for (const [i, tile] of tiles.entries()) this.#compare(tile, stored[i]);
  }

  /** Compares the right edge, where it is stored, and the root with the signed one. */
  async finish(root: Hash): Promise<void> {
    if (this.#reader.hasPartialTiles) await this.#compareEdge();
    const holds = equalBytes(this.root(), root);
    if (this.#first !== undefined) await this.#explain(this.#first, holds, root);
    if (holds) return;
    const edge = Math.floor(this.size / TILE_WIDTH) * TILE_WIDTH;
    const where =
      this.#first === undefined && !this.#reader.hasPartialTiles && edge < this.size
        ? `; every full tile fits its entries, so one of the entries ${edge} to ${this.size - 1} was changed`
        : '';
    this.#findings.add('fail', `the entries do not hash to the root that was signed${where}`);
  }

  #compare(derived: Pick<FullTile, 'level' | 'index' | 'bytes'>, stored: Uint8Array | undefined) {
    const { level, index, bytes } = derived;
    const name = `tile ${level}/${index}`;
    const span = TILE_WIDTH ** level;
    const begin = index * TILE_WIDTH * span;
    if (stored === undefined) {
      this.#findings.add('fail', `${name} is missing`, begin);
      return;
    }
    if (equalBytes(stored, bytes)) return;
    if (stored.length !== bytes.length) {
      const lengths = `${stored.length} bytes where it has ${bytes.length}`;
      this.#findings.add('fail', `${name}: ${lengths}`, begin);
      return;
    }
    const differing = differences(stored, bytes);
    if (level === 0) this.#disagree(index, differing, stored);
    else {
      // A changed entry changes every hash above it; only what no such entry explains is new.
      const at = differing.find(
        (i) => !this.#isExplained(begin + i * span, begin + (i + 1) * span),
      );
      if (at === undefined) return;
      const what = `${name}: hash ${at} is not the one of its entries`;
      this.#findings.add('fail', what, begin + at * span);
    }
  }

  /** An entry and its hash in a tile are not of each other. */
  #disagree(index: number, differing: readonly number[], stored: Uint8Array): void {
    const [at = 0] = differing;
    const leaf = index * TILE_WIDTH + at;
    for (const i of differing) {
      if (this.#changed.length < CHANGED_MAX) this.#changed.push(index * TILE_WIDTH + i);
    }
    if (this.#first === undefined) this.#first = { index: leaf, stored: hashAt(stored, at) };
    else {
      const what = `tile 0/${index}: hash ${at} is not the one of its entry`;
      this.#findings.add('fail', what, leaf);
    }
  }

  #isExplained(begin: number, end: number): boolean {
    return this.#changed.some((leaf) => leaf >= begin && leaf < end);
  }

  async #compareEdge(): Promise<void> {
    const { size } = this;
    const wanted: { level: number; index: number; width: number }[] = [];
    for (let level = 0; TILE_WIDTH ** level <= size; level++) {
      const index = Math.floor(size / TILE_WIDTH ** (level + 1));
      const width = tileWidth(level, index, size);
      if (width > 0 && width < TILE_WIDTH) wanted.push({ level, index, width });
    }
    const stored = await this.#reader.tiles(wanted);
    for (const [i, { level, index, width }] of wanted.entries()) {
      const bytes = this.#tree.partialTile(level, width);
      this.#compare({ level, index, bytes }, stored[i]);
    }
  }

  /** Says which of the two was changed: the one that does not lead to the signed root. */
  async #explain(first: Difference, holds: boolean, root: Hash): Promise<void> {
    const { index } = first;
    const name = `tile 0/${Math.floor(index / TILE_WIDTH)}`;
    if (holds) {
      this.#findings.add(
        'fail',
        `${name} was changed: its hash of entry ${index} is not the entry’s, and the entries give the signed root`,
        index,
      );
      return;
    }
    const entryWasChanged = await this.#leadsTo(root, first);
    this.#findings.add(
      'fail',
      entryWasChanged
        ? `entry ${index} was changed: ${name} has the hash that was signed, and it is not this entry’s`
        : `entry ${index} and ${name} disagree`,
      index,
    );
  }

  /** Whether the stored hash of a leaf leads to the signed root through the stored tiles. */
  async #leadsTo(root: Hash, { index, stored }: Difference): Promise<boolean> {
    const { size } = this;
    const plan = planInclusion(leafIndex(index), size);
    const hashes = await Promise.all(plan.nodes.map((node) => this.#storedNode(node)));
    try {
      const proof = prove(plan, hashes);
      checkInclusion({ index: leafIndex(index), size, leafHash: stored, proof, root });
      return true;
    } catch (error) {
      if (error instanceof SteleError) return false;
      throw error;
    }
  }

  async #storedNode(node: NodeId): Promise<Hash> {
    const { tile, row, offset } = tileOfNode(node);
    const width = tileWidth(tile.level, tile.index, this.size);
    if (width === TILE_WIDTH) {
      const [bytes] = await this.#reader.tiles([{ ...tile, width }]);
      if (bytes?.length === TILE_WIDTH * HASH_BYTES)
        return ExpandedTile.of(bytes).node(row, offset);
    }
    const derived = this.#tree.node(node);
    invariant(derived !== undefined, 'what is in no full tile is in the right edge');
    return derived;
  }
}

/** Which hashes of two tiles of one length differ. */
function differences(a: Uint8Array, b: Uint8Array): number[] {
  const count = a.length / HASH_BYTES;
  return Array.from({ length: count }, (_, i) => i).filter(
    (i) => !equalBytes(hashAt(a, i), hashAt(b, i)),
  );
}

function hashAt(tile: Uint8Array, at: number): Hash {
  return tile.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES) as Hash;
}
