/**
 * Is this the digest of a head that the log had? A head's text follows from origin, size and root, so the digest of
 * every size can be made again from the leaf hashes: one walk over the tiles of level 0 answers for many.
 */
import { anchoredText } from './anchor.ts';
import { sha256, toHex } from './bytes.ts';
import { unverified } from './errors.ts';
import { tileWidth } from './tile.ts';
import { Tree } from './tree.ts';
import { HASH_BYTES, type Hash, type TreeSize } from './units.ts';

export interface WalkedLog {
  readonly origin: string;
  readonly size: TreeSize;
  /** A tile of level 0. What it rejects with ends the walk. */
  readonly tile: (index: number, width: number) => Promise<Uint8Array | undefined>;
}

/** The tree hashed so far, which is the whole of it unless every digest was found before. */
export async function strikeOut(wanted: Set<string>, log: WalkedLog): Promise<Tree> {
  const { origin, size } = log;
  let tree = Tree.empty();
  for (let index = 0; tree.size < size && wanted.size > 0; index++) {
    const width = tileWidth(0, index, size);
    const bytes = await log.tile(index, width);
    if (bytes?.length !== width * HASH_BYTES) {
      throw unverified(`tile 0/${index} of ${width} hashes`, 'it is missing or cut short');
    }
    for (let at = 0; at < width; at++) {
      const leaf = bytes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES) as Hash;
      tree = tree.append([leaf]).tree;
      wanted.delete(digestOfHead(origin, tree.size, tree.root()));
    }
  }
  return tree;
}

/** SHA-256 of a head's text, in hex. */
export function digestOfHead(origin: string, size: TreeSize, root: Hash): string {
  return toHex(sha256(anchoredText({ origin, size, root })));
}
