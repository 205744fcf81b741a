/**
 * How are many entries put into one body, and their results into one answer?
 *
 * Two framings, answered in kind: lines of JSON, and protobuf messages each preceded by its length.
 * Splitting only finds where each entry begins and ends; a frame that cannot be found refuses the whole
 * body, what is inside a frame concerns that entry alone.
 */
import protobuf from 'protobufjs/minimal.js';
import { toHex } from '../core/bytes.ts';
import { malformed, SteleError } from '../core/errors.ts';
import { ENTRY_BYTES_MAX } from '../core/limits.ts';
import type { Hash } from '../core/units.ts';
import { formatProof } from './answer.ts';
import type { Problem } from './problem.ts';
import { BATCH_ENTRIES_MAX, ENVELOPE_BYTES_MAX } from './settings.ts';

export interface BatchHead {
  readonly checkpoint: string;
  readonly size: number;
}

export interface BatchResult {
  readonly index: number;
  readonly leafHash: Hash;
  readonly proof: readonly Hash[];
  readonly repeat: boolean;
}

export interface Framing {
  /** The frames in order. Bytes from strangers. */
  split(body: Uint8Array): Uint8Array[];
  head(head: BatchHead): Uint8Array;
  result(result: BatchResult): Uint8Array;
  problem(problem: Problem): Uint8Array;
}

const NEWLINE = 10;

export const ndjson: Framing = {
  split(body) {
    const frames: Uint8Array[] = [];
    for (let at = 0; at < body.length; ) {
      const end = body.indexOf(NEWLINE, at);
      const frame = body.subarray(at, end < 0 ? body.length : end);
      if (frame.length === 0) throw malformed('batch', `line ${frames.length} is empty`);
      addFrame(frames, frame, ENVELOPE_BYTES_MAX);
      at += frame.length + 1;
    }
    return frames;
  },
  head: ({ checkpoint, size }) => line(JSON.stringify({ checkpoint, size })),
  result: ({ index, leafHash, proof, repeat }) =>
    line(
      `{"index":${index},"leaf_hash":"${toHex(leafHash)}","proof":${formatProof(proof)},"repeat":${repeat}}`,
    ),
  problem: (problem) => line(JSON.stringify(problem)),
};

function line(text: string): Uint8Array {
  return Buffer.from(`${text}\n`);
}

export const delimited: Framing = {
  split(body) {
    const frames: Uint8Array[] = [];
    for (let at = 0; at < body.length; ) {
      const { value, next } = decodeLength(body, at, frames.length);
      if (next + value > body.length) {
        throw malformed(
          'batch',
          `entry ${frames.length} has ${value} bytes where ${body.length - next} are left`,
        );
      }
      addFrame(frames, body.subarray(next, next + value), ENTRY_BYTES_MAX);
      at = next + value;
    }
    return frames;
  },
  head({ checkpoint, size }) {
    const writer = protobuf.Writer.create().fork().uint32(10).string(checkpoint);
    return writer.uint32(16).uint64(size).ldelim().finish();
  },
  result({ index, leafHash, proof, repeat }) {
    const writer = protobuf.Writer.create().fork();
    if (index > 0) writer.uint32(8).uint64(index);
    writer.uint32(18).bytes(leafHash);
    for (const hash of proof) writer.uint32(26).bytes(hash);
    if (repeat) writer.uint32(32).bool(true);
    return writer.ldelim().finish();
  },
  problem(problem) {
    const writer = protobuf.Writer.create().fork();
    return writer.uint32(42).string(JSON.stringify(problem)).ldelim().finish();
  },
};

/** A length of one to three bytes, in its shortest spelling. */
function decodeLength(body: Uint8Array, at: number, entry: number) {
  let value = 0;
  for (let i = 0; i < 3; i++) {
    const byte = body[at + i];
    if (byte === undefined) throw malformed('batch', `entry ${entry}: its length breaks off`);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (i > 0 && byte === 0) throw malformed('batch', `entry ${entry}: its length is overlong`);
      return { value, next: at + i + 1 };
    }
  }
  throw malformed('batch', `entry ${entry}: its length is over ${ENTRY_BYTES_MAX} bytes`);
}

function addFrame(frames: Uint8Array[], frame: Uint8Array, bytesMax: number): void {
  if (frame.length > bytesMax) {
    throw new SteleError(
      'too_large',
      `batch: entry ${frames.length} has ${frame.length} bytes where at most ${bytesMax} are taken`,
    );
  }
  if (frames.length === BATCH_ENTRIES_MAX) {
    throw new SteleError('too_large', `batch: more than ${BATCH_ENTRIES_MAX} entries`);
  }
  frames.push(frame);
}
