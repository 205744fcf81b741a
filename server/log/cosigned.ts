/**
 * What did witnesses say of a head, and is it enough?
 *
 * A head's note has the log's own lines first, then one line for each witness that cosigned it, the newest.
 * Every line was verified before it was put there; what a store gives back is verified again by the keys that
 * the policy has today (`checkCosigned`). Whose word is asked for is the policy's to say.
 */
import { utf8 } from '../core/bytes.ts';
import { openCheckpoint } from '../core/checkpoint.ts';
import { cosignatureTime } from '../core/cosignature.ts';
import { SteleError } from '../core/errors.ts';
import { NOTE_BYTES_MAX, NOTE_LINES_MAX } from '../core/limits.ts';
import { formatNote, type NoteSignature, parseNote, type VerifierKey } from '../core/note.ts';
import { isQuorumMet, type Policy } from '../core/policy.ts';
import type { Cosignature } from '../core/tlog-witness.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import type { Head } from '../storage/store.ts';

/** Those who are shown a log's heads, and what it takes to publish one. */
export interface LogWitnesses {
  readonly policy: Policy;
  /** Whether a head that does not meet the quorum is published all the same. */
  readonly fail: 'open' | 'closed';
  /** To be told that there is a newer head to be shown. */
  grown(size: number): void;
}

/** A cosignature as a head tells it. */
export interface Cosigned {
  readonly name: string;
  readonly keyId: string;
  /** Seconds since 1970, by the witness' clock. */
  readonly time: number;
}

/** The note with these lines as well, each in place of an older one by the same key. */
export function withCosignatures(checkpoint: string, added: readonly Cosignature[]): string {
  const { text, signatures } = parseNote(utf8(checkpoint));
  const lines = [...signatures];
  for (const { line } of added) {
    const at = lines.findIndex((one) => isSameSigner(one, line));
    if (at >= 0) lines[at] = line;
    else lines.push(line);
  }
  const note = formatNote({ text, signatures: lines });
  if (lines.length > NOTE_LINES_MAX || utf8(note).length > NOTE_BYTES_MAX) {
    throw new SteleError('too_large', 'the note has no room for another line: it is left out');
  }
  return note;
}

/** The lines of a note that are none of the log's own. */
export function cosignaturesOn(checkpoint: string, own: readonly VerifierKey[]): Cosigned[] {
  const { signatures } = parseNote(utf8(checkpoint));
  return signatures
    .filter((line) => !own.some(({ name, keyId }) => name === line.name && keyId === line.keyId))
    .map(({ name, keyId, signature }) => ({ name, keyId, time: cosignatureTime(signature) }));
}

/**
 * Whether a note with verified lines is cosigned as the policy asks. Where it asks for no quorum, by anybody
 * that it names.
 */
export function isWitnessed(checkpoint: string, policy: Policy): boolean {
  const { signatures } = parseNote(utf8(checkpoint));
  const keys = policy.witnesses.map(({ key }) => key);
  const seen = keys.filter(({ name, keyId }) =>
    signatures.some((line) => line.name === name && line.keyId === keyId),
  );
  return seen.length > 0 && isQuorumMet(policy, seen);
}

/** Throws `unverified` unless every line of the log's keys and of the policy's witnesses holds. */
export function checkCosigned(
  { checkpoint }: Pick<Head, 'checkpoint'>,
  origin: string,
  own: readonly VerifierKey[],
  policy: Policy | undefined,
): void {
  const witnesses = policy?.witnesses.map(({ key }) => key) ?? [];
  openCheckpoint(utf8(checkpoint), origin, [...own, ...witnesses], { check: checkSignatureNative });
}

function isSameSigner(a: NoteSignature, b: NoteSignature): boolean {
  return a.name === b.name && a.keyId === b.keyId;
}
