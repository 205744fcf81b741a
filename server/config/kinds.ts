/**
 * What kinds of value a setting can have: how each is read from YAML or from a variable's text, and
 * the rule that is quoted when it is refused. `config.ts` holds the table of settings.
 */
import { isIP } from 'node:net';
import { validate } from 'node-cron';
import { SteleError, shown } from '../core/errors.ts';
import { parseVerifierKey, type VerifierKey } from '../core/verifier-key.ts';

/** Reads a value of YAML, or the text of a variable. Throws an Error whose message is "is not" and the rule. */
export interface Kind<T> {
  (value: unknown): T;
  /** What a value must be: "a whole number from 1 to 16". */
  readonly rule: string;
  /** What a number counts. */
  readonly unit: string | undefined;
  /** A refused value is not shown: somebody may have put a secret here. */
  readonly isHidden?: true;
}

/** `read` gives nothing for a value that breaks the rule. */
function kind<T>(rule: string, read: (value: unknown) => T | undefined, unit?: string): Kind<T> {
  const check = (value: unknown): T => {
    const good = read(value);
    if (good === undefined) throw new Error(`is not ${rule}`);
    return good;
  };
  return Object.assign(check, { rule, unit });
}

export interface Listen {
  readonly host: string;
  readonly port: number;
}

export function text(rule: string, pattern: RegExp): Kind<string> {
  return kind(rule, (value) =>
    typeof value === 'string' && pattern.test(value) ? value : undefined,
  );
}

/** The name of an environment variable; many a one writes what should be in it. */
export const variable: Kind<string> = Object.assign(
  text('the name of a variable', /^[A-Za-z_][A-Za-z0-9_]{0,127}$/),
  { isHidden: true } as const,
);

export const path = text('a path of 1 to 4096 characters', /^[^\0]{1,4096}$/);

/** A whole number in [min, max]; a variable writes it in plain decimals. */
export function whole(min: number, max: number, unit?: string): Kind<number> {
  const read = (value: unknown) => {
    const n =
      typeof value === 'string' && /^(0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : value;
    const fits = typeof n === 'number' && Number.isSafeInteger(n) && n >= min && n <= max;
    return fits ? n : undefined;
  };
  return kind(`a whole number from ${min} to ${max}`, read, unit);
}

export const flag: Kind<boolean> = kind('true or false', (value) => {
  if (value === true || value === 'true') return true;
  return value === false || value === 'false' ? false : undefined;
});

export function oneOf<const T extends string>(...words: readonly T[]): Kind<T> {
  return kind(`one of ${words.join(', ')}`, (value) => words.find((word) => word === value));
}

/** A list of words, each at most once; a variable separates them by commas, and is empty for none. */
export function listOf<const T extends string>(...words: readonly T[]): Kind<readonly T[]> {
  return kind(`a list of ${words.join(', ')}, each at most once`, (value) => {
    const items = itemsOf(value);
    const known = items?.map((item) => words.find((word) => word === item));
    if (known === undefined || new Set(known).size !== known.length) return undefined;
    const list = known.filter((word) => word !== undefined);
    return list.length === known.length ? list : undefined;
  });
}

export interface Network {
  readonly address: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly prefix: number;
}

const NETWORKS_MAX = 256;

/** Addresses and networks; a variable separates them by commas. A network of all addresses is none. */
export const networks: Kind<readonly Network[]> = kind(
  `a list of at most ${NETWORKS_MAX} addresses or networks, such as 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32`,
  (value) => {
    const items = itemsOf(value);
    if (items === undefined || items.length > NETWORKS_MAX) return undefined;
    const known = items.map(parseNetwork).filter((network) => network !== undefined);
    return known.length === items.length ? known : undefined;
  },
);

function parseNetwork(item: unknown): Network | undefined {
  const [, address = '', bits] =
    /^([0-9a-f.:]+)(?:\/([1-9][0-9]{0,2}))?$/i.exec(String(item)) ?? [];
  const family = isIP(address);
  if (family === 0) return undefined;
  const all = family === 6 ? 128 : 32;
  const prefix = bits === undefined ? all : Number(bits);
  return prefix > all ? undefined : { address, family: family === 6 ? 'ipv6' : 'ipv4', prefix };
}

function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (typeof value === 'string') return value.split(',').filter((item) => item !== '');
  return Array.isArray(value) ? value : undefined;
}

/** `HOST:PORT`, IPv6 in brackets. Port 0 takes any free port. */
export const listen: Kind<Listen> = kind(
  'HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080',
  (value) => {
    const found = typeof value === 'string' ? /^(\[.+\]|[^:[\]]+):([0-9]{1,5})$/.exec(value) : null;
    if (found === null) return undefined;
    const host = (found[1] ?? '').replace(/^\[|\]$/g, '');
    const port = Number(found[2]);
    const bracketed = found[1]?.startsWith('[') === true;
    const known = bracketed
      ? isIP(host) === 6
      : isIP(host) === 4 || /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(host);
    return known && port <= 65_535 ? { host, port } : undefined;
  },
);

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
    ? 'an http or https address such as https://api.example.com/v1'
    : 'an http or https address without a path, such as https://log.example.com';
  return kind(rule, (value) => {
    const parsed = typeof value === 'string' ? URL.parse(value) : null;
    if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) return undefined;
    const path = parsed.pathname.replace(/\/+$/, '');
    const extra = parsed.username + parsed.password + parsed.search + parsed.hash;
    const plain = extra === '' && (options.withPath || path === '');
    return plain ? parsed.origin + path : undefined;
  });
}

/** A schedule in cron's language, in UTC; the empty text is none. */
export const cron = kind(
  'a schedule such as "0 0 1 1 *", in cron’s language and in UTC, or empty',
  cronOf,
);

function cronOf(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > 100) return undefined;
  return value === '' || validate(value) ? value : undefined;
}

/** The same, or `weekly` for a time of the week that the instance finds for itself. */
export const weeklyOrCron = kind(
  'weekly, a schedule such as "30 3 * * 0", in cron’s language and in UTC, or empty',
  (value) => (value === 'weekly' ? value : cronOf(value)),
);

/** Names that fit a pattern, in a list; a variable separates them by commas. */
export function namesOf(rule: string, pattern: RegExp): Kind<readonly string[]> {
  return kind(rule, (value) => {
    const items = typeof value === 'string' ? value.split(',').filter((s) => s !== '') : value;
    if (!Array.isArray(items) || new Set(items).size !== items.length) return undefined;
    const isNamed = items.every((item) => typeof item === 'string' && pattern.test(item));
    return isNamed ? (items as string[]) : undefined;
  });
}

/** Paths in a list, each once; a variable separates them by commas. */
export const paths = namesOf(
  'a list of paths of 1 to 4096 characters, each once',
  /^[^\0]{1,4096}$/,
);

/** Keys of notes as `name+id+key`, in a list of at most 16; a variable separates them by commas. */
export const verifierKeys: Kind<readonly VerifierKey[]> = kind(
  'a list of 1 to 16 verifier keys such as log.example+4d6d8825+AV2y…',
  (value) => {
    const items = itemsOf(value);
    if (items === undefined || items.length < 1 || items.length > 16) return undefined;
    try {
      return items.map((item) => parseVerifierKey(String(item)));
    } catch (error) {
      if (error instanceof SteleError) return undefined;
      throw error;
    }
  },
);

/** How a refused value is shown: never at length. */
export function shownValue(value: unknown): string {
  return shown(typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value)));
}
