/** What the comparison of a usage report comes to, in lines for people. */
import { FAILS, HOLDS, UNKNOWN } from '../exit.ts';
import { table } from '../terminal.ts';
import type { Condition } from './records.ts';
import { MEASURES, type SumsResult } from './sums.ts';
import { SHOWN_MAX } from './words.ts';

const WORDS = {
  calls: 'calls',
  input_tokens: 'input tokens',
  output_tokens: 'output tokens',
} as const;

export function linesOfSums(
  result: SumsResult,
  shown: {
    readonly only: readonly Condition[];
    readonly output: string | undefined;
  },
): string[] {
  const { days, list, log, differences, verdict } = result;
  const n = (count: number) => count.toLocaleString('en');
  const rows: string[][] = [['', 'list', 'log']];
  for (const measure of MEASURES) {
    const counted = list[measure];
    rows.push([WORDS[measure], counted === undefined ? '-' : n(counted), n(log[measure] ?? 0)]);
  }
  rows.push(['days', n(days)]);
  const { calls_without_tokens: without, records_not_asked: others } = result;
  if (without > 0) rows.push(['calls without tokens', '', n(without)]);
  if (others > 0) rows.push(['records of other calls', '', n(others)]);
  const first = differences
    .slice(0, SHOWN_MAX)
    .map((one) => [one.day, one.model, WORDS[one.measure], n(one.list), n(one.log)]);
  const rest = differences.length - first.length;
  const more = shown.output === undefined ? 'all with --output' : `all in ${shown.output}`;
  const wanted = shown.only.map(({ path, value }) => `${path}=${value}`).join(' ');
  const isOfNone = log.calls === 0 && others > 0;
  const verdicts = {
    [HOLDS]: 'HOLDS: the report and the log have the same sums',
    [FAILS]: `DOES NOT HOLD: ${n(differences.length)} ${differences.length === 1 ? 'sum differs' : 'sums differ'}`,
    [UNKNOWN]: 'COULD NOT TELL: the answers of some calls said nothing of tokens',
  };
  return [
    ...table(rows),
    ...(first.length === 0 ? [] : ['', ...table([['day', 'model', '', 'list', 'log'], ...first])]),
    ...(rest > 0 ? [`… and ${n(rest)} more: ${more}`] : []),
    ...(isOfNone
      ? [
          '',
          `no record has ${wanted}; providers of the others: ${result.other_providers.join(', ')}`,
        ]
      : []),
    '',
    verdicts[verdict],
  ];
}
