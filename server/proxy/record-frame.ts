/**
 * The `record` frame: what is needed to submit a record, and to go on with its chain after a restart.
 *
 *     u32 length │ JSON about it │ u32 length │ entry │ sealed disclosures, or nothing
 *
 * The entry is what goes into the log and lies open; salts and values are content and lie sealed.
 */
import { concat, parseUtf8, utf8 } from '../core/bytes.ts';
import { malformed } from '../core/errors.ts';
import type { Damage } from './journal/scan.ts';

/** A body that travels beside an entry, and where its bytes are. */
export interface BodyRef {
  /** The commitment's name: "request.body". */
  readonly field: string;
  readonly of: 'request' | 'response' | 'content';
  readonly bytes: number;
  /** Content frames, and the name they are sealed under; the end frame has those of the other two. */
  readonly frames?: readonly number[];
  readonly sealed_as?: string;
}

export interface RecordMeta {
  readonly kind: 'inference' | 'intent' | 'gap' | 'heartbeat';
  /** The gap names a source that this one replaces. */
  readonly replaces?: string;
  /** The gap counts this batch of calls (`missed.ts`). */
  readonly missed?: string;
  readonly record_id: string;
  /** The source, and the origin of the log that the record was made for. */
  readonly source: string;
  readonly log: string;
  readonly seq: number;
  /** SHA-256 of the payload, base64url: the `prev` of the next record. */
  readonly digest: string;
  /** The position of the record that this one takes the place of: it was made for a log that ended without it. */
  readonly instead_of?: number;
  /** The call that an intent is of: its own id is another. */
  readonly call?: string;
  /** Positions of the call's first and last frame; an intent knows of no last one. */
  readonly begin?: number;
  readonly end?: number;
  readonly bodies?: readonly BodyRef[];
  /** Damage that this gap puts on record, so that it is not reported again. */
  readonly damage?: readonly Damage[];
  /** Seqs [from, to) that this gap explains. */
  readonly explains?: { readonly from: number; readonly to: number };
}

export interface RecordFrame {
  readonly meta: RecordMeta;
  readonly entry: Uint8Array;
  readonly disclosures: Uint8Array;
}

export function encodeRecordFrame(frame: RecordFrame): Uint8Array {
  const meta = utf8(JSON.stringify(frame.meta));
  return concat(u32(meta.length), meta, u32(frame.entry.length), frame.entry, frame.disclosures);
}

export function decodeRecordFrame(payload: Uint8Array): RecordFrame {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const metaEnd = payload.length < 4 ? Number.NaN : 4 + view.getUint32(0);
  const entryAt = metaEnd + 4;
  if (!(entryAt <= payload.length)) throw malformed('record frame', 'it is cut short');
  const entryEnd = entryAt + view.getUint32(metaEnd);
  if (entryEnd > payload.length) throw malformed('record frame', 'its entry is cut short');
  return {
    // Written by this program and covered by the frame's checksum.
    meta: JSON.parse(parseUtf8(payload.subarray(4, metaEnd), 'record frame')) as RecordMeta,
    entry: payload.slice(entryAt, entryEnd),
    disclosures: payload.slice(entryEnd),
  };
}

function u32(n: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, n);
  return bytes;
}
