/**
 * Tiles: how a tree's perfect nodes are grouped, addressed and stored [C2SP tlog-tiles].
 *
 * Tile (L, n) holds 256 hashes: the nodes (8·L, 256·n … 256·n + 255). The seven levels between two tile
 * levels are not stored: they are hashed again from the tile when it is expanded. A tile is *full* with
 * 256 hashes and then never changes; a partial tile of any width is a prefix of it.
 */
import { parseDecimal } from './decimal.ts';
import { invariant, malformed, shown } from './errors.ts';
import type { NodeId } from './geometry.ts';
import { TILE_HEIGHT, TILE_WIDTH } from './limits.ts';
import { nodeHash } from './merkle.ts';
import { HASH_BYTES, type Hash } from './units.ts';

export interface TileId {
  /** The tile level, 0 to 63. */
  readonly level: number;
  readonly index: number;
}

/** A tile or entry bundle as a path names it. */
export interface TilePath extends TileId {
  readonly kind: 'hashes' | 'entries';
  /** 256 for a full tile. */
  readonly width: number;
}

const TILE_LEVEL_MAX = 63;
const PATH =
  /^tile\/(entries|0|[1-9][0-9]?)\/((?:x[0-9]{3}\/)*)([0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;

/** Reads `tile/0/x001/234.p/5` or `tile/entries/000`. Accepts exactly what `formatTilePath` prints. */
export function parseTilePath(path: string): TilePath {
  const match = path.length > 64 ? null : PATH.exec(path);
  if (match === null)
    throw malformed('tile path', `${shown(path)} is not tile/LEVEL/INDEX[.p/WIDTH]`);
  const [, where = '', groups = '', last = '', width] = match;
  const kind = where === 'entries' ? 'entries' : 'hashes';
  const digits = groups.replaceAll(/[x/]/g, '') + last;
  const tile: TilePath = {
    kind,
    level: kind === 'entries' ? 0 : Number(where),
    index: parseDecimal(digits.replace(/^0+(?=[0-9])/, ''), 'tile path'),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const partial = width === undefined || tile.width < TILE_WIDTH;
  if (tile.level > TILE_LEVEL_MAX || !partial || formatTilePath(tile) !== path) {
    throw malformed('tile path', `${shown(path)} is not the path of a tile`);
  }
  return tile;
}

export function formatTilePath({ kind, level, index, width }: TilePath): string {
  const groups = String(index)
    .padStart(3 * Math.ceil(String(index).length / 3), '0')
    .match(/.{3}/g);
  const number = (groups ?? []).map((g, i, all) => (i < all.length - 1 ? `x${g}` : g)).join('/');
  const partial = width === TILE_WIDTH ? '' : `.p/${width}`;
  return `tile/${kind === 'entries' ? 'entries' : level}/${number}${partial}`;
}

/** How many hashes of a tile exist in a tree of `size`: 0 to 256. */
export function tileWidth(level: number, index: number, size: number): number {
  const nodes = Math.floor(size / TILE_WIDTH ** level);
  return Math.max(0, Math.min(TILE_WIDTH, nodes - index * TILE_WIDTH));
}

/** Where a node lies: its tile, the row above the tile's bottom (0 to 7), the place in that row. */
export function tileOfNode(node: NodeId): {
  readonly tile: TileId;
  readonly row: number;
  readonly offset: number;
} {
  const row = node.level % TILE_HEIGHT;
  const perTile = rowLength(row);
  return {
    tile: {
      level: Math.floor(node.level / TILE_HEIGHT),
      index: Math.floor(node.index / perTile),
    },
    row,
    offset: node.index % perTile,
  };
}

/** First hash of each row in an expanded tile: 256 of row 0, 128 of row 1 … 2 of row 7. */
const ROW_STARTS = Array.from({ length: TILE_HEIGHT }, (_, row) => 512 - 512 / 2 ** row);
const EXPANDED_HASHES = 510;

function rowLength(row: number): number {
  return TILE_WIDTH / 2 ** row;
}

/** A full tile with all inner nodes of its seven upper rows: 16,320 bytes. */
export class ExpandedTile {
  readonly #hashes: Uint8Array;

  private constructor(hashes: Uint8Array) {
    this.#hashes = hashes;
  }

  /** Expands the 8,192 bytes of a full tile. */
  static of(bytes: Uint8Array): ExpandedTile {
    invariant(bytes.length === TILE_WIDTH * HASH_BYTES, 'a full tile has 8,192 bytes');
    const hashes = new Uint8Array(EXPANDED_HASHES * HASH_BYTES);
    hashes.set(bytes);
    const tile = new ExpandedTile(hashes);
    for (let row = 1; row < TILE_HEIGHT; row++) {
      for (let i = 0; i < rowLength(row); i++) {
        const parent = nodeHash(tile.node(row - 1, 2 * i), tile.node(row - 1, 2 * i + 1));
        hashes.set(parent, ((ROW_STARTS[row] ?? 0) + i) * HASH_BYTES);
      }
    }
    return tile;
  }

  /** From rows that are hashed already: 256, 128 … 2 hashes. */
  static fromRows(rows: readonly (readonly Hash[])[]): ExpandedTile {
    invariant(rows.length === TILE_HEIGHT, 'a full tile has 8 rows');
    const hashes = new Uint8Array(EXPANDED_HASHES * HASH_BYTES);
    let at = 0;
    for (const [i, row] of rows.entries()) {
      invariant(row.length === rowLength(i), 'each row of a full tile has half of the row below');
      for (const hash of row) {
        hashes.set(hash, at);
        at += HASH_BYTES;
      }
    }
    return new ExpandedTile(hashes);
  }

  /** The stored form: the bottom row. */
  get bytes(): Uint8Array {
    return this.#hashes.subarray(0, TILE_WIDTH * HASH_BYTES);
  }

  /** A view of one node: row 0 is the tile's bottom, row 7 has two nodes. */
  node(row: number, offset: number): Hash {
    const start = ROW_STARTS[row];
    // Without this a node past the end of its row would be the first of the row above.
    invariant(
      start !== undefined && Number.isInteger(offset) && offset >= 0 && offset < rowLength(row),
      'a full tile has the node that is asked for',
    );
    const at = (start + offset) * HASH_BYTES;
    return this.#hashes.subarray(at, at + HASH_BYTES) as Hash;
  }

  /** The node above: one hash of the next tile level. */
  root(): Hash {
    return nodeHash(this.node(TILE_HEIGHT - 1, 0), this.node(TILE_HEIGHT - 1, 1));
  }
}
