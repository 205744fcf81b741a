/**
 * Proofs: planned in whole numbers, computed from hashes, checked without a store.
 *
 * Every hash of a proof is the root of a run of leaves [begin, end). A plan lists the perfect nodes of
 * all these runs, so that a store is asked once; `prove` then folds each run's nodes from the right.
 *
 * Checking follows [RFC 9162 §2.1.3.2] and [RFC 9162 §2.1.4.2] step by step. The length of a proof is a
 * function of the sizes alone, and anything longer or shorter is refused.
 */
import { floorLog2, trailingZeros } from './bits.ts';
import { equalBytes } from './bytes.ts';
import { invariant, malformed, unverified } from './errors.ts';
import { compactRange, type NodeId, splitPoint } from './geometry.ts';
import { PROOF_HASHES_MAX } from './limits.ts';
import { EMPTY_ROOT, nodeHash } from './merkle.ts';
import { HASH_BYTES, type Hash, type LeafIndex, type TreeSize } from './units.ts';

/** Which nodes a proof takes, and how many of them make each of its hashes. */
export interface ProofPlan {
  readonly nodes: readonly NodeId[];
  readonly counts: readonly number[];
}

type Run = readonly [begin: number, end: number];

function planOf(runs: readonly Run[]): ProofPlan {
  const nodes: NodeId[] = [];
  const counts: number[] = [];
  for (const [begin, end] of runs) {
    const before = nodes.length;
    const level = end > begin ? floorLog2(end - begin) : 0;
    // Nearly all runs of an inclusion proof are one perfect node.
    if (end - begin === 2 ** level && begin % 2 ** level === 0) {
      nodes.push({ level, index: begin / 2 ** level });
    } else {
      for (const node of compactRange(begin, end)) nodes.push(node);
    }
    counts.push(nodes.length - before);
  }
  return { nodes, counts };
}

/** The inclusion proof of leaf `index` in the tree of `size` > index leaves [RFC 6962 §2.1.1]. */
export function planInclusion(index: LeafIndex, size: TreeSize): ProofPlan {
  if (index >= size)
    throw malformed('inclusion proof', `leaf ${index} is not in a tree of ${size}`);
  const runs: Run[] = [];
  for (let begin = 0, end: number = size; end - begin > 1; ) {
    const middle = begin + splitPoint(end - begin);
    if (index < middle) {
      runs.push([middle, end]);
      end = middle;
    } else {
      runs.push([begin, middle]);
      begin = middle;
    }
  }
  return planOf(runs.reverse());
}

/** The consistency proof between trees of 0 < from ≤ to leaves [RFC 6962 §2.1.2]. */
export function planConsistency(from: TreeSize, to: TreeSize): ProofPlan {
  if (from < 1 || from > to) {
    throw malformed('consistency proof', `sizes ${from} and ${to} where 0 < from ≤ to is needed`);
  }
  const runs: Run[] = [];
  let begin = 0;
  let end: number = to;
  while (from < end) {
    const middle = begin + splitPoint(end - begin);
    if (from <= middle) {
      runs.push([middle, end]);
      end = middle;
    } else {
      runs.push([begin, middle]);
      begin = middle;
    }
  }
  // The old tree itself is known to whoever checks; anything less of it must be named.
  if (begin > 0) runs.push([begin, end]);
  return planOf(runs.reverse());
}

/** The root of the first `size` leaves: a "proof" of one hash. */
export function planRoot(size: TreeSize): ProofPlan {
  return planOf([[0, size]]);
}

/** What runs of several nodes fold to, by their first leaf. */
export type Folds = Map<number, Hash>;

/**
 * The hashes of a planned proof, from the hashes of its nodes in the plan's order. Inclusion proofs of
 * one size may share `folds`: their runs of several nodes all end where the tree ends.
 */
export function prove(
  { nodes, counts }: ProofPlan,
  hashes: readonly Hash[],
  folds: Folds = new Map(),
): Hash[] {
  invariant(hashes.length === nodes.length, 'a plan is computed from the hash of each node');
  let at = 0;
  return counts.map((count) => {
    if (count === 0) return EMPTY_ROOT;
    at += count;
    if (count === 1) return hashes[at - 1] as Hash;
    const { level, index } = nodes[at - count] as NodeId;
    const begin = index * 2 ** level;
    let folded = folds.get(begin);
    if (folded === undefined) {
      folded = hashes[at - 1] as Hash;
      for (let i = at - 2; i >= at - count; i--) folded = nodeHash(hashes[i] as Hash, folded);
      folds.set(begin, folded);
    }
    return folded;
  });
}

export interface InclusionClaim {
  readonly index: LeafIndex;
  readonly size: TreeSize;
  readonly leafHash: Hash;
  readonly proof: readonly Hash[];
}

