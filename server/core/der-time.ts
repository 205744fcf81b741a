/**
 * When is this, in DER?
 *
 *     UTCTime           261121032522Z              years of two digits are 1950 to 2049
 *     GeneralizedTime   20261121032522Z            certificates beyond 2049
 *                       20261121032522.482913Z     time stamps may have a fraction of any length
 *
 * DER has one spelling: always seconds, always UTC, no zero at the end of a fraction.
 *
 * [RFC 5280 §4.1.2.5] certificates. [RFC 3161 §2.4.2] genTime.
 */
import { parseUtf8 } from './bytes.ts';
import type { DerReader } from './der.ts';
import { malformed, shown } from './errors.ts';

const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** The time of a certificate that comes next, in milliseconds since 1970. */
export function readTime(reader: DerReader, what: string): number {
  const isShort = reader.isNext('utcTime');
  const text = parseUtf8(reader.content(isShort ? 'utcTime' : 'generalizedTime'), what);
  return timeOf(isShort ? `${text < '5' ? '20' : '19'}${text}` : text, text, what);
}

const FRACTION = /^(\d{14})\.(\d{0,29}[1-9])Z$/;

/**
 * The GeneralizedTime that comes next, in milliseconds since 1970. What is finer is rounded up, since a time
 * stamp says "at the latest".
 */
export function readGeneralizedTime(reader: DerReader, what: string): number {
  const text = parseUtf8(reader.content('generalizedTime'), what);
  const [, whole, fraction = ''] = FRACTION.exec(text) ?? [];
  const ms = timeOf(whole === undefined ? text : `${whole}Z`, text, what);
  const thousandths = Number(fraction.slice(0, 3).padEnd(3, '0'));
  return ms + thousandths + (fraction.length > 3 ? 1 : 0);
}

/** `full` has all four digits of the year; `text` is what was written. */
function timeOf(full: string, text: string, what: string): number {
  const [, year, month, day, hour, minute, second] = TIME.exec(full) ?? [];
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const ms = Date.parse(iso);
  // A day that there is not becomes another one, or none.
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== iso) {
    throw malformed(what, `${shown(text)} is not a time in UTC with seconds`);
  }
  return ms;
}
