/**
 * What do a provider's usage reports say? Sums of calls by bucket and model, each of a day in UTC or a part of one.
 *
 *     OpenAI      {"object":"bucket", "start_time":…, "end_time":…, "results":[{"model":…, "num_model_requests":…}]}
 *     Anthropic   {"starting_at":…, "ending_at":…, "results":[{"model":…, "uncached_input_tokens":…}]}
 *
 * in pages, as their APIs give them; or in the rows of CSV that their consoles export. The counts are put together as a
 * record has them: input includes what a cache read and wrote.
 */
import { RECORD_TEXT_MAX } from '../../core/limits.ts';
import { Unusable } from '../exit.ts';
import { csvRows } from './csv.ts';
import { jsonRows } from './json.ts';
import { isObject, type Lookup, memberOf } from './member.ts';
import { textOf } from './pieces.ts';
import type { Form } from './rows.ts';
import { timeOf } from './time.ts';

export interface UsagePreset {
  /** Which records the report can be about. */
  readonly only: readonly string[];
  /** Names for each count, all of which are added; none where the report does not say. */
  readonly calls: readonly string[];
  readonly input: readonly string[];
  readonly output: readonly string[];
}

export const USAGE_PRESETS = {
  /** [OpenAI, GET /v1/organization/usage/completions and …/embeddings] */
  'openai-usage': {
    only: ['model.provider=openai'],
    calls: ['num_model_requests'],
    input: ['input_tokens'],
    output: ['output_tokens'],
  },
  /** [Anthropic, GET /v1/organizations/usage_report/messages] and the console's export, which count no calls. */
  'anthropic-usage': {
    only: ['model.provider=anthropic'],
    calls: [],
    input: [
      'uncached_input_tokens',
      'cache_creation.ephemeral_1h_input_tokens',
      'cache_creation.ephemeral_5m_input_tokens',
      'cache_read_input_tokens',
      'usage_input_tokens_no_cache',
      'usage_input_tokens_cache_write_5m',
      'usage_input_tokens_cache_write_1h',
      'usage_input_tokens_cache_read',
    ],
    output: ['output_tokens', 'usage_output_tokens'],
  },
} as const satisfies Record<string, UsagePreset>;

export type UsageName = keyof typeof USAGE_PRESETS;

export const USAGE_NAMES = Object.keys(USAGE_PRESETS) as readonly UsageName[];

const BEGIN_FIELDS = ['start_time', 'starting_at', 'usage_date_utc'];
const END_FIELDS = ['end_time', 'ending_at'];
const MODEL_FIELDS = ['model', 'model_version'];

export interface UsageOptions {
  readonly form: Form;
  readonly preset: UsagePreset;
  readonly delimiter?: string;
  readonly name: string;
}

/** A bucket, and what it has of one model; of an empty bucket nothing. */
export interface Sum {
  /** Milliseconds since 1970, half-open, in one day. */
  readonly begin: number;
  readonly end: number;
  readonly of?: { readonly model: string } & Totals;
}

export interface Totals {
  readonly calls?: number;
  readonly input: number;
  readonly output: number;
}

export async function* sumsOf(
  chunks: AsyncIterable<Uint8Array>,
  options: UsageOptions,
): AsyncGenerator<Sum> {
  const { form, preset, name } = options;
  const read = form === 'csv' ? bucketsInCsv : bucketsInJson;
  for await (const { line, bucket, results } of read(textOf(chunks, name), options)) {
    const where = `${name} line ${line}`;
    const times = timesOf(bucket, where);
    if (results.length === 0) yield times;
    for (const result of results) {
      const of = resultOf(result, preset, where);
      yield of === undefined ? times : { ...times, of };
    }
  }
}

interface Bucket {
  readonly line: number;
  readonly bucket: Lookup;
  readonly results: readonly Lookup[];
}

async function* bucketsInCsv(
  text: AsyncIterable<string>,
  { name, delimiter }: UsageOptions,
): AsyncGenerator<Bucket> {
  const rows = csvRows(text, {
    name,
    hasHeader: true,
    wanted: [BEGIN_FIELDS],
    why: () => undefined,
    ...(delimiter === undefined ? {} : { delimiter }),
  });
  for await (const { line, lookup } of rows) yield { line, bucket: lookup, results: [lookup] };
}

async function* bucketsInJson(
  text: AsyncIterable<string>,
  { name }: UsageOptions,
): AsyncGenerator<Bucket> {
  const isRow = (value: unknown) => isObject(value) && Array.isArray(value.results);
  for await (const { line, value } of jsonRows(text, { name, isRow })) {
    if (!isObject(value) || !Array.isArray(value.results)) {
      throw new Unusable(`${name} line ${line}: it is no bucket of a usage report`);
    }
    const lookupIn =
      (one: unknown): Lookup =>
      (field) =>
        memberOf(one, field);
    yield { line, bucket: lookupIn(value), results: value.results.map(lookupIn) };
  }
}

const DAY_MS = 86_400_000;

export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function timesOf(bucket: Lookup, where: string) {
  const begin = timeOf(firstOf(bucket, BEGIN_FIELDS), where);
  if (begin === undefined) throw new Unusable(`${where}: it has no ${BEGIN_FIELDS.join(', ')}`);
  const end = timeOf(firstOf(bucket, END_FIELDS), where) ?? begin + DAY_MS;
  if (end <= begin || dayOf(begin) !== dayOf(end - 1)) {
    const [from, to] = [begin, end].map((ms) => new Date(ms).toISOString());
    throw new Unusable(`${where}: from ${from} to ${to} is no day in UTC, nor a part of one`);
  }
  return { begin, end };
}

function resultOf(result: Lookup, preset: UsagePreset, where: string): Sum['of'] {
  const sum = (fields: readonly string[]) =>
    fields.reduce((all, field) => all + countOf(result(field), `${where}: ${field}`), 0);
  const calls = preset.calls.length === 0 ? undefined : sum(preset.calls);
  const totals = { input: sum(preset.input), output: sum(preset.output) };
  const model = firstOf(result, MODEL_FIELDS);
  if (typeof model === 'string') {
    if (model.length > RECORD_TEXT_MAX)
      throw new Unusable(`${where}: a model of ${model.length} characters`);
    return { model, ...totals, ...(calls === undefined ? {} : { calls }) };
  }
  if ((calls ?? 0) + totals.input + totals.output === 0) return undefined;
  throw new Unusable(`${where}: a sum over all models: ask for the report grouped by model`);
}

function firstOf(lookup: Lookup, fields: readonly string[]): unknown {
  return fields.map(lookup).find((value) => value !== undefined && value !== null && value !== '');
}

/** Spreadsheets write whole numbers as "3.0". */
function countOf(value: unknown, where: string): number {
  if (value === undefined || value === null || value === '') return 0;
  const text = String(value).trim();
  const count = /^[0-9]{1,15}(?:\.0+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(count))
    throw new Unusable(`${where}: ${JSON.stringify(text)} is no count`);
  return count;
}
