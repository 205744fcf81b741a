/**
 * Nodes of another log's tree, from its tiles [C2SP tlog-tiles].
 *
 * Which tiles there are follows from the size of a checkpoint. A partial tile may be gone once the full one
 * is there, so that one is asked for instead. Nothing here is verified: a hash is worth something when it
 * leads to a signed root.
 */
import { malformed } from '../core/errors.ts';
import type { NodeId } from '../core/geometry.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import { nodeHash } from '../core/merkle.ts';
import { formatTilePath, tileOfNode, tileWidth } from '../core/tile.ts';
import { HASH_BYTES, type Hash, hash, type TreeSize } from '../core/units.ts';
import type { Outbound } from '../outbound.ts';
import { askRekor, notRead } from './rekor-http.ts';
import { TargetError } from './target.ts';

export class RekorTiles {
  readonly #outbound: Outbound;
  readonly #url: string;
  readonly #size: TreeSize;
  readonly #signal: AbortSignal;
  readonly #tiles = new Map<string, Promise<Uint8Array>>();

  /** `url` is what the paths of tiles follow. */
  constructor(outbound: Outbound, url: string, size: TreeSize, signal: AbortSignal) {
    this.#outbound = outbound;
    this.#url = url;
    this.#size = size;
    this.#signal = signal;
  }

  /** The hashes of perfect nodes of the tree, in the order asked: each tile is fetched once, one by one. */
  async hashes(nodes: readonly NodeId[]): Promise<Hash[]> {
    const hashes: Hash[] = [];
    for (const node of nodes) {
      const { tile, row, offset } = tileOfNode(node);
      const bytes = await this.#tile(tile.level, tile.index);
      const first = offset * 2 ** row;
      hashes.push(fold(bytes, first, first + 2 ** row));
    }
    return hashes;
  }

  #tile(level: number, index: number): Promise<Uint8Array> {
    const name = `${level}/${index}`;
    const fetched = this.#tiles.get(name) ?? this.#fetch(level, index);
    this.#tiles.set(name, fetched);
    return fetched;
  }

  async #fetch(level: number, index: number): Promise<Uint8Array> {
    const width = tileWidth(level, index, this.#size);
    for (const asked of width === TILE_WIDTH ? [width] : [width, TILE_WIDTH]) {
      const path = formatTilePath({ kind: 'hashes', level, index, width: asked });
      const url = `${this.#url}/${path}`;
      const maxBytes = asked * HASH_BYTES;
      const answered = await askRekor(this.#outbound, url, { maxBytes }, this.#signal);
      if (answered.status === 404 && asked !== TILE_WIDTH) continue;
      if (answered.status !== 200) throw notRead(url, answered);
      if (answered.bytes.length !== maxBytes) {
        throw malformed(path, `${answered.bytes.length} bytes where ${maxBytes} are needed`);
      }
      return answered.bytes;
    }
    throw new TargetError(
      'retry',
      `tile ${level}/${index} of ${this.#url} is neither partial nor full`,
    );
  }
}

/** The node over the hashes [begin, end) of a tile, a power of two of them. */
function fold(bytes: Uint8Array, begin: number, end: number): Hash {
  if (end - begin === 1) {
    return hash(bytes.subarray(begin * HASH_BYTES, end * HASH_BYTES), 'tile');
  }
  const middle = (begin + end) / 2;
  return nodeHash(fold(bytes, begin, middle), fold(bytes, middle, end));
}
