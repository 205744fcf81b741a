/**
 * The keys of a log, and what they sign.
 *
 * Each key has one purpose: the identity key (Ed25519) signs every head, the anchor key (ECDSA P-256)
 * the published ones, over the same note text; that signature is what goes to Rekor, which refuses
 * plain Ed25519. Both lines bear the log's origin as their name. The sth key (ECDSA P-256) signs tree heads
 * of RFC 6962 and nothing else: those name no origin, so another statement by it could be taken for one.
 */
import { toBase64, utf8 } from '../core/bytes.ts';
import {
  checkTreeHead,
  encodeDigitallySigned,
  encodeTreeHead,
  type SignedTreeHead,
  type TreeHead,
} from '../core/ct.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { logVerifierKey } from '../core/log-key.ts';
import { NOTE_ECDSA, NOTE_ED25519, type Note, type VerifierKey } from '../core/note.ts';
import { checkOrigin } from '../core/tree-head.ts';
import type { Hash, TreeSize } from '../core/units.ts';
import { checkSignatureNative } from './engine.ts';
import type { Signer } from './signer.ts';

export interface LogKeys {
  readonly identity: Signer;
  readonly anchor: Signer;
  readonly sth: Signer;
}

/** A head without its signatures. */
export interface HeadRoot {
  readonly size: TreeSize;
  readonly root: Hash;
}

/**
 * What the holder of a log's keys remembers of the log. Its keys sign for no head that it did not take, and
 * it takes none that does not continue the one before (P2): so a head that it took has to become the log's.
 */
export interface SignerMemory {
  /** Throws `storage` while the holder is known to be away. Asks nobody. */
  checkThere(): void;

  /** Calls `listener` whenever the holder is there again. Returns how to stop that. */
  onReturn(listener: () => void): () => void;

  /**
   * Has it take `head`, durably, before it resolves; the same head again is fine. `prove` makes the
   * consistency proof from any smaller size. Rejects with `split_view` if the head contradicts what is remembered:
   * then it was not taken. After `storage` it may have been taken or not.
   */
  extend(head: HeadRoot, prove: (from: TreeSize) => Promise<readonly Hash[]>): Promise<void>;
}

/** A verifier key and the signer that holds its private half. */
export interface NoteSigner {
  readonly key: VerifierKey;
  readonly signer: Signer;
}

/** The verifier key (0x01) under which readers know the log's identity key. */
export function identityVerifierKey(
  origin: string,
  signer: Pick<Signer, 'publicKey'>,
): VerifierKey {
  checkOrigin(origin);
  return logVerifierKey('identity', origin, signer.publicKey);
}

/** The verifier key (0x02) under which readers know the log's anchor key. */
export function anchorVerifierKey(origin: string, signer: Pick<Signer, 'publicKey'>): VerifierKey {
  checkOrigin(origin);
  invariant(signer.publicKey.alg === 'ecdsa-p256', 'an anchor key is ECDSA P-256');
  return logVerifierKey('anchor', origin, signer.publicKey);
}

/** The verifier key (0x05) under which readers know the key of RFC 6962 tree heads. */
export function sthVerifierKey(origin: string, signer: Pick<Signer, 'publicKey'>): VerifierKey {
  checkOrigin(origin);
  invariant(signer.publicKey.alg === 'ecdsa-p256', 'an sth key is ECDSA P-256');
  return logVerifierKey('sth', origin, signer.publicKey);
}

/**
 * Signs a note text with each of `signers`, in their order. Rejects with `storage` if any of them
 * cannot sign: a note with a line missing is never made. Whoever calls has made sure that this text
 * may be signed (P2): there is no way back.
 */
export async function signNote(text: string, signers: readonly NoteSigner[]): Promise<Note> {
  invariant(text.endsWith('\n') && text.isWellFormed(), 'a note text ends with a line feed');
  const signatures = await Promise.all(
    signers.map(async ({ key, signer }) => {
      invariant(
        key.type === NOTE_ED25519 || key.type === NOTE_ECDSA,
        'a note text is signed with a key of type 0x01 or 0x02',
      );
      invariant(
        toBase64(signer.publicKey.spki) === toBase64(key.publicKey?.spki ?? new Uint8Array()),
        'a verifier key and its signer are one key',
      );
      return { name: key.name, keyId: key.keyId, signature: await signer.sign(utf8(text)) };
    }),
  );
  return { text, signatures };
}

/**
 * Signs a tree head, and is the only place that signs with an sth key: the message is a TreeHeadSignature
 * structure and never anything else. Whoever calls has made sure of the head (P2) and of its time. Rejects
 * with `storage` if the key's holder cannot sign, or if what it made does not hold.
 */
export async function signTreeHead(head: TreeHead, signer: Signer): Promise<SignedTreeHead> {
  const { publicKey } = signer;
  const signature = encodeDigitallySigned(await signer.sign(encodeTreeHead(head)));
  const signed = { ...head, signature };
  try {
    checkTreeHead(signed, publicKey, checkSignatureNative);
  } catch (cause) {
    throw new SteleError('storage', `signer ${publicKey.keyid}: its signature does not hold`, {
      cause,
    });
  }
  return signed;
}
