/**
 * Which Ed25519 signatures are good?
 *
 * Implementations do not agree by themselves: on the edge cases of [CCTV] noble accepts what OpenSSL
 * refuses, and one OpenSSL accepts what the next refuses. A log that asked its library could admit an
 * entry that its own verifier, or its own next version, refuses (P5). So the rule is written out here:
 *
 *     A   canonical, on the curve, not of small order, torsion-free       once, when a key is parsed
 *     R   canonical, on the curve, not of small order
 *     S   below L
 *         S·B == R + k·A  with k = SHA-512(R ‖ A ‖ M) mod L               the cofactorless equation
 *
 * Noble does the arithmetic and not the judging: its `verify` solves the cofactored equation. Native
 * engines solve the cofactorless one and differ in what they refuse before it, so they are only asked
 * after `precheckEd25519`, and only about keys that `checkEd25519Key` passed.
 *
 * [RFC 8032 §5.1.7] verification. [FIPS 186-5 §7.6.4] the range of S.
 */
import { Point } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { concat, parseHex, toHex } from './bytes.ts';
import { malformed, unverified } from './errors.ts';
import { primitives } from './primitives.ts';

export const ED25519_KEY_BYTES = 32;
export const ED25519_SIGNATURE_BYTES = 64;

/** The order of the base point. */
const L = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;

/** L and the field's prime p = 2^255 − 19 as they would be encoded: 32 bytes, the lowest first. */
const L_BYTES = parseHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'L');
const P_BYTES = parseHex('edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', 'p');

/**
 * The y coordinates, below p, of the eight points of small order. One point has y = 1 (the identity),
 * one −1; two have y = 0; four have order 8 and share two values. Whatever the sign bit says, an
 * encoding with one of these is of small order or not canonical.
 */
const SMALL_ORDER_Y = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map((hex) => parseHex(hex, 'small-order y'));

/** Checks the whole rule for a public key; throws `malformed` with the reason. */
export function checkEd25519Key(key: Uint8Array): void {
  const what = 'ed25519 key';
  if (key.length !== ED25519_KEY_BYTES) {
    throw malformed(what, `${key.length} bytes where a key has ${ED25519_KEY_BYTES}`);
  }
  const flaw = encodingFlaw(key);
  if (flaw !== undefined) throw malformed(what, `${flaw} (${toHex(key)})`);
  if (primitives().isEd25519Key(key)) return;
  // Why it is none is for the portable code to say.
  const point = pointOf(key);
  if (point === undefined) throw malformed(what, `not a point of the curve (${toHex(key)})`);
  // A key with a small-order component makes the two equations disagree on the same signature.
  if (!point.isTorsionFree()) throw malformed(what, `not torsion-free (${toHex(key)})`);
}

/**
 * Checks what can be seen of a signature without the message: its length, S < L, and that R is
 * canonical and not of small order. Cheap; every engine runs it first.
 */
export function precheckEd25519(signature: Uint8Array): void {
  const what = 'ed25519 signature';
  if (signature.length !== ED25519_SIGNATURE_BYTES) {
    throw unverified(
      what,
      `${signature.length} bytes where a signature has ${ED25519_SIGNATURE_BYTES}`,
    );
  }
  if (!isBelow(signature, 32, L_BYTES, 0xff)) {
    throw unverified(what, 'S is not below the group order');
  }
  const flaw = encodingFlaw(signature);
  if (flaw !== undefined) throw unverified(what, `R is ${flaw}`);
}

/** Checks a signature by a key that `checkEd25519Key` passed; throws `unverified`. */
export function checkEd25519(key: Uint8Array, message: Uint8Array, signature: Uint8Array): void {
  precheckEd25519(signature);
  const r = signature.subarray(0, 32);
  const pointA = pointOf(key);
  const pointR = pointOf(r);
  if (pointA === undefined || pointR === undefined) {
    throw unverified('ed25519 signature', 'R is not a point of the curve');
  }
  const k = littleEndian(sha512(concat(r, key, message))) % L;
  const s = littleEndian(signature.subarray(32));
  const left = s === 0n ? Point.ZERO : Point.BASE.multiply(s);
  if (!left.equals(pointR.add(pointA.multiplyUnsafe(k)))) {
    throw unverified('ed25519 signature', 'does not fit the message and key');
  }
}

/** What is wrong with the first 32 bytes as the encoding of a point of large order, if anything. */
function encodingFlaw(bytes: Uint8Array): string | undefined {
  // The top bit is the sign of x; the 255 below it are y, which has to be a field element.
  if (!isBelow(bytes, 0, P_BYTES, 0x7f)) return 'not canonical: y is not below 2^255 - 19';
  for (const y of SMALL_ORDER_Y) if (hasY(bytes, y)) return 'of small order';
  return undefined;
}

function hasY(bytes: Uint8Array, y: Uint8Array): boolean {
  for (let i = 0; i < 31; i++) if (bytes[i] !== y[i]) return false;
  return ((bytes[31] ?? 0) & 0x7f) === y[31];
}

/** Whether 32 bytes from `at`, lowest first and the top one masked, are a number below `bound`. */
function isBelow(bytes: Uint8Array, at: number, bound: Uint8Array, topMask: number): boolean {
  for (let i = 31; i >= 0; i--) {
    const byte = (bytes[at + i] ?? 0) & (i === 31 ? topMask : 0xff);
    const limit = bound[i] ?? 0;
    if (byte !== limit) return byte < limit;
  }
  return false;
}

/** The point that 32 bytes encode, or nothing if they encode none [RFC 8032 §5.1.3]. */
function pointOf(bytes: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(bytes, false);
  } catch {
    // Noble says by an exception that there is no such point; the callers name the value.
    return undefined;
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  let n = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) n = (n << 8n) | BigInt(bytes[i] ?? 0);
  return n;
}
