/**
 * Many entries in one request, and the answer to it [docs/formats-http.md].
 *
 *     request   length entry │ length entry │ …
 *     answer    length head  │ length result │ length result │ …     one result for each entry, in order
 *
 * Every byte of an answer is a stranger's. A result counts only if its proof leads from the entry that was
 * sent to the one checkpoint of the answer.
 */
import protobuf from 'protobufjs/minimal.js';
import { concat, equalBytes, utf8 } from '../core/bytes.ts';
import { SteleError, unverified } from '../core/errors.ts';
import {
  BATCH_BYTES_MAX,
  BATCH_ENTRIES_MAX,
  NOTE_BYTES_MAX,
  PROOF_HASHES_MAX,
} from '../core/limits.ts';
import { leafHash } from '../core/merkle.ts';
import { parseNote } from '../core/note.ts';
import { checkInclusion } from '../core/proof.ts';
import { type Checkpoint, parseCheckpoint } from '../core/tree-head.ts';
import { HASH_BYTES, type Hash, hash, type LeafIndex, leafIndex } from '../core/units.ts';
import { BadAnswer, believed, parseProblem } from './problem.ts';

/** An entry, and what proves its place: all of a receipt but for whose keys signed. */
export interface Proven {
  /** As it was logged: of a repeat, the first one's bytes, perhaps signed otherwise. */
  readonly entry: Uint8Array;
  readonly index: LeafIndex;
  readonly proof: readonly Hash[];
  /** A signed note, verbatim. */
  readonly checkpoint: string;
  readonly repeat: boolean;
}

/** A result as it came: its leaf may be of another entry than the one that was sent, where that repeats it. */
export interface BatchResult extends Omit<Proven, 'entry'> {
  readonly leafHash: Hash;
}

/** What a result takes at most: a proof and its framing, or a problem document. */
const RESULT_BYTES_MAX = 8_192;

export function answerBytesMax(entries: number): number {
  return NOTE_BYTES_MAX + 64 + entries * RESULT_BYTES_MAX;
}

/** Runs of `items` that each fit one request, in order; `bytesOf` says what one takes of it. */
export function partsOf<T>(items: readonly T[], bytesOf: (item: T) => number): T[][] {
  const parts: T[][] = [];
  let bytes = 0;
  for (const item of items) {
    const length = framedBytes(bytesOf(item));
    const part = parts.at(-1);
    const fits = part !== undefined && part.length < BATCH_ENTRIES_MAX;
    if (fits && bytes + length <= BATCH_BYTES_MAX) {
      part.push(item);
      bytes += length;
    } else {
      parts.push([item]);
      bytes = length;
    }
  }
  return parts;
}

/** What an entry of so many bytes takes of a batch. */
export function framedBytes(length: number): number {
  return varint(length).length + length;
}

/** The body of a request. */
export function encodeBatch(entries: readonly Uint8Array[]): Uint8Array {
  return concat(...entries.flatMap((entry) => [varint(entry.length), entry]));
}

/**
 * What became of each of these entries; throws `BadAnswer` if the answer is not about them, in their order,
 * or if a proof does not lead to its checkpoint.
 */
export function openBatchAnswer(
  answer: Uint8Array,
  entries: readonly Uint8Array[],
): (BatchResult | SteleError)[] {
  return believed(() => {
    const [first, ...rest] = framesOf(answer, entries.length + 1);
    if (first === undefined) throw unverified('batch', 'there is no head');
    if (rest.length !== entries.length) {
      throw unverified('batch', `${rest.length} results for ${entries.length} entries`);
    }
    const { checkpoint, size } = readHead(first);
    const head = parseCheckpoint(parseNote(utf8(checkpoint)).text);
    if (head.size !== size) {
      throw unverified('batch', `a head of ${size} with a checkpoint of ${head.size}`);
    }
    return rest.map((frame, i) => {
      const entry = entries[i] as Uint8Array;
      const result = readResult(frame, checkpoint);
      if (!(result instanceof SteleError)) checkResult(result, entry, head, i);
      return result;
    });
  });
}

function checkResult(result: BatchResult, entry: Uint8Array, head: Checkpoint, i: number): void {
  if (!result.repeat && !equalBytes(result.leafHash, leafHash(entry))) {
    throw unverified('batch', `result ${i} is about another entry than the one that was sent`);
  }
  const { index, leafHash: leaf, proof } = result;
  checkInclusion({ index, size: head.size, leafHash: leaf, proof, root: head.root });
}

function varint(value: number): Uint8Array {
  return protobuf.Writer.create().uint32(value).finish();
}

/** The messages of an answer, at most `max` of them. */
function framesOf(answer: Uint8Array, max: number): Uint8Array[] {
  const reader = protobuf.Reader.create(answer);
  const frames: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    if (frames.length === max) throw unverified('batch', `more than ${max - 1} results`);
    frames.push(read(() => reader.bytes()));
  }
  return frames;
}

function readHead(frame: Uint8Array): { readonly checkpoint: string; readonly size: number } {
  let checkpoint = '';
  let size = 0;
  readFields(frame, {
    1: (reader) => (checkpoint = reader.string()),
    2: (reader) => (size = count(reader)),
  });
  return { checkpoint, size };
}

function readResult(frame: Uint8Array, checkpoint: string): BatchResult | SteleError {
  let index = 0;
  let leaf: Uint8Array = new Uint8Array(0);
  const proof: Hash[] = [];
  let repeat = false;
  let problem: string | undefined;
  readFields(frame, {
    1: (reader) => (index = count(reader)),
    2: (reader) => (leaf = reader.bytes()),
    3: (reader) => {
      if (proof.length === PROOF_HASHES_MAX) throw unverified('batch', 'a proof is too long');
      proof.push(hash(bytesOf(reader), 'proof'));
    },
    4: (reader) => (repeat = reader.bool()),
    5: (reader) => (problem = reader.string()),
  });
  if (problem !== undefined) {
    // What the server itself cannot say a code for is its own fault, and passes.
    return parseProblem(utf8(problem)) ?? new SteleError('storage', 'the server failed on it');
  }
  if (leaf.length !== HASH_BYTES) throw unverified('batch', 'a result without a leaf hash');
  return {
    index: leafIndex(index),
    leafHash: hash(bytesOf(leaf)),
    proof,
    checkpoint,
    repeat,
  };
}

/** Reads the fields of a message, each by what is known of it; one that is not known may come some day. */
function readFields(
  frame: Uint8Array,
  fields: Readonly<Record<number, (reader: protobuf.Reader) => unknown>>,
): void {
  const reader = protobuf.Reader.create(frame);
  read(() => {
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      const field = fields[tag >>> 3];
      if (field === undefined) reader.skipType(tag & 7);
      else field(reader);
    }
  });
}

/** What the decoder throws is about the bytes. */
function read<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof SteleError) throw cause;
    throw new BadAnswer('it is not in the form of a batch', cause);
  }
}

/** A uint64: a number, or, where the package `long` is installed, an object that prints one. */
function count(reader: protobuf.Reader): number {
  return Number(String(reader.uint64()));
}

/** A copy: what the reader gives is part of the whole answer. */
function bytesOf(from: protobuf.Reader | Uint8Array): Uint8Array {
  return Uint8Array.from(from instanceof Uint8Array ? from : from.bytes());
}
