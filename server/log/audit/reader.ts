/**
 * What an audit reads: a log's newest head, its entries in order, its tiles. Whether from files or over
 * HTTP, none of it is believed.
 */
import type { Hash, LeafIndex, TreeSize } from '../../core/units.ts';

export interface TileWanted {
  readonly level: number;
  readonly index: number;
  /** Hashes in it; 256 is all. */
  readonly width: number;
}

/** The tiles of a log. */
export interface TileReader {
  /** Stored tiles, in the order asked; nothing for one that is missing. */
  tiles(wanted: readonly TileWanted[]): Promise<readonly (Uint8Array | undefined)[]>;
  /** Whether partial tiles are stored, so that they can be compared. */
  readonly hasPartialTiles: boolean;
}

export interface AuditReader extends TileReader {
  /** The head to audit, as a signed note. */
  checkpoint(): Promise<Uint8Array>;
  /** Other heads that the log keeps; each must fit the same tree. */
  otherHeads(): Promise<readonly Uint8Array[]>;
  /**
   * The entries [begin, end) in order, in pieces of any length. Throws `unverified` where the stored
   * bytes are damaged, with the place; anything else means that they could not be read.
   */
  entries(begin: LeafIndex, end: TreeSize): AsyncIterable<readonly Uint8Array[]>;
  /** Which entries the log itself takes for control records, where it keeps such a list. */
  control(): Promise<readonly LeafIndex[] | undefined>;
}

/** A head that is known from elsewhere: the log must still have it. */
export interface KnownHead {
  /** Where it comes from, for the report. */
  readonly from: string;
  readonly size: TreeSize;
  readonly root: Hash;
}
