/**
 * How is one entry written as a line of a log's feed, for programs that read JSON?
 *
 *     {"index":3,"leaf_hash":"9f…","entry":"CvIB…","record":{"kind":"inference",…}}
 *
 * All of it follows from the index and the entry, so a line has one spelling: whoever has read it knows
 * that leaf hash and record are those of the entry. Whether the entry is in a log, and where, is for
 * proofs to say.
 */
import { parseBase64, parseUtf8, toBase64, toHex } from './bytes.ts';
import { parseDecimal } from './decimal.ts';
import { decodeEntry, RECORD_TYPE } from './entry.ts';
import { malformed } from './errors.ts';
import { leafHash } from './merkle.ts';

/** Bytes of a line: the largest entry in base64, 87,380, its payload again, and the names. */
export const FEED_LINE_BYTES_MAX = 160_000;

/** The line, without its end. `bytes` are an entry that was admitted: its record is JSON in one line. */
export function formatFeedLine(index: number, bytes: Uint8Array): string {
  const { payloadType, payload } = decodeEntry(bytes);
  const record = payloadType === RECORD_TYPE ? `,"record":${parseUtf8(payload, 'record')}` : '';
  const hash = toHex(leafHash(bytes));
  return `{"index":${index},"leaf_hash":"${hash}","entry":"${toBase64(bytes)}"${record}}`;
}

export interface FeedLine {
  readonly index: number;
  readonly entry: Uint8Array;
  /** The line itself, without its end. */
  readonly text: string;
}

const BEGIN =
  /^\{"index":([0-9]{1,16}),"leaf_hash":"[0-9a-f]{64}","entry":"([A-Za-z0-9+/=]{4,87380})"/;

/** Reads a line. Bytes from strangers. */
export function parseFeedLine(bytes: Uint8Array): FeedLine {
  if (bytes.length > FEED_LINE_BYTES_MAX) {
    throw malformed('feed', `a line of ${bytes.length} bytes, at most ${FEED_LINE_BYTES_MAX}`);
  }
  const text = parseUtf8(bytes, 'feed');
  const [, digits, base64] = BEGIN.exec(text) ?? [];
  if (digits === undefined || base64 === undefined) {
    throw malformed('feed', 'a line does not begin with index, leaf_hash and entry');
  }
  const index = parseDecimal(digits, 'index');
  const entry = parseBase64(base64, 'entry');
  if (formatFeedLine(index, entry) !== text) {
    throw malformed('feed', `line ${index} says something else than its entry`);
  }
  return { index, entry, text };
}
