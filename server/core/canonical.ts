/**
 * The one spelling of a JSON value: JCS [RFC 8785].
 *
 * Members are sorted by UTF-16 code units, numbers are printed as ECMAScript prints them, nothing is
 * escaped that need not be, and text is never normalized: "é" and "e" with an accent are two texts, and
 * either is evidence. Whatever I-JSON cannot carry is refused rather than bent.
 */
import { malformed } from './errors.ts';
import { isJsonObject, type Json } from './json.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

/** The canonical text of `value`; throws `malformed` if it has none. */
export function canonicalize(value: Json): string {
  return print(value, 0);
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
