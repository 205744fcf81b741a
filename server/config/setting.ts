/** What one setting is, and how what was written down for it is read. */
import { invariant, malformed } from '../core/errors.ts';
import { type Kind, shownValue } from './kinds.ts';
import type { Given } from './read.ts';

export interface Setting<T> {
  readonly kind: Kind<T>;
  /** As it would stand in `stele.yaml`; nothing where the setting has no default. */
  readonly default: unknown;
  readonly about: string;
  /** What could someone do who controls this? Goes on from "… could". */
  readonly power: string;
}

export function setting<T>(
  kind: Kind<T>,
  standard: unknown,
  about: string,
  power: string,
): Setting<T> {
  return { kind, default: standard, about, power };
}

export type ValueOf<S> = S extends Setting<infer T> ? T : never;

/** What was given for a setting, or its default, by its kind. Throws `malformed` with the place and the rule. */
export function checkSetting<T>(
  key: string,
  one: Setting<T>,
  given: Given | undefined,
): T | undefined {
  const value = given === undefined ? one.default : given.value;
  if (value === undefined) return undefined;
  try {
    return one.kind(value);
  } catch (cause) {
    const rule = cause instanceof Error ? cause.message : String(cause);
    const where = given === undefined ? key : `${given.from}: ${key}`;
    const what = one.kind.isHidden === true ? 'what is written here' : shownValue(value);
    throw malformed(where, `${what} ${rule}`, { cause });
  }
}

export function need<T>(value: T | undefined): T {
  invariant(value !== undefined, 'a setting that is needed has a default');
  return value;
}
