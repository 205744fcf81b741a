/**
 * How do signatures travel to a verifying thread?
 *
 * Packed: one buffer for a whole batch, which changes hands without a copy, where a list of small
 * arrays would be cloned one by one. A key goes once to each thread; after that its number stands for it.
 *
 *     per job   u32 key number · u32 message length · u32 signature length · message · signature
 */
import type { Code } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';

/** One signature to check. */
export interface VerifierJob {
  readonly key: PublicKey;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

/** What the pool sends: a batch, and the keys in it that this thread has not seen. */
export interface BatchRequest {
  readonly jobs: ArrayBuffer;
  readonly newKeys: readonly (readonly [number: number, alg: string, spki: Uint8Array])[];
  /** Whether to forget all keys first, their numbers start again from 0. */
  readonly forget: boolean;
}

/** What comes back: the jobs that do not hold, by position. All others do. */
export interface BatchReply {
  readonly failures: readonly (readonly [position: number, code: Code, message: string])[];
}

const HEADER_BYTES = 12;

/** Bytes that a job takes in a batch. */
export function packedBytes(job: VerifierJob): number {
  return HEADER_BYTES + job.message.length + job.signature.length;
}

/** Packs jobs, each with the number of its key. */
export function packJobs(
  jobs: readonly VerifierJob[],
  numberOf: (key: PublicKey) => number,
): ArrayBuffer {
  let length = 0;
  for (const job of jobs) length += packedBytes(job);
  // An allocation of its own: a small Buffer is a slice of a pool, which cannot be transferred.
  const packed = new ArrayBuffer(length);
  const bytes = new Uint8Array(packed);
  const view = new DataView(packed);
  let at = 0;
  for (const { key, message, signature } of jobs) {
    view.setUint32(at, numberOf(key));
    view.setUint32(at + 4, message.length);
    view.setUint32(at + 8, signature.length);
    bytes.set(message, at + HEADER_BYTES);
    bytes.set(signature, at + HEADER_BYTES + message.length);
    at += HEADER_BYTES + message.length + signature.length;
  }
  return packed;
}

/** The jobs of a batch in order, as views into it. */
export function* unpackJobs(
  packed: ArrayBuffer,
): Generator<{ number: number; message: Uint8Array; signature: Uint8Array }> {
  const view = new DataView(packed);
  for (let at = 0; at < packed.byteLength; ) {
    const messageEnd = at + HEADER_BYTES + view.getUint32(at + 4);
    const end = messageEnd + view.getUint32(at + 8);
    yield {
      number: view.getUint32(at),
      message: new Uint8Array(packed, at + HEADER_BYTES, messageEnd - at - HEADER_BYTES),
      signature: new Uint8Array(packed, messageEnd, end - messageEnd),
    };
    at = end;
  }
}
