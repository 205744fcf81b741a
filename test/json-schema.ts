/**
 * Does a value fit a JSON Schema? For the part of JSON Schema 2020-12 that the API's description uses.
 *
 * A keyword that is not known here is an error in the schema, never passed over.
 */

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [k: string]: Json };
export type Schema = { readonly [keyword: string]: Json };

type Check = (value: Json, given: Json, schema: Schema, at: At) => string[];

interface At {
  readonly path: string;
  readonly root: unknown;
}

/** What is wrong with `value`, each with its place; nothing if it fits. */
export function faultsOf(value: Json, schema: Schema, root: unknown, path = '$'): string[] {
  return Object.entries(schema).flatMap(([keyword, given]) => {
    const check = CHECKS[keyword];
    if (check === undefined) return [`${path}: the schema has an unknown keyword ${keyword}`];
    return check(value, given, schema, { path, root });
  });
}

/** What a local reference points to [RFC 6901]. */
export function resolve(root: unknown, ref: string): unknown {
  if (!ref.startsWith('#/')) return undefined;
  return ref
    .slice(2)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>((node, part) => (isObject(node) ? node[part] : undefined), root);
}

export function isObject(value: unknown): value is { readonly [k: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const fault = (holds: boolean, at: At, rule: string) => (holds ? [] : [`${at.path}: ${rule}`]);
const none: Check = () => [];

const CHECKS: Readonly<Record<string, Check>> = {
  $ref: (value, given, _, at) => {
    const target = resolve(at.root, String(given));
    if (!isObject(target)) return [`${at.path}: ${given} leads nowhere`];
    return faultsOf(value, target, at.root, at.path);
  },
  type: (value, given, _, at) =>
    fault(typeOf(value) === given, at, `${shown(value)} is no ${given}`),
  const: (value, given, _, at) => fault(value === given, at, `${shown(value)} is not ${given}`),
  enum: (value, given, _, at) =>
    fault((given as Json[]).includes(value), at, `${shown(value)} is none of ${given}`),
  pattern: (value, given, _, at) =>
    typeof value !== 'string'
      ? []
      : fault(new RegExp(String(given), 'u').test(value), at, `${shown(value)} is not ${given}`),
  minLength: (value, given, _, at) =>
    lengthFault(value, Number(given), Number.POSITIVE_INFINITY, at),
  maxLength: (value, given, _, at) => lengthFault(value, 0, Number(given), at),
  minimum: (value, given, _, at) =>
    typeof value !== 'number' ? [] : fault(value >= Number(given), at, `${value} < ${given}`),
  maximum: (value, given, _, at) =>
    typeof value !== 'number' ? [] : fault(value <= Number(given), at, `${value} > ${given}`),
  items: (value, given, _, at) =>
    !Array.isArray(value)
      ? []
      : value.flatMap((item: Json, i) =>
          faultsOf(item, given as Schema, at.root, `${at.path}[${i}]`),
        ),
  minItems: (value, given, _, at) =>
    !Array.isArray(value) ? [] : fault(value.length >= Number(given), at, 'too few items'),
  maxItems: (value, given, _, at) =>
    !Array.isArray(value) ? [] : fault(value.length <= Number(given), at, 'too many items'),
  uniqueItems: (value, _, __, at) =>
    !Array.isArray(value)
      ? []
      : fault(new Set(value.map(shown)).size === value.length, at, 'an item twice'),
  required: (value, given, _, at) =>
    !isObject(value)
      ? []
      : (given as string[]).flatMap((name) => fault(name in value, at, `has no ${name}`)),
  properties: (value, given, _, at) =>
    !isObject(value)
      ? []
      : Object.entries(given as { [name: string]: Schema }).flatMap(([name, schema]) =>
          name in value ? faultsOf(value[name]!, schema, at.root, `${at.path}.${name}`) : [],
        ),
  patternProperties: (value, given, _, at) =>
    !isObject(value)
      ? []
      : Object.entries(given as { [pattern: string]: Schema }).flatMap(([pattern, schema]) =>
          Object.keys(value)
            .filter((name) => new RegExp(pattern, 'u').test(name))
            .flatMap((name) => faultsOf(value[name]!, schema, at.root, `${at.path}.${name}`)),
        ),
  additionalProperties: (value, given, schema, at) => {
    if (given !== false || !isObject(value)) return [];
    const known = Object.keys((schema.properties ?? {}) as object);
    const patterns = Object.keys((schema.patternProperties ?? {}) as object);
    return Object.keys(value)
      .filter(
        (name) => !known.includes(name) && !patterns.some((p) => new RegExp(p, 'u').test(name)),
      )
      .map((name) => `${at.path}: has an unknown member ${name}`);
  },
  anyOf: (value, given, _, at) => {
    const faults = (given as Schema[]).map((one) => faultsOf(value, one, at.root, at.path));
    return faults.some((of) => of.length === 0) ? [] : faults.flat();
  },
  // What these say is for people and programs that generate; nothing is checked by them.
  description: none,
  default: none,
  format: none,
  contentMediaType: none,
  contentEncoding: none,
  'x-stele-lines': none,
};

export const KEYWORDS: readonly string[] = Object.keys(CHECKS);

function lengthFault(value: Json, min: number, max: number, at: At): string[] {
  if (typeof value !== 'string') return [];
  const { length } = [...value];
  return fault(length >= min && length <= max, at, `${length} characters, not ${min} to ${max}`);
}

function typeOf(value: Json): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return Number.isInteger(value) ? 'integer' : typeof value;
}

function shown(value: Json): string {
  return JSON.stringify(value).slice(0, 120);
}
