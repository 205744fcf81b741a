/**
 * What was written down: the keys and values of `stele.yaml` and of the variables, each with the place
 * it came from. Whether a value is good is the table's to say; whether a key exists is checked here.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isMap, isScalar, parseDocument } from 'yaml';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { shownValue } from './kinds.ts';

/** The names there are: settings with fixed keys, and groups whose members the operator names. */
export interface Table {
  readonly keys: readonly string[];
  readonly groups: Readonly<Record<string, Group>>;
}

/** Such as `upstreams`: each of what is in it has the same members. */
export interface Group {
  /** What its variables begin with, behind STELE_: STELE_UPSTREAM_NAME is the `url` of one. */
  readonly variable: string;
  /** The first is the one whose variable has no more than the name. */
  readonly members: readonly string[];
  /** Names that nothing in it has. */
  readonly reserved?: RegExp;
  /** What a name in it is, where that is not `NAME`. */
  readonly name?: RegExp;
}

export interface Given {
  readonly value: unknown;
  readonly from: string;
}

export interface Written extends Given {
  /** Dotted: `limits.body_bytes`, `upstreams.openai.url`. */
  readonly key: string;
}

export type Variables = Readonly<Record<string, string | undefined>>;

const FILE_BYTES_MAX = 1_048_576;
export const GROUP_MAX = 64;
const NAME = /^[a-z0-9][a-z0-9-]{0,30}$/;

/** The settings of `stele.yaml`; none where the file need not exist and does not. */
export function readSettings(table: Table, file: string, must: boolean): Written[] {
  if (!must && !existsSync(file)) return [];
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) throw new SteleError('not_found', `${file}: there is no such file`);
  if (stat.size > FILE_BYTES_MAX) {
    throw new SteleError('too_large', `${file}: ${stat.size} bytes, and 1 MiB is the most`);
  }
  const document = parseDocument(readFileSync(file, 'utf8'), { uniqueKeys: true, strict: true });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    throw malformed(file, (problem.message.split('\n')[0] ?? '').replace(/:$/, ''));
  }
  return document.contents === null ? [] : flatten(table, document.contents, '', file);
}

/** Turns nested maps into dotted keys, and refuses every key that is not in the table. */
function flatten(table: Table, node: unknown, prefix: string, file: string): Written[] {
  if (!isMap(node)) throw malformed(file, `${prefix || 'the whole'} is not a map of settings`);
  return node.items.flatMap(({ key: name, value }) => {
    if (!isScalar(name) || typeof name.value !== 'string') {
      throw malformed(file, `${shownValue(String(name))} is not the name of a setting`);
    }
    const key = prefix === '' ? name.value : `${prefix}.${name.value}`;
    if (isKey(table, key)) {
      const plain = value === null ? null : (value as { toJSON(): unknown }).toJSON();
      return [{ key, value: plain, from: file }];
    }
    if (!isGroup(table, key)) {
      throw malformed(
        file,
        `${shown(key)} is not a setting${meant(key, [...table.keys, ...Object.keys(table.groups)])}`,
      );
    }
    return flatten(table, value, key, file);
  });
}

function isKey({ keys, groups }: Table, key: string): boolean {
  const [first = '', name, member, ...more] = key.split('.');
  const group = groupOf(groups, first);
  if (group === undefined || name === undefined || member === undefined) return keys.includes(key);
  return more.length === 0 && isName(group, name) && group.members.includes(member);
}

function isGroup({ keys, groups }: Table, key: string): boolean {
  const [first = '', name, ...more] = key.split('.');
  if (keys.some((k) => k.startsWith(`${key}.`))) return true;
  const group = groupOf(groups, first);
  if (group === undefined || more.length > 0) return false;
  return name === undefined || isName(group, name);
}

function groupOf(groups: Table['groups'], key: string): Group | undefined {
  return Object.hasOwn(groups, key) ? groups[key] : undefined;
}

/** A name that ends like a member would share its variable with another's. */
function isName({ members, reserved, name: form = NAME }: Group, name: string): boolean {
  if (members.some((member) => name.endsWith(`-${dashed(member)}`)) || reserved?.test(name))
    return false;
  return form.test(name);
}

export function readVariables(table: Table, env: Variables): Written[] {
  const fixed = new Map(table.keys.map((key) => [variableOf(key), key]));
  const written: Written[] = [];
  for (const [from, value] of Object.entries(env)) {
    if (value === undefined) continue;
    const key = fixed.get(from) ?? (isForeign(from) ? undefined : memberOf(table, from));
    if (key !== undefined) written.push({ key, value, from });
  }
  return written;
}

/** The key of a variable of a group; nothing where it is none. */
function memberOf({ groups }: Table, from: string): string | undefined {
  const found = Object.entries(groups).find(([, { variable }]) =>
    from.startsWith(`STELE_${variable}_`),
  );
  if (found === undefined) return undefined;
  const [key, group] = found;
  const [main = '', ...others] = group.members;
  const rest = from.slice(`STELE_${group.variable}_`.length).toLowerCase().replaceAll('_', '-');
  // A name and a member of more than one word are both spelled with dashes here: "aws-by-host".
  const member = others.find((one) => rest.endsWith(`-${dashed(one)}`)) ?? main;
  const name = member === main ? rest : rest.slice(0, -member.length - 1);
  if (!isName(group, name)) {
    const meant = name.endsWith(`-${dashed(main)}`) ? name.slice(0, -main.length - 1) : undefined;
    throw malformed(
      from,
      meant !== undefined && isName(group, meant)
        ? `is not a setting; ${key}.${meant}.${main} is ${from.slice(0, -main.length - 1)}`
        : `${shown(name)} is not a name for one of ${key}: a-z, 0-9 and -, 31 characters at most`,
    );
  }
  return `${key}.${name}.${member}`;
}

/** As a member stands in a variable, whose underscores are those of its name too. */
function dashed(member: string): string {
  return member.replaceAll('_', '-');
}

export function variableOf(key: string): string {
  return `STELE_${key.replaceAll('.', '_').toUpperCase()}`;
}

/** Variables of the commands, the tests and the gateways that docs/gateways.md shows, which are no settings. */
const OTHER_VARIABLES = [
  ...['DATA', 'CONFIG', 'SERVER', 'TOKEN', 'TOKEN_FILE', 'MONITOR_WEBHOOK', 'SHARED'],
  ...['LOG', 'ORIGIN'],
];

/** What Kubernetes sets in every container beside a service whose name begins with "stele". */
function isForeign(name: string): boolean {
  return /_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_|$)|$)/.test(name);
}

/**
 * Variables that look like settings and are none. They are named and not refused: what else is called
 * STELE_… on a machine is not this program's to decide.
 */
export function unknownVariables(table: Table, env: Variables): string[] {
  const groups = Object.values(table.groups);
  const known = [...table.keys.map(variableOf), ...OTHER_VARIABLES.map((name) => `STELE_${name}`)];
  return Object.keys(env)
    .filter((name) => name.startsWith('STELE_'))
    .filter((name) => !groups.some(({ variable }) => name.startsWith(`STELE_${variable}_`)))
    .filter((name) => !known.includes(name) && !isForeign(name))
    .map((name) => `${name} is not a setting${meant(name, known)}`);
}

/** "; did you mean …?" where a name is one or two letters away. */
function meant(name: string, known: readonly string[]): string {
  const near = known.find((other) => distance(name, other) <= 2);
  return near === undefined ? '' : `; did you mean ${near}?`;
}

/** How many letters to add, drop or change to get from `a` to `b`. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= Math.min(a.length, 80); i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
