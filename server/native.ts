/**
 * The primitives that native code does faster than plain JavaScript: SHA-256, hex and base64, from Node 24 on ML-DSA-44,
 * and where libsodium loads the arithmetic of Ed25519 keys.
 *
 * The main program and every worker thread call `useNativePrimitives` before they hash anything. The
 * offline verifier never does, so that it runs the same code in Node as in a browser.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { createRequire } from 'node:module';
import { concat, equalBytes, parseHex } from './core/bytes.ts';
import { PORTABLE, usePrimitives } from './core/primitives.ts';

/** Installs Node's primitives for this thread. */
export function useNativePrimitives(): void {
  const isEd25519Key = sodiumKeyCheck() ?? PORTABLE.isEd25519Key;
  usePrimitives({ sha256, toHex, toBase64, isEd25519Key, verifyMldsa44 });
}

/**
 * Writing the digest as a string into 32 bytes of our own is half as much work again as taking Node's
 * buffer, and leaves no slice of a shared pool behind.
 */
function sha256(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(32);
  Buffer.prototype.latin1Write.call(digest, hash('sha256', bytes, 'binary'), 0, 32);
  return digest;
}

function toHex(bytes: Uint8Array): string {
  return view(bytes).toString('hex');
}

function toBase64(bytes: Uint8Array): string {
  return view(bytes).toString('base64');
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Some 40 µs where noble takes a millisecond: a list of logs has thousands of keys. */
function sodiumKeyCheck(): ((key: Uint8Array) => boolean) | undefined {
  try {
    const sodium = createRequire(import.meta.url)('sodium-native') as {
      crypto_core_ed25519_is_valid_point(point: Uint8Array): boolean;
    };
    return (key) => sodium.crypto_core_ed25519_is_valid_point(key);
  } catch {
    // An optional dependency, as for signatures: what there is then is the portable verdict.
    return undefined;
  }
}

/** What stands before the 1,312 bytes of a key in its SubjectPublicKeyInfo [RFC 9881 §4]. */
const MLDSA44_SPKI_HEAD = parseHex('30820532300b06096086480165030403110382052100', 'SPKI');

/** Keys that are kept ready: those of the witnesses of one policy. */
const MLDSA44_KEYS_MAX = 256;
const mldsa44Keys: { readonly bytes: Uint8Array; readonly key: KeyObject }[] = [];

/** Whether this Node knows the algorithm; found out when it is first needed. */
let hasMldsa44: boolean | undefined;

function verifyMldsa44(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean {
  const known = hasMldsa44 === false ? undefined : mldsa44KeyOf(key);
  if (known === undefined) return PORTABLE.verifyMldsa44(signature, message, key);
  return verify(null, message, known, signature);
}

function mldsa44KeyOf(bytes: Uint8Array): KeyObject | undefined {
  const known = mldsa44Keys.find((one) => equalBytes(one.bytes, bytes));
  if (known !== undefined) return known.key;
  let key: KeyObject;
  try {
    const spki = Buffer.from(concat(MLDSA44_SPKI_HEAD, bytes));
    key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch {
    // Node 22, or a key that is none: what there is then is the portable verdict.
    hasMldsa44 ??= false;
    return undefined;
  }
  hasMldsa44 = true;
  if (mldsa44Keys.length >= MLDSA44_KEYS_MAX) mldsa44Keys.shift();
  mldsa44Keys.push({ bytes: Uint8Array.from(bytes), key });
  return key;
}
