/**
 * Which tree head did this log sign?
 *
 * A checkpoint is a signed note whose text is a tree head (`tree-head.ts`). Opening one means: the note
 * verifies, a key of the log itself is among those that signed, and the origin is the expected one,
 * byte for byte. Cosignatures alone do not make a log's checkpoint.
 *
 * [C2SP tlog-checkpoint]
 */
import { shown, unverified } from './errors.ts';
import { type Note, type NoteSignature, type OpenOptions, openNote } from './note.ts';
import { type Checkpoint, type CheckpointOptions, parseCheckpoint } from './tree-head.ts';
import { NOTE_COSIGNATURE, NOTE_MLDSA, type VerifierKey } from './verifier-key.ts';

export {
  type Checkpoint,
  type CheckpointOptions,
  checkOrigin,
  formatCheckpoint,
  parseCheckpoint,
} from './tree-head.ts';

/** A checkpoint that the log signed, and everybody else among `keys` who did. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  readonly verified: readonly VerifierKey[];
  /** The line of each verified key: the only lines that may be stored or served. */
  readonly signatures: readonly NoteSignature[];
  /** Lines of unknown keys, each once. */
  readonly unknown: readonly NoteSignature[];
}

/**
 * Verifies and reads a checkpoint of the log `origin`; throws `malformed` or `unverified`. `keys` are
 * the log's and the witnesses' that the caller trusts.
 */
export function openCheckpoint(
  bytes: Uint8Array,
  origin: string,
  keys: readonly VerifierKey[],
  options: OpenOptions & CheckpointOptions = {},
): OpenedCheckpoint {
  const opened = openNote(bytes, keys, options);
  const checkpoint = parseCheckpoint(opened.note.text, options);
  if (checkpoint.origin !== origin) {
    throw unverified(
      'checkpoint',
      `it is of ${shown(checkpoint.origin)} where ${shown(origin)} is expected`,
    );
  }
  if (!opened.verified.some((key) => isLogKey(key, origin))) {
    throw unverified('checkpoint', `no line is by a key of the log ${shown(origin)}`);
  }
  return { checkpoint, ...opened };
}

/**
 * Whether a trusted key speaks for the log and not for a witness. An ML-DSA-44 line has the same form
 * in both mouths and only the name tells them apart.
 */
export function isLogKey(key: VerifierKey, origin: string): boolean {
  if (key.type === NOTE_COSIGNATURE) return false;
  return key.type !== NOTE_MLDSA || key.name === origin;
}
