/**
 * What does a signed note say, and who signed it?
 *
 *     text, which ends with a line feed
 *                                                  the last empty line
 *     — name base64(key ID ‖ signature)            one or more
 *
 * What is signed is the text with its final line feed. A note is read from bytes and verified over the
 * text that was read, never over one that was put together again. Lines of unknown keys are ignored;
 * a line of a known key that does not verify spoils the whole note; a note without a verified line is
 * no better than one without signatures.
 *
 * [C2SP signed-note]
 */
import { concat, parseBase64, parseHex, parseUtf8, toBase64, toHex, utf8 } from './bytes.ts';
import { checkCosignature } from './cosignature.ts';
import { invariant, malformed, SteleError, shown, unverified } from './errors.ts';
import { NOTE_BYTES_MAX, NOTE_LINES_MAX } from './limits.ts';
import { checkSignature, type SignatureCheck } from './signature.ts';
import {
  controlCharacterAt,
  isKeyName,
  NOTE_COSIGNATURE,
  NOTE_ECDSA,
  NOTE_ED25519,
  NOTE_MLDSA,
  NOTE_OTHER,
  NOTE_TREE_HEAD,
  type VerifierKey,
} from './verifier-key.ts';

export {
  isKeyName,
  makeVerifierKey,
  NOTE_COSIGNATURE,
  NOTE_ECDSA,
  NOTE_ED25519,
  NOTE_MLDSA,
  NOTE_TREE_HEAD,
  parseVerifierKey,
  type VerifierKey,
} from './verifier-key.ts';

export interface NoteSignature {
  readonly name: string;
  /** Eight lower-case hex digits. A hint only. */
  readonly keyId: string;
  readonly signature: Uint8Array;
}

export interface Note {
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A note of which at least one line was verified. */
export interface OpenedNote {
  readonly note: Note;
  /** The keys that signed, in the order of their first lines. */
  readonly verified: readonly VerifierKey[];
  /** The line of each of them: the only lines that may be stored or served. */
  readonly signatures: readonly NoteSignature[];
  /** Lines of unknown keys, each once. */
  readonly unknown: readonly NoteSignature[];
}

export interface OpenOptions {
  /** The engine; the portable one unless a server brings a faster. */
  readonly check?: SignatureCheck;
}

const KEY_ID_BYTES = 4;

/** Reads a note from a stranger's bytes; throws `malformed`. Nothing is verified. */
export function parseNote(bytes: Uint8Array): Note {
  const what = 'note';
  if (bytes.length > NOTE_BYTES_MAX) {
    throw malformed(what, `${bytes.length} bytes where at most ${NOTE_BYTES_MAX} are allowed`);
  }
  const whole = parseUtf8(bytes, what);
  // SPEC: no control characters but the line feed; so CRLF is malformed.
  const control = controlCharacterAt(whole);
  if (control >= 0) throw malformed(what, `a control character at ${control}`);
  // SPEC: the signatures follow the last empty line; the text may have empty lines of its own.
  const split = whole.lastIndexOf('\n\n');
  if (split < 0) throw malformed(what, 'no empty line before the signatures');
  const lines = whole.slice(split + 2).split('\n');
  if (lines.length < 2 || lines.pop() !== '') {
    throw malformed(what, 'no signature line that ends with a line feed');
  }
  if (lines.length > NOTE_LINES_MAX) {
    throw malformed(what, `${lines.length} signature lines where at most ${NOTE_LINES_MAX} are`);
  }
  const note = { text: whole.slice(0, split + 1), signatures: lines.map(parseLine) };
  if (formatNote(note) !== whole) throw malformed(what, 'not in its one spelling');
  return note;
}

/** The text of a note, which `parseNote` reads back. */
export function formatNote(note: Note): string {
  return `${note.text}\n${note.signatures.map(formatLine).join('')}`;
}

/** Verifies a note against keys that the caller trusts; throws `malformed` or `unverified`. */
export function openNote(
  bytes: Uint8Array,
  keys: readonly VerifierKey[],
  options: OpenOptions = {},
): OpenedNote {
  return openParsedNote(parseNote(bytes), keys, options);
}

/** The same for a note that `parseNote` read, where what it says decides which keys are trusted. */
export function openParsedNote(
  note: Note,
  keys: readonly VerifierKey[],
  options: OpenOptions = {},
): OpenedNote {
  const verified = new Map<VerifierKey, NoteSignature>();
  const unknown = new Map<string, NoteSignature>();
  for (const line of note.signatures) {
    const key = keyOf(line, keys);
    if (key === undefined) {
      unknown.set(formatLine(line), line);
    } else if (!verified.has(key)) {
      // SPEC: of several lines by one key the first counts, and it must verify.
      checkNoteSignature(key, note.text, line.signature, options.check);
      verified.set(key, line);
    }
  }
  if (verified.size === 0) throw unverified('note', 'no line is by a key that is trusted here');
  return {
    note,
    verified: [...verified.keys()],
    signatures: [...verified.values()],
    unknown: [...unknown.values()],
  };
}

/** Checks one line's signature over a note text; throws `unverified`. */
export function checkNoteSignature(
  key: VerifierKey,
  text: string,
  signature: Uint8Array,
  check: SignatureCheck = checkSignature,
): void {
  try {
    switch (key.type) {
      case NOTE_ED25519:
      case NOTE_ECDSA:
        invariant(key.publicKey !== undefined, 'a key of type 0x01 or 0x02 was checked');
        check(key.publicKey, utf8(text), signature);
        return;
      case NOTE_COSIGNATURE:
      case NOTE_MLDSA:
        checkCosignature(key, text, signature, check);
        return;
      default:
        throw unverified('note', `keys of type 0x${key.type.toString(16)} are not verified here`);
    }
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw unverified(`note line of ${key.name}+${key.keyId}`, cause.message, { cause });
  }
}

/** The key that a line names, if it is trusted and of a type that is verified. */
function keyOf(line: NoteSignature, keys: readonly VerifierKey[]): VerifierKey | undefined {
  let found: VerifierKey | undefined;
  for (const key of keys) {
    if (key.type === NOTE_TREE_HEAD || key.type === NOTE_OTHER) continue;
    if (key.name !== line.name || key.keyId !== line.keyId) continue;
    if (found !== undefined && found.text !== key.text) {
      throw malformed('verifier keys', `${key.name}+${key.keyId} stands for two keys`);
    }
    found ??= key;
  }
  return found;
}

function parseLine(line: string): NoteSignature {
  const [dash, name = '', base64 = '', ...rest] = line.split(' ');
  if (dash !== '—' || rest.length > 0 || !isKeyName(name)) {
    throw malformed('note', `${shown(line)} is not a signature line`);
  }
  const blob = parseBase64(base64, 'note signature');
  if (blob.length <= KEY_ID_BYTES) {
    throw malformed('note', `${blob.length} bytes where a line has a key ID and a signature`);
  }
  return {
    name,
    keyId: toHex(blob.subarray(0, KEY_ID_BYTES)),
    signature: blob.subarray(KEY_ID_BYTES),
  };
}

function formatLine(line: NoteSignature): string {
  const id = parseHex(line.keyId, 'key ID', KEY_ID_BYTES);
  return `— ${line.name} ${toBase64(concat(id, line.signature))}\n`;
}
