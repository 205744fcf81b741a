/**
 * Which ECDSA signatures are good, and which points are keys?
 *
 * A signature is DER, in its one spelling: SEQUENCE of two INTEGERs, each positive, minimal and below
 * the group order, and nothing after it. Either s is accepted, since honest signers (OpenSSL, WebCrypto,
 * key services) make both; that is why a signature never identifies anything here. Under an entry P-256
 * goes with SHA-256 and P-384 with SHA-384; certificates say which hash they have, and there is P-521 too.
 *
 * [RFC 3279 §2.2.3] Ecdsa-Sig-Value. [SEC 1 §4.1.4] verification.
 */
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { sha384 } from '@noble/hashes/sha2.js';
import { concat, sha256, toHex } from './bytes.ts';
import { malformed, unverified } from './errors.ts';

export type EcdsaAlgorithm = 'ecdsa-p256' | 'ecdsa-p384';
export type EcdsaCurve = EcdsaAlgorithm | 'ecdsa-p521';

const CURVES = {
  'ecdsa-p256': { curve: p256, width: 32 },
  'ecdsa-p384': { curve: p384, width: 48 },
  'ecdsa-p521': { curve: p521, width: 66 },
} as const satisfies Record<EcdsaCurve, { curve: typeof p256; width: number }>;

/** Checks an uncompressed point (0x04 ‖ x ‖ y); throws `malformed`. The groups have no cofactor. */
export function checkEcdsaPoint(alg: EcdsaCurve, point: Uint8Array): void {
  try {
    CURVES[alg].curve.Point.fromBytes(point).assertValidity();
  } catch (cause) {
    throw malformed(`${alg} key`, `not a point of the curve (${toHex(point)})`, { cause });
  }
}

/** Reads a DER signature into r ‖ s, each as wide as the curve's field; throws `unverified`. */
export function parseEcdsaSignature(alg: EcdsaCurve, signature: Uint8Array): Uint8Array {
  const { curve, width } = CURVES[alg];
  const integersMax = 2 * (2 + width + 1);
  const max = integersMax + (integersMax < 0x80 ? 2 : 3);
  if (signature.length < 8 || signature.length > max) {
    throw notDer(alg, `${signature.length} bytes where 8 to ${max} are possible`);
  }
  // Only two INTEGERs of P-521 may need a length of two bytes; their own lengths are always one.
  const begin = signature.length < 0x82 ? 2 : 3;
  const isLong = begin === 3;
  const length = signature.length - begin;
  if (
    signature[0] !== 0x30 ||
    signature[begin - 1] !== length ||
    (isLong && signature[1] !== 0x81)
  ) {
    throw notDer(alg, 'not one SEQUENCE that ends where the signature ends');
  }
  const rEnd = begin + 2 + (signature[begin + 1] ?? 0);
  const r = parseInteger(alg, signature.subarray(begin, rEnd));
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
  const digest = alg === 'ecdsa-p256' ? sha256(message) : sha384(message);
  checkEcdsaDigest(alg, point, digest, signature);
}

/** The same of a message that is hashed already. */
export function checkEcdsaDigest(
  alg: EcdsaCurve,
  point: Uint8Array,
  digest: Uint8Array,
  signature: Uint8Array,
): void {
  const compact = parseEcdsaSignature(alg, signature);
  // Noble's default is lowS: true, which refuses about half of all honest signatures.
  const options = { lowS: false, prehash: false, format: 'compact' } as const;
  if (!CURVES[alg].curve.verify(compact, digest, point, options)) {
    throw unverified(`${alg} signature`, 'does not fit the message and key');
  }
}

/** The bytes of one positive INTEGER that is all of `der`, without its sign byte. */
function parseInteger(alg: EcdsaCurve, der: Uint8Array): Uint8Array {
  const [tag, length, first = 0, second = 0] = der;
  if (tag !== 0x02 || length !== der.length - 2 || length === 0) {
    throw notDer(alg, 'not a SEQUENCE of two INTEGERs');
  }
  if (first >= 0x80) throw notDer(alg, 'a negative INTEGER');
  if (first === 0 && length > 1 && second < 0x80) throw notDer(alg, 'an INTEGER is not minimal');
  return first === 0 ? der.subarray(3) : der.subarray(2);
}

function notDer(alg: EcdsaCurve, rule: string) {
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
