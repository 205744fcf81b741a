/**
 * Does this JSON have the shape that a format prescribes?
 *
 * A few pieces to write a closed schema with, so that one text is both the check at run time and the
 * type at compile time. Unknown members are refused, and every refusal names the place, the value and
 * the rule: `metrics.input_tokens: -1 is not a whole number from 0 to 2^53 - 1`.
 *
 * A check answers with the flaw it found rather than throwing, so that the path is put together only
 * where something is wrong. `read` throws.
 */
import { parseBase64, parseBase64url } from './bytes.ts';
import { malformed, SteleError, shown } from './errors.ts';
import { isJsonObject, type Json, type JsonObject } from './json.ts';

/** Where a value breaks which rule. */
export interface Flaw {
  readonly path: string;
  readonly rule: string;
}

export interface Shape<T> {
  /** The first flaw, if there is one. */
  flaw(value: Json): Flaw | undefined;
  /** Only for the compiler. */
  readonly type?: T;
}

/** The type that a shape stands for. */
export type Shaped<S> = S extends Shape<infer T> ? T : never;

type Shapes = { readonly [name: string]: Shape<unknown> };
type Required<R extends Shapes> = { readonly [N in keyof R]: Shaped<R[N]> };
type Optional<O extends Shapes> = { readonly [N in keyof O]?: Shaped<O[N]> };

/** Checks `value` and gives it its type; throws `malformed`. `what` names the format. */
export function read<T>(shape: Shape<T>, value: Json, what: string): T {
  const flaw = shape.flaw(value);
  if (flaw !== undefined) throw flawError(flaw, what);
  return value as T;
}

export function flawError(flaw: Flaw, what: string): SteleError {
  return malformed(flaw.path === '' ? what : `${what}: ${flaw.path}`, flaw.rule);
}

/** An object with all members of `required`, perhaps some of `optional`, and no other. */
export function object<R extends Shapes, O extends Shapes>(
  required: R,
  optional: O,
): Shape<Required<R> & Optional<O>> {
  const needed = Object.keys(required);
  const shapes = new Map(Object.entries({ ...required, ...optional }));
  return {
    flaw(value) {
      if (!isJsonObject(value)) return wrong(value, 'an object');
      for (const name in value) {
        const shape = shapes.get(name);
        if (shape === undefined) return { path: name, rule: 'no such member is known' };
        const flaw = shape.flaw(value[name] as Json);
        if (flaw !== undefined) return within(name, flaw);
      }
      for (const name of needed) {
        if (!(name in value)) return { path: name, rule: 'it is required' };
      }
      return undefined;
    },
  };
}

/** A list of at most `max` items, and at least `min`. */
export function list<T>(item: Shape<T>, max: number, min = 0): Shape<readonly T[]> {
  return {
    flaw(value) {
      if (!Array.isArray(value)) return wrong(value, 'a list');
      if (value.length > max || value.length < min) {
        return { path: '', rule: `${value.length} items where ${min} to ${max} are allowed` };
      }
      for (let i = 0; i < value.length; i++) {
        const flaw = item.flaw(value[i] as Json);
        if (flaw !== undefined) return within(`[${i}]`, flaw);
      }
      return undefined;
    },
  };
}

/** An object whose member names fit `name` and whose values all have one shape. */
export function map<T>(
  name: (text: string) => boolean,
  names: string,
  item: Shape<T>,
  max: number,
): Shape<{ readonly [name: string]: T }> {
  return {
    flaw(value) {
      if (!isJsonObject(value)) return wrong(value, 'an object');
      let count = 0;
      for (const member in value) {
        if (++count > max) return { path: '', rule: `more than ${max} members` };
        if (!name(member)) return { path: shown(member), rule: `it is not ${names}` };
        const flaw = item.flaw(value[member] as Json);
        if (flaw !== undefined) return within(member, flaw);
      }
      return undefined;
    },
  };
}

/** A whole number. Without bounds: 0 to 2^53 − 1. */
export function int(min = 0, max = Number.MAX_SAFE_INTEGER): Shape<number> {
  const rule = `a whole number from ${min} to ${max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : max}`;
  return test(
    (v): v is number => Number.isSafeInteger(v) && Number(v) >= min && Number(v) <= max,
    rule,
  );
}

