/**
 * Looking into JSON that a stranger wrote, without ever failing.
 *
 * Providers and clients are read as leniently as they read each other, so `JSON.parse` it is, and of two
 * members with one name the last counts, as it does for them. What goes into a record is strict again:
 * `normal` makes a value that has one canonical spelling, or none at all.
 */
import type { Json } from '../../core/json.ts';
import { JSON_DEPTH_MAX } from '../../core/limits.ts';

export type Members = Readonly<Record<string, unknown>>;

/** Text of a label in a record. */
const LABEL_CHARS_MAX = 256;

/** A disclosure puts the value inside a list: one level. */
const DEPTH_MAX = JSON_DEPTH_MAX - 1;

const NONE: Members = Object.freeze(Object.create(null));

/** A whole number that a double may not hold, outside of a text; within one it does no harm. */
const LONG_NUMBER = /(?:^|[:,[\s])-?\d{16}/;

/**
 * The value, or nothing if it is not JSON. Whole numbers that a double cannot hold stay as text: where there may be some,
 * each value is looked at, which takes ten times as long.
 */
export function parseLenient(text: string, hasLong = LONG_NUMBER.test(text)): unknown {
  try {
    if (!hasLong) return JSON.parse(text);
    // The third argument [ES2026, JSON.parse source text access] is not in the library types yet.
    return JSON.parse(text, exact as (name: string, value: unknown) => unknown);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function exact(_name: string, value: unknown, context: { readonly source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  return /^-?\d+$/.test(context.source ?? '') ? context.source : value;
}

/** Its members if it is an object, and otherwise none. Only own members are ever there. */
export function members(value: unknown): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return NONE;
  // The prototype is dropped, so that "constructor" is a name like any other.
  return Object.setPrototypeOf(value, null) as Members;
}

export function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A short text that a record can carry. */
export function labelOf(value: unknown): string | undefined {
  if (typeof value === 'number') return decimalOf(value);
  if (typeof value !== 'string' || value === '' || value.length > LABEL_CHARS_MAX) return undefined;
  return value.isWellFormed() ? value : undefined;
}

/** Lower-case words, for what reports group by. */
export function wordOf(value: unknown): string | undefined {
  const word = typeof value === 'string' ? value.toLowerCase() : '';
  return word.length <= 64 && /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/.test(word) ? word : undefined;
}

export function countOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
}

/** The shortest plain spelling of a number: no exponent, no trailing zero, no minus zero. */
export function decimalOf(value: unknown): string | undefined {
  if (typeof value !== 'number' || !Number.isFinite(value)) return undefined;
  if (value === 0) return '0';
  const [digits = '', exponent] = String(Math.abs(value)).split('e');
  const text = exponent === undefined ? digits : shifted(digits, Number(exponent));
  return text.length > 63 ? undefined : `${value < 0 ? '-' : ''}${text}`;
}

function shifted(digits: string, exponent: number): string {
  const [whole = '', fraction = ''] = digits.split('.');
  if (exponent < 0) return `0.${'0'.repeat(-exponent - whole.length)}${whole}${fraction}`;
  return whole + fraction + '0'.repeat(exponent - fraction.length);
}

/**
 * The value as it can be committed to: whole numbers stay, others become decimal strings. Nothing if
 * text in it has a lone surrogate or it is nested deeper than a record's reader goes.
 */
export function normal(value: unknown): Json | undefined {
  return copy(value, 0);
}

function copy(value: unknown, depth: number): Json | undefined {
  switch (typeof value) {
    case 'string':
      return value.isWellFormed() ? value : undefined;
    case 'number':
      return Number.isSafeInteger(value) ? value + 0 : (decimalOf(value) ?? String(value));
    case 'boolean':
      return value;
    case 'object':
      if (value === null) return null;
      if (depth >= DEPTH_MAX) return undefined;
      return Array.isArray(value) ? copyList(value, depth) : copyObject(value, depth);
    default:
      return undefined;
  }
}

function copyList(list: readonly unknown[], depth: number): Json | undefined {
  const out: Json[] = [];
  for (const item of list) {
    const copied = copy(item, depth + 1);
    if (copied === undefined) return undefined;
    out.push(copied);
  }
  return out;
}

function copyObject(value: object, depth: number): Json | undefined {
  const out: { [name: string]: Json } = Object.create(null);
  for (const [name, item] of Object.entries(value)) {
    // A member of ours that is not known is left out; JSON from outside has no undefined.
    if (item === undefined) continue;
    const copied = copy(item, depth + 1);
    if (copied === undefined || !name.isWellFormed()) return undefined;
    out[name] = copied;
  }
  return out;
}