/** The root that a leaf and its proof lead to. Throws `unverified` if the proof cannot be one. */
export function rootFromInclusion({ index, size, leafHash, proof }: InclusionClaim): Hash {
  if (index >= size)
    throw unverified('inclusion proof', `leaf ${index} is not in a tree of ${size}`);
  checkHashes('inclusion proof', proof, leafHash);
  let fn: number = index;
  let sn: number = size - 1;
  let root = leafHash;
  for (const hash of proof) {
    if (sn === 0) throw unverified('inclusion proof', `${proof.length} hashes are too many`);
    if (fn % 2 === 1 || fn === sn) {
      root = nodeHash(hash, root);
      while (fn % 2 === 0 && fn !== 0) {
        fn = fn / 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      root = nodeHash(root, hash);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  if (sn !== 0) throw unverified('inclusion proof', `${proof.length} hashes are too few`);
  return root;
}

/** Throws `unverified` unless the leaf is at `index` in the tree of `size` with this root. */
export function checkInclusion(claim: InclusionClaim & { readonly root: Hash }): void {
  checkHashes('inclusion proof', [], claim.root);
  if (!equalBytes(rootFromInclusion(claim), claim.root)) {
    throw unverified(
      'inclusion proof',
      `leaf ${claim.index} does not lead to the root of size ${claim.size}`,
    );
  }
}

const CONSISTENCY = 'consistency proof';

export interface ConsistencyClaim {
  readonly from: TreeSize;
  readonly to: TreeSize;
  readonly fromRoot: Hash;
  readonly toRoot: Hash;
  readonly proof: readonly Hash[];
}

/** Throws `unverified` unless the tree of `to` leaves continues the one of `from`, 0 < from ≤ to. */
export function checkConsistency(claim: ConsistencyClaim): void {
  const { from, to, fromRoot, toRoot } = claim;
  checkHashes(CONSISTENCY, [], toRoot);
  const roots = rootsFromConsistency(claim);
  if (from === to && !equalBytes(fromRoot, toRoot)) {
    throw unverified(CONSISTENCY, `two roots of size ${from}`);
  }
  if (!equalBytes(roots.from, fromRoot)) {
    throw unverified(CONSISTENCY, `it does not lead to the root of ${from}`);
  }
  if (!equalBytes(roots.to, toRoot)) {
    throw unverified(CONSISTENCY, `it does not lead to the root of ${to}`);
  }
}

/**
 * The roots that a consistency proof leads to. Where one is the root of the larger tree, the other is what
 * the first `from` leaves of that tree have as theirs, whatever somebody said of them: two heads that
 * contradict each other are shown by it. Where `from` is a power of two the proof does not have that root,
 * and `fromRoot` is part of what leads to the other. Throws `unverified` if the proof cannot be one.
 */
export function rootsFromConsistency({
  from,
  to,
  fromRoot,
  proof,
}: Omit<ConsistencyClaim, 'toRoot'>): { readonly from: Hash; readonly to: Hash } {
  const what = CONSISTENCY;
  if (from < 1 || from > to)
    throw unverified(what, `sizes ${from} and ${to} are not 0 < from ≤ to`);
  checkHashes(what, proof, fromRoot);
  if (from === to) {
    if (proof.length > 0) throw unverified(what, `${proof.length} hashes between equal sizes`);
    return { from: fromRoot, to: fromRoot };
  }
  const power = 2 ** trailingZeros(from) === from;
  const [first, ...rest] = power ? [fromRoot, ...proof] : proof;
  if (first === undefined || proof.length === 0) throw unverified(what, 'it is empty');
  let fn: number = from - 1;
  let sn: number = to - 1;
  while (fn % 2 === 1) {
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  let fr = first;
  let sr = first;
  for (const hash of rest) {
    if (sn === 0) throw unverified(what, `${proof.length} hashes are too many`);
    if (fn % 2 === 1 || fn === sn) {
      fr = nodeHash(hash, fr);
      sr = nodeHash(hash, sr);
      while (fn % 2 === 0 && fn !== 0) {
        fn = fn / 2;
        sn = Math.floor(sn / 2);
      }
    } else {
      sr = nodeHash(sr, hash);
    }
    fn = Math.floor(fn / 2);
    sn = Math.floor(sn / 2);
  }
  if (sn !== 0) throw unverified(what, `${proof.length} hashes are too few`);
  return { from: fr, to: sr };
}

/**
 * A public test vector passes the bare algorithm with two empty strings: lengths come first. How many
 * hashes a proof may have exactly comes out of the algorithm; the bound keeps a stranger's list short.
 */
function checkHashes(what: string, proof: readonly Hash[], ...others: readonly Hash[]): void {
  if (proof.length > PROOF_HASHES_MAX) {
    throw unverified(
      what,
      `${proof.length} hashes are too many: ${PROOF_HASHES_MAX} is the most of any proof`,
    );
  }
  for (const { length } of [...others, ...proof]) {
    if (length === HASH_BYTES) continue;
    throw unverified(what, `a hash of ${length} bytes where ${HASH_BYTES} are needed`);
  }
}
