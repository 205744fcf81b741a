/**
 * Reading a log for an audit from its store: the files, with or without a server beside them.
 */
import { utf8 } from '../../core/bytes.ts';
import { hasCode, SteleError, unverified } from '../../core/errors.ts';
import { TILE_WIDTH } from '../../core/limits.ts';
import { type LeafIndex, leafIndex, type TreeSize, treeSize } from '../../core/units.ts';
import type { LogStore } from '../../storage/store.ts';
import type { AuditReader, TileWanted } from './reader.ts';

/** Entries read at once: a multiple of a tile, and at most some 64 MiB. */
const PIECE = 1_024;

/** Heads that are kept for good and held to the entries, from the newest. */
const KEPT_HEADS = 1_000;

export class StoreReader implements AuditReader {
  readonly hasPartialTiles = false;
  readonly #store: LogStore;

  constructor(store: LogStore) {
    this.#store = store;
  }

  async checkpoint(): Promise<Uint8Array> {
    const head = await this.#store.readHead();
    if (head === undefined) throw unverified('head', 'there is none: the log is empty');
    return utf8(head.checkpoint);
  }

  async otherHeads(): Promise<readonly Uint8Array[]> {
    const published = await this.#store.readPublished();
    const kept = await this.#store.readKept(Number.MAX_SAFE_INTEGER, KEPT_HEADS);
    const heads = published === undefined ? kept : [published, ...kept];
    return heads.map(({ checkpoint }) => utf8(checkpoint));
  }

  async *entries(begin: LeafIndex, end: TreeSize): AsyncGenerator<readonly Uint8Array[]> {
    for (let at: number = begin; at < end; at += PIECE) {
      yield* this.#piece(leafIndex(at), treeSize(Math.min(end, at + PIECE)));
    }
  }

  async tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]> {
    try {
      return await this.#store.readTiles(wanted);
    } catch (error) {
      // One is missing: which one is found by asking for each.
      if (!hasCode(error, 'storage')) throw error;
    }
    return await Promise.all(wanted.map((tile) => this.#tile(tile)));
  }

  async control(): Promise<readonly LeafIndex[]> {
    return await this.#store.readControl();
  }

  async #tile({ level, index, width }: TileWanted): Promise<Uint8Array | undefined> {
    if (width < TILE_WIDTH) return undefined;
    try {
      const [bytes] = await this.#store.readTiles([{ level, index }]);
      return bytes;
    } catch (error) {
      if (hasCode(error, 'storage')) return undefined;
      throw error;
    }
  }

  /**
   * The entries of a piece. A row that is damaged or missing is what an audit is there to find, and not
   * a failed read: what comes before it is still given, so that the first bad entry has a name.
   */
  async *#piece(begin: LeafIndex, end: TreeSize): AsyncGenerator<readonly Uint8Array[]> {
    let failure: SteleError;
    try {
      yield await this.#store.readEntries(begin, end);
      return;
    } catch (error) {
      if (!hasCode(error, 'storage')) throw error;
      failure = error;
    }
    if (end - begin === 1) {
      throw new SteleError('unverified', failure.message, { cause: failure });
    }
    const middle = begin + Math.floor((end - begin) / 2);
    yield* this.#piece(begin, treeSize(middle));
    yield* this.#piece(leafIndex(middle), end);
  }
}
