/** Heads as targets see them, signed by an anchor key that tests make for themselves. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { AnchoredHead } from '../../server/anchor/target.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { formatCheckpoint } from '../../server/core/tree-head.ts';
import { hash, treeSize } from '../../server/core/units.ts';

export class AnchorKey {
  readonly key: PublicKey;
  readonly pem: string;
  readonly #pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

  constructor() {
    const { publicKey } = this.#pair;
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    this.key = parsePublicKey('ecdsa-p256', new Uint8Array(spki));
    this.pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  }

  sign(text: Uint8Array): Uint8Array {
    return new Uint8Array(sign('sha256', text, this.#pair.privateKey));
  }

  /** A head of this size, with a root that follows from it. */
  head(size: number, origin = 'log.example.org/logs/a'): AnchoredHead {
    const root = hash(new Uint8Array(createHash('sha256').update(`root ${size}`).digest()));
    const of = { origin, size: treeSize(size), root };
    const text = utf8(formatCheckpoint(of));
    return { ...of, text, signature: this.sign(text), key: this.key };
  }
}
