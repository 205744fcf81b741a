/**
 * The two hashes of a Merkle tree [RFC 6962 §2.1].
 *
 * A leaf and a node hash begin with different bytes, so that no leaf can pass for a node. Nothing here
 * knows about positions: see `geometry.ts` for which nodes there are.
 */
import { sha256 } from './bytes.ts';
import { ENTRY_BYTES_MAX } from './limits.ts';
import type { Hash } from './units.ts';

const LEAF_PREFIX = 0x00;
const NODE_PREFIX = 0x01;

/** The root of the empty tree: SHA-256 of nothing. Not the hash of an empty leaf. */
export const EMPTY_ROOT: Hash = sha256(new Uint8Array(0));

/**
 * Room for what is hashed as a leaf, an entry or a statement with its type: allocating a kilobyte costs
 * as much as hashing it. Hashing is synchronous and nobody else sees it.
 */
const leaf = new Uint8Array(1 + ENTRY_BYTES_MAX + 512).fill(LEAF_PREFIX, 0, 1);

/** SHA-256(0x00 ‖ entry). */
export function leafHash(entry: Uint8Array): Hash {
  const length = entry.length + 1;
  const bytes = length <= leaf.length ? leaf.subarray(0, length) : new Uint8Array(length);
  bytes.set(entry, 1);
  return sha256(bytes);
}

/** One allocation for all nodes: hashing is synchronous and nobody else sees it. */
const pair = new Uint8Array(65).fill(NODE_PREFIX, 0, 1);

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Hash, right: Hash): Hash {
  pair.set(left, 1);
  pair.set(right, 33);
  return sha256(pair);
}
