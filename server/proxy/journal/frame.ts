/**
 * The journal's framing: where does one frame end and the next begin, and is it whole?
 *
 *     magic "stJ1" │ payload bytes │ type │ call            │ CRC-32 │ payload …
 *     4 bytes      │ u32           │ u8   │ 16 bytes (UUID) │ u32    │
 *
 * The checksum covers everything between the magic and itself, and the payload. It finds torn and
 * rotten bytes, not changed ones: what must not be changed is sealed inside the payload or signed.
 * The magic lets a reader find the next frame behind a damaged place.
 */
import { crc32 } from 'node:zlib';
import { concat } from '../../core/bytes.ts';
import { invariant } from '../../core/errors.ts';

/** What a frame says; the numbers are on disk and never change their meaning. */
export const FRAME = {
  /** First frame of each segment: the source's chain as it stood there. */
  chain: 1,
  /** A call begins: its wrapped data key and sealed facts. */
  begin: 2,
  /** Sealed bytes of the request. */
  request: 3,
  /** The request is whole: sealed byte count and hash. */
  requested: 4,
  /** Sealed status and headers of the answer. */
  head: 5,
  /** Sealed bytes of the answer. */
  response: 6,
  /** The call ended: sealed facts, and where its frames are. A later one replaces an earlier one. */
  end: 7,
  /** A signed record, before it is submitted, with its sealed disclosures. */
  record: 8,
  /** A record is in the log: the record frame's position, and the leaf index. */
  logged: 9,
  /** A record was refused for good and set aside. */
  refused: 10,
  /** A call whose frames are not to be recorded by themselves: a gap covers it. */
  dropped: 11,
  /** Sealed bytes of content that is neither body: a normalized value too large for a disclosure. */
  content: 12,
  /** The log has ended: where the chain goes on, and in which log. */
  rolled: 13,
  /** What rules said of a request: sealed facts, and where the frames are of what goes on in its place. */
  judged: 14,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

const TYPES: ReadonlySet<number> = new Set(Object.values(FRAME));

/** "stJ1" */
const MAGIC = 0x7374_4a31;

export const FRAME_HEADER_BYTES = 29;

/** The largest payload: a record with all its disclosures, each at most 1 MiB, fits [DISCLOSURES_MAX]. */
export const FRAME_PAYLOAD_BYTES_MAX = 80 * 1_048_576;

/** The call of frames that belong to none. */
export const NO_CALL = '00000000-0000-0000-0000-000000000000';

export interface FrameHeader {
  readonly type: FrameType;
  /** The call's record_id, or `NO_CALL`. */
  readonly call: string;
  readonly length: number;
  readonly crc: number;
}

export interface Frame extends FrameHeader {
  readonly payload: Uint8Array;
}

export function encodeFrame(type: FrameType, call: string, payload: Uint8Array): Uint8Array[] {
  invariant(payload.length <= FRAME_PAYLOAD_BYTES_MAX, 'a frame fits the journal');
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(MAGIC, 0);
  header.writeUInt32BE(payload.length, 4);
  header.writeUInt8(type, 8);
  header.set(uuidBytes(call), 9);
  header.writeUInt32BE(checksum(header, payload), 25);
  return [header, payload];
}

/** The header at the start of `bytes`, or nothing if there is none. Says nothing of the payload. */
export function decodeFrameHeader(bytes: Uint8Array): FrameHeader | undefined {
  if (bytes.length < FRAME_HEADER_BYTES) return undefined;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, FRAME_HEADER_BYTES);
  const type = view.readUInt8(8);
  const length = view.readUInt32BE(4);
  if (view.readUInt32BE(0) !== MAGIC || !TYPES.has(type)) return undefined;
  if (length > FRAME_PAYLOAD_BYTES_MAX) return undefined;
  return {
    type: type as FrameType,
    call: uuidText(view.subarray(9, 25)),
    length,
    crc: view.readUInt32BE(25),
  };
}

/** Whether the header, as it stands at the start of `bytes`, and `payload` are what was written. */
export function isWhole(header: FrameHeader, bytes: Uint8Array, payload: Uint8Array): boolean {
  return payload.length === header.length && checksum(bytes, payload) === header.crc;
}

/** Offset of the next place at or after `from` where a frame could begin, or -1. */
export function findMagic(bytes: Uint8Array, from: number): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf('stJ1', from, 'latin1');
}

function checksum(header: Uint8Array, payload: Uint8Array): number {
  return crc32(payload, crc32(header.subarray(4, 25)));
}

function uuidBytes(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  invariant(bytes.length === 16, `${text} is a UUID`);
  return bytes;
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}

/** One frame as one allocation, for tests and copies. */
export function frameBytes(type: FrameType, call: string, payload: Uint8Array): Uint8Array {
  return concat(...encodeFrame(type, call, payload));
}
