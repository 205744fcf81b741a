/** A member of a stranger's value by its path: "a.b" is a member's member, also where a string holds the JSON. */

export type Lookup = (field: string) => unknown;

export function memberOf(value: unknown, path: string): unknown {
  let at = opened(value);
  // As it stands first: names may have dots in them.
  if (isObject(at) && Object.hasOwn(at, path)) return at[path];
  for (const name of path.split('.')) {
    at = opened(at);
    if (!isObject(at) || !Object.hasOwn(at, name)) return undefined;
    at = at[name];
  }
  return at;
}

/** What log services do to what they pass on: the object as a string. */
function opened(value: unknown): unknown {
  if (typeof value !== 'string' || !/^\s*\{/.test(value)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
