/**
 * `stele export`: all entries of a log as lines of JSON, in a file that grows or on standard output.
 *
 * With `--format ocsf` each is an OCSF event for a SIEM. With `--follow` it goes on until it is interrupted or the log
 * ends, whatever becomes of the connection: a server that stops and starts again costs nothing but time.
 *
 * An export is of one log. Where a log goes on as another it says so, and that is another export.
 */
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { LogClient, ServedHead } from '../../client/client.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { hasCode, SteleError } from '../../core/errors.ts';
import type { FeedLine } from '../../core/feed.ts';
import { formatOcsf } from '../../core/ocsf.ts';
import { Unusable } from '../exit.ts';
import { ExportFile, FEED_FORM, OCSF_FORM } from '../export-file.ts';
import type { Cli } from '../program.ts';
import { lineOf, type Voice, voiceOf, type World } from '../terminal.ts';
import { addLog, addWhere, logClient, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log: string;
  readonly from?: string;
  readonly follow?: true;
  readonly output?: string;
  readonly format: 'feed' | 'ocsf';
}

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('export')))
    .description('Writes all entries of a log, a line of JSON each.')
    .option('--from <index>', 'the first entry; without it 0, or where the file ends')
    .option('--follow', 'go on with the entries that come, until interrupted or until the log ends')
    .addOption(
      new Option('--format <form>', 'lines of the feed, or OCSF events, which prove nothing')
        .choices(['feed', 'ocsf'])
        .default('feed'),
    )
    .option('-o, --output <file>', 'add to that file, after its last whole line')
    .addHelpText('after', '\nExample:\n  $ stele export --log team-a --follow -o team-a.jsonl')
    .action(
      cli.action(async (options: Options) => {
        const { world } = cli;
        const voice = voiceOf(world, options.json === true);
        const client = logClient(world, options, 'read');
        const from = options.from === undefined ? undefined : parseDecimal(options.from, '--from');
        const follow = options.follow === true;
        const format = await formatterOf(options.format, client);
        const copying = { world, client, voice, follow, format };
        if (options.output === undefined) {
          const write = (line: string) => world.out(`${line}\n`);
          const { end } = await copy({ ...copying, write }, from ?? 0);
          // Standard output is the export's own.
          if (end !== undefined && options.json !== true) world.err(`${endLine(end)}\n`);
          return undefined;
        }
        const file = new ExportFile(
          resolve(world.cwd, options.output),
          options.format === 'ocsf' ? OCSF_FORM : FEED_FORM,
        );
        try {
          const start = await startOf(file, copying, from);
          const write = (line: string) => file.append(`${line}\n`);
          const { next, end } = await copy({ ...copying, write }, start);
          voice.say(
            end === undefined
              ? `${next - start} entries written to ${options.output}, the next is ${next}`
              : `${next - start} entries written to ${options.output}`,
            ...(end === undefined ? [] : [endLine(end)]),
          );
          voice.json({
            file: options.output,
            written: next - start,
            next,
            ...(end === undefined ? {} : { ended: true, goes_on: end.next ?? null }),
          });
        } finally {
          file.close();
        }
        return undefined;
      }),
    );
}

/** Where the file goes on. Its last line must be the log's: two logs in one file are no export of either. */
async function startOf(
  file: ExportFile,
  { client, format }: Pick<Copying, 'client' | 'format'>,
  from: number | undefined,
) {
  const { begin, last, path } = file;
  if (last === undefined || begin === undefined) return from ?? 0;
  if (from !== undefined && from !== begin) {
    throw new Unusable(`${path}: it begins with entry ${begin}, and --from says ${from}`);
  }
  const line = await lineAt(client, last.index);
  if (line !== undefined && format(line) === last.text) return last.index + 1;
  throw new SteleError(
    'conflict',
    `${path}: its entry ${last.index} is not that of ${client.base}, so nothing is written to it`,
  );
}

/** The line of one entry; nothing if the log has no such entry. */
async function lineAt(client: LogClient, index: number): Promise<FeedLine | undefined> {
  try {
    for await (const line of client.feed(index, { limit: 1 })) return line;
  } catch (error) {
    if (!hasCode(error, 'not_found')) throw error;
  }
  return undefined;
}

type Formatter = (line: FeedLine) => string;

async function formatterOf(format: Options['format'], client: LogClient): Promise<Formatter> {
  if (format === 'feed') return ({ text }) => text;
  const { origin } = await client.head();
  return ({ index, entry }) => formatOcsf(index, entry, origin);
}

interface Copying {
  readonly world: World;
  readonly client: LogClient;
  readonly voice: Voice;
  readonly follow: boolean;
  readonly format: Formatter;
  readonly write: (line: string) => void;
}

/** Milliseconds before a feed that ended or broke is asked for again. */
const AGAIN_MS = 1_000;
/** Lines between two reports of progress. */
const STEP = 1_000;

interface Copied {
  /** The index that would be next. */
  readonly next: number;
  /** The last head of a log that has ended, all of which is written. */
  readonly end: ServedHead | undefined;
}

/** Writes what comes. */
async function copy(copying: Copying, start: number): Promise<Copied> {
  const { world, client, voice, follow, format, write } = copying;
  const { interrupted } = world;
  for (let next = start; ; ) {
    try {
      for await (const line of client.feed(next, { follow, signal: interrupted })) {
        write(format(line));
        next = line.index + 1;
        if (next % STEP === 0) voice.progress(`entry ${next}`);
      }
      // A feed that follows ends with its log, and for other reasons too.
      const end = await endOf(client, next);
      if (!follow || end !== undefined) return { next, end };
    } catch (error) {
      if (follow && interrupted.aborted) return { next, end: undefined };
      if (!follow || !isPassing(error)) throw error;
      voice.progress(lineOf(error));
    }
    if (!(await pause(interrupted))) return { next, end: undefined };
  }
}

/** The last head of the log, if it has ended and nothing of it is left. */
async function endOf(client: LogClient, next: number): Promise<ServedHead | undefined> {
  const head = await client.head();
  return head.final && next >= head.size ? head : undefined;
}

function endLine({ origin, size, next }: ServedHead): string {
  const goesOn = next === undefined ? '' : `; it goes on as ${next}`;
  return `log ${origin} ended with entry ${size - 1}${goesOn}`;
}

/** What may be otherwise in a moment: the server restarts, or the connection broke. */
function isPassing(error: unknown): boolean {
  return hasCode(error, 'storage') || hasCode(error, 'pushback');
}

/** Waits a moment. False if there is nobody to wait for any more. */
async function pause(interrupted: AbortSignal): Promise<boolean> {
  try {
    await delay(AGAIN_MS, undefined, { signal: interrupted });
    return true;
  } catch (error) {
    if (interrupted.aborted) return false;
    throw error;
  }
}
