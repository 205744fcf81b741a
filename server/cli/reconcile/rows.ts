/**
 * What does somebody's list of calls say? One row after the other, however long the list is.
 *
 *     csv     a header line and rows; with `hasHeader` false, rows alone
 *     json    objects in lines, in a list, or in pages of lists; or strings: the ids themselves
 *
 * A row has an id, and perhaps a time. The list is a stranger's: rows, columns and ids are bounded, and one that cannot
 * be read is told with its line, and nothing was found out.
 */
import { RECORD_TEXT_MAX } from '../../core/limits.ts';
import { Unusable } from '../exit.ts';
import { csvRows } from './csv.ts';
import { jsonRows } from './json.ts';
import { type Lookup, memberOf } from './member.ts';
import { textOf } from './pieces.ts';
import { timeOf } from './time.ts';

const ONE_EACH = 'a list with a row for each call is compared';

export const FORMS = ['csv', 'json'] as const;

export type Form = (typeof FORMS)[number];

/** Lists have rows of other kinds too: which member says it, and what of those that are calls. */
export interface Kind {
  readonly fields: readonly string[];
  readonly value: string;
}

export interface RowsOptions {
  readonly form: Form;
  /** Columns or members to look for the id in, the first that has one counts; "a.b" is a member's member. */
  readonly fields: readonly string[];
  readonly timeFields: readonly string[];
  /** That the user named them: one has to be a column of CSV. A preset's may be missing. */
  readonly isTimeNamed?: boolean;
  readonly kind?: Kind;
  /** Of CSV. Without a header a column's name is its number, from 1. */
  readonly hasHeader: boolean;
  readonly delimiter?: string;
  /** The list's name, for messages. */
  readonly name: string;
}

export interface Row {
  /** The line it begins in, from 1. */
  readonly line: number;
  readonly id: string | undefined;
  /** Milliseconds since 1970. */
  readonly timeMs: number | undefined;
  /** That it is none of a call. */
  readonly isOther: boolean;
}

export async function* rowsOf(
  chunks: AsyncIterable<Uint8Array>,
  options: RowsOptions,
): AsyncGenerator<Row> {
  const { name, fields, timeFields, kind, form } = options;
  const read = form === 'csv' ? ofCsv : ofJson;
  for await (const { line, lookup } of read(textOf(chunks, name), options)) {
    const where = `${name} line ${line}`;
    const isOther = kind !== undefined && isOtherThan(firstOf(lookup, kind.fields), kind.value);
    const id = isOther ? undefined : idOf(firstOf(lookup, fields), where);
    const sums = id === undefined && !isOther ? sumsIn(lookup) : undefined;
    if (sums !== undefined) throw new Unusable(`${where}: ${sums}`);
    const timeMs = isOther ? undefined : timeOf(firstOf(lookup, timeFields), where);
    yield { line, id, timeMs, isOther };
  }
}

interface Found {
  readonly line: number;
  readonly lookup: Lookup;
}

function ofCsv(text: AsyncIterable<string>, options: RowsOptions): AsyncGenerator<Found> {
  const { name, fields, timeFields, isTimeNamed = false, hasHeader, delimiter } = options;
  return csvRows(text, {
    name,
    hasHeader,
    wanted: isTimeNamed ? [fields, timeFields] : [fields],
    why: sumsIn,
    ...(delimiter === undefined ? {} : { delimiter }),
  });
}

async function* ofJson(
  text: AsyncIterable<string>,
  { name, fields }: RowsOptions,
): AsyncGenerator<Found> {
  const lookupIn =
    (value: unknown): Lookup =>
    (field) =>
      // A string is the id itself.
      typeof value === 'string' && fields.includes(field) ? value : memberOf(value, field);
  const isRow = (value: unknown) => firstOf(lookupIn(value), fields) !== undefined;
  for await (const { line, value } of jsonRows(text, { name, isRow })) {
    yield { line, lookup: lookupIn(value) };
  }
}

function firstOf(lookup: Lookup, fields: readonly string[]): unknown {
  for (const field of fields) {
    const value = lookup(field);
    if (value !== undefined && value !== null && value !== '') return value;
  }
  return undefined;
}

function isOtherThan(value: unknown, wanted: string): boolean {
  return value !== undefined && value !== wanted;
}

function idOf(value: unknown, where: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw new Unusable(`${where}: the id is a number that JSON does not keep exactly`);
  }
  const id = typeof value === 'number' ? String(value) : value;
  if (typeof id !== 'string') throw new Unusable(`${where}: the id is neither text nor a number`);
  const trimmed = id.trim();
  if (trimmed.length > RECORD_TEXT_MAX) {
    throw new Unusable(
      `${where}: an id of ${trimmed.length} characters, at most ${RECORD_TEXT_MAX}`,
    );
  }
  return trimmed === '' ? undefined : trimmed;
}

/** What reports that add up calls have, and rows of calls do not; and what to do with each. */
const OF_SUMS: readonly (readonly [field: string, advice: string])[] = [
  // [OpenAI, usage and costs] The API's buckets, the dashboard's export, and what it was before.
  ['num_model_requests', 'compare them with --preset openai-usage'],
  ['n_requests', ONE_EACH],
  ['n_context_tokens_total', ONE_EACH],
  // [Anthropic, usage and cost reports] The API's, and the console's export.
  ['uncached_input_tokens', 'compare them with --preset anthropic-usage'],
  ['usage_input_tokens_no_cache', 'compare them with --preset anthropic-usage'],
  ['usage_date_utc', ONE_EACH],
];

function sumsIn(lookup: Lookup): string | undefined {
  const results = lookup('results');
  const first: unknown = Array.isArray(results) ? results[0] : undefined;
  const isOf = ([name]: (typeof OF_SUMS)[number]) =>
    lookup(name) !== undefined || memberOf(first, name) !== undefined;
  const [field, advice] = OF_SUMS.find(isOf) ?? [];
  if (field !== undefined) return `these are sums of calls (${field}) and name none: ${advice}`;
  const isBucket = lookup('object') === 'bucket' || Array.isArray(results);
  // [LiteLLM, /spend/logs] With dates, and without summarize=false.
  const isDay = lookup('spend') !== undefined && lookup('models') !== undefined;
  return isBucket || isDay ? `these are sums of calls and name none: ${ONE_EACH}` : undefined;
}
