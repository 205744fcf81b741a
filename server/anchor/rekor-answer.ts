/**
 * What is kept of Rekor's answer until it is verified, and after.
 *
 *     {"entry": …, "is_new": true, "raw": "…", "received_ms": 1795231520123, "timestamps": ["…"], "v": 1}
 *
 * `raw` is the body as it came. Where Rekor v2 says that an entry is there already it sends none: then
 * `entry` is what was put together from its files, and `raw` is not there. With it are the time stamps that
 * were asked for, and the time by our clock.
 */
import { parseBase64, toBase64, utf8 } from '../core/bytes.ts';
import { canonicalize, parseCanonical } from '../core/canonical.ts';
import { malformed } from '../core/errors.ts';
import { NOTE_BYTES_MAX, TIMESTAMP_BYTES_MAX } from '../core/limits.ts';
import { base64, bool, int, list, object, read } from '../core/schema.ts';
import type { RekorVersion } from '../core/sigstore/hashedrekord.ts';
import { TIMESTAMPS_MAX } from '../core/sigstore/sigstore-bundle.ts';
import {
  entryOf,
  parseAnswerV1,
  parseAnswerV2,
  TLOG_ENTRY,
  type TlogEntry,
  tlogEntryJson,
} from '../core/sigstore/tlog-entry.ts';

/** Bytes of any answer of Rekor's: an entry, and a checkpoint with all the lines that a note may have. */
export const ANSWER_BYTES_MAX = 2 * NOTE_BYTES_MAX;

/** An entry as it came, or as it was put together. */
export interface Got {
  /** Whether it was taken up for this request, and was not there before. */
  readonly isNew: boolean;
  readonly found: { readonly raw: Uint8Array } | { readonly entry: TlogEntry };
}

export interface RekorAnswer {
  readonly isNew: boolean;
  readonly entry: TlogEntry;
  readonly receivedMs: number;
  readonly timestamps: readonly Uint8Array[];
}

const SHAPE = object(
  {
    v: int(1, 1),
    is_new: bool,
    received_ms: int(),
    timestamps: list(base64(TIMESTAMP_BYTES_MAX), TIMESTAMPS_MAX),
  },
  { raw: base64(ANSWER_BYTES_MAX), entry: TLOG_ENTRY },
);

const WHAT = 'kept answer of rekor';

export function formatRekorAnswer({
  isNew,
  found,
  receivedMs,
  timestamps,
}: Got & Pick<RekorAnswer, 'receivedMs' | 'timestamps'>): Uint8Array {
  return utf8(
    canonicalize({
      v: 1,
      is_new: isNew,
      received_ms: receivedMs,
      timestamps: timestamps.map(toBase64),
      ...('raw' in found ? { raw: toBase64(found.raw) } : { entry: tlogEntryJson(found.entry) }),
    }),
  );
}

/** Throws `malformed`, also for what Rekor answered. */
export function parseRekorAnswer(bytes: Uint8Array, version: RekorVersion): RekorAnswer {
  const { is_new, received_ms, timestamps, raw, entry } = read(
    SHAPE,
    parseCanonical(bytes, WHAT),
    WHAT,
  );
  const kept = {
    isNew: is_new,
    receivedMs: received_ms,
    timestamps: timestamps.map((item) => parseBase64(item, WHAT)),
  };
  if (raw !== undefined && entry === undefined) {
    const parse = version === 1 ? parseAnswerV1 : parseAnswerV2;
    return { ...kept, entry: parse(parseBase64(raw, WHAT)) };
  }
  if (entry === undefined || raw !== undefined) {
    throw malformed(WHAT, 'it has the bytes that came, or an entry that was put together');
  }
  return { ...kept, entry: entryOf(entry) };
}
