/** What callers of administration send: the parts that several bodies have. */
import * as v from 'valibot';
import { malformed, shown } from '../core/errors.ts';
import { LOG_NAME } from '../log/names.ts';

/** An object of these members and no others. Valibot alone takes a list for an object without members. */
export function closed<const E extends v.ObjectEntries>(entries: E) {
  return v.pipe(v.custom<object>(isPlainObject, 'not an object'), v.strictObject(entries));
}

/** Of an act that its name says all about. */
export const Nothing = closed({});

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` as `schema` says, or `malformed` with the place, below `what` where that is named, and the rule. */
export function parseWanted<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  what?: string,
): v.InferOutput<S> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = [what, ...(issue.path ?? []).map((item) => item.key)];
  throw malformed(path.filter((step) => step !== undefined).join('.'), lowerFirst(issue.message));
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

export const Name = v.pipe(
  v.string(),
  v.regex(LOG_NAME, `not a name of the form ${LOG_NAME.source}`),
);

const TIME_FORM = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/;

/** A time as callers write it. */
export const Time = v.pipe(v.string(), v.regex(TIME_FORM, 'not an RFC 3339 time in UTC'));

/** Its milliseconds; of a day that there is not, `malformed`. */
export function millisOf(time: string, what: string): number {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw malformed(what, `${shown(time)} is no time that there is`);
  return ms;
}
