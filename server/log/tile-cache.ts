/**
 * Expanded tiles that are kept in memory: one bounded number for all logs of an instance, so that memory
 * does not grow with how many logs are open. The tile that was kept longest goes first; a log that is
 * closed leaves its tiles to that fate.
 */
import type { ExpandedTile } from '../core/tile.ts';

/** 64 MiB: a tile has 16 KiB. */
const TILES_MAX = 4_096;

export class TileCache {
  readonly #max: number;
  readonly #tiles = new Map<string, ExpandedTile>();
  #logs = 0;

  constructor(max = TILES_MAX) {
    this.#max = max;
  }

  /** What a log puts before its keys, so that no two logs, nor one that was opened twice, share a tile. */
  prefix(): string {
    this.#logs += 1;
    return `${this.#logs}/`;
  }

  get(key: string): ExpandedTile | undefined {
    return this.#tiles.get(key);
  }

  set(key: string, tile: ExpandedTile): void {
    this.#tiles.set(key, tile);
    for (const oldest of this.#tiles.keys()) {
      if (this.#tiles.size <= this.#max) break;
      this.#tiles.delete(oldest);
    }
  }
}
