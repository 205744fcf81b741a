/**
 * Is this checkpoint the log's, and who else saw it?
 *
 * The keys come from the trust file: the log's own, each up to the size that it is good for, and those
 * of witnesses. Lines of other keys count for nothing and are listed. But a line must not become
 * unknown by being tampered with: a log's line under another name or key ID still carries the log's
 * signature, or stands where the log's own line is missing, and both are refused.
 *
 * Logs change their keys. While one follows another both sign, so a trust file from before, one with both
 * and one from after all find a line that they know:
 *
 *     size      1 … r      r+1 … last_size      last_size+1 …
 *     lines     old        old and new          new
 */
import { utf8 } from '../core/bytes.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../core/checkpoint.ts';
import { parseEcdsaSignature } from '../core/ecdsa.ts';
import { hasCode, unverified } from '../core/errors.ts';
import {
  checkNoteSignature,
  NOTE_ECDSA,
  NOTE_ED25519,
  NOTE_MLDSA,
  type NoteSignature,
  parseNote,
  type VerifierKey,
} from '../core/note.ts';
import { checkSignature, type SignatureCheck } from '../core/signature.ts';
import { keysGoodAt, type Trust, type TrustedLog } from '../core/trust.ts';

export interface OpenedHead {
  readonly checkpoint: Checkpoint;
  /** The identity key that signed. */
  readonly identity: VerifierKey;
  readonly verified: readonly VerifierKey[];
  /** The line of each of them. */
  readonly signatures: readonly NoteSignature[];
  readonly unknown: readonly NoteSignature[];
}

/** Nothing if no line is by an identity key that the trust file knows. */
export function openHead(
  text: string,
  log: TrustedLog,
  trust: Trust,
  check: SignatureCheck = checkSignature,
): OpenedHead | undefined {
  const bytes = utf8(text);
  const note = parseNote(bytes);
  const { size, origin } = parseCheckpoint(note.text);
  if (origin !== log.origin) {
    throw unverified('checkpoint', `it is of ${origin} and not of the receipt's ${log.origin}`);
  }
  const keys = keysGoodAt(log.keys, size);
  const identity = keys.find((key) => isIdentity(key) && lineOf(key, note.signatures));
  if (identity === undefined) checkNoRetired(log, note.signatures, size);
  checkStrayLines(note.text, note.signatures, keys, check);
  if (identity === undefined) return undefined;
  const witnesses = trust.policy?.parsed.witnesses.map(({ key }) => key) ?? [];
  const known = [...keys, ...witnesses];
  const { note: _, ...opened } = openCheckpoint(bytes, log.origin, known, { check });
  return { identity, ...opened };
}

/**
 * Whether a log key speaks for the log by itself. The anchor key, which is for published heads, does not,
 * and neither does a key of a type whose lines are never verified.
 */
export function isIdentity(key: VerifierKey): boolean {
  return key.type === NOTE_ED25519 || key.type === NOTE_MLDSA;
}

function checkNoRetired(log: TrustedLog, lines: readonly NoteSignature[], size: number): void {
  const retired = log.keys.find(({ key }) => isIdentity(key) && lineOf(key, lines));
  if (retired === undefined) return;
  throw unverified(
    'checkpoint',
    `key ${nameOf(retired.key)} is good up to size ${retired.untilSize}, and this is of size ${size}`,
  );
}

/** Lines to try a missing key on: more are never a log's, and each costs a verification. */
const STRAY_LINES_MAX = 16;

function checkStrayLines(
  text: string,
  lines: readonly NoteSignature[],
  keys: readonly VerifierKey[],
  check: SignatureCheck,
): void {
  const stray = lines
    .filter((line) => !keys.some((key) => isLineOf(key, line)))
    .slice(0, STRAY_LINES_MAX);
  for (const key of keys) {
    if (lineOf(key, lines) !== undefined) continue;
    for (const line of stray.filter(({ signature }) => hasForm(key, signature))) {
      if (line.name === key.name) checkFollows(key, line);
      if (!isSignedBy(key, text, line, check)) continue;
      throw unverified(
        'checkpoint',
        `the line of ${line.name}+${line.keyId} carries the signature of key ${nameOf(key)}`,
      );
    }
  }
}

/**
 * A line with the log's name under a key ID that is not known, where a key that is has none. An identity key
 * signs until it ends, so either was changed, the line or the log's keys. Anchor keys change by schedule, and
 * readers need not hear of it: a line that is a signature may be by the next one.
 */
function checkFollows(missing: VerifierKey, line: NoteSignature): void {
  if (!isIdentity(missing) && isEcdsaSignature(line.signature)) return;
  throw unverified(
    'checkpoint',
    `a line has the log's name and the unknown key ID ${line.keyId}, and trusted key ` +
      `${nameOf(missing)} has none: the line was changed, or the trust file is out of date`,
  );
}

/** Whether a signature has the length of this key's: 64 bytes for Ed25519, others for P-256 in DER. */
function hasForm(key: VerifierKey, signature: Uint8Array): boolean {
  if (key.type === NOTE_ED25519) return signature.length === 64;
  return key.type === NOTE_ECDSA && signature.length !== 64 && signature.length <= 72;
}

function isEcdsaSignature(signature: Uint8Array): boolean {
  try {
    parseEcdsaSignature('ecdsa-p256', signature);
    return true;
  } catch (error) {
    if (hasCode(error, 'unverified')) return false;
    throw error;
  }
}

function isSignedBy(
  key: VerifierKey,
  text: string,
  line: NoteSignature,
  check: SignatureCheck,
): boolean {
  try {
    checkNoteSignature(key, text, line.signature, check);
    return true;
  } catch (error) {
    if (hasCode(error, 'unverified')) return false;
    throw error;
  }
}

function lineOf(key: VerifierKey, lines: readonly NoteSignature[]): NoteSignature | undefined {
  return lines.find((line) => isLineOf(key, line));
}

function isLineOf(key: VerifierKey, line: NoteSignature): boolean {
  return line.name === key.name && line.keyId === key.keyId;
}

export function nameOf({ name, keyId }: VerifierKey): string {
  return `${name}+${keyId}`;
}
