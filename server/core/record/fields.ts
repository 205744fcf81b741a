/**
 * The smallest parts of a record: what is a time, a digest, an identifier?
 *
 * Numbers are whole and at most 2^53 − 1, since a fraction has as many spellings as there are readers;
 * decimals are text in one spelling. Nothing is null that could be absent.
 */
import { utf8 } from '../bytes.ts';
import { LOG_KEYS_MAX, ORIGIN_BYTES_MAX, RECORD_TEXT_MAX, SOURCE_ID_MAX } from '../limits.ts';
import {
  base64,
  bool,
  constant,
  int,
  list,
  nullable,
  object,
  oneOf,
  pattern,
  type Shape,
  type Shaped,
  test,
  text,
  where,
} from '../schema.ts';
import { isKeyName } from '../verifier-key.ts';

export const SCHEMA = 'stele.record/1';

/** The reserved source of control records. */
export const CONTROL_SOURCE = '_log';

export const str = text(RECORD_TEXT_MAX);

/** 32 bytes in base64url without padding: 43 characters, of which the last has two bits that are zero. */
export const dig = pattern(
  /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/,
  '32 bytes in unpadded base64url',
  43,
);

/** Lower case, words joined by "-", "_" or ".": values that reports count and group by. */
export const token = pattern(
  /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/,
  'lower-case words joined by "-", "_" or "."',
  64,
);

export const sourceId = pattern(
  /^[\x21-\x7e]+$/,
  `1 to ${SOURCE_ID_MAX} visible ASCII characters`,
  SOURCE_ID_MAX,
);

export const origin = test((v): v is string => typeof v === 'string' && isOrigin(v), 'an origin');

/** The rule of `checkOrigin`, as an answer. */
function isOrigin(value: string): boolean {
  return (
    value.length <= ORIGIN_BYTES_MAX && isKeyName(value) && utf8(value).length <= ORIGIN_BYTES_MAX
  );
}

/** [RFC 9562 §5.7], in lower case. */
export const uuidv7 = pattern(
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  'a UUIDv7 in lower case',
);

export const keyid = pattern(/^[0-9a-f]{64}$/, '64 lower-case hex digits');

/** A decimal number in one spelling: no exponent, no plus, no leading or trailing zeros, no "-0". */
export const dec = pattern(
  /^(?:0|-?(?:[1-9][0-9]*(?:\.[0-9]*[1-9])?|0\.[0-9]*[1-9]))$/,
  'a decimal number in its shortest spelling',
  64,
);

const TIMESTAMP = /^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.[0-9]{6}Z$/;

/** RFC 3339 in UTC, six decimals and Z, of a day that there is. A leap second has no spelling. */
export const ts = test(
  (v): v is string => typeof v === 'string' && v.length === 27 && isTime(v),
  'a time like 2026-09-01T10:15:30.123456Z',
);

function isTime(value: string): boolean {
  const match = TIMESTAMP.exec(value);
  if (match === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match
    .slice(1)
    .map(Number);
  if (month < 1 || month > 12 || day < 1 || day > daysOf(year, month)) return false;
  return hour < 24 && minute < 60 && second < 60;
}

function daysOf(year: number, month: number): number {
  if (month !== 2) return [4, 6, 9, 11].includes(month) ? 30 : 31;
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
}

const PROVENANCES = ['observed', 'reported', 'imported'] as const;
const COMPLETENESS = ['full', 'metadata-only', 'truncated'] as const;

/** Who made the record, and where it stands in that source's chain. */
export const source = where(
  object(
    {
      id: sourceId,
      instance: str,
      seq: int(),
      prev: nullable(dig),
      provenance: oneOf(PROVENANCES),
      completeness: oneOf(COMPLETENESS),
      software: str,
    },
    { truncated_fields: list(token, 64, 1) },
  ),
  ({ completeness, truncated_fields }) =>
    truncated_fields !== undefined && completeness !== 'truncated'
      ? { path: 'truncated_fields', rule: `completeness is ${completeness} and not truncated` }
      : undefined,
);

/** What the times are worth: how the clock is kept, and how far off it may be where that is known. */
export const clock = object({ source: token }, { max_error_us: int() });

/** A list of distinct record ids. */
export const recordIds = distinct(list(uuidv7, 64, 1));

/** The public half of a key, and its algorithm. */
export const publicKey = {
  alg: oneOf(['ed25519', 'ecdsa-p256', 'ecdsa-p384', 'rsa-pss']),
  spki: base64(1_024),
};

/** A verifier key as a line; its key is judged where it is used. */
export const vkey = pattern(
  /^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2}$/,
  'a verifier key',
  4_096,
);

export const vkeys = distinct(list(vkey, LOG_KEYS_MAX, 1));

/** Every record has these; `kind` and what belongs to it come on top. */
export const common = {
  schema: constant(SCHEMA),
  log: origin,
  record_id: uuidv7,
  source,
};

/** `time` of a record that is not about a call. */
export const plainTime = object({ received: ts }, { clock });

export type Source = Shaped<typeof source>;

export function distinct(shape: Shape<readonly string[]>): Shape<readonly string[]> {
  return where(shape, (items) => {
    const at = items.findIndex((item, i) => items.indexOf(item) !== i);
    return at < 0 ? undefined : { path: `[${at}]`, rule: 'it occurs twice' };
  });
}

export { bool, int };
