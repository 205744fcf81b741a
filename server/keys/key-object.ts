/**
 * A signer whose private key is in this process: what `file.ts` opens, and what tests make.
 */
import { constants, type KeyObject, sign } from 'node:crypto';
import { SteleError } from '../core/errors.ts';
import type { Algorithm, PublicKey } from '../core/keys.ts';
import { RSA_SALT_BYTES } from '../core/rsa-pss.ts';
import type { Signer } from './signer.ts';

const DIGESTS = {
  ed25519: null,
  'ecdsa-p256': 'sha256',
  'ecdsa-p384': 'sha384',
  'rsa-pss': 'sha256',
} as const satisfies Record<Algorithm, string | null>;

export class KeyObjectSigner implements Signer {
  readonly publicKey: PublicKey;
  #privateKey: KeyObject | undefined;

  constructor(privateKey: KeyObject, publicKey: PublicKey) {
    this.#privateKey = privateKey;
    this.publicKey = publicKey;
  }

  // Some 30 µs for Ed25519: less than handing it to another thread.
  async sign(message: Uint8Array): Promise<Uint8Array> {
    if (this.#privateKey === undefined) {
      throw new SteleError('storage', `signer ${this.publicKey.keyid}: it is closed`);
    }
    const { alg } = this.publicKey;
    const padding = {
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: RSA_SALT_BYTES,
    };
    return new Uint8Array(
      sign(DIGESTS[alg], message, {
        key: this.#privateKey,
        ...(alg === 'rsa-pss' ? padding : { dsaEncoding: 'der' as const }),
      }),
    );
  }

  async close(): Promise<void> {
    this.#privateKey = undefined;
  }
}
