/**
 * What does Stele need from whatever holds a private key?
 *
 * It may be a file (`file.ts`), a token (`pkcs11/`) or another process (`remote/`): so signing is a promise,
 * may take long and may fail. Nothing outside `server/keys` sees a private key.
 */
import type { PublicKey } from '../core/keys.ts';

export interface Signer {
  /** The key's public half; it never changes while the signer is open. */
  readonly publicKey: PublicKey;

  /**
   * A signature of `message` by the rules of the key's algorithm: 64 bytes for Ed25519, DER for ECDSA,
   * PSS with a salt of 32 bytes for RSA; `checkSignature` accepts it. Rejects with `storage` if the
   * holder of the key cannot be reached or refuses, or its answer is lost; then nothing was signed that
   * anybody has seen, and the caller may ask again. Any number of calls may be open at once, and they may end in any order.
   */
  sign(message: Uint8Array): Promise<Uint8Array>;

  /** Forgets the key. Calls that are open still end; a later `sign` rejects. May be called twice. */
  close(): Promise<void>;
}
