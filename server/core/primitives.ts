/**
 * The primitives that the machine may do faster: SHA-256, the text encodings, and ML-DSA-44, which no engine of
 * `signature.ts` has.
 *
 * Core runs anywhere on noble's packages and plain JavaScript. A process that has something faster
 * installs it once, before anything is hashed (`server/native.ts` does). Whatever is installed must
 * give the same bytes; `usePrimitives` proves that on known answers, so a wrong replacement cannot
 * start.
 */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { invariant } from './errors.ts';

export interface Primitives {
  /** SHA-256 of `bytes`, in an allocation of its own. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** Lower-case hex. */
  toHex(bytes: Uint8Array): string;
  /** Standard base64 with padding [RFC 4648 §4]. */
  toBase64(bytes: Uint8Array): string;
  /** Whether a signature of 2,420 bytes holds: pure mode, empty context [FIPS 204 §5.3]. */
  verifyMldsa44(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function toBase64(bytes: Uint8Array): string {
  let text = '';
  let at = 0;
  for (; at + 2 < bytes.length; at += 3) {
    const word = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text +=
      ALPHABET.charAt(word >> 18) +
      ALPHABET.charAt((word >> 12) & 63) +
      ALPHABET.charAt((word >> 6) & 63) +
      ALPHABET.charAt(word & 63);
  }
  const rest = bytes.length - at;
  if (rest === 0) return text;
  const word = ((bytes[at] ?? 0) << 16) | ((bytes[at + 1] ?? 0) << 8);
  return (
    text +
    ALPHABET.charAt(word >> 18) +
    ALPHABET.charAt((word >> 12) & 63) +
    (rest === 2 ? ALPHABET.charAt((word >> 6) & 63) : '=') +
    '='
  );
}

export const PORTABLE: Primitives = {
  sha256: (bytes) => nobleSha256(bytes),
  toHex: bytesToHex,
  toBase64,
  verifyMldsa44: (signature, message, key) => ml_dsa44.verify(signature, message, key),
};

let current: Primitives = PORTABLE;

/**
 * Installs faster primitives for this process. Whoever has one for ML-DSA-44 proves it when it is first used: a
 * known answer costs more there than most processes ever need.
 */
export function usePrimitives(faster: Primitives): void {
  for (const length of [0, 1, 2, 3, 31, 32, 33, 55, 56, 63, 64, 65, 127, 128, 1000]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 151 + length) % 256);
    const same =
      bytesToHex(faster.sha256(bytes)) === bytesToHex(PORTABLE.sha256(bytes)) &&
      faster.toHex(bytes) === PORTABLE.toHex(bytes) &&
      faster.toBase64(bytes) === PORTABLE.toBase64(bytes);
    invariant(same, `installed primitives agree with the portable ones on ${length} bytes`);
  }
  current = faster;
}

/** What is installed now. */
export function primitives(): Primitives {
  return current;
}
