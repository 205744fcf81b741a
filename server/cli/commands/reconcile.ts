/**
 * `stele reconcile`: does a log have the calls that a provider, or an application, says there were?
 *
 * The log's word is taken for what its records are; `stele audit` is for that.
 */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { extname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { LogClient } from '../../client/client.ts';
import type { FeedLine } from '../../core/feed.ts';
import { FAILS, HOLDS, type Status, UNKNOWN, Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { PRESET_NAMES, PRESETS, type Preset, type PresetName } from '../reconcile/presets.ts';
import { type Counts, type Difference, reconcile } from '../reconcile/reconcile.ts';
import { type Condition, type IdKind, KINDS, parseCondition } from '../reconcile/records.ts';
import { FORMS, type Form, rowsOf } from '../reconcile/rows.ts';
import { timeOf } from '../reconcile/time.ts';
import { table, voiceOf, type World } from '../terminal.ts';
import { addWhere, logClient, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log?: readonly string[];
  readonly preset: PresetName;
  readonly field?: readonly string[];
  readonly timeField?: readonly string[];
  readonly by?: IdKind;
  readonly only?: readonly string[];
  readonly from?: string;
  readonly to?: string;
  readonly form?: Form;
  readonly header: boolean;
  readonly delimiter?: string;
  readonly output?: string;
}

/** Differences shown, or in the JSON; all are in the file of --output. */
const SHOWN_MAX = 20;
const JSON_MAX = 1_000;

export function command(cli: Cli): Command {
  return addWhere(new Command('reconcile'))
    .description(
      'Compares the records of calls with a list of them, a provider’s or your own, and names what one side alone has.',
    )
    .argument('<list>', 'a file, CSV or JSON, also gzip; - for standard input')
    .option('--log <name>', 'the log; several, where one went on as the next [default]', collect)
    .addOption(
      new Option('--preset <list>', 'what list it is').choices(PRESET_NAMES).default('own'),
    )
    .option(
      '--field <name>',
      'the column or member that has the id; the first there counts',
      collect,
    )
    .option(
      '--time-field <name>',
      'the one that has the time, to leave out rows of other periods',
      collect,
    )
    .addOption(new Option('--by <ids>', 'which ids of a record it has').choices(KINDS))
    .option(
      '--only <member=value>',
      'records that the list is about, as model.provider=openai',
      collect,
    )
    .option('--from <time>', 'the period: calls received at that time or later')
    .option('--to <time>', 'and before that one')
    .addOption(new Option('--form <form>', 'what it is [by its name]').choices(FORMS))
    .option('--no-header', 'CSV without names of columns: they are 1, 2, 3 …')
    .addOption(
      new Option(
        '--delimiter <character>',
        'between columns of CSV, or tab [by its header]',
      ).argParser(delimiterOf),
    )
    .option('-o, --output <file>', 'write every difference there, a line of JSON each')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele reconcile calls.csv --field request_id --from 2026-05-01 --to 2026-06-01',
    )
    .action(
      cli.action(async (list: string, options: Options) => {
        const { world } = cli;
        const voice = voiceOf(world, options.json === true);
        const preset: Preset = PRESETS[options.preset];
        const only = conditionsOf(preset, options);
        const shown: Difference[] = [];
        const output =
          options.output === undefined ? undefined : await Output.create(world, options.output);
        try {
          const counts = await reconcile({
            rows: rowsOf(await chunksOf(world, list), {
              form: options.form ?? formOf(list),
              fields: options.field ?? fieldsOf(preset, options),
              timeFields: options.timeField ?? preset.timeFields,
              isTimeNamed: options.timeField !== undefined,
              hasHeader: options.header,
              name: list === '-' ? 'standard input' : list,
              ...(preset.kind === undefined ? {} : { kind: preset.kind }),
              ...(options.delimiter === undefined ? {} : { delimiter: options.delimiter }),
            }),
            logs: logsOf(world, options),
            by: options.by ?? preset.by,
            only,
            isOneCallPerId: preset.isOneCallPerId ?? false,
            period: periodOf(options),
            progress: voice.progress,
            difference(difference) {
              if (shown.length < JSON_MAX) shown.push(difference);
              output?.write(difference);
            },
          });
          await output?.end();
          const verdict = verdictOf(counts);
          voice.say(...linesOf(counts, shown, { verdict, only, output: options.output }));
          voice.json({ ...counts, verdict: NAMES[verdict], differences: shown });
          return verdict;
        } finally {
          await output?.close();
        }
      }),
    );
}

function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Without a header there is nothing to find a column by. */
function fieldsOf(preset: Preset, { header }: Options): readonly string[] {
  return header ? preset.fields : ['1'];
}

function formOf(list: string): Form {
  const ending = extname(list.toLowerCase().replace(/\.gz$/, ''));
  if (['.csv', '.tsv'].includes(ending)) return 'csv';
  if (['.jsonl', '.ndjson', '.json'].includes(ending)) return 'json';
  throw new Unusable(`${list}: its name does not say what it is: give --form csv or --form json`);
}

function delimiterOf(text: string): string {
  const delimiter = text === 'tab' ? '\t' : text;
  if (/^[^"\r\n]$/u.test(delimiter)) return delimiter;
  throw new Unusable(`--delimiter: ${JSON.stringify(text)} is neither a character nor "tab"`);
}

/** The user's, and the preset's of members that the user says nothing of. */
function conditionsOf(preset: Preset, options: Options): readonly Condition[] {
  const own = (options.only ?? []).map(parseCondition);
  const rest = preset.only.map(parseCondition);
  return [...rest.filter(({ path }) => !own.some((one) => one.path === path)), ...own];
}

async function chunksOf(world: World, list: string): Promise<AsyncIterable<Uint8Array>> {
  if (list === '-') return world.stdin();
  const path = resolve(world.cwd, list);
  try {
    // Before anything is read of a log.
    await (await open(path)).close();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`;
    throw new Unusable(`list ${path}: ${reason}`, { cause });
  }
  return createReadStream(path);
}

function logsOf(world: World, options: Options) {
  const { log: names = ['default'] } = options;
  return names.map((log) => {
    const client = logClient(world, { ...options, log }, 'read');
    return { log, feed: wholeFeed(client, world.interrupted) };
  });
}

/** All entries that the log has now. A feed may end before: who reads on asks again. */
async function* wholeFeed(client: LogClient, signal: AbortSignal): AsyncGenerator<FeedLine> {
  const { size } = await client.head();
  for (let next = 0; next < size; ) {
    const before = next;
    for await (const line of client.feed(next, { signal })) {
      if (line.index >= size) return;
      yield line;
      next = line.index + 1;
    }
    if (next === before) throw new Unusable(`the feed of ${client.base} ends at entry ${next}`);
  }
}

function periodOf({ from, to }: Options) {
  const period = {
    from: timeOf(from, '--from') ?? Number.NEGATIVE_INFINITY,
    to: timeOf(to, '--to') ?? Number.POSITIVE_INFINITY,
  };
  if (period.from >= period.to) throw new Unusable(`--from ${from} is not before --to ${to}`);
  return period;
}

const NAMES = { [HOLDS]: 'holds', [FAILS]: 'does not hold', [UNKNOWN]: 'could not tell' } as const;

function verdictOf(counts: Counts): Status {
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

function linesOf(
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

/** A file of differences, written as they are found. */
class Output {
  readonly #file: Awaited<ReturnType<typeof open>>;
  #lines: string[] = [];
  #written: Promise<unknown> = Promise.resolve();

  private constructor(file: Awaited<ReturnType<typeof open>>) {
    this.#file = file;
  }

  /** A file that is there already is not written over. */
  static async create(world: World, name: string): Promise<Output> {
    const path = resolve(world.cwd, name);
    try {
      return new Output(await open(path, 'wx', 0o600));
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      const reason = code === 'EEXIST' ? 'it is there already' : `it cannot be written (${code})`;
      throw new Unusable(`output ${path}: ${reason}`, { cause });
    }
  }

  write(difference: Difference): void {
    this.#lines.push(`${JSON.stringify(difference)}\n`);
    if (this.#lines.length >= 1_000) this.#flush();
  }

  async end(): Promise<void> {
    this.#flush();
    await this.#written;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #flush(): void {
    const text = this.#lines.join('');
    this.#lines = [];
    this.#written = this.#written.then(() => this.#file.appendFile(text));
    // Whoever ends it hears of a failure.
    this.#written.catch(() => {});
  }
}
