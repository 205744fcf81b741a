/** What may a record of a call be known by elsewhere, and is it one of those that are asked for? */
import { shown } from '../../core/errors.ts';
import type { InferenceRecord } from '../../core/record.ts';
import { Unusable } from '../exit.ts';

export const KINDS = ['any', 'response', 'upstream', 'client', 'record'] as const;

/** `any` is all the others. */
export type IdKind = (typeof KINDS)[number];

export function idsOf(record: InferenceRecord, kind: IdKind): ReadonlySet<string> {
  const { ids, record_id } = record;
  const byKind = {
    response: [ids.response],
    upstream: [ids.upstream_request],
    client: [ids.client_request],
    record: [record_id, ids.gateway_request],
  } satisfies Record<Exclude<IdKind, 'any'>, readonly (string | undefined)[]>;
  const asked = kind === 'any' ? Object.values(byKind).flat() : byKind[kind];
  return new Set(asked.flatMap((id) => id ?? []));
}

/** A record as the differences show it. */
export interface Shown {
  readonly log: string;
  readonly entry: number;
  readonly record_id: string;
  readonly time: string;
  readonly outcome: string;
  readonly response?: string;
  readonly upstream_request?: string;
  readonly client_request?: string;
}

export function shownOf(log: string, entry: number, record: InferenceRecord): Shown {
  const { response, upstream_request, client_request } = record.ids;
  return {
    log,
    entry,
    record_id: record.record_id,
    time: record.time.received,
    outcome: record.outcome.status,
    ...(response === undefined ? {} : { response }),
    ...(upstream_request === undefined ? {} : { upstream_request }),
    ...(client_request === undefined ? {} : { client_request }),
  };
}

/** A condition on a record's member: "model.provider=openai". */
export interface Condition {
  readonly path: string;
  readonly value: string;
}

export function parseCondition(text: string): Condition {
  const match = /^([a-z_]+(?:\.[a-z_]+)*)=(.*)$/s.exec(text);
  if (match === null) throw new Unusable(`--only: ${shown(text)} is not MEMBER=VALUE`);
  return { path: match[1] ?? '', value: match[2] ?? '' };
}

export function meets(record: InferenceRecord, conditions: readonly Condition[]): boolean {
  return conditions.every(({ path, value }) => {
    let at: unknown = record;
    for (const name of path.split('.')) {
      if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return false;
      at = (at as Record<string, unknown>)[name];
    }
    return /^(?:string|number|boolean)$/.test(typeof at) && String(at) === value;
  });
}
