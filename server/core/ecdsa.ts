/**
 * Which ECDSA signatures are good, and which points are keys?
 *
 * A signature is DER, in its one spelling: SEQUENCE of two INTEGERs, each positive, minimal and below
 * the group order, and nothing after it. Either s is accepted, since honest signers (OpenSSL, WebCrypto,
 * key services) make both; that is why a signature never identifies anything here. P-256 goes with
 * SHA-256 and P-384 with SHA-384.
 *
 * [RFC 3279 §2.2.3] Ecdsa-Sig-Value. [SEC 1 §4.1.4] verification.
 */
import { p256, p384 } from '@noble/curves/nist.js';
import { concat, toHex } from './bytes.ts';
import { malformed, unverified } from './errors.ts';

export type EcdsaAlgorithm = 'ecdsa-p256' | 'ecdsa-p384';

const CURVES = {
  'ecdsa-p256': { curve: p256, width: 32 },
  'ecdsa-p384': { curve: p384, width: 48 },
} as const satisfies Record<EcdsaAlgorithm, { curve: typeof p256; width: number }>;

/** Checks an uncompressed point (0x04 ‖ x ‖ y); throws `malformed`. The groups have no cofactor. */
export function checkEcdsaPoint(alg: EcdsaAlgorithm, point: Uint8Array): void {
  try {
    CURVES[alg].curve.Point.fromBytes(point).assertValidity();
  } catch (cause) {
    throw malformed(`${alg} key`, `not a point of the curve (${toHex(point)})`, { cause });
  }
}

/** Reads a DER signature into r ‖ s, each as wide as the curve's field; throws `unverified`. */
export function parseEcdsaSignature(alg: EcdsaAlgorithm, signature: Uint8Array): Uint8Array {
  const { curve, width } = CURVES[alg];
  // Two INTEGERs of at most width + 1 bytes stay below 128 in all, so every length is one byte.
  if (signature.length < 8 || signature.length > 6 + 2 * (width + 1)) {
    throw notDer(alg, `${signature.length} bytes where 8 to ${6 + 2 * (width + 1)} are possible`);
  }
  if (signature[0] !== 0x30 || signature[1] !== signature.length - 2) {
    throw notDer(alg, 'not one SEQUENCE that ends where the signature ends');
  }
  const rEnd = 4 + (signature[3] ?? 0);
  const r = parseInteger(alg, signature.subarray(2, rEnd));
  const s = parseInteger(alg, signature.subarray(rEnd));
  const order = curve.Point.CURVE().n;
  for (const part of [r, s]) {
    const value = bigEndian(part);
    if (value < 1n || value >= order) {
      throw unverified(`${alg} signature`, 'r and s must be from 1 to the group order less 1');
    }
  }
  return concat(leftPad(r, width), leftPad(s, width));
}

/** Checks a signature by a key that `checkEcdsaPoint` passed; throws `unverified`. */
export function checkEcdsa(
  alg: EcdsaAlgorithm,
  point: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): void {
  const compact = parseEcdsaSignature(alg, signature);
  // Noble's default is lowS: true, which refuses about half of all honest signatures.
  const options = { lowS: false, prehash: true, format: 'compact' } as const;
  if (!CURVES[alg].curve.verify(compact, message, point, options)) {
    throw unverified(`${alg} signature`, 'does not fit the message and key');
  }
}

/** The bytes of one positive INTEGER that is all of `der`, without its sign byte. */
function parseInteger(alg: EcdsaAlgorithm, der: Uint8Array): Uint8Array {
  const [tag, length, first = 0, second = 0] = der;
  if (tag !== 0x02 || length !== der.length - 2 || length === 0) {
    throw notDer(alg, 'not a SEQUENCE of two INTEGERs');
  }
  if (first >= 0x80) throw notDer(alg, 'a negative INTEGER');
  if (first === 0 && length > 1 && second < 0x80) throw notDer(alg, 'an INTEGER is not minimal');
  return first === 0 ? der.subarray(3) : der.subarray(2);
}

function notDer(alg: EcdsaAlgorithm, rule: string) {
  return unverified(`${alg} signature`, `not DER: ${rule}`);
}

function leftPad(bytes: Uint8Array, width: number): Uint8Array {
  const padded = new Uint8Array(width);
  padded.set(bytes, width - bytes.length);
  return padded;
}

function bigEndian(bytes: Uint8Array): bigint {
  let n = 0n;
  for (const byte of bytes) n = (n << 8n) | BigInt(byte);
  return n;
}
