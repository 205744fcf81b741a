/**
 * The heads of an audit: did the keys sign that had to, and nobody else in the log's name?
 *
 * Which keys a head of some size has lines of follows from the log's own control records, which are read by
 * then (`verify/key-history.ts`). Where the reader brought keys of his own, one of them has to be among those
 * that signed as well: what the log says of itself is not enough for him.
 */
import { type Checkpoint, parseCheckpoint } from '../../core/checkpoint.ts';
import { SteleError } from '../../core/errors.ts';
import {
  checkNoteSignature,
  type Note,
  type NoteSignature,
  parseNote,
  type VerifierKey,
} from '../../core/note.ts';
import { keysGoodAt, type TrustedKey } from '../../core/trust.ts';
import type { KeyHistory, LogKey } from '../../verify/key-history.ts';
import type { Findings } from './findings.ts';

/** A head as its bytes claim it: nothing is verified yet. */
export interface ClaimedHead extends Checkpoint {
  readonly from: string;
  readonly note: Note;
  /** A head that is served as `LOG/checkpoint` has the anchor keys' lines too. */
  readonly isPublished: boolean;
}

export function readClaim(bytes: Uint8Array, from: string, isPublished: boolean): ClaimedHead {
  const note = parseNote(bytes);
  return { ...parseCheckpoint(note.text), from, note, isPublished };
}

export interface HeadRules {
  readonly origin: string;
  /** What the log says of its keys; nothing where its records were not read. */
  readonly history: KeyHistory | undefined;
  /** What the reader knows of them. */
  readonly trusted: readonly TrustedKey[] | undefined;
  /** Without either: the keys that genesis names. */
  readonly genesis: readonly VerifierKey[];
}

/** Adds what is wrong with the lines of a head. */
export function judgeHead(head: ClaimedHead, rules: HeadRules, findings: Findings): void {
  const fail = (what: string) => findings.add('fail', `${head.from}: ${what}`);
  if (head.origin !== rules.origin) {
    fail(`it is of ${head.origin} and not of ${rules.origin}`);
    return;
  }
  if (rules.history !== undefined) judgeByHistory(head, rules.history, fail);
  if (rules.trusted !== undefined) {
    const keys = keysGoodAt(rules.trusted, head.size);
    if (!keys.some((key) => hasGoodLine(head, key))) {
      fail(`no line is by a key that is trusted here for size ${head.size}`);
    }
  } else if (rules.history === undefined && !rules.genesis.some((key) => hasGoodLine(head, key))) {
    const what =
      'its line is by no key of genesis, and whether another followed shows only in the records';
    findings.add('unknown', `${head.from}: ${what}`);
  }
}

function judgeByHistory(
  head: ClaimedHead,
  history: KeyHistory,
  fail: (what: string) => void,
): void {
  const { size, note } = head;
  const identity = history.signing('identity', size);
  const anchor = history.signing('anchor', size);
  for (const key of identity) judgeLine(head, key, true, fail);
  for (const key of anchor) judgeLine(head, key, head.isPublished, fail);
  const known = [...identity, ...anchor];
  for (const line of note.signatures) {
    if (line.name !== head.origin || known.some(({ key }) => isLineOf(key, line))) continue;
    const ended = history.all().find(({ key }) => isLineOf(key, line));
    const id = `${line.name}+${line.keyId}`;
    if (ended === undefined) fail(`key ${id} signs, and no control record announced it`);
    else {
      const { announced, ended: end } = ended;
      const until = end === undefined ? '' : ` to ${end.lastSize}`;
      fail(`key ${id} signs, and is for heads of size ${announced + 1}${until}, not of ${size}`);
    }
  }
}

function judgeLine(
  { note, size }: ClaimedHead,
  { purpose, key, announced }: LogKey,
  isNeeded: boolean,
  fail: (what: string) => void,
): void {
  const line = note.signatures.find((one) => isLineOf(key, one));
  const id = `${key.name}+${key.keyId}`;
  if (line === undefined) {
    if (!isNeeded) return;
    const since = `which entry ${announced} announced`;
    fail(`${purpose} key ${id}, ${since}, has no line on it, and had to sign size ${size}`);
    return;
  }
  try {
    checkNoteSignature(key, note.text, line.signature);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    fail(error.message);
  }
}

function hasGoodLine({ note }: ClaimedHead, key: VerifierKey): boolean {
  const line = note.signatures.find((one) => isLineOf(key, one));
  if (line === undefined) return false;
  try {
    checkNoteSignature(key, note.text, line.signature);
    return true;
  } catch (error) {
    if (error instanceof SteleError) return false;
    throw error;
  }
}

function isLineOf(key: VerifierKey, line: NoteSignature): boolean {
  return line.name === key.name && line.keyId === key.keyId;
}
