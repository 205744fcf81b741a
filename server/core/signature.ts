/**
 * Does this key's signature fit this message?
 *
 * The portable engine: it runs in any browser and is what the offline verifier uses. It is slow (some
 * hundred signatures a second), so a server checks through `keys/engine.ts`, which gives the same
 * verdict on every input; the published vectors are run on each engine to keep it so.
 */
import { checkEcdsa, parseEcdsaSignature } from './ecdsa.ts';
import { checkEd25519, precheckEd25519 } from './ed25519.ts';
import { type Algorithm, ecdsaPoint, type PublicKey, rawEd25519 } from './keys.ts';
import { checkRsaPss, precheckRsaPss } from './rsa-pss.ts';

export { precheckEd25519 as precheckEd25519Signature } from './ed25519.ts';

/** Throws `unverified`, with the reason, unless the signature is good. Every engine has this form. */
export type SignatureCheck = (key: PublicKey, message: Uint8Array, signature: Uint8Array) => void;

const CHECKS = {
  ed25519: (key, message, signature) => checkEd25519(rawEd25519(key), message, signature),
  'ecdsa-p256': (key, message, signature) =>
    checkEcdsa('ecdsa-p256', ecdsaPoint('ecdsa-p256', key.spki), message, signature),
  'ecdsa-p384': (key, message, signature) =>
    checkEcdsa('ecdsa-p384', ecdsaPoint('ecdsa-p384', key.spki), message, signature),
  'rsa-pss': (key, message, signature) => checkRsaPss(key.spki, message, signature),
} as const satisfies Record<Algorithm, SignatureCheck>;

/** Checks a signature with the portable engine; throws `unverified`. */
export function checkSignature(key: PublicKey, message: Uint8Array, signature: Uint8Array): void {
  CHECKS[key.alg](key, message, signature);
}

const PRECHECKS = {
  ed25519: (_, signature) => precheckEd25519(signature),
  'ecdsa-p256': (_, signature) => parseEcdsaSignature('ecdsa-p256', signature),
  'ecdsa-p384': (_, signature) => parseEcdsaSignature('ecdsa-p384', signature),
  'rsa-pss': (key, signature) => precheckRsaPss(key.spki, signature),
} as const satisfies Record<Algorithm, (key: PublicKey, signature: Uint8Array) => void>;

/**
 * Checks a signature's form: its length for the algorithm, its encoding, and its numbers' ranges. A
 * native engine runs this first, so that its library is only asked what all libraries agree on.
 */
export function precheckSignature(key: PublicKey, signature: Uint8Array): void {
  PRECHECKS[key.alg](key, signature);
}
