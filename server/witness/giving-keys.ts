/**
 * What does a witness sign with? An Ed25519 key, and beside it one for ML-DSA-44. Both lines say the same of one
 * checkpoint; each key signs cosignatures and nothing else, and has one name for good, as an Ed25519 cosignature
 * does not say it.
 */

import { utf8 } from '../core/bytes.ts';
import { cosignatureMessage, encodeCosignature, subtreeMessage } from '../core/cosignature.ts';
import { rawEd25519 } from '../core/keys.ts';
import {
  makeVerifierKey,
  NOTE_COSIGNATURE,
  NOTE_MLDSA,
  type NoteSignature,
  type VerifierKey,
} from '../core/note.ts';
import type { Hash, TreeSize } from '../core/units.ts';
import type { MldsaSigner } from '../keys/mldsa.ts';
import type { Signer } from '../keys/signer.ts';

export interface Statement {
  /** Of the note, extension lines included. */
  readonly text: string;
  readonly origin: string;
  readonly size: TreeSize;
  readonly root: Hash;
  /** Seconds since 1970. */
  readonly timeS: number;
}

export interface CosignerKeys {
  readonly ed25519: Signer;
  readonly mldsa?: MldsaSigner | undefined;
}

export class Cosigner {
  readonly name: string;
  readonly keys: readonly VerifierKey[];
  readonly #signers: CosignerKeys;

  constructor(name: string, signers: CosignerKeys) {
    const { ed25519, mldsa } = signers;
    this.name = name;
    this.#signers = signers;
    this.keys = [
      makeVerifierKey(name, NOTE_COSIGNATURE, rawEd25519(ed25519.publicKey)),
      ...(mldsa === undefined ? [] : [makeVerifierKey(name, NOTE_MLDSA, mldsa.publicKey)]),
    ];
  }

  /** Whoever calls has what it says on disk: there is no way back. */
  async cosign({ text, origin, size, root, timeS }: Statement): Promise<NoteSignature[]> {
    const { ed25519, mldsa } = this.#signers;
    const structure = { cosigner: this.name, time: timeS, origin, start: 0, end: size, root };
    const signatures = await Promise.all([
      ed25519.sign(cosignatureMessage(timeS, text)),
      ...(mldsa === undefined ? [] : [mldsa.sign(subtreeMessage(structure))]),
    ]);
    return this.keys.map(({ name, keyId }, i) => ({
      name,
      keyId,
      signature: encodeCosignature(timeS, signatures[i] ?? utf8('')),
    }));
  }

  async close(): Promise<void> {
    await this.#signers.ed25519.close();
    await this.#signers.mldsa?.close();
  }
}