/** Text of 1 to `max` UTF-16 code units. */
export function text(max: number): Shape<string> {
  return test(
    (v): v is string => typeof v === 'string' && v !== '' && v.length <= max,
    `text of 1 to ${max} characters`,
  );
}

/** Text of at most `max` UTF-16 code units that fits a pattern; `rule` says the pattern in words. */
export function pattern(form: RegExp, rule: string, max = 256): Shape<string> {
  return test((v): v is string => typeof v === 'string' && v.length <= max && form.test(v), rule);
}

export function oneOf<const T extends readonly string[]>(values: T): Shape<T[number]> {
  const known: ReadonlySet<unknown> = new Set(values);
  return test((v): v is T[number] => known.has(v), `one of ${values.join(', ')}`);
}

export function constant<const T extends string>(value: T): Shape<T> {
  return test((v): v is T => v === value, JSON.stringify(value));
}

export function test<T>(holds: (value: Json) => value is T & Json, rule: string): Shape<T> {
  return { flaw: (value) => (holds(value) ? undefined : wrong(value, rule)) };
}

export const bool: Shape<boolean> = test(
  (v): v is boolean => typeof v === 'boolean',
  'true or false',
);

/** Any JSON object, for parts that another format describes. */
export const anyObject: Shape<JsonObject> = test(isJsonObject, 'an object');

/** Standard base64 of 1 to `max` bytes; of exactly `max` where `exact`. */
export function base64(max: number, exact = false): Shape<string> {
  return bytes(parseBase64, 'standard base64', max, exact);
}

/** URL-safe base64 of 1 to `max` bytes; of exactly `max` where `exact`. */
export function base64url(max: number, exact = false): Shape<string> {
  return bytes(parseBase64url, 'unpadded base64url', max, exact);
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return { flaw: (value) => (value === null ? undefined : shape.flaw(value)) };
}

/** Empty text, or what `shape` wants. */
export function emptyOr(shape: Shape<string>): Shape<string> {
  return { flaw: (value) => (value === '' ? undefined : shape.flaw(value)) };
}

/** One shape for lists and another for everything else. */
export function listOr<A, B>(many: Shape<A>, other: Shape<B>): Shape<A | B> {
  return { flaw: (value) => (Array.isArray(value) ? many.flaw(value) : other.flaw(value)) };
}

/** A shape with a rule between its members; `rule` gives the flaw, if there is one. */
export function where<T>(shape: Shape<T>, rule: (value: T) => Flaw | undefined): Shape<T> {
  return { flaw: (value) => shape.flaw(value) ?? rule(value as T) };
}

function bytes(
  parse: (text: string, what: string) => Uint8Array,
  spelling: string,
  max: number,
  exact: boolean,
): Shape<string> {
  const rule = `${exact ? '' : '1 to '}${max} bytes in ${spelling}`;
  const charactersMax = 4 * Math.ceil(max / 3);
  return {
    flaw(value) {
      // The length first, so that nothing large is decoded only to be refused.
      if (typeof value !== 'string' || value.length > charactersMax) return wrong(value, rule);
      const length = lengthOf(value, parse);
      const fits = exact ? length === max : length >= 1 && length <= max;
      return fits ? undefined : wrong(value, rule);
    },
  };
}

/** How many bytes the text stands for; −1 if it is not spelled as it has to be. */
function lengthOf(value: string, parse: (text: string, what: string) => Uint8Array): number {
  try {
    return parse(value, '').length;
  } catch (error) {
    if (error instanceof SteleError) return -1;
    throw error;
  }
}

function within(name: string, flaw: Flaw): Flaw {
  if (flaw.path === '') return { path: name, rule: flaw.rule };
  const joint = flaw.path.startsWith('[') ? '' : '.';
  return { path: `${name}${joint}${flaw.path}`, rule: flaw.rule };
}

function wrong(value: Json, rule: string): Flaw {
  return { path: '', rule: `${shownJson(value)} is not ${rule}` };
}

function shownJson(value: Json): string {
  if (typeof value === 'string') return shown(value);
  if (Array.isArray(value)) return 'a list';
  return isJsonObject(value) ? 'an object' : String(value);
}
