/**
 * Keys and notes that tests make for themselves, from fixed seeds.
 */
import { getPublicKey, hashes, sign } from '@noble/ed25519';
import { sha512 } from '@noble/hashes/sha2.js';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { utf8 } from '../../server/core/bytes.ts';
import {
  cosignatureMessage,
  encodeCosignature,
  subtreeMessage,
} from '../../server/core/cosignature.ts';
import {
  makeVerifierKey,
  NOTE_COSIGNATURE,
  NOTE_ED25519,
  NOTE_MLDSA,
  type NoteSignature,
  type VerifierKey,
} from '../../server/core/note.ts';
import { parseCheckpoint } from '../../server/core/tree-head.ts';

hashes.sha512 = sha512;

export interface TestKey {
  readonly key: VerifierKey;
  line(text: string): NoteSignature;
}

function lineOf(key: VerifierKey, signature: Uint8Array): NoteSignature {
  return { name: key.name, keyId: key.keyId, signature };
}

/** A log's identity key. */
export function logKey(name: string, seed: number): TestKey {
  const secret = new Uint8Array(32).fill(seed);
  const key = makeVerifierKey(name, NOTE_ED25519, getPublicKey(secret));
  return { key, line: (text) => lineOf(key, sign(utf8(text), secret)) };
}

/** A witness with an Ed25519 key. */
export function witnessKey(name: string, seed: number, time = 1_700_000_000): TestKey {
  const secret = new Uint8Array(32).fill(seed);
  const key = makeVerifierKey(name, NOTE_COSIGNATURE, getPublicKey(secret));
  return {
    key,
    line: (text) =>
      lineOf(key, encodeCosignature(time, sign(cosignatureMessage(time, text), secret))),
  };
}

/** A cosigner with an ML-DSA-44 key. */
export function mldsaKey(name: string, seed: number, time = 1_700_000_000): TestKey {
  const { secretKey, publicKey } = ml_dsa44.keygen(new Uint8Array(32).fill(seed));
  const key = makeVerifierKey(name, NOTE_MLDSA, publicKey);
  return {
    key,
    line: (text) => {
      const { origin, size, root } = parseCheckpoint(text, { extensions: true });
      const statement = { cosigner: name, time, origin, start: 0, end: size, root };
      const signature = ml_dsa44.sign(subtreeMessage(statement), secretKey);
      return lineOf(key, encodeCosignature(time, signature));
    },
  };
}
