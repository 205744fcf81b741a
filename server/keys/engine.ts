/**
 * Does this signature hold, asked of native code?
 *
 * Ed25519 goes to libsodium where it loads (about twice as fast), everything else to node:crypto. The
 * verdict is core's on every input, whatever the library and its version: the key passed the whole rule
 * when it was parsed, `precheckSignature` refuses every form on which libraries differ, and only the
 * equation is left to them.
 */
import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { createRequire } from 'node:module';
import { unverified } from '../core/errors.ts';
import { type Algorithm, type PublicKey, rawEd25519 } from '../core/keys.ts';
import { RSA_SALT_BYTES } from '../core/rsa-pss.ts';
import { precheckSignature, type SignatureCheck } from '../core/signature.ts';

/** What is used of sodium-native. */
interface Sodium {
  crypto_sign_verify_detached(sig: Uint8Array, message: Uint8Array, key: Uint8Array): boolean;
}

/** Keys that are kept ready for use; parsing one costs half as much as a verification. */
const KEY_OBJECTS_MAX = 1024;

const DIGESTS = {
  ed25519: null,
  'ecdsa-p256': 'sha256',
  'ecdsa-p384': 'sha384',
  'rsa-pss': 'sha256',
} as const satisfies Record<Algorithm, string | null>;

const sodium = loadSodium();

/** Which library checks Ed25519 here. */
export const ED25519_ENGINE: 'sodium' | 'node' = sodium === undefined ? 'node' : 'sodium';

/** Checks a signature with the fastest engine there is; throws `unverified`. */
export function checkSignatureNative(
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): void {
  if (key.alg === 'ed25519' && sodium !== undefined) checkWithSodium(key, message, signature);
  else checkWithNode(key, message, signature);
}

/** Checks a signature with node:crypto; throws `unverified`. */
export const checkWithNode: SignatureCheck = (key, message, signature) => {
  precheckSignature(key, signature);
  const keyObject = keyObjectOf(key);
  const holds = verify(
    DIGESTS[key.alg],
    message,
    key.alg === 'rsa-pss'
      ? // Without a salt length Node takes any.
        { key: keyObject, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: RSA_SALT_BYTES }
      : { key: keyObject, dsaEncoding: 'der' },
    signature,
  );
  if (!holds) throw mismatch(key.alg);
};

/** Checks an Ed25519 signature with libsodium; throws `unverified`. Only where it loaded. */
export const checkWithSodium: SignatureCheck = (key, message, signature) => {
  precheckSignature(key, signature);
  if (sodium?.crypto_sign_verify_detached(signature, message, rawEd25519(key)) !== true) {
    throw mismatch(key.alg);
  }
};

function mismatch(alg: Algorithm) {
  return unverified(`${alg} signature`, 'does not fit the message and key');
}

/** By key ID, the least recently used first. */
const keyObjects = new Map<string, KeyObject>();

function keyObjectOf(key: PublicKey): KeyObject {
  const known = keyObjects.get(key.keyid);
  const keyObject =
    known ?? createPublicKey({ key: Buffer.from(key.spki), format: 'der', type: 'spki' });
  // Deleted and set again, a key moves to the young end of the map.
  if (known !== undefined) keyObjects.delete(key.keyid);
  keyObjects.set(key.keyid, keyObject);
  if (keyObjects.size > KEY_OBJECTS_MAX) {
    const oldest = keyObjects.keys().next();
    if (oldest.done !== true) keyObjects.delete(oldest.value);
  }
  return keyObject;
}

/** libsodium, or nothing where it is not installed or has no build for this machine. */
function loadSodium(): Sodium | undefined {
  try {
    return createRequire(import.meta.url)('sodium-native') as Sodium;
  } catch {
    // An optional dependency: node:crypto gives the same verdicts, and `ED25519_ENGINE` says which runs.
    return undefined;
  }
}
