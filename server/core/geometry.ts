/**
 * Tree geometry: which nodes exist and which leaves they cover, in whole numbers.
 *
 * Nothing here hashes and nothing here reads. This file answers "which nodes?", so that `proof.ts` can
 * say what to do with their hashes and `tile.ts` where they lie.
 *
 * A node (l, i) covers leaves [i·2^l, (i+1)·2^l). Once all of those exist it is *perfect* and never
 * changes; only perfect nodes are stored. The *compact range* of leaves [a, b) is the shortest list of
 * perfect nodes that covers exactly those leaves.
 *
 *     level 2      ┌───0───┐       ┌───1───┐
 *     level 1    ┌─0─┐   ┌─1─┐   ┌─2─┐   ┌─3─┐       13 leaves are (3,0) (2,2) (0,12)
 *     level 0    0   1   2   3   4   5   6   7  …
 *
 * [RFC 6962 §2.1] Merkle Tree Hash.
 */
import { floorLog2, trailingZeros } from './bits.ts';

/** A perfect node. */
export interface NodeId {
  /** 0 for leaves. */
  readonly level: number;
  readonly index: number;
}

/** The compact range of leaves [begin, end), left to right: at most two nodes per level. */
export function* compactRange(begin: number, end: number): Generator<NodeId> {
  for (let at = begin; at < end; ) {
    // The widest node that starts at `at` and does not run past `end`.
    const level = Math.min(trailingZeros(at), floorLog2(end - at));
    yield { level, index: at / 2 ** level };
    at += 2 ** level;
  }
}

/** Where a tree of `size` > 1 leaves splits: the largest power of two below it [RFC 6962 §2.1]. */
export function splitPoint(size: number): number {
  const k = 2 ** floorLog2(size);
  return k === size ? k / 2 : k;
}
