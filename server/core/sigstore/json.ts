/**
 * JSON as Sigstore writes it, which is protobuf's: bytes in base64, 64-bit numbers as text, and what has its
 * default perhaps left out.
 *
 * Files and answers that others make may say more than is known here; `known` takes what is, so that a new
 * member at their end breaks nothing at ours. What we make ourselves is read closed.
 *
 * [protobuf "ProtoJSON Format"]
 */
import { parseDecimal } from '../decimal.ts';
import { malformed, shown } from '../errors.ts';
import { isJsonObject, type Json, type JsonObject } from '../json.ts';
import { pattern, type Shape } from '../schema.ts';

/** Which members of an object are known: true for a value that is taken whole. */
export interface Known {
  readonly [name: string]: true | Known;
}

/** The known members of `value`, without those that are null: in protobuf's JSON that is "not set". */
export function known(value: Json, members: Known): Json {
  if (Array.isArray(value)) return value.map((item) => known(item, members));
  if (!isJsonObject(value)) return value;
  const taken: { [name: string]: Json } = {};
  for (const [name, inner] of Object.entries(members)) {
    const member = value[name];
    if (member === undefined || member === null) continue;
    taken[name] = inner === true ? member : known(member, inner);
  }
  return taken satisfies JsonObject;
}

/** A number from 0 to 2^53 − 1 as text; whoever reads it calls `parseDecimal`. */
export const decimal: Shape<string> = pattern(
  /^(0|[1-9][0-9]{0,15})$/,
  'a plain decimal number, as text',
  16,
);

/** A number that may be left out where it is 0. */
export function decimalOr0(text: string | undefined, what: string): number {
  return text === undefined ? 0 : parseDecimal(text, what);
}

const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/;

/** Milliseconds since 1970 of a time in UTC, to the millisecond before it [RFC 3339]. */
export function parseTime(text: string, what: string): number {
  const [, whole = '', fraction = ''] = text.length > 32 ? [] : (TIME.exec(text) ?? []);
  const iso = `${whole}.${fraction.slice(0, 3).padEnd(3, '0')}Z`;
  const ms = Date.parse(iso);
  // A day that there is not becomes another one, or none.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) {
    throw malformed(what, `${shown(text)} is not a time in UTC, such as 2026-01-01T00:00:00Z`);
  }
  return ms;
}
