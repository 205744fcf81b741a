/**
 * The primitives that the machine may do faster: SHA-256, the text encodings, the arithmetic of Ed25519 keys, and
 * ML-DSA-44, which no engine of `signature.ts` has.
 *
 * Core runs anywhere on noble's packages and plain JavaScript. A process that has something faster
 * installs it once, before anything is hashed (`server/native.ts` does). Whatever is installed must
 * give the same bytes; `usePrimitives` proves that on known answers, so a wrong replacement cannot
 * start.
 */
import { Point } from '@noble/ed25519';
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, hexToBytes } from '@noble/hashes/utils.js';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { invariant } from './errors.ts';

export interface Primitives {
  /** SHA-256 of `bytes`, in an allocation of its own. */
  sha256(bytes: Uint8Array): Uint8Array;
  /** Lower-case hex. */
  toHex(bytes: Uint8Array): string;
  /** Standard base64 with padding [RFC 4648 §4]. */
  toBase64(bytes: Uint8Array): string;
  /** Whether 32 bytes, canonical and not of small order, are a point of the curve that is torsion-free. */
  isEd25519Key(key: Uint8Array): boolean;
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

function isEd25519Key(key: Uint8Array): boolean {
  try {
    return Point.fromBytes(key, false).isTorsionFree();
  } catch {
    // Noble says by an exception that there is no such point.
    return false;
  }
}

/** Five times the base point; the same with a point of order 8 added to it; and no point at all. */
const ED25519_KNOWN = [
  ['edc876d6831fd2105d0b4389ca2e283166469289146e2ce06faefe98b22548df', true],
  ['d0424b701d60255de5df705071059ccd22b8349bb4138202ebbd65e9e0ad211b', false],
  ['0200000000000000000000000000000000000000000000000000000000000000', false],
] as const;

export const PORTABLE: Primitives = {
  sha256: (bytes) => nobleSha256(bytes),
  toHex: bytesToHex,
  toBase64,
  isEd25519Key,
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
  for (const [hex, isKey] of ED25519_KNOWN) {
    const same = faster.isEd25519Key(hexToBytes(hex)) === isKey;
    invariant(same, `installed primitives agree with the portable ones on the key ${hex}`);
  }
  current = faster;
}

/** What is installed now. */
export function primitives(): Primitives {
  return current;
}
