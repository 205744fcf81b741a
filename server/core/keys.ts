/**
 * What is a public key?
 *
 * SubjectPublicKeyInfo in DER, in the one spelling that each algorithm has: SHA-256 of it is the key's
 * identity, so a second spelling would be a second key. A `PublicKey` is made only by `parsePublicKey`,
 * which applies the whole rule for the algorithm, so whoever holds one need not ask again.
 *
 *     ed25519      canonical, not of small order, torsion-free          core/ed25519.ts
 *     ecdsa-p256   uncompressed point on the curve, named curve         core/ecdsa.ts
 *     ecdsa-p384   the same
 *     rsa-pss      rsaEncryption, 2048 ≤ n ≤ 4096 bits, e = 65537       core/rsa-pss.ts
 *
 * The algorithm always comes with the key's registration, never from a submission. Keys of notes, which
 * have a form of their own, are in `verifier-key.ts`.
 *
 * [RFC 5280 §4.1.2.7] SPKI. [RFC 8410 §4] Ed25519. [RFC 5480 §2] curves. [RFC 3279 §2.3.1] RSA.
 */
import { concat, equalBytes, parseHex, sha256, toHex } from './bytes.ts';
import { checkEcdsaPoint } from './ecdsa.ts';
import { checkEd25519Key, ED25519_KEY_BYTES } from './ed25519.ts';
import { invariant, malformed, shown } from './errors.ts';
import { parseRsaSpki } from './rsa-pss.ts';

export const ALGORITHMS = ['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'rsa-pss'] as const;

export type Algorithm = (typeof ALGORITHMS)[number];

declare const checked: unique symbol;

/** A key that passed the whole rule of its algorithm. */
export interface PublicKey {
  readonly alg: Algorithm;
  readonly spki: Uint8Array;
  /** Lower-case hex of SHA-256 of `spki`. */
  readonly keyid: string;
  readonly [checked]: true;
}

/** The SPKI before the key's own bytes; for the curves up to the point's 0x04. */
const HEADS = {
  ed25519: parseHex('302a300506032b6570032100', 'SPKI'),
  'ecdsa-p256': parseHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'SPKI'),
  'ecdsa-p384': parseHex('3076301006072a8648ce3d020106052b8104002203620004', 'SPKI'),
} as const;

const COORDINATES_BYTES = { 'ecdsa-p256': 64, 'ecdsa-p384': 96 } as const;

export function isAlgorithm(text: string): text is Algorithm {
  return (ALGORITHMS as readonly string[]).includes(text);
}

/** Reads a key from a stranger's bytes; throws `malformed` with the reason. */
export function parsePublicKey(alg: string, spki: Uint8Array): PublicKey {
  if (!isAlgorithm(alg)) {
    throw malformed('public key', `algorithm ${shown(alg)} is not one of ${ALGORITHMS.join(', ')}`);
  }
  switch (alg) {
    case 'ed25519':
      checkEd25519Key(afterHead(alg, spki, ED25519_KEY_BYTES));
      break;
    case 'ecdsa-p256':
    case 'ecdsa-p384':
      afterHead(alg, spki, COORDINATES_BYTES[alg]);
      checkEcdsaPoint(alg, ecdsaPoint(alg, spki));
      break;
    case 'rsa-pss':
      parseRsaSpki(spki);
      break;
  }
  // A copy: the caller's bytes may change under the check, or pin a large buffer in memory.
  const own = Uint8Array.from(spki);
  return { alg, spki: own, keyid: toHex(sha256(own)) } as PublicKey;
}

function afterHead(alg: keyof typeof HEADS, spki: Uint8Array, length: number): Uint8Array {
  const head = HEADS[alg];
  if (spki.length !== head.length + length) {
    throw malformed(
      `${alg} key`,
      `${spki.length} bytes where its SubjectPublicKeyInfo has ${head.length + length}`,
    );
  }
  if (!equalBytes(spki.subarray(0, head.length), head)) {
    throw malformed(`${alg} key`, 'not the DER of a SubjectPublicKeyInfo of this algorithm');
  }
  return spki.subarray(head.length);
}

/** The SPKI of a raw 32-byte key; the key itself is judged by `parsePublicKey`. */
export function ed25519Spki(raw: Uint8Array): Uint8Array {
  if (raw.length !== ED25519_KEY_BYTES) {
    throw malformed('ed25519 key', `${raw.length} bytes where a key has ${ED25519_KEY_BYTES}`);
  }
  return concat(HEADS.ed25519, raw);
}

/** The SPKI of a point, given as x ‖ y; the key itself is judged by `parsePublicKey`. */
export function ecdsaSpki(alg: keyof typeof COORDINATES_BYTES, point: Uint8Array): Uint8Array {
  return concat(HEADS[alg], point);
}

/** The 32 bytes of an Ed25519 key. */
export function rawEd25519(key: PublicKey): Uint8Array {
  invariant(key.alg === 'ed25519', 'only an ed25519 key has a raw form');
  return key.spki.subarray(HEADS.ed25519.length);
}

/** The point of an ECDSA key as 0x04 ‖ x ‖ y. */
export function ecdsaPoint(alg: keyof typeof COORDINATES_BYTES, spki: Uint8Array): Uint8Array {
  return spki.subarray(HEADS[alg].length - 1);
}
