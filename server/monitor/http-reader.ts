/**
 * Reading a log for an audit or a monitor over HTTP: the checkpoint, bundles of entries and tiles, as any C2SP
 * client reads them. A few requests are under way at once, so that the network is not waited for one
 * by one; what comes back is bounded by the client.
 */
import type { LogClient } from '../client/client.ts';
import { retrying } from '../client/retrying.ts';
import { decodeBundle } from '../core/bundle.ts';
import { utf8 } from '../core/bytes.ts';
import { hasCode, unverified } from '../core/errors.ts';
import { TILE_WIDTH } from '../core/limits.ts';
import type { TilePath } from '../core/tile.ts';
import { HASH_BYTES, type LeafIndex, type TreeSize } from '../core/units.ts';
import type { AuditReader, TileWanted } from '../log/audit/reader.ts';

/** Requests under way: each answer is at most 16 MiB, and usually a quarter of one. */
const AHEAD = 4;

export interface Patience {
  /** A request that fails in a way that may pass is made so often. */
  readonly attempts: number;
  /** Seconds that a server may ask to be waited for. */
  readonly maxAskedS?: number;
}

export class HttpReader implements AuditReader {
  readonly hasPartialTiles = true;
  readonly #client: LogClient;
  readonly #signal: AbortSignal;
  readonly #patience: Patience;

  constructor(client: LogClient, signal: AbortSignal, patience: Patience = { attempts: 5 }) {
    this.#client = client;
    this.#signal = signal;
    this.#patience = patience;
  }

  /** The newest signed head: the published one may be a second behind what was answered. */
  async checkpoint(): Promise<Uint8Array> {
    const { checkpoint } = await this.#try(() => this.#client.head());
    return checkpoint === undefined ? this.#published() : utf8(checkpoint);
  }

  async otherHeads(): Promise<readonly Uint8Array[]> {
    return [await this.#published()];
  }

  async *entries(begin: LeafIndex, end: TreeSize): AsyncGenerator<readonly Uint8Array[]> {
    const last = Math.ceil(end / TILE_WIDTH);
    const ahead: Promise<readonly Uint8Array[]>[] = [];
    let next = Math.floor(begin / TILE_WIDTH);
    for (let at = next; at < last; at++) {
      for (; next < Math.min(last, at + AHEAD); next++) {
        const bundle = this.#bundle(next, end);
        // Whoever waits for it gets the reason; one that nobody waits for any more is let go.
        bundle.catch(() => undefined);
        ahead.push(bundle);
      }
      const entries = await ahead.shift();
      yield (entries ?? []).slice(Math.max(0, begin - at * TILE_WIDTH));
    }
  }

  async tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]> {
    const tiles: (Uint8Array | undefined)[] = [];
    for (let at = 0; at < wanted.length; at += AHEAD) {
      const part = wanted.slice(at, at + AHEAD);
      tiles.push(...(await Promise.all(part.map((tile) => this.#tile(tile)))));
    }
    return tiles;
  }

  async control(): Promise<undefined> {}

  #published(): Promise<Uint8Array> {
    return this.#try(() => this.#client.checkpoint());
  }

  async #bundle(index: number, end: TreeSize): Promise<readonly Uint8Array[]> {
    const width = Math.min(TILE_WIDTH, end - index * TILE_WIDTH);
    const path = { kind: 'entries', level: 0, index, width } as const;
    const { bytes, isWider } = await this.#wideEnough(path);
    const first = index * TILE_WIDTH;
    try {
      const entries = decodeBundle(bytes);
      if (isWider && entries.length > width) return entries.slice(0, width);
      if (entries.length === width) return entries;
      throw unverified(`bundle ${index}`, `${entries.length} entries where it has ${width}`);
    } catch (error) {
      // A damaged bundle is a finding, and not a failed read.
      if (!hasCode(error, 'malformed')) throw error;
      const place = `entries ${first} to ${first + width - 1}`;
      throw unverified(place, error.message, { cause: error });
    }
  }

  async #tile({ level, index, width }: TileWanted): Promise<Uint8Array | undefined> {
    try {
      const path = { kind: 'hashes', level, index, width } as const;
      const { bytes, isWider } = await this.#wideEnough(path);
      return isWider ? bytes.subarray(0, width * HASH_BYTES) : bytes;
    } catch (error) {
      if (hasCode(error, 'not_found')) return undefined;
      throw error;
    }
  }

  /** SPEC: a log may take partial tiles away once the full one is there, so that one is asked for then. */
  async #wideEnough(path: TilePath): Promise<{ bytes: Uint8Array; isWider: boolean }> {
    try {
      return { bytes: await this.#try(() => this.#client.tile(path)), isWider: false };
    } catch (error) {
      if (path.width === TILE_WIDTH || !hasCode(error, 'not_found')) throw error;
      const full = { ...path, width: TILE_WIDTH };
      return { bytes: await this.#try(() => this.#client.tile(full)), isWider: true };
    }
  }

  #try<T>(work: () => Promise<T>): Promise<T> {
    return retrying(work, { ...this.#patience, signal: this.#signal });
  }
}
