/**
 * How does a log ask a witness for its cosignature, and what may come back?
 *
 *     POST PREFIX/add-checkpoint                          200   — witness.example/w1 CMp+6LWB…
 *                                                               — witness.example/w1 I7rEps0p…
 *     old 20852014
 *     PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=        409   text/x.tlog.size
 *     jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=              20852014
 *                                                         400, 403, 404, 422, 429
 *     example.com/logs/audit
 *     20852163                                            GET PREFIX/{hex SHA-256 of the origin}/checkpoint
 *     CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=        the newest checkpoint that it cosigned
 *
 *     — example.com/logs/audit Az3grlgt…
 *
 * `old` is the size that the witness is believed to have cosigned last, 0 for none; the hashes prove that the
 * checkpoint continues that tree. Both sides of Stele read and write these bytes here; what they mean for a
 * log and for a witness is in `witness/`.
 *
 * [C2SP tlog-witness]
 */
import { concat, parseBase64, parseUtf8, sha256, toBase64, toHex, utf8 } from './bytes.ts';
import { cosignatureTime } from './cosignature.ts';
import { parseDecimal } from './decimal.ts';
import { malformed, unverified } from './errors.ts';
import { NOTE_BYTES_MAX, PROOF_HASHES_MAX } from './limits.ts';
import { checkNoteSignature, formatNote, type NoteSignature, parseNote } from './note.ts';
import type { SignatureCheck } from './signature.ts';
import { HASH_BYTES, type Hash, hash, type TreeSize, treeSize } from './units.ts';
import type { VerifierKey } from './verifier-key.ts';

/** The type of the answer that tells the size that a witness has. */
export const TLOG_SIZE_TYPE = 'text/x.tlog.size';

/** "old ", a size, and 63 hashes in base64, each with its line feed. */
const HEAD_BYTES_MAX = 4 + 16 + 1 + PROOF_HASHES_MAX * 45 + 1;

/** Bytes of a whole request. */
export const ADD_CHECKPOINT_BYTES_MAX = HEAD_BYTES_MAX + NOTE_BYTES_MAX;

/** Bytes of an answer that are read: a note's worth of lines. */
export const COSIGNATURES_BYTES_MAX = NOTE_BYTES_MAX;

export interface AddCheckpoint {
  readonly old: TreeSize;
  readonly proof: readonly Hash[];
  /** A signed note, not read yet. */
  readonly checkpoint: Uint8Array;
}

/** The bytes of a request. */
export function formatAddCheckpoint({ old, proof, checkpoint }: AddCheckpoint): Uint8Array {
  const lines = [`old ${old}`, ...proof.map((item) => toBase64(item)), '', ''];
  return concat(utf8(lines.join('\n')), checkpoint);
}

/** Reads a request from a stranger's bytes; throws `malformed`. The checkpoint is not read. */
export function parseAddCheckpoint(bytes: Uint8Array): AddCheckpoint {
  const what = 'add-checkpoint';
  if (bytes.length > ADD_CHECKPOINT_BYTES_MAX) {
    throw malformed(
      what,
      `${bytes.length} bytes where at most ${ADD_CHECKPOINT_BYTES_MAX} are allowed`,
    );
  }
  const end = emptyLineAt(bytes);
  if (end < 0) throw malformed(what, 'no empty line before the checkpoint');
  const [first = '', ...hashes] = parseUtf8(bytes.subarray(0, end), what).split('\n');
  if (!first.startsWith('old ')) throw malformed(what, 'the first line is not "old" and a size');
  const old = treeSize(parseDecimal(first.slice(4), `${what}: old`));
  // SPEC: the client MUST NOT send more than 63 consistency proof lines.
  if (hashes.length > PROOF_HASHES_MAX) {
    throw malformed(what, `${hashes.length} hashes where at most ${PROOF_HASHES_MAX} are allowed`);
  }
  const proof = hashes.map((line) => {
    if (line.length !== 44) throw malformed(what, `a hash is ${HASH_BYTES} bytes in base64`);
    return hash(parseBase64(line, `${what}: hash`), `${what}: hash`);
  });
  return { old, proof, checkpoint: bytes.subarray(end + 2) };
}

/** Where the line before the first empty one ends; −1 if none is within the length of a head. */
function emptyLineAt(bytes: Uint8Array): number {
  const last = Math.min(bytes.length, HEAD_BYTES_MAX) - 1;
  for (let i = 0; i < last; i++) if (bytes[i] === 0x0a && bytes[i + 1] === 0x0a) return i;
  return -1;
}

/** The body that tells a size. */
export function formatTlogSize(size: TreeSize): string {
  return `${size}\n`;
}

/** Reads a size that a witness told; throws `malformed`. */
export function parseTlogSize(bytes: Uint8Array): TreeSize {
  const what = 'size of a witness';
  if (bytes.length > 17) throw malformed(what, `${bytes.length} bytes where 17 are the most`);
  const text = parseUtf8(bytes, what);
  if (!text.endsWith('\n')) throw malformed(what, 'no line feed at the end');
  return treeSize(parseDecimal(text.slice(0, -1), what));
}

/** The body of an answer: the lines alone. */
export function formatCosignatures(signatures: readonly NoteSignature[]): string {
  return formatNote({ text: '', signatures }).slice(1);
}

/** A cosignature that was verified. */
export interface Cosignature {
  readonly key: VerifierKey;
  readonly line: NoteSignature;
  /** Seconds since 1970. */
  readonly time: number;
}

export interface CosignatureOptions {
  /** Seconds since 1970: a later time is of nobody's clock. */
  readonly latest: number;
  /** The engine; the portable one unless a server brings a faster. */
  readonly check?: SignatureCheck;
}

/**
 * The cosignatures of a note text by these keys, from a stranger's answer, at most one for each key. Lines of
 * other keys are left out. Throws `malformed` where the answer is not signature lines, and `unverified` where
 * a line of one of the keys does not hold.
 */
export function openCosignatures(
  bytes: Uint8Array,
  text: string,
  keys: readonly VerifierKey[],
  { latest, check }: CosignatureOptions,
): Cosignature[] {
  const note = parseNote(concat(utf8(`${text}\n`), bytes));
  // The last empty line splits a note: an answer that has one would be text.
  if (note.text !== text) throw malformed('answer of a witness', 'it is more than signature lines');
  const { signatures } = note;
  const found: Cosignature[] = [];
  for (const key of keys) {
    const line = signatures.find((one) => one.name === key.name && one.keyId === key.keyId);
    if (line === undefined) continue;
    checkNoteSignature(key, text, line.signature, check);
    const time = cosignatureTime(line.signature);
    // SPEC: the timestamp MUST NOT be zero.
    if (time === 0 || time > latest) {
      throw unverified(
        `cosignature of ${key.name}`,
        time === 0 ? 'it has no time' : `its time, ${time}, is after ${latest}`,
      );
    }
    found.push({ key, line, time });
  }
  return found;
}

/** Where a witness shows the newest checkpoint of a log that it cosigned, behind its prefix. */
export function checkpointPathOf(origin: string): string {
  return `${toHex(sha256(utf8(origin)))}/checkpoint`;
}
