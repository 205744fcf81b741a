/** What the comparison of a list of calls comes to, and in lines for people. */
import { FAILS, HOLDS, type Status, UNKNOWN } from '../exit.ts';
import { table } from '../terminal.ts';
import type { Counts, Difference } from './reconcile.ts';
import type { Condition } from './records.ts';

/** Differences that people are shown; all are in the file of --output. */
export const SHOWN_MAX = 20;

export function verdictOf(counts: Counts): Status {
  const { only_in_list, only_in_log, repeated_in_list, repeated_in_log } = counts;
  if (only_in_list + only_in_log + repeated_in_list + repeated_in_log > 0) return FAILS;
  return counts.rows_without_id + counts.records_without_id > 0 || isOfNone(counts)
    ? UNKNOWN
    : HOLDS;
}

/** There are calls on both sides, and none is what the list is said to be about. */
function isOfNone({ rows, records, records_not_asked }: Counts): boolean {
  return rows > 0 && records === 0 && records_not_asked > 0;
}

export function linesOf(
  counts: Counts,
  differences: readonly Difference[],
  about: {
    readonly verdict: Status;
    readonly only: readonly Condition[];
    readonly output: string | undefined;
  },
): string[] {
  const { verdict, only, output } = about;
  const n = (count: number) => count.toLocaleString('en');
  const rows: [string, string][] = [
    ['list', `${n(counts.rows)} calls`],
    ['log', `${n(counts.records)} calls`],
    ['both', n(counts.both)],
    ['only in the list', n(counts.only_in_list)],
    ['only in the log', n(counts.only_in_log)],
    ['repeated in the list', n(counts.repeated_in_list)],
    ['repeated in the log', n(counts.repeated_in_log)],
  ];
  if (counts.rows_outside > 0) rows.push(['rows of other periods', n(counts.rows_outside)]);
  if (counts.rows_of_other_kinds > 0) {
    rows.push(['rows of no calls', n(counts.rows_of_other_kinds)]);
  }
  if (counts.rows_again > 0) rows.push(['rows of a call before', n(counts.rows_again)]);
  if (counts.rows_without_id > 0) rows.push(['rows without an id', n(counts.rows_without_id)]);
  if (counts.unanswered > 0) rows.push(['records without an answer', n(counts.unanswered)]);
  if (counts.records_without_id > 0) {
    rows.push(['answers without such an id', n(counts.records_without_id)]);
  }
  if (counts.records_not_asked > 0) {
    rows.push(['records of other calls', n(counts.records_not_asked)]);
  }
  const shown = differences.slice(0, SHOWN_MAX).map(lineOfDifference);
  const all =
    counts.only_in_list + counts.only_in_log + counts.repeated_in_list + counts.repeated_in_log;
  const rest = all - shown.length;
  const more = output === undefined ? 'all with --output' : `all in ${output}`;
  const verdicts = {
    [HOLDS]: 'HOLDS: the list and the log have the same calls',
    [FAILS]: `DOES NOT HOLD: ${n(all)} ${all === 1 ? 'difference' : 'differences'}`,
    [UNKNOWN]: isOfNone(counts)
      ? 'COULD NOT TELL: no record is of what the list is about'
      : 'COULD NOT TELL: some calls have no id to compare',
  };
  return [
    ...table(rows),
    ...(shown.length === 0 ? [] : ['', ...table(shown)]),
    ...(rest > 0 ? [`… and ${n(rest)} more: ${more}`] : []),
    ...(isOfNone(counts) ? ['', ...otherRecords(counts, only)] : []),
    '',
    verdicts[verdict],
  ];
}

function otherRecords(counts: Counts, only: readonly Condition[]): string[] {
  const wanted = only.map(({ path, value }) => `${path}=${value}`).join(' ');
  const there = counts.other_providers.join(', ');
  return [`no record has ${wanted}; providers of the others: ${there}`];
}

function lineOfDifference(difference: Difference): string[] {
  if ('line' in difference) {
    const { line, id } = difference;
    const what = 'only_in' in difference ? 'only in the list' : 'repeated in the list';
    return [what, `line ${line}`, id];
  }
  const { log, entry, time, outcome, record_id, response } = difference;
  const what = 'only_in' in difference ? 'only in the log' : 'repeated in the log';
  return [what, `entry ${entry} of ${log}`, `${response ?? record_id}  ${time}  ${outcome}`];
}
