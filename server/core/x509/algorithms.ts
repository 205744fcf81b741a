/**
 * Which signatures under certificates and time stamps count, and does this one fit?
 *
 *     ECDSA          P-256, P-384, P-521, each with SHA-256, SHA-384 or SHA-512
 *     RSA            PKCS#1 v1.5, or PSS with MGF1 of the same hash and a salt as long as it; 2048 to 4096 bits
 *     Ed25519        as in core/ed25519.ts; it hashes with SHA-512
 *
 * An algorithm is known by its whole AlgorithmIdentifier and not by its name in it: parameters are where
 * two readers would see two things. SHA-1, and whatever else is not listed, is refused by name.
 *
 * [RFC 5758 §3.2] ECDSA. [RFC 4055 §3, §5] RSA. [RFC 8410 §3] Ed25519. [RFC 5754] in CMS.
 */
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import {
  type IPKCS,
  mgf1,
  PKCS1_SHA256,
  PKCS1_SHA384,
  PKCS1_SHA512,
  PSS,
} from 'micro-rsa-dsa-dh/rsa.js';
import { equalBytes, parseHex, sha256 as primitiveSha256, toHex } from '../bytes.ts';
import { DerReader, oidText } from '../der.ts';
import { checkEcdsaDigest, checkEcdsaPoint, type EcdsaCurve } from '../ecdsa.ts';
import { checkEd25519, checkEd25519Key } from '../ed25519.ts';
import { hasCode, unverified } from '../errors.ts';
import { parseRsaSpki } from '../rsa-pss.ts';

const HASH_NAMES = ['sha256', 'sha384', 'sha512'] as const;

export type HashName = (typeof HASH_NAMES)[number];

const HASHES = {
  sha256: {
    bytes: 32,
    digest: primitiveSha256,
    pkcs1: PKCS1_SHA256,
    pss: PSS(sha256, mgf1(sha256), 32),
  },
  sha384: { bytes: 48, digest: sha384, pkcs1: PKCS1_SHA384, pss: PSS(sha384, mgf1(sha384), 48) },
  sha512: { bytes: 64, digest: sha512, pkcs1: PKCS1_SHA512, pss: PSS(sha512, mgf1(sha512), 64) },
} as const satisfies Record<
  HashName,
  { bytes: number; digest: (bytes: Uint8Array) => Uint8Array; pkcs1: IPKCS; pss: IPKCS }
>;

export function digestOf(hash: HashName, bytes: Uint8Array): Uint8Array {
  return HASHES[hash].digest(bytes);
}

export function digestBytes(hash: HashName): number {
  return HASHES[hash].bytes;
}

export interface Scheme {
  readonly kind: 'ecdsa' | 'rsa-pkcs1' | 'rsa-pss' | 'ed25519';
  readonly hash: HashName;
}

/** By the hex of the whole AlgorithmIdentifier. A hash has NULL as its parameters, or none. */
const DIGESTS: ReadonlyMap<string, HashName> = new Map(
  HASH_NAMES.flatMap((hash, i) => {
    const oid = `060960864801650304020${i + 1}`;
    return [
      [`300b${oid}`, hash],
      [`300d${oid}0500`, hash],
    ] as const;
  }),
);

const SCHEMES = new Map<string, Scheme>([['300506032b6570', { kind: 'ed25519', hash: 'sha512' }]]);
for (const [i, hash] of HASH_NAMES.entries()) {
  const { bytes } = HASHES[hash];
  const digest = `300d060960864801650304020${i + 1}0500`;
  const salt = `a2030201${bytes.toString(16)}`;
  const pss = `a00f${digest}a11c301a06092a864886f70d010108${digest}${salt}`;
  SCHEMES.set(`300a06082a8648ce3d04030${i + 2}`, { kind: 'ecdsa', hash })
    .set(`300d06092a864886f70d01010${'bcd'.charAt(i)}0500`, { kind: 'rsa-pkcs1', hash })
    .set(`304106092a864886f70d01010a3034${pss}`, { kind: 'rsa-pss', hash });
}

/** In CMS an RSA signature may say rsaEncryption, and leave the hash to the signer's other field. */
const PLAIN_RSA = ['300d06092a864886f70d0101010500', '300b06092a864886f70d010101'];

const NAMES: { readonly [oid: string]: string } = {
  '1.2.840.113549.2.5': 'MD5',
  '1.3.14.3.2.26': 'SHA-1',
  '2.16.840.1.101.3.4.2.4': 'SHA-224',
  '1.2.840.113549.1.1.1': 'RSA without a hash',
  '1.2.840.113549.1.1.4': 'RSA with MD5',
  '1.2.840.113549.1.1.5': 'RSA with SHA-1',
  '1.2.840.113549.1.1.10':
    'RSA-PSS with other parameters than MGF1 of its own hash and a salt as long',
  '1.2.840.10045.2.1': 'ECDSA without a hash',
  '1.2.840.10045.4.1': 'ECDSA with SHA-1',
  '1.2.840.10040.4.3': 'DSA with SHA-1',
  '2.16.840.1.101.3.4.3.2': 'DSA with SHA-256',
  '1.3.101.113': 'Ed448',
};

