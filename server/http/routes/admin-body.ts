/** Bodies of administration: closed JSON objects, small, read strictly. */
import * as v from 'valibot';
import { malformed, shown } from '../../core/errors.ts';
import { parseJson } from '../../core/json.ts';
import type { Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import type { Call } from '../call.ts';
import { ADMIN_BYTES_MAX } from '../settings.ts';

/** An object of these members and no others. Valibot alone takes a list for an object without members. */
export function closed<const E extends v.ObjectEntries>(entries: E) {
  return v.pipe(v.custom<object>(isPlainObject, 'not an object'), v.strictObject(entries));
}

function isPlainObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The body as `schema` says, or `malformed` with the place and the rule. Bytes from strangers. */
export async function readObject<S extends v.GenericSchema>(
  parts: Parts,
  call: Call,
  schema: S,
): Promise<v.InferOutput<S>> {
  judgeBodyHeaders(call.ctx.req, ['application/json'], ADMIN_BYTES_MAX);
  const bounds = { bytesMax: ADMIN_BYTES_MAX, timeoutMs: parts.settings.bodyTimeoutMs };
  const body = await readBody(call, bounds, parts);
  const result = v.safeParse(schema, parseJson(body, 'body'));
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = issue.path?.map((item) => String(item.key)).join('.');
  throw malformed(`body${path === undefined ? '' : `.${path}`}`, lowerFirst(issue.message));
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

const TIME_FORM = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z$/;

/** A time as callers write it. */
export const Time = v.pipe(v.string(), v.regex(TIME_FORM, 'not an RFC 3339 time in UTC'));

/** Its milliseconds; of a day that there is not, `malformed`. */
export function millisOf(time: string, what: string): number {
  const ms = Date.parse(time);
  if (Number.isNaN(ms)) throw malformed(what, `${shown(time)} is no time that there is`);
  return ms;
}
