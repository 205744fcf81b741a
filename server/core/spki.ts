/**
 * Which algorithm is this SubjectPublicKeyInfo of, and if none of ours, why not?
 *
 * The algorithm is read off the key where its holder did not say it. Whether the key is good is not
 * judged here but by `parsePublicKey`, which takes one spelling only; a refusal here is to tell a person
 * what they have in their hands: a curve that is not taken, RSA that is too short, a compressed point.
 *
 * [RFC 5280 §4.1.2.7] SPKI. [RFC 8410 §3] Ed25519. [RFC 5480 §2.1.1] curves. [RFC 8017 A.1] RSA.
 */
import { toHex } from './bytes.ts';
import { DerReader, oidText } from './der.ts';
import { malformed } from './errors.ts';
import type { Algorithm } from './keys.ts';
import { checkRsaNumbers } from './rsa-pss.ts';

const WHAT = 'public key';

/** What others make and this does not take, by its identifier. */
const FOREIGN: { readonly [oid: string]: string } = {
  '1.2.840.113549.1.1.7': 'RSAES-OAEP',
  '1.2.840.113549.1.1.10': 'id-RSASSA-PSS; RSA is taken as rsaEncryption',
  '1.2.840.10040.4.1': 'DSA',
  '1.2.840.10046.2.1': 'X9.42 DH',
  '1.3.101.110': 'X25519',
  '1.3.101.111': 'X448',
  '1.3.101.113': 'Ed448',
  '2.16.840.1.101.3.4.3.17': 'ML-DSA-44',
  '2.16.840.1.101.3.4.3.18': 'ML-DSA-65',
  '2.16.840.1.101.3.4.3.19': 'ML-DSA-87',
};

const CURVES: { readonly [oid: string]: { readonly alg: Algorithm; readonly width: number } } = {
  '1.2.840.10045.3.1.7': { alg: 'ecdsa-p256', width: 32 },
  '1.3.132.0.34': { alg: 'ecdsa-p384', width: 48 },
};

const FOREIGN_CURVES: { readonly [oid: string]: string } = {
  '1.3.132.0.10': 'secp256k1',
  '1.3.132.0.33': 'P-224',
  '1.3.132.0.35': 'P-521',
  '1.3.36.3.3.2.8.1.1.7': 'brainpoolP256r1',
  '1.3.36.3.3.2.8.1.1.11': 'brainpoolP384r1',
};

export const TAKEN = 'Ed25519, P-256, P-384 and RSA of 2048 to 4096 bits are taken';

/** The algorithm of a key in DER; throws `malformed` with what it is instead, or what is weak about it. */
export function algorithmOfSpki(spki: Uint8Array): Algorithm {
  const outer = new DerReader(spki, WHAT);
  const info = outer.inside('sequence');
  outer.end();
  if (info.isNext('integer')) {
    throw malformed(WHAT, 'it begins with a version, as private keys do: give the public half');
  }
  const algorithm = info.inside('sequence');
  const oid = oidText(algorithm.content('oid'), WHAT);
  const key = info.content('bitString');
  info.end();
  // The first byte counts the unused bits of the last one, and keys are whole bytes.
  if (key[0] !== 0) throw malformed(WHAT, `not DER: ${key[0] ?? 'no'} unused bits in its key`);
  switch (oid) {
    case '1.3.101.112':
      return 'ed25519';
    case '1.2.840.10045.2.1':
      return curveOf(algorithm, key.subarray(1));
    case '1.2.840.113549.1.1.1':
      checkRsa(key.subarray(1));
      return 'rsa-pss';
    default:
      throw malformed(WHAT, `its algorithm is ${FOREIGN[oid] ?? 'not known'} (${oid}); ${TAKEN}`);
  }
}

function curveOf(parameters: DerReader, point: Uint8Array): Algorithm {
  if (!parameters.isNext('oid')) {
    throw malformed(WHAT, 'its curve is spelled out where a named curve is needed');
  }
  const oid = oidText(parameters.content('oid'), WHAT);
  const curve = CURVES[oid];
  if (curve === undefined) {
    throw malformed(WHAT, `its curve is ${FOREIGN_CURVES[oid] ?? 'not known'} (${oid}); ${TAKEN}`);
  }
  const { alg, width } = curve;
  const [form] = point;
  if (form === 0) throw malformed(`${alg} key`, 'the point at infinity is no key');
  if (form === 2 || form === 3) {
    throw malformed(`${alg} key`, 'a compressed point where one with both coordinates is needed');
  }
  if (form !== 4 || point.length !== 1 + 2 * width) {
    throw malformed(
      `${alg} key`,
      `${point.length} bytes that begin with ${form ?? 'nothing'} where a point has ${1 + 2 * width} and begins with 4`,
    );
  }
  return alg;
}

function checkRsa(key: Uint8Array): void {
  const reader = new DerReader(key, 'rsa-pss key');
  const numbers = reader.inside('sequence');
  reader.end();
  const modulus = unsigned(numbers.content('integer'));
  const exponent = unsigned(numbers.content('integer'));
  numbers.end();
  checkRsaNumbers(modulus, exponent);
}

/** Larger than any modulus that is taken: what follows is not turned into a number. */
const INTEGER_BYTES_MAX = 2_048;

function unsigned(integer: Uint8Array): bigint {
  if (integer.length === 0 || integer.length > INTEGER_BYTES_MAX) {
    throw malformed('rsa-pss key', `an integer of ${integer.length} bytes`);
  }
  return BigInt(`0x${toHex(integer)}`);
}
