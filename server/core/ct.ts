/**
 * What does an RFC 6962 log sign, and how is the signature written?
 *
 *     TreeHeadSignature    00 01 ‖ u64 time ‖ u64 size ‖ root           50 bytes, which are signed
 *     DigitallySigned      04 03 ‖ u16 length ‖ signature in DER        what `get-sth` answers with
 *
 * 00 is version v1 and 01 a tree head; 04 is SHA-256 and 03 ECDSA. Times are milliseconds since 1970.
 * The structure has no origin in it: only the key says which log it is of, so that key signs nothing else.
 * Other logs sign with RSA too; such signatures are not read here.
 *
 * [RFC 6962 §2.1.4, §3.2, §3.5] [RFC 5246 §4.7, §7.4.1.4.1]
 */
import { concat, decodeU64, encodeU64, equalBytes, sha256 } from './bytes.ts';
import { invariant, malformed, unverified } from './errors.ts';
import type { PublicKey } from './keys.ts';
import { checkSignature, type SignatureCheck } from './signature.ts';
import { HASH_BYTES, type Hash, hash, type TreeSize, treeSize } from './units.ts';

export interface TreeHead {
  /** When it was signed, by the log's clock: milliseconds since 1970. */
  readonly timeMs: number;
  readonly size: TreeSize;
  readonly root: Hash;
}

export interface SignedTreeHead extends TreeHead {
  /** The DigitallySigned structure. */
  readonly signature: Uint8Array;
}

/** Version v1, signature type tree_hash. */
const PREFIX = Uint8Array.of(0x00, 0x01);
const U64_BYTES = 8;
const TREE_HEAD_BYTES = PREFIX.length + 2 * U64_BYTES + HASH_BYTES;

/** SHA-256, ECDSA. */
const ALGORITHMS = Uint8Array.of(0x04, 0x03);
const SIGNED_HEAD_BYTES = ALGORITHMS.length + 2;

/** The bytes that are signed. */
export function encodeTreeHead({ timeMs, size, root }: TreeHead): Uint8Array {
  return concat(PREFIX, encodeU64(timeMs), encodeU64(size), hash(root, 'tree head root'));
}

/** Reads what `encodeTreeHead` makes; throws `malformed`. */
export function decodeTreeHead(bytes: Uint8Array): TreeHead {
  const what = 'tree head';
  if (bytes.length !== TREE_HEAD_BYTES) {
    throw malformed(what, `${bytes.length} bytes where it has ${TREE_HEAD_BYTES}`);
  }
  if (!equalBytes(bytes.subarray(0, PREFIX.length), PREFIX)) {
    throw malformed(what, 'not of version v1 and signature type tree_hash');
  }
  const size = PREFIX.length + U64_BYTES;
  const root = size + U64_BYTES;
  return {
    timeMs: decodeU64(bytes.subarray(PREFIX.length, size), 'tree head time'),
    size: treeSize(decodeU64(bytes.subarray(size, root), 'tree head size')),
    // A copy: the caller's bytes may be part of something larger.
    root: hash(bytes.slice(root)),
  };
}

/** The DigitallySigned structure of an ECDSA signature in DER. */
export function encodeDigitallySigned(der: Uint8Array): Uint8Array {
  invariant(der.length <= 0xffff, 'a signature has at most 65,535 bytes');
  return concat(ALGORITHMS, Uint8Array.of(Math.floor(der.length / 256), der.length % 256), der);
}

/** The signature inside, in DER, which is not judged; throws `malformed`. */
export function decodeDigitallySigned(bytes: Uint8Array): Uint8Array {
  const what = 'tree head signature';
  const [hashes = 0, signs = 0, high = 0, low = 0] = bytes;
  if (bytes.length < SIGNED_HEAD_BYTES) {
    throw malformed(what, `${bytes.length} bytes where its head alone has ${SIGNED_HEAD_BYTES}`);
  }
  if (hashes !== ALGORITHMS[0] || signs !== ALGORITHMS[1]) {
    throw malformed(what, `algorithms ${hashes} and ${signs} are not 4 and 3, SHA-256 and ECDSA`);
  }
  const length = 256 * high + low;
  if (bytes.length !== SIGNED_HEAD_BYTES + length) {
    const found = bytes.length - SIGNED_HEAD_BYTES;
    throw malformed(what, `${found} bytes of signature where its length says ${length}`);
  }
  return bytes.slice(SIGNED_HEAD_BYTES);
}

/** Checks that `key` signed this head; throws `malformed` or `unverified`. */
export function checkTreeHead(
  head: SignedTreeHead,
  key: PublicKey,
  check: SignatureCheck = checkSignature,
): void {
  if (key.alg !== 'ecdsa-p256') {
    throw unverified('tree head', `its key is ${key.alg} where tree heads here have ecdsa-p256`);
  }
  check(key, encodeTreeHead(head), decodeDigitallySigned(head.signature));
}

/** The log ID by which RFC 6962 clients know a log. */
export function logIdOf(key: PublicKey): Hash {
  return sha256(key.spki);
}
