/** What the operator named: upstreams of the proxy, targets, witnesses and what they are shown, as they are used. */
import { resolve } from 'node:path';
import { malformed, shown } from '../core/errors.ts';
import type { VerifierKey } from '../core/verifier-key.ts';
import { COSIGNED, PROVIDERS, REKOR, TSA, UPSTREAM, WITNESSED } from './groups.ts';
import { type Given, GROUP_MAX } from './read.ts';
import { checkSetting, need, type Setting, type ValueOf } from './setting.ts';

export interface WitnessedLog {
  readonly name: string;
  readonly origin: string;
  readonly keys: readonly VerifierKey[];
  readonly perDay: number;
}

export interface Upstream {
  readonly name: string;
  readonly url: string;
  readonly log: string;
  readonly posture: 'enforce' | 'observe' | 'strict';
  readonly byHost: boolean;
  readonly websocket: 'refuse' | 'record';
  /** Absolute. */
  readonly rules: string | undefined;
  readonly rulesModule: string | undefined;
  /** Absolute; at most one of the two. */
  readonly keyFile: string | undefined;
  readonly keyEnv: string | undefined;
  /** `none`: its callers need a token, and it no key. */
  readonly keyHeader: KeyHeader | undefined;
}

type KeyHeader = 'authorization' | 'x-api-key' | 'api-key' | 'x-goog-api-key' | 'none';

export interface RekorTarget {
  readonly name: string;
  readonly url: string;
  /** 1 or 2. */
  readonly version: number;
  /** Of version 2, where its files are elsewhere. */
  readonly readUrl: string | undefined;
  /** Names of authorities under `tsa`. */
  readonly tsa: readonly string[];
}

export interface TsaTarget {
  readonly name: string;
  readonly url: string;
  /** Absolute. */
  readonly roots: string;
}

/** A log with witnesses of its own, or a rule of its own. */
export interface CosignedLog {
  readonly log: string;
  /** Absolute. */
  readonly policy: string | undefined;
  readonly fail: 'open' | 'closed' | undefined;
}

/** Where paths begin that are not absolute. */
interface Place {
  readonly cwd: string;
}

export interface Named {
  readonly upstreams: readonly Upstream[];
  readonly targets: {
    readonly rekor: readonly RekorTarget[];
    readonly tsa: readonly TsaTarget[];
  };
  readonly witnessed: readonly WitnessedLog[];
  readonly cosigned: readonly CosignedLog[];
}

type AnySettings = Readonly<Record<string, Setting<unknown>>>;
type Member<S extends AnySettings> = <K extends keyof S & string>(
  key: K,
) => ValueOf<S[K]> | undefined;

/** What is named in a group, each through `read`; `standing` names are there without being written. */
function readGroup<S extends AnySettings, T>(
  given: ReadonlyMap<string, Given>,
  group: string,
  of: S,
  read: (name: string, member: Member<S>) => T,
  standing: readonly string[] = [],
): T[] {
  const written = [...given.keys()].filter((key) => key.startsWith(`${group}.`));
  const names = new Set([...standing, ...written.map((key) => key.split('.')[1] ?? '')]);
  if (names.size > GROUP_MAX) {
    throw malformed(group, `${names.size} where ${GROUP_MAX} are the most`);
  }
  return [...names].map((name) =>
    read(name, (key) => {
      const full = `${group}.${name}.${key}`;
      // The kind of this very setting gave it.
      return checkSetting(full, of[key] as Setting<unknown>, given.get(full)) as ValueOf<
        S[typeof key]
      >;
    }),
  );
}

export function readUpstreams(sources: Place, given: ReadonlyMap<string, Given>): Upstream[] {
  return readGroup(
    given,
    'upstreams',
    UPSTREAM,
    (name, member) => {
      const address = member('url') ?? PROVIDERS[name];
      if (address === undefined) {
        throw malformed(
          `upstreams.${name}.url`,
          'is missing; only openai and anthropic have one by themselves',
        );
      }
      const byHost = need(member('by_host'));
      if (byHost && new URL(address).pathname !== '/') {
        throw malformed(
          `upstreams.${name}.url`,
          `${shown(address)} has a path, which by_host allows none`,
        );
      }
      const keyFile = inFolder(sources, member('key_file'));
      const [keyEnv, keyHeader] = [member('key_env'), member('key_header')];
      if (keyFile !== undefined && keyEnv !== undefined) {
        throw malformed(`upstreams.${name}.key_env`, 'is set, and key_file too: one of them');
      }
      if (keyHeader === 'none' && (keyFile ?? keyEnv) !== undefined) {
        throw malformed(`upstreams.${name}.key_header`, '"none", and there is a key');
      }
      return {
        name,
        url: address,
        log: need(member('log')),
        posture: need(member('posture')),
        byHost,
        websocket: need(member('websocket')),
        rules: inFolder(sources, member('rules')),
        rulesModule: inFolder(sources, member('rules_module')),
        ...{ keyFile, keyEnv, keyHeader },
      };
    },
    Object.keys(PROVIDERS),
  );
}

export function readCosigned(sources: Place, given: ReadonlyMap<string, Given>): CosignedLog[] {
  return readGroup(given, 'cosigned', COSIGNED, (log, member) => ({
    log,
    policy: inFolder(sources, member('policy')),
    fail: member('fail'),
  }));
}

/** Whom heads are shown to. */
export function readTargets(sources: Place, given: ReadonlyMap<string, Given>): Named['targets'] {
  const must = <T>(value: T | undefined, key: string): T => {
    if (value === undefined) throw malformed(key, 'is missing');
    return value;
  };
  const tsa = readGroup(given, 'tsa', TSA, (name, member) => ({
    name,
    url: must(member('url'), `tsa.${name}.url`),
    roots: resolve(sources.cwd, must(member('roots'), `tsa.${name}.roots`)),
  }));
  const rekor = readGroup(given, 'rekor', REKOR, (name, member) => ({
    name,
    url: must(member('url'), `rekor.${name}.url`),
    version: need(member('version')),
    readUrl: member('read_url'),
    tsa: need(member('tsa')),
  }));
  for (const { name, tsa: named } of rekor) {
    const unknown = named.find((one) => !tsa.some((known) => known.name === one));
    if (unknown !== undefined) {
      throw malformed(`rekor.${name}.tsa`, `${shown(unknown)} is not one of those under tsa`);
    }
  }
  return { rekor, tsa };
}

/** Logs that are cosigned. */
export function readWitnessed(given: ReadonlyMap<string, Given>): WitnessedLog[] {
  return readGroup(given, 'witnessed', WITNESSED, (name, member) => {
    const keys = member('keys');
    if (keys === undefined) throw malformed(`witnessed.${name}.keys`, 'is missing');
    const origin = member('origin') ?? keys[0]?.name ?? '';
    return { name, origin, keys, perDay: need(member('per_day')) };
  });
}

/** A path in a setting, absolute. */
export function inFolder({ cwd }: Place, path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(cwd, path);
}
