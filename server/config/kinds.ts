/**
 * What kinds of value a setting can have: how each is read from YAML or from a variable's text, and
 * the rule that is quoted when it is refused. `config.ts` holds the table of settings.
 */
import { isIP } from 'node:net';
import { shown } from '../core/errors.ts';

/** Reads a value of YAML, or the text of a variable. Throws an Error whose message is the rule. */
export type Kind<T> = (value: unknown) => T;

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export function text(rule: string, pattern: RegExp): Kind<string> {
  return (value) => {
    if (typeof value !== 'string' || !pattern.test(value)) throw new Error(`is not ${rule}`);
    return value;
  };
}

export const path = text('a path of 1 to 4096 characters', /^[^\0]{1,4096}$/);

/** A whole number in [min, max]; a variable writes it in plain decimals. */
export function whole(min: number, max: number): Kind<number> {
  return (value) => {
    const n =
      typeof value === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : value;
    if (typeof n !== 'number' || !Number.isSafeInteger(n) || n < min || n > max) {
      throw new Error(`is not a whole number from ${min} to ${max}`);
    }
    return n;
  };
}

export const flag: Kind<boolean> = (value) => {
  if (value === true || value === 'true') return true;
  if (value === false || value === 'false') return false;
  throw new Error('is neither true nor false');
};

export function oneOf<const T extends string>(...words: readonly T[]): Kind<T> {
  return (value) => {
    const word = words.find((w) => w === value);
    if (word === undefined) throw new Error(`is not one of ${words.join(', ')}`);
    return word;
  };
}

/** A list of words; a variable separates them by commas, and is empty for the empty list. */
export function listOf<const T extends string>(...words: readonly T[]): Kind<readonly T[]> {
  const one = oneOf(...words);
  return (value) => {
    const items = typeof value === 'string' ? value.split(',').filter((s) => s !== '') : value;
    if (!Array.isArray(items)) throw new Error(`is not a list of ${words.join(', ')}`);
    const list = items.map(one);
    if (new Set(list).size !== list.length) throw new Error('names something twice');
    return list;
  };
}

/** `HOST:PORT`, IPv6 in brackets. Port 0 takes any free port. */
export const listen: Kind<Listen> = (value) => {
  const rule = 'is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080';
  const found = typeof value === 'string' ? /^(\[.+\]|[^:[\]]+):([0-9]{1,5})$/.exec(value) : null;
  if (found === null) throw new Error(rule);
  const host = (found[1] ?? '').replace(/^\[|\]$/g, '');
  const port = Number(found[2]);
  const bracketed = found[1]?.startsWith('[') === true;
  const known = bracketed
    ? isIP(host) === 6
    : isIP(host) === 4 || /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(host);
  if (!known || port > 65_535) throw new Error(rule);
  return { host, port };
};

export function formatListen({ host, port }: Listen): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether only this machine can reach an address. */
export function isLoopback({ host }: Listen): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** An http or https address without user, query or fragment, and without a slash at its end. */
export function url(options: { readonly withPath: boolean }): Kind<string> {
  const rule = options.withPath
    ? 'is not an http or https address such as https://api.example.com/v1'
    : 'is not an http or https address without a path, such as https://log.example.com';
  return (value) => {
    const parsed = typeof value === 'string' ? URL.parse(value) : null;
    if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) throw new Error(rule);
    const path = parsed.pathname.replace(/\/+$/, '');
    const plain = parsed.origin + path;
    const extra = parsed.username + parsed.password + parsed.search + parsed.hash;
    if (extra !== '' || (!options.withPath && path !== '')) throw new Error(rule);
    return plain;
  };
}

/** How a refused value is shown: never at length. */
export function shownValue(value: unknown): string {
  return shown(typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value)));
}
