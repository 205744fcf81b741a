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
import { Output } from '../reconcile/output.ts';
import { PRESET_NAMES, PRESETS, type Preset, type PresetName } from '../reconcile/presets.ts';
import { type Difference, reconcile } from '../reconcile/reconcile.ts';
import { type Condition, type IdKind, KINDS, parseCondition } from '../reconcile/records.ts';
import { FORMS, type Form, rowsOf } from '../reconcile/rows.ts';
import { compareSums } from '../reconcile/sums.ts';
import { linesOfSums } from '../reconcile/sums-words.ts';
import { timeOf } from '../reconcile/time.ts';
import { sumsOf, USAGE_NAMES, USAGE_PRESETS, type UsageName } from '../reconcile/usage.ts';
import { linesOf, verdictOf } from '../reconcile/words.ts';
import { voiceOf, type World } from '../terminal.ts';
import { addWhere, logClient, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log?: readonly string[];
  readonly preset: PresetName | UsageName;
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

/** Differences in the JSON; all are in the file of --output. */
const JSON_MAX = 1_000;

export function command(cli: Cli): Command {
  return addWhere(new Command('reconcile'))
    .description(
      'Compares the records of calls with a list of them, a provider’s or your own, and names what one side alone has.',
    )
    .argument('<list>', 'a file, CSV or JSON, also gzip; - for standard input')
    .option('--log <name>', 'the log; several, where one went on as the next [default]', collect)
    .addOption(
      new Option('--preset <list>', 'what list it is')
        .choices([...PRESET_NAMES, ...USAGE_NAMES])
        .default('own'),
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
        if (isOfUsage(options.preset)) return reconcileSums(world, list, options, options.preset);
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

function isOfUsage(name: PresetName | UsageName): name is UsageName {
  return Object.hasOwn(USAGE_PRESETS, name);
}

/** A usage report names no call: it is compared by day and model. */
async function reconcileSums(
  world: World,
  list: string,
  options: Options,
  name: UsageName,
): Promise<Status> {
  const { field, timeField, by } = options;
  if (field !== undefined || timeField !== undefined || by !== undefined) {
    throw new Unusable(
      `--preset ${name}: sums have no ids, so --field, --time-field and --by say nothing`,
    );
  }
  const voice = voiceOf(world, options.json === true);
  const preset = USAGE_PRESETS[name];
  const only = conditionsOf(preset, options);
  const output =
    options.output === undefined ? undefined : await Output.create(world, options.output);
  try {
    const listName = list === '-' ? 'standard input' : list;
    const result = await compareSums({
      sums: sumsOf(await chunksOf(world, list), {
        form: options.form ?? formOf(list),
        preset,
        name: listName,
        ...(options.delimiter === undefined ? {} : { delimiter: options.delimiter }),
      }),
      logs: logsOf(world, options),
      only,
      period: periodOf(options),
      name: listName,
      progress: voice.progress,
    });
    for (const difference of result.differences) output?.write(difference);
    await output?.end();
    const { differences, verdict } = result;
    voice.say(...linesOfSums(result, { only, output: options.output }));
    voice.json({
      ...result,
      verdict: NAMES[verdict],
      differences: differences.slice(0, JSON_MAX),
    });
    return verdict;
  } finally {
    await output?.close();
  }
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
function conditionsOf(preset: Pick<Preset, 'only'>, options: Options): readonly Condition[] {
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
