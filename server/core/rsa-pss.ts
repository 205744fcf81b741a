/**
 * Which RSA-PSS signatures and keys are good?
 *
 * The modulus has 2048 to 4096 bits and the exponent is 65537. A signature is as long as the modulus,
 * below it, and is PSS with SHA-256, MGF1 with SHA-256, and a salt of exactly 32 bytes: a verifier that
 * takes any salt length accepts signatures that another refuses.
 *
 * [RFC 8017 §8.1.2, §9.1.2]
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { mgf1, PSS } from 'micro-rsa-dsa-dh/rsa.js';
import { concat, parseHex, toHex } from './bytes.ts';
import { malformed, unverified } from './errors.ts';

export const RSA_SALT_BYTES = 32;

/** Before the modulus: the SPKI of rsaEncryption with NULL. The four XXXX are lengths. */
const HEAD = parseHex('30820000300d06092a864886f70d01010105000382000000308200000282', 'RSA SPKI');

/** After it: the exponent, INTEGER 65537. */
const TAIL = parseHex('0203010001', 'RSA SPKI');

const WHAT = 'rsa-pss key';

const scheme = PSS(sha256, mgf1(sha256), RSA_SALT_BYTES);

/**
 * The modulus of an RSA public key; throws `malformed` unless `spki` is the one DER spelling of an
 * rsaEncryption key that the rules above allow. The OID id-RSASSA-PSS is not accepted: its optional
 * parameters give one key many spellings, and key services export rsaEncryption.
 */
export function parseRsaSpki(
  spki: Uint8Array,
  what = WHAT,
): { readonly n: bigint; readonly bytes: number } {
  // All lengths have two bytes for these sizes, so the spelling follows from the modulus' length.
  const length = spki.length - HEAD.length - 2 - TAIL.length;
  if (length < 257 || length > 513) {
    throw malformed(
      what,
      `${spki.length} bytes where an SPKI with a modulus of 2048 to 4096 bits and exponent 65537 has 294 to 550`,
    );
  }
  const integer = spki.subarray(HEAD.length + 2, HEAD.length + 2 + length);
  if (toHex(spki) !== toHex(spellSpki(integer))) {
    throw malformed(what, 'not the DER of an rsaEncryption key with exponent 65537');
  }
  if ((integer[0] ?? 0) >= 0x80 || (integer[0] === 0 && (integer[1] ?? 0) < 0x80)) {
    throw malformed(what, 'the modulus is negative or not minimal');
  }
  const n = BigInt(`0x${toHex(integer)}`);
  checkRsaNumbers(n, 65_537n, what);
  return { n, bytes: Math.ceil(n.toString(2).length / 8) };
}

/** Checks the rules that are about the numbers; throws `malformed` with the number that breaks one. */
export function checkRsaNumbers(n: bigint, e: bigint, what = WHAT): void {
  const bits = n.toString(2).length;
  if (bits < 2048 || bits > 4096) {
    throw malformed(what, `a modulus of ${bits} bits where 2048 to 4096 are allowed`);
  }
  if (e !== 65_537n) {
    const value = e < 2n ** 64n ? String(e) : `of ${e.toString(2).length} bits`;
    throw malformed(what, `exponent ${value} where 65537 is needed`);
  }
  if (n % 2n === 0n) throw malformed(what, 'the modulus is even');
}

/** The SPKI of a modulus, with exponent 65537; the key itself is judged by `parsePublicKey`. */
export function rsaSpki(modulus: Uint8Array): Uint8Array {
  // As an INTEGER it would be negative without a byte before its highest bit.
  return spellSpki((modulus[0] ?? 0) < 0x80 ? modulus : concat(Uint8Array.of(0), modulus));
}

/** The SPKI around the modulus' INTEGER bytes. */
function spellSpki(integer: Uint8Array): Uint8Array {
  const spki = new Uint8Array(HEAD.length + 2 + integer.length + TAIL.length);
  spki.set(HEAD);
  spki.set(integer, HEAD.length + 2);
  spki.set(TAIL, HEAD.length + 2 + integer.length);
  // SEQUENCE, BIT STRING, SEQUENCE, INTEGER: each length counts what follows it.
  for (const [at, rest] of [
    [2, spki.length - 4],
    [21, spki.length - 23],
    [26, spki.length - 28],
    [30, integer.length],
  ] as const) {
    spki[at] = rest >> 8;
    spki[at + 1] = rest & 0xff;
  }
  return spki;
}

/**
 * Checks what can be seen without the message: the length, for a key that `parseRsaSpki` passed. Throws
 * `unverified`. Every verification on a server comes through here, so the key is not read again.
 */
export function precheckRsaPss(spki: Uint8Array, signature: Uint8Array): void {
  const integerBytes = spki.length - HEAD.length - 2 - TAIL.length;
  const bytes = spki[HEAD.length + 2] === 0 ? integerBytes - 1 : integerBytes;
  if (signature.length !== bytes) {
    throw unverified(
      'rsa-pss signature',
      `${signature.length} bytes where the modulus has ${bytes}`,
    );
  }
}

/** Checks a signature by a key that `parseRsaSpki` passed; throws `unverified`. */
export function checkRsaPss(spki: Uint8Array, message: Uint8Array, signature: Uint8Array): void {
  precheckRsaPss(spki, signature);
  const publicKey = { n: parseRsaSpki(spki).n, e: 65_537n };
  let holds: boolean;
  try {
    holds = scheme.verify(publicKey, message, signature);
  } catch (cause) {
    // The library throws where the decoded block is wider than the encoding: an ordinary mismatch.
    throw unverified('rsa-pss signature', 'does not decode', { cause });
  }
  if (!holds) throw unverified('rsa-pss signature', 'does not fit the message and key');
}
