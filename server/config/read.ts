/**
 * What was written down: the keys and values of `stele.yaml` and of the variables, each with the place
 * it came from. Whether a value is good is the table's to say; whether a key exists is checked here.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { isMap, isScalar, parseDocument } from 'yaml';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { shownValue } from './kinds.ts';

/** The names there are: settings with fixed keys, and the members of each upstream. */
export interface Table {
  readonly keys: readonly string[];
  readonly members: readonly string[];
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
export const UPSTREAMS_MAX = 64;

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
        `${shown(key)} is not a setting${meant(key, [...table.keys, 'upstreams'])}`,
      );
    }
    return flatten(table, value, key, file);
  });
}

function isKey({ keys, members }: Table, key: string): boolean {
  const [first, name, member, ...more] = key.split('.');
  if (first !== 'upstreams' || name === undefined || member === undefined)
    return keys.includes(key);
  return more.length === 0 && isUpstreamName(name) && members.includes(member);
}

function isGroup({ keys }: Table, key: string): boolean {
  if (key === 'upstreams' || keys.some((k) => k.startsWith(`${key}.`))) return true;
  const [first, name, ...more] = key.split('.');
  return first === 'upstreams' && name !== undefined && more.length === 0 && isUpstreamName(name);
}

/**
 * A name that ended in -log or -posture would share its variable with another upstream's member; the
 * others are paths of the proxy's own.
 */
function isUpstreamName(name: string): boolean {
  if (/-(log|posture)$/.test(name) || /^(healthz|readyz|metrics)$/.test(name)) return false;
  return /^[a-z0-9][a-z0-9-]{0,30}$/.test(name);
}

export function readVariables(table: Table, env: Variables): Written[] {
  const written: Written[] = table.keys.flatMap((key) => {
    const from = variableOf(key);
    const value = env[from];
    return value === undefined ? [] : [{ key, value, from }];
  });
  for (const [from, value] of Object.entries(env)) {
    const found = /^STELE_UPSTREAM_([A-Z0-9_]+?)(_LOG|_POSTURE)?$/.exec(from);
    if (found === null || value === undefined || isForeign(from)) continue;
    const name = (found[1] ?? '').toLowerCase().replaceAll('_', '-');
    if (!isUpstreamName(name)) {
      throw malformed(from, `${shown(name)} is not a name for an upstream: a-z, 0-9 and -`);
    }
    const member = found[2]?.slice(1).toLowerCase() ?? 'url';
    written.push({ key: `upstreams.${name}.${member}`, value, from });
  }
  return written;
}

export function variableOf(key: string): string {
  return `STELE_${key.replaceAll('.', '_').toUpperCase()}`;
}

/** Variables of the commands and the tests, which are no settings. */
const OTHER_VARIABLES = ['DATA', 'CONFIG', 'SERVER', 'TOKEN', 'TOKEN_FILE', 'SHARED'];

/** What Kubernetes sets in every container beside a service whose name begins with "stele". */
function isForeign(name: string): boolean {
  return /_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_|$)|$)/.test(name);
}

/**
 * Variables that look like settings and are none. They are named and not refused: what else is called
 * STELE_… on a machine is not this program's to decide.
 */
export function unknownVariables(table: Table, env: Variables): string[] {
  const known = [...table.keys.map(variableOf), ...OTHER_VARIABLES.map((name) => `STELE_${name}`)];
  return Object.keys(env)
    .filter((name) => name.startsWith('STELE_') && !name.startsWith('STELE_UPSTREAM_'))
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
