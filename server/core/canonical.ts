/**
 * The one spelling of a JSON value: JCS [RFC 8785].
 *
 * Members are sorted by UTF-16 code units, numbers are printed as ECMAScript prints them, nothing is
 * escaped that need not be, and text is never normalized: "é" and "e" with an accent are two texts, and
 * either is evidence. Whatever I-JSON cannot carry is refused rather than bent.
 */
import { parseUtf8 } from './bytes.ts';
import { malformed } from './errors.ts';
import { isJsonObject, type Json, type JsonOptions, parseJson } from './json.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

/** The canonical text of `value`; throws `malformed` if it has none. */
export function canonicalize(value: Json): string {
  return print(value, 0);
}

/**
 * Reads a stranger's bytes that have to be canonical; throws `malformed`. `tail` is what follows the
 * value in the format, a line feed in some.
 */
export function parseCanonical(
  bytes: Uint8Array,
  what: string,
  options: JsonOptions & { readonly tail?: string } = {},
): Json {
  const { tail = '', integersOnly = false } = options;
  const whole = parseUtf8(bytes, what);
  if (!whole.endsWith(tail)) throw malformed(what, `it does not end with ${JSON.stringify(tail)}`);
  const text = whole.slice(0, whole.length - tail.length);
  const quick = parseQuickly(text, integersOnly);
  if (quick !== undefined) return quick;
  const json = parseJson(bytes, what, options);
  if (canonicalize(json) !== text) {
    throw malformed(what, 'not in its canonical spelling (RFC 8785)');
  }
  return json;
}

/**
 * The value, if a few native passes already show that the text is canonical: what the engine prints of
 * what it parsed is the same text, so nothing was lost to duplicate names, roundings or spellings; and
 * names ascend. Anything else is left to the strict reader, which can say what is wrong.
 */
function parseQuickly(text: string, integersOnly: boolean): Json | undefined {
  // The engine takes and prints an escaped lone surrogate, which canonical text never has.
  if (text.includes('\\ud')) return undefined;
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
  if (!isOrderly(value, integersOnly, 0) || JSON.stringify(value) !== text) return undefined;
  return value;
}

function isOrderly(value: Json, integersOnly: boolean, depth: number): boolean {
  // Whole numbers beyond 2^53 − 1 are refused by the strict reader, so they go there.
  if (typeof value === 'number') {
    return Number.isSafeInteger(value) || !(integersOnly || Number.isInteger(value));
  }
  if (typeof value !== 'object' || value === null) return true;
  if (depth >= JSON_DEPTH_MAX) return false;
  if (Array.isArray(value)) return value.every((item) => isOrderly(item, integersOnly, depth + 1));
  let before: string | undefined;
  for (const name in value) {
    if (before !== undefined && before >= name) return false;
    before = name;
    const member = (value as { readonly [name: string]: Json })[name];
    if (member !== undefined && !isOrderly(member, integersOnly, depth + 1)) return false;
  }
  return true;
}

function print(value: Json, depth: number): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw malformed('JSON text', 'it has a lone surrogate');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw malformed('JSON number', `${value} is not finite`);
      // ECMAScript prints −0 as 0, as RFC 8785 §3.2.2.3 wants.
      return String(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth >= JSON_DEPTH_MAX) {
        throw malformed('JSON value', `nested deeper than ${JSON_DEPTH_MAX} levels`);
      }
      return isJsonObject(value)
        ? printObject(value, depth)
        : `[${value.map((item) => print(item, depth + 1)).join(',')}]`;
    default:
      // Only a caller without types gets here: undefined, a BigInt, a function.
      throw malformed('JSON value', `a ${typeof value} has no JSON form`);
  }
}

function printObject(value: { readonly [name: string]: Json }, depth: number): string {
  // The default order of strings is by UTF-16 code units, which is what RFC 8785 §3.2.3 asks for.
  const names = Object.keys(value).sort();
  let text = '{';
  for (const name of names) {
    const separator = text.length > 1 ? ',' : '';
    // The name is one of the object's own, so a member is there.
    text += `${separator}${print(name, depth)}:${print(value[name] as Json, depth + 1)}`;
  }
  return `${text}}`;
}
