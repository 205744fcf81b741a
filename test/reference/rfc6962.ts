/**
 * What do RFC 6962 and RFC 9162 say, word for word?
 *
 * The definitions of [RFC 6962 §2.1] and the two verification algorithms of [RFC 9162 §2.1.3.2] and
 * [RFC 9162 §2.1.4.2], transcribed with their own names, on big integers and slices of lists. Slow, and
 * shares nothing with the code under test but SHA-256 itself.
 */
import { createHash } from 'node:crypto';

export type Bytes = Uint8Array;

function SHA256(...parts: readonly Bytes[]): Bytes {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest());
}

export function leaf(d: Bytes): Bytes {
  return SHA256(Uint8Array.of(0x00), d);
}

export function node(left: Bytes, right: Bytes): Bytes {
  return SHA256(Uint8Array.of(0x01), left, right);
}

/** k, the largest power of two smaller than n. */
function powerBelow(n: bigint): bigint {
  let k = 1n;
  while (k * 2n < n) k *= 2n;
  return k;
}

/**
 * D[k1:k2], by its own MTH. A list of data is one; so is a tree that is too large to hold, as long as it
 * can tell the hash of any part.
 */
export interface Data {
  readonly n: bigint;
  slice(k1: bigint, k2: bigint): Data;
  MTH(): Bytes;
}

/** MTH, from one that knows the hash of one leaf [RFC 6962 §2.1]. */
export function MTH(D: Data, leafOf: (only: Data) => Bytes): Bytes {
  if (D.n === 0n) return SHA256();
  if (D.n === 1n) return leafOf(D);
  const k = powerBelow(D.n);
  return node(D.slice(0n, k).MTH(), D.slice(k, D.n).MTH());
}

/** A list of data. Hashes of parts are remembered: the same parts are asked for again and again. */
export function listData(entries: readonly Bytes[]): Data {
  const known = new Map<string, Bytes>();
  const part = (begin: bigint, end: bigint): Data => ({
    n: end - begin,
    slice: (k1, k2) => part(begin + k1, begin + k2),
    MTH() {
      const name = `${begin}:${end}`;
      const hash =
        known.get(name) ?? MTH(part(begin, end), () => leaf(entries[Number(begin)] as Bytes));
      known.set(name, hash);
      return hash;
    },
  });
  return part(0n, BigInt(entries.length));
}

/**
 * A tree of any size whose leaves are all the same, but for a few. The hash of a perfect part without one
 * of those depends on nothing but its size, so no more than a path to each is ever hashed.
 */
export function hugeData(n: bigint, same: Bytes, others: ReadonlyMap<bigint, Bytes>): Data {
  const uniform: Bytes[] = [leaf(same)];
  for (let level = 1; level <= 64; level++) {
    const below = uniform[level - 1] as Bytes;
    uniform.push(node(below, below));
  }
  const part = (begin: bigint, end: bigint): Data => ({
    n: end - begin,
    slice: (k1, k2) => part(begin + k1, begin + k2),
    MTH() {
      const size = end - begin;
      const special = [...others.keys()].some((i) => begin <= i && i < end);
      const level = size.toString(2).length - 1;
      if (!special && size === 1n << BigInt(level)) return uniform[level] as Bytes;
      return MTH(part(begin, end), () => leaf(others.get(begin) ?? same));
    },
  });
  return part(0n, n);
}

/** PATH(m, D[n]) [RFC 6962 §2.1.1]. */
export function PATH(m: bigint, D: Data): Bytes[] {
  if (D.n === 1n) return [];
  const k = powerBelow(D.n);
  return m < k
    ? [...PATH(m, D.slice(0n, k)), D.slice(k, D.n).MTH()]
    : [...PATH(m - k, D.slice(k, D.n)), D.slice(0n, k).MTH()];
}

/** PROOF(m, D[n]), 0 < m ≤ n [RFC 6962 §2.1.2]. */
export function PROOF(m: bigint, D: Data): Bytes[] {
  return SUBPROOF(m, D, true);
}

function SUBPROOF(m: bigint, D: Data, b: boolean): Bytes[] {
  if (m === D.n) return b ? [] : [D.MTH()];
  const k = powerBelow(D.n);
  return m <= k
    ? [...SUBPROOF(m, D.slice(0n, k), b), D.slice(k, D.n).MTH()]
    : [...SUBPROOF(m - k, D.slice(k, D.n), false), D.slice(0n, k).MTH()];
}

function isSame(a: Bytes, b: Bytes): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Verifying an inclusion proof [RFC 9162 §2.1.3.2], its steps numbered as there. */
export function holdsInclusion(
  leaf_index: bigint,
  tree_size: bigint,
  hash: Bytes,
  inclusion_path: readonly Bytes[],
  root_hash: Bytes,
): boolean {
  if (leaf_index >= tree_size) return false; // 1
  let fn = leaf_index; // 2
  let sn = tree_size - 1n;
  let r = hash; // 3
  for (const p of inclusion_path) {
    if (sn === 0n) return false; // 4.1
    if ((fn & 1n) === 1n || fn === sn) {
      r = node(p, r); // 4.2
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      r = node(r, p);
    }
    fn >>= 1n; // 4.3
    sn >>= 1n;
  }
  return sn === 0n && isSame(r, root_hash); // 5
}

/** Verifying consistency between two tree heads [RFC 9162 §2.1.4.2], its steps numbered as there. */
export function holdsConsistency(
  first: bigint,
  second: bigint,
  first_hash: Bytes,
  second_hash: Bytes,
  consistency_path: readonly Bytes[],
): boolean {
  // The section is for 0 < first < second; equal trees have an empty proof and equal roots.
  if (first < 1n || first > second) return false;
  if (first === second) return consistency_path.length === 0 && isSame(first_hash, second_hash);
  if (consistency_path.length === 0) return false; // 1
  const isPower = (first & (first - 1n)) === 0n;
  const path = isPower ? [first_hash, ...consistency_path] : consistency_path; // 2
  let fn = first - 1n; // 3
  let sn = second - 1n;
  while ((fn & 1n) === 1n) {
    fn >>= 1n; // 4
    sn >>= 1n;
  }
  let fr = path[0] as Bytes; // 5
  let sr = fr;
  for (const c of path.slice(1)) {
    if (sn === 0n) return false; // 6.1
    if ((fn & 1n) === 1n || fn === sn) {
      fr = node(c, fr); // 6.2
      sr = node(c, sr);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = node(sr, c);
    }
    fn >>= 1n; // 6.3
    sn >>= 1n;
  }
  return isSame(fr, first_hash) && isSame(sr, second_hash) && sn === 0n; // 7
}
