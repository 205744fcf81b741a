/**
 * Compares a usage report with the records of logs, by day and model: where does one count more than the other?
 *
 * It names no call. A call over midnight may be in one day here and in the next there, and a call whose answer said
 * nothing of tokens is in the provider's sum and not in ours: that is told apart.
 */
import type { InferenceRecord } from '../../core/record.ts';
import { FAILS, HOLDS, type Status, UNKNOWN, Unusable } from '../exit.ts';
import { callsOf, type Period, type Side } from './reconcile.ts';
import { type Condition, meets } from './records.ts';
import { dayOf, type Sum, type Totals } from './usage.ts';

export interface SumsOptions {
  readonly sums: AsyncIterable<Sum>;
  readonly logs: readonly Side[];
  readonly only: readonly Condition[];
  readonly period: Period;
  readonly name: string;
  readonly progress: (line: string) => void;
}

export const MEASURES = ['calls', 'input_tokens', 'output_tokens'] as const;

export type Measure = (typeof MEASURES)[number];

type Counts = Readonly<Partial<Record<Measure, number>>>;

export interface SumDifference {
  readonly day: string;
  readonly model: string;
  readonly measure: Measure;
  readonly list: number;
  readonly log: number;
}

export interface SumsResult {
  /** Of days in UTC that both are about. */
  readonly days: number;
  readonly list: Counts;
  readonly log: Counts;
  /** Calls whose answers said nothing of tokens. */
  readonly calls_without_tokens: number;
  readonly records_not_asked: number;
  readonly other_providers: readonly string[];
  readonly differences: readonly SumDifference[];
  readonly verdict: Status;
}

/** Days times models: some years of some hundred. */
const GROUPS_MAX = 200_000;
const PROVIDERS_MAX = 10;
const DAY_MS = 86_400_000;

interface Group {
  readonly day: string;
  readonly model: string;
  readonly list: Record<Measure, number>;
  readonly log: Record<Measure, number>;
  withoutTokens: number;
}

export async function compareSums(options: SumsOptions): Promise<SumsResult> {
  for (const edge of Object.values(options.period)) {
    if (Number.isFinite(edge) && edge % DAY_MS !== 0) {
      throw new Unusable(`${new Date(edge).toISOString()}: sums are compared by days in UTC`);
    }
  }
  const groups = new Groups();
  const { range, countsCalls } = await readSums(options, groups);
  const read = await readRecords(options, range, groups);
  const measures = countsCalls ? MEASURES : MEASURES.filter((measure) => measure !== 'calls');
  const all = groups.inOrder();
  const differences = all.flatMap((group) => differencesOf(group, measures));
  const untold = all.some((group) => group.withoutTokens > 0 && !isEqual(group, measures));
  return {
    days: Math.max(0, Math.round((range.to - range.from) / DAY_MS)),
    list: totalsOf(all, 'list', measures),
    log: totalsOf(all, 'log', MEASURES),
    calls_without_tokens: all.reduce((sum, { withoutTokens }) => sum + withoutTokens, 0),
    ...read,
    differences,
    verdict: differences.length > 0 ? FAILS : untold ? UNKNOWN : HOLDS,
  };
}

class Groups {
  readonly #groups = new Map<string, Group>();

  of(day: string, model: string): Group {
    const key = `${day} ${model}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      if (this.#groups.size === GROUPS_MAX) {
        throw new Unusable(`over ${GROUPS_MAX} days and models: compare a shorter period`);
      }
      const none = () => ({ calls: 0, input_tokens: 0, output_tokens: 0 });
      group = { day, model, list: none(), log: none(), withoutTokens: 0 };
      this.#groups.set(key, group);
    }
    return group;
  }

  inOrder(): readonly Group[] {
    const keys = [...this.#groups.keys()].sort();
    return keys.flatMap((key) => this.#groups.get(key) ?? []);
  }
}

/** The days that the report is about, as far as they are in the period: no other can be compared. */
async function readSums({ sums, period, name }: SumsOptions, groups: Groups) {
  let from = Number.POSITIVE_INFINITY;
  let to = Number.NEGATIVE_INFINITY;
  let countsCalls = false;
  for await (const { begin, end, of } of sums) {
    if (begin < period.from || end > period.to) continue;
    from = Math.min(from, begin - (begin % DAY_MS));
    to = Math.max(to, Math.ceil(end / DAY_MS) * DAY_MS);
    if (of !== undefined) {
      countsCalls ||= of.calls !== undefined;
      add(groups.of(dayOf(begin), of.model).list, of);
    }
  }
  if (from > to) throw new Unusable(`${name}: there is no sum of the period`);
  return { range: { from, to }, countsCalls };
}

function add(counts: Record<Measure, number>, { calls = 0, input, output }: Totals): void {
  counts.calls += calls;
  counts.input_tokens += input;
  counts.output_tokens += output;
}

async function readRecords(
  { logs, only, progress }: SumsOptions,
  range: Period,
  groups: Groups,
): Promise<Pick<SumsResult, 'records_not_asked' | 'other_providers'>> {
  let notAsked = 0;
  const providers = new Set<string>();
  for await (const { record } of callsOf(logs, progress)) {
    const time = Date.parse(record.time.received);
    if (time < range.from || time >= range.to || !wasAnswered(record)) continue;
    const model = record.model.served ?? record.model.requested;
    // A list of models is asked for by the same way as a model is.
    if (model === undefined || !meets(record, only)) {
      notAsked++;
      if (providers.size < PROVIDERS_MAX) providers.add(record.model.provider);
      continue;
    }
    const group = groups.of(dayOf(time), model);
    const { input_tokens: input, output_tokens: output } = record.metrics;
    if (input === undefined && output === undefined) group.withoutTokens++;
    add(group.log, { calls: 1, input: input ?? 0, output: output ?? 0 });
  }
  return { records_not_asked: notAsked, other_providers: [...providers].sort() };
}

/** What a provider counts: a request that failed is none. */
function wasAnswered({ outcome: { http_status: status, status: end } }: InferenceRecord): boolean {
  if (status !== undefined) return status >= 200 && status < 300;
  return end === 'ok' || end === 'incomplete' || end === 'refused';
}

function isEqual({ list, log }: Group, measures: readonly Measure[]): boolean {
  return measures.every((measure) => list[measure] === log[measure]);
}

function differencesOf(group: Group, measures: readonly Measure[]): SumDifference[] {
  const { day, model, list, log, withoutTokens } = group;
  return measures.flatMap((measure) => {
    const difference = list[measure] - log[measure];
    // What those calls took is in the provider's sum, and nobody here knows how much it was.
    const mayBeMore = measure !== 'calls' && withoutTokens > 0;
    if (difference === 0 || (difference > 0 && mayBeMore)) return [];
    return [{ day, model, measure, list: list[measure], log: log[measure] }];
  });
}

function totalsOf(
  groups: readonly Group[],
  side: 'list' | 'log',
  measures: readonly Measure[],
): Counts {
  const sum = (measure: Measure) => groups.reduce((all, group) => all + group[side][measure], 0);
  return Object.fromEntries(measures.map((measure) => [measure, sum(measure)]));
}