/** The hash that an AlgorithmIdentifier names, given as an element; throws `unverified`. */
export function hashOf(identifier: Uint8Array, what: string): HashName {
  const hash = DIGESTS.get(toHex(identifier));
  if (hash === undefined) throw notTaken(identifier, what, 'SHA-256, SHA-384 and SHA-512 are');
  return hash;
}

/**
 * The signature algorithm that an AlgorithmIdentifier names; throws `unverified`. `hash` is that of a
 * signer's digests in CMS, which must be the one of its signature.
 */
export function schemeOf(identifier: Uint8Array, what: string, hash?: HashName): Scheme {
  const hex = toHex(identifier);
  if (hash !== undefined && PLAIN_RSA.includes(hex)) return { kind: 'rsa-pkcs1', hash };
  const scheme = SCHEMES.get(hex);
  if (scheme === undefined) {
    throw notTaken(identifier, what, 'ECDSA, RSA and Ed25519 with SHA-2 are');
  }
  if (hash !== undefined && hash !== scheme.hash) {
    throw unverified(what, `a signature with ${scheme.hash} of digests with ${hash}`);
  }
  return scheme;
}

function notTaken(identifier: Uint8Array, what: string, taken: string) {
  const oid = oidText(new DerReader(identifier, what).inside('sequence').content('oid'), what);
  return unverified(what, `${NAMES[oid] ?? 'an algorithm'} (${oid}) is not taken; ${taken}`);
}

/** The SPKI before the point, whose first byte is 4: both coordinates. */
const CURVES: readonly { readonly curve: EcdsaCurve; readonly head: Uint8Array }[] = [
  {
    curve: 'ecdsa-p256',
    head: parseHex('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'SPKI'),
  },
  { curve: 'ecdsa-p384', head: parseHex('3076301006072a8648ce3d020106052b81040022036200', 'SPKI') },
  {
    curve: 'ecdsa-p521',
    head: parseHex('30819b301006072a8648ce3d020106052b8104002303818600', 'SPKI'),
  },
];

const ED25519_HEAD = parseHex('302a300506032b6570032100', 'SPKI');

/** Checks a signature by the key of a certificate; throws `unverified`, also where the key is too weak. */
export function checkSignatureBy(
  spki: Uint8Array,
  scheme: Scheme,
  message: Uint8Array,
  signature: Uint8Array,
): void {
  try {
    checkBy(spki, scheme, message, signature);
  } catch (cause) {
    if (!hasCode(cause, 'malformed')) throw cause;
    throw unverified('key of a certificate', cause.message, { cause });
  }
}

function checkBy(
  spki: Uint8Array,
  { kind, hash }: Scheme,
  message: Uint8Array,
  signature: Uint8Array,
): void {
  switch (kind) {
    case 'ed25519': {
      const key = afterHead(spki, ED25519_HEAD);
      if (key === undefined) throw otherKey('by Ed25519');
      checkEd25519Key(key);
      checkEd25519(key, message, signature);
      break;
    }
    case 'ecdsa': {
      const { curve, point } = pointOf(spki);
      checkEcdsaPoint(curve, point);
      checkEcdsaDigest(curve, point, digestOf(hash, message), signature);
      break;
    }
    case 'rsa-pkcs1':
      checkRsa(HASHES[hash].pkcs1, spki, message, signature);
      break;
    case 'rsa-pss':
      checkRsa(HASHES[hash].pss, spki, message, signature);
      break;
  }
}

function pointOf(spki: Uint8Array): { readonly curve: EcdsaCurve; readonly point: Uint8Array } {
  for (const { curve, head } of CURVES) {
    const point = afterHead(spki, head);
    if (point !== undefined) return { curve, point };
  }
  throw otherKey('by ECDSA over P-256, P-384 or P-521');
}

function checkRsa(
  scheme: IPKCS,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): void {
  const { n } = parseRsaSpki(spki, 'rsa key');
  let holds: boolean;
  try {
    holds = scheme.verify({ n, e: 65_537n }, message, signature);
  } catch (cause) {
    // The library throws where the decoded block is wider than the encoding: an ordinary mismatch.
    throw unverified('rsa signature', 'does not decode', { cause });
  }
  if (!holds) throw unverified('rsa signature', 'does not fit the message and key');
}

function afterHead(spki: Uint8Array, head: Uint8Array): Uint8Array | undefined {
  return equalBytes(spki.subarray(0, head.length), head) ? spki.subarray(head.length) : undefined;
}

function otherKey(wanted: string) {
  return unverified('signature', `it is ${wanted}, and the key is of no such kind`);
}
