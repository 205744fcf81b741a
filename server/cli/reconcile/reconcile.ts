/** Compares a list of calls with the records of logs: what does only one side have, and what twice? */

import { parseUtf8, utf8 } from '../../core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../core/entry.ts';
import type { FeedLine } from '../../core/feed.ts';
import { type InferenceRecord, parseRecord } from '../../core/record.ts';
import { MATCHED, Match, REPEATED, SHARED } from './match.ts';
import { type Condition, type IdKind, idsOf, meets, type Shown, shownOf } from './records.ts';
import type { Row } from './rows.ts';
import { Spill, SpillFolder } from './spill.ts';

/** Half-open, in milliseconds since 1970. */
export interface Period {
  readonly from: number;
  readonly to: number;
}

export interface Side {
  /** A log's name, and its entries. */
  readonly log: string;
  readonly feed: AsyncIterable<FeedLine>;
}

export interface ReconcileOptions {
  readonly rows: AsyncIterable<Row>;
  readonly logs: readonly Side[];
  readonly by: IdKind;
  readonly only: readonly Condition[];
  /** That an id has one call: more rows with it than records say the same again. */
  readonly isOneCallPerId?: boolean;
  readonly period: Period;
  readonly progress: (line: string) => void;
  /** Told of each difference: rows first, each side in its order. */
  readonly difference: (difference: Difference) => void;
}

export type Difference =
  | { readonly only_in: 'list'; readonly line: number; readonly id: string }
  | { readonly repeated_in: 'list'; readonly line: number; readonly id: string }
  | ({ readonly only_in: 'log' } & Shown)
  | ({ readonly repeated_in: 'log' } & Shown);

export interface Counts {
  /** Rows of the period that have an id. */
  readonly rows: number;
  readonly rows_without_id: number;
  readonly rows_outside: number;
  /** Rows that are none of calls. */
  readonly rows_of_other_kinds: number;
  /** Rows that are about a call of a row before. */
  readonly rows_again: number;
  /** Records of calls in the period that the list could be about. */
  readonly records: number;
  /** Records of calls in the period that it is not about. */
  readonly records_not_asked: number;
  /** Of them, those without an id of the kind that is asked for: calls without an answer … */
  readonly unanswered: number;
  /** … and calls with one, of which nothing can be told. */
  readonly records_without_id: number;
  readonly both: number;
  readonly only_in_list: number;
  readonly only_in_log: number;
  readonly repeated_in_list: number;
  readonly repeated_in_log: number;
  /** Providers of the records that the list is not about. */
  readonly other_providers: readonly string[];
}

const STEP = 5_000;
const SPILL_BYTES = 4_194_304;

/** To show somebody who asked for another. */
const PROVIDERS_MAX = 10;

export async function reconcile(options: ReconcileOptions): Promise<Counts> {
  const folder = new SpillFolder();
  const work = {
    folder,
    match: new Match(folder),
    rows: new Spill(folder, SPILL_BYTES),
    records: new Spill(folder, SPILL_BYTES),
  };
  try {
    const rows = await readRows(options, work);
    const records = await readRecords(options, work);
    work.match.compare();
    const { again, ...told } = tell(options, work);
    return { ...rows, rows: rows.rows - again, rows_again: again, ...records, ...told };
  } finally {
    work.match.close();
    work.rows.close();
    work.records.close();
    folder.close();
  }
}

interface Work {
  readonly match: Match;
  readonly rows: Spill;
  readonly records: Spill;
}

async function readRows({ rows, period, progress }: ReconcileOptions, work: Work) {
  let count = 0;
  let without = 0;
  let outside = 0;
  let others = 0;
  for await (const { line, id, timeMs, isOther } of rows) {
    if (isOther) others++;
    else if (timeMs !== undefined && (timeMs < period.from || timeMs >= period.to)) outside++;
    else if (id === undefined) without++;
    else {
      work.match.row(count++, id);
      work.rows.push(utf8(JSON.stringify({ line, id })));
    }
    if (line % STEP === 0) progress(`line ${line} of the list`);
  }
  return {
    rows: count,
    rows_without_id: without,
    rows_outside: outside,
    rows_of_other_kinds: others,
  };
}

async function readRecords(options: ReconcileOptions, work: Work) {
  const { logs, by, only, period, progress } = options;
  let number = 0;
  let asked = 0;
  let notAsked = 0;
  const providers = new Set<string>();
  let unanswered = 0;
  let without = 0;
  for await (const { log, index, record } of callsOf(logs, progress)) {
    const ids = idsOf(record, by);
    const time = Date.parse(record.time.received);
    const isInPeriod = time >= period.from && time < period.to;
    const isAsked = isInPeriod && meets(record, only);
    if (isAsked) asked++;
    else if (isInPeriod) {
      notAsked++;
      if (providers.size < PROVIDERS_MAX) providers.add(record.model.provider);
    }
    if (ids.size === 0) {
      if (isAsked && record.outcome.http_status === undefined) unanswered++;
      else if (isAsked) without++;
      continue;
    }
    // The others are compared too. Clocks differ, a call has a beginning and an end, and a call that is on record
    // went past nobody, whatever the record calls its provider.
    work.match.record(number, ids);
    const shown = shownOf(log, index, record);
    work.records.push(utf8(JSON.stringify({ isAsked, shown })));
    number++;
  }
  return {
    records: asked,
    records_not_asked: notAsked,
    unanswered,
    records_without_id: without,
    other_providers: [...providers].sort(),
  };
}

/** The records of calls in logs, one after the other. */
export async function* callsOf(
  logs: readonly Side[],
  progress: (line: string) => void,
): AsyncGenerator<{
  readonly log: string;
  readonly index: number;
  readonly record: InferenceRecord;
}> {
  for (const { log, feed } of logs) {
    for await (const { index, entry } of feed) {
      if (index % STEP === 0) progress(`entry ${index} of ${log}`);
      const { payloadType, payload } = decodeEntry(entry);
      if (payloadType !== RECORD_TYPE) continue;
      const record = parseRecord(payload);
      if (record.kind === 'inference') yield { log, index, record };
    }
  }
}

function tell(
  { difference, isOneCallPerId = false }: ReconcileOptions,
  { match, rows, records }: Work,
) {
  const told = {
    again: 0,
    both: 0,
    only_in_list: 0,
    only_in_log: 0,
    repeated_in_list: 0,
    repeated_in_log: 0,
  };
  let number = 0;
  for (const piece of rows.pieces()) {
    const bits = match.ofRow(number++);
    const row = JSON.parse(parseUtf8(piece, 'row')) as { line: number; id: string };
    if ((bits & REPEATED) !== 0 && isOneCallPerId) told.again++;
    else if ((bits & REPEATED) !== 0) {
      told.repeated_in_list++;
      difference({ repeated_in: 'list', ...row });
    } else if ((bits & MATCHED) !== 0) told.both++;
    else {
      told.only_in_list++;
      difference({ only_in: 'list', ...row });
    }
  }
  number = 0;
  for (const piece of records.pieces()) {
    const bits = match.ofRecord(number++);
    const { isAsked, shown } = JSON.parse(parseUtf8(piece, 'record')) as {
      isAsked: boolean;
      shown: Shown;
    };
    if (!isAsked) continue;
    if ((bits & SHARED) !== 0) {
      told.repeated_in_log++;
      difference({ repeated_in: 'log', ...shown });
    } else if ((bits & MATCHED) === 0) {
      told.only_in_log++;
      difference({ only_in: 'log', ...shown });
    }
  }
  return told;
}
