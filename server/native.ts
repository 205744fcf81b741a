/**
 * The primitives that Node does faster than plain JavaScript: SHA-256, hex and base64, and from version 24 on
 * ML-DSA-44.
 *
 * The main program and every worker thread call `useNativePrimitives` before they hash anything. The
 * offline verifier never does, so that it runs the same code in Node as in a browser.
 */
import { createPublicKey, hash, type KeyObject, verify } from 'node:crypto';
import { concat, equalBytes, parseHex } from './core/bytes.ts';
import { PORTABLE, usePrimitives } from './core/primitives.ts';

/** Installs Node's primitives for this thread. */
export function useNativePrimitives(): void {
  usePrimitives({ sha256, toHex, toBase64, verifyMldsa44 });
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
