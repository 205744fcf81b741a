/**
 * What is the key of a note?
 *
 * A verifier key is one line, `name+keyid+base64(type ‖ key)`. The key ID is four bytes of a hash: it
 * only routes a signature line to a key and never identifies anything, so keys are compared whole. The
 * ID that stands in the text is computed again and compared. The types:
 *
 *     0x01  Ed25519 over the note's text                     a log's identity
 *     0x02  ECDSA P-256 over the note's text, key in SPKI    a log's anchor key
 *     0x04  Ed25519 cosignature, with a time                 a witness
 *     0x06  ML-DSA-44 cosignature of a tree or subtree       a witness, or a log
 *     0x05  RFC 6962 tree head, 0xff others                  read, but no line of theirs is ever verified
 *
 * A key is judged here by the whole rule of its algorithm, so that a weak witness key is refused where
 * it is configured and not where it is used.
 *
 * [C2SP signed-note]
 */
import { concat, equalBytes, parseBase64, sha256, toBase64, toHex, utf8 } from './bytes.ts';
import { malformed, shown } from './errors.ts';
import { ed25519Spki, type PublicKey, parsePublicKey } from './keys.ts';

export const NOTE_ED25519 = 0x01;
export const NOTE_ECDSA = 0x02;
export const NOTE_COSIGNATURE = 0x04;
export const NOTE_TREE_HEAD = 0x05;
export const NOTE_MLDSA = 0x06;
export const NOTE_OTHER = 0xff;

/** Bytes of an ML-DSA-44 public key [FIPS 204 §4]. */
export const MLDSA44_KEY_BYTES = 1312;

/** Bytes of key material: an ML-DSA-65 key of type 0xff has 1,952 and its identifier. */
const KEY_BYTES_MAX = 4096;

/** Characters of a verifier key: the material in base64, and a name. */
const TEXT_MAX = 8192;

export interface VerifierKey {
  readonly name: string;
  /** Eight lower-case hex digits. A hint only. */
  readonly keyId: string;
  readonly type: number;
  /** What follows the type byte: 32 bytes, an SPKI, or an ML-DSA key. */
  readonly key: Uint8Array;
  /** The one spelling of all of the above. */
  readonly text: string;
  /** The checked key of types 0x01, 0x02 and 0x04; nothing for the others. */
  readonly publicKey: PublicKey | undefined;
}

/**
 * Unicode's property and not `\s`, which has U+FEFF too and lacks U+0085: two readers with different
 * lists would split a line differently.
 */
const WHITE_SPACE = /\p{White_Space}/u;

/** Whether `name` may name a key: not empty, no white space, no plus, no control character. */
export function isKeyName(name: string): boolean {
  if (name === '' || !name.isWellFormed() || name.includes('+')) return false;
  return !WHITE_SPACE.test(name) && controlCharacterAt(name) < 0;
}

/** Where the first character below U+0020 is, line feeds apart; −1 if there is none. */
export function controlCharacterAt(text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 && code !== 0x0a) return i;
  }
  return -1;
}

/** Reads a verifier key; throws `malformed` unless it is spelled as `makeVerifierKey` spells it. */
export function parseVerifierKey(text: string): VerifierKey {
  const what = 'verifier key';
  if (text.length > TEXT_MAX) throw malformed(what, `longer than ${TEXT_MAX} characters`);
  // Only the first two count: base64 has plus signs of its own.
  const first = text.indexOf('+');
  const second = text.indexOf('+', first + 1);
  if (first < 0 || second < 0) {
    throw malformed(what, `${shown(text)} is not name+keyid+key`);
  }
  const material = parseBase64(text.slice(second + 1), what);
  const key = makeVerifierKey(text.slice(0, first), material[0] ?? 0, material.subarray(1));
  if (key.text !== text) {
    throw malformed(what, `key ID ${shown(text.slice(first + 1, second))} is not ${key.keyId}`);
  }
  return key;
}

/** The verifier key of these parts; throws `malformed` if the name or the key breaks a rule. */
export function makeVerifierKey(name: string, type: number, key: Uint8Array): VerifierKey {
  if (!isKeyName(name)) {
    throw malformed(
      'verifier key',
      `name ${shown(name)} is empty or has white space, a plus or a control character`,
    );
  }
  if (key.length > KEY_BYTES_MAX) {
    throw malformed(
      'verifier key',
      `${key.length} bytes of key where ${KEY_BYTES_MAX} are allowed`,
    );
  }
  const own = Uint8Array.from(key);
  const publicKey = checkMaterial(type, own);
  const keyId = toHex(idOf(name, type, own));
  const text = `${name}+${keyId}+${toBase64(concat(Uint8Array.of(type), own))}`;
  return { name, keyId, type, key: own, text, publicKey };
}

/** Whether two verifier keys hold the same key under whatever name, ID and type. */
export function isSameMaterial(a: VerifierKey, b: VerifierKey): boolean {
  return equalBytes(a.key, b.key);
}

function checkMaterial(type: number, key: Uint8Array): PublicKey | undefined {
  switch (type) {
    case NOTE_ED25519:
    case NOTE_COSIGNATURE:
      return parsePublicKey('ed25519', ed25519Spki(key));
    case NOTE_ECDSA:
      return parsePublicKey('ecdsa-p256', key);
    case NOTE_MLDSA:
      if (key.length !== MLDSA44_KEY_BYTES) {
        throw malformed(
          'verifier key',
          `${key.length} bytes where an ML-DSA-44 key has ${MLDSA44_KEY_BYTES}`,
        );
      }
      return undefined;
    case NOTE_TREE_HEAD:
    case NOTE_OTHER:
      if (key.length === 0) throw malformed('verifier key', 'no key after the type');
      return undefined;
    default:
      throw malformed('verifier key', `type 0x${type.toString(16)} is not one that notes have`);
  }
}

function idOf(name: string, type: number, key: Uint8Array): Uint8Array {
  // SPEC: for ECDSA the key ID is the hash of the SPKI alone, and for tree heads of the log ID.
  if (type === NOTE_ECDSA) return sha256(key).subarray(0, 4);
  const material = type === NOTE_TREE_HEAD ? sha256(key) : key;
  return sha256(concat(utf8(name), Uint8Array.of(0x0a, type), material)).subarray(0, 4);
}
