/**
 * What does a witness sign, and does its signature hold?
 *
 * A cosignature is a time in seconds and a signature, in one blob:
 *
 *     u64 time ‖ 64 bytes       0x04  Ed25519 over "cosignature/v1\ntime T\n" and the whole note text
 *     u64 time ‖ 2420 bytes     0x06  ML-DSA-44 over a structure with name, time, origin, range and root
 *
 * The first covers extension lines but not the witness' name, so a key has one name; the second covers
 * the name but no extension lines. A time of 0 makes no statement about being the latest. Whether a
 * witness counts is for `policy.ts`.
 *
 * [C2SP tlog-cosignature] [FIPS 204 §5.3] pure mode, empty context.
 */
import { concat, decodeU64, encodeU64, utf8 } from './bytes.ts';
import { invariant, malformed, unverified } from './errors.ts';
import { primitives } from './primitives.ts';
import { checkSignature, type SignatureCheck } from './signature.ts';
import { parseCheckpoint } from './tree-head.ts';
import type { Hash } from './units.ts';
import { NOTE_COSIGNATURE, NOTE_MLDSA, type VerifierKey } from './verifier-key.ts';

const TIME_BYTES = 8;
const ED25519_BYTES = 64;
const MLDSA44_BYTES = 2420;

/** What an ML-DSA-44 cosignature says: this hash is the root of leaves [start, end) of that log. */
export interface SubtreeStatement {
  readonly cosigner: string;
  /** Seconds since 1970; 0 makes no statement about time and is required where start is not 0. */
  readonly time: number;
  readonly origin: string;
  readonly start: number;
  readonly end: number;
  readonly root: Hash;
}

/** The bytes that an Ed25519 cosignature of a note text signs. */
export function cosignatureMessage(time: number, text: string): Uint8Array {
  checkTime(time);
  return utf8(`cosignature/v1\ntime ${time}\n${text}`);
}

/** The bytes that an ML-DSA-44 cosignature signs. */
export function subtreeMessage(statement: SubtreeStatement): Uint8Array {
  checkTime(statement.time);
  invariant(
    statement.start === 0 || statement.time === 0,
    'a subtree that does not start at 0 is cosigned with time 0',
  );
  return concat(
    utf8('subtree/v1\n\0'),
    shortText(statement.cosigner, 'cosigner'),
    encodeU64(statement.time),
    shortText(statement.origin, 'origin'),
    encodeU64(statement.start),
    encodeU64(statement.end),
    statement.root,
  );
}

/** The blob of a cosignature line: the time, then the signature. */
export function encodeCosignature(time: number, signature: Uint8Array): Uint8Array {
  checkTime(time);
  return concat(encodeU64(time), signature);
}

/** The time of a cosignature blob in seconds. It is only worth something once the blob is checked. */
export function cosignatureTime(blob: Uint8Array): number {
  if (blob.length < TIME_BYTES) {
    throw malformed('cosignature', `${blob.length} bytes where a time has ${TIME_BYTES}`);
  }
  return decodeU64(blob.subarray(0, TIME_BYTES), 'cosignature time');
}

/** Checks a cosignature of a checkpoint's note text by a key of type 0x04 or 0x06. */
export function checkCosignature(
  key: VerifierKey,
  text: string,
  blob: Uint8Array,
  check: SignatureCheck = checkSignature,
): void {
  const what = `cosignature of ${key.name}`;
  const bytes = TIME_BYTES + (key.type === NOTE_MLDSA ? MLDSA44_BYTES : ED25519_BYTES);
  if (blob.length !== bytes) {
    throw unverified(what, `${blob.length} bytes where ${bytes} are needed`);
  }
  const time = cosignatureTime(blob);
  const signature = blob.subarray(TIME_BYTES);
  if (key.type === NOTE_MLDSA) {
    const { origin, size, root } = parseCheckpoint(text, { extensions: true });
    const statement = { cosigner: key.name, time, origin, start: 0, end: size, root };
    if (!primitives().verifyMldsa44(signature, subtreeMessage(statement), key.key)) {
      throw unverified(what, 'ml-dsa-44 does not fit the message and key');
    }
    return;
  }
  invariant(
    key.type === NOTE_COSIGNATURE && key.publicKey !== undefined,
    'a cosignature is checked with a key of type 0x04 or 0x06',
  );
  // What is not a checkpoint has no size and no root, and nobody can cosign it.
  parseCheckpoint(text, { extensions: true });
  check(key.publicKey, cosignatureMessage(time, text), signature);
}

function checkTime(time: number): void {
  if (!Number.isSafeInteger(time) || time < 0) {
    throw malformed('cosignature', `time ${time} is not a whole number of seconds`);
  }
}

function shortText(text: string, what: string): Uint8Array {
  const bytes = utf8(text);
  if (bytes.length < 1 || bytes.length > 255) {
    throw malformed(what, `${bytes.length} bytes where 1 to 255 can be cosigned`);
  }
  return concat(Uint8Array.of(bytes.length), bytes);
}
