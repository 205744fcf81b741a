/**
 * The quantities of a log, branded so that one is not taken for another.
 *
 * Each is made only by a function here that checks it. Indexes and sizes are numbers up to 2^53 − 1;
 * tree code never uses bitwise operators on them, which would cut them to 32 bits.
 */
import { malformed } from './errors.ts';

declare const brand: unique symbol;

/** The zero-based position of a leaf. */
export type LeafIndex = number & { readonly [brand]: 'LeafIndex' };

/** A count of leaves. */
export type TreeSize = number & { readonly [brand]: 'TreeSize' };

/** 32 bytes: a SHA-256 hash. */
export type Hash = Uint8Array & { readonly [brand]: 'Hash' };

export const HASH_BYTES = 32;

/** Checks that `n` is a whole number from 0 to 2^53 − 1. */
export function leafIndex(n: number): LeafIndex {
  if (!Number.isSafeInteger(n) || n < 0) {
    throw malformed('leaf index', `${n} is not a whole number from 0 to 2^53 - 1`);
  }
  return n as LeafIndex;
}

/** Checks that `n` is a whole number from 0 to 2^53 − 1. */
export function treeSize(n: number): TreeSize {
  if (!Number.isSafeInteger(n) || n < 0) {
    throw malformed('tree size', `${n} is not a whole number from 0 to 2^53 - 1`);
  }
  return n as TreeSize;
}

/** Checks that `bytes` are 32. `what` names the place for the message. */
export function hash(bytes: Uint8Array, what = 'hash'): Hash {
  if (bytes.length !== HASH_BYTES) {
    throw malformed(what, `${bytes.length} bytes where a hash has ${HASH_BYTES}`);
  }
  return bytes as Hash;
}
