/**
 * Every signature engine, for tests that hold all of them to one verdict.
 */
import { hasCode } from '../../server/core/errors.ts';
import { type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { checkSignature, type SignatureCheck } from '../../server/core/signature.ts';
import { checkWithNode, checkWithSodium, ED25519_ENGINE } from '../../server/keys/engine.ts';

export interface Engine {
  readonly name: string;
  readonly check: SignatureCheck;
  readonly only?: string;
}

/** libsodium only where it loads: the vectors then run on it as on the others. */
export const engines: readonly Engine[] = [
  { name: 'portable', check: checkSignature },
  { name: 'node', check: checkWithNode },
  ...(ED25519_ENGINE === 'sodium'
    ? [{ name: 'sodium', check: checkWithSodium, only: 'ed25519' }]
    : []),
];

export function enginesFor(alg: string): readonly Engine[] {
  return engines.filter((engine) => engine.only === undefined || engine.only === alg);
}

/** Whether a key and a signature pass, as a server or a verifier asks: first the key, then the rest. */
export function accepts(
  engine: Engine,
  alg: string,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  let key: PublicKey;
  try {
    key = parsePublicKey(alg, spki);
  } catch (error) {
    if (hasCode(error, 'malformed')) return false;
    throw error;
  }
  return holds(engine, key, message, signature);
}

/** Whether a signature passes; anything but `unverified` is a failure of the test. */
export function holds(
  engine: Engine,
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    engine.check(key, message, signature);
    return true;
  } catch (error) {
    if (hasCode(error, 'unverified')) return false;
    throw error;
  }
}
