/** `stele submit`: a record, any other statement, or an entry that is signed already. */
import { createReadStream, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { LogClient } from '../../client/client.ts';
import type { Content } from '../../client/multipart.ts';
import { retrying } from '../../client/retrying.ts';
import { Series } from '../../client/series.ts';
import { hasCode } from '../../core/errors.ts';
import { DISCLOSURE_BYTES_MAX, DISCLOSURES_MAX } from '../../core/limits.ts';
import { parseReceipt } from '../../core/receipt.ts';
import { parseTrust, TRUST_BYTES_MAX } from '../../core/trust.ts';
import { FAILS, HOLDS, type Status, Unusable } from '../exit.ts';
import { importFile } from '../import.ts';
import type { Cli } from '../program.ts';
import { readStatement, type SignedStatement, type StatementOptions } from '../statement.ts';
import { table, voiceOf, type World } from '../terminal.ts';
import { addLog, addWhere, locate, readBytes, readText, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions, StatementOptions {
  readonly log: string;
  readonly follow?: true;
  readonly trust?: string;
  readonly disclosures?: string;
  readonly body?: readonly string[];
  readonly output?: string;
  readonly jsonl?: string;
  readonly state?: string;
}

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('submit')))
    .description(
      'Submits one entry and prints where it is. Without --type the file is an audit record as JSON. With --jsonl calls are imported out of a file.',
    )
    .argument('[file]', 'the payload; "-" is standard input', '-')
    .option('--key <file>', 'sign with this private key, in PEM, registered as a gateway')
    .option('--type <media-type>', 'the payload is of this type and is taken byte for byte')
    .option('--envelope', 'the file is a signed DSSE envelope as JSON')
    .option('--entry', 'the file is a signed entry in protobuf')
    .option('--disclosures <file>', 'disclosures of the record, one a line')
    .option('--body <field=file...>', 'bodies that the disclosures name')
    .option(
      '--follow',
      'where the log has ended, submit to the one that goes on; a record is made anew for it',
    )
    .option('--trust <file>', 'with --follow: a trust file that has to prove where the log goes on')
    .option('-o, --output <file>', 'write the receipt there')
    .option(
      '--jsonl <file>',
      'import calls from a file, one a line; the server signs their records',
    )
    .option('--state <file>', 'with --jsonl: how far the import got [FILE.stele-import]')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele submit record.json --key gateway.key -o receipt.json\n  $ echo hello | stele submit --type text/plain --key gateway.key\n  $ stele submit --jsonl calls.jsonl --log team-a',
    )
    .action(
      cli.action(async (file: string, options: Options) => {
        const { world } = cli;
        if (options.jsonl !== undefined) return submitFile(world, options, options.jsonl);
        if (options.state !== undefined) throw new Unusable('--state goes with --jsonl');
        if (options.trust !== undefined && options.follow !== true) {
          throw new Unusable('--trust goes with --follow: "stele verify" checks a receipt');
        }
        const content = readContent(world, options);
        const series = seriesOf(world, options);
        const statement = await readStatement(world, file, options);
        const submitting = { world, options, series, statement, content };
        const submitted = await submitTo(submitting).finally(() => statement.close());
        const { receipt, repeat, was } = submitted;
        const { index, origin } = parseReceipt(receipt);
        if (options.output !== undefined) {
          writeFileSync(resolve(world.cwd, options.output), receipt, { mode: 0o600 });
        }
        const voice = voiceOf(world, options.json === true);
        const rows = [
          ['entry', String(index)],
          ['log', origin],
        ];
        if (repeat) rows.push(['repeat', 'it was logged before']);
        if (was !== undefined)
          rows.push(['made anew', `for this log; it named ${was}, which ended`]);
        if (options.output !== undefined) rows.push(['receipt', options.output]);
        voice.say(...table(rows));
        const made = was === undefined ? {} : { made_anew: true };
        voice.json({ index, origin, repeat, receipt: options.output ?? null, ...made });
        return undefined;
      }),
    );
}

/** What every other option is for has no place beside a file of calls, which the server signs. */
const ALONE = [
  'key',
  'type',
  'envelope',
  'entry',
  'disclosures',
  'body',
  'follow',
  'trust',
  'output',
];

/** Exit status 1 where a line could not be imported: the others are. */
async function submitFile(world: World, options: Options, jsonl: string): Promise<Status> {
  const other = ALONE.find(
    (name) => (options as unknown as Record<string, unknown>)[name] !== undefined,
  );
  if (other !== undefined) throw new Unusable(`--${other} does not go with --jsonl`);
  const file = resolve(world.cwd, jsonl);
  const state = resolve(world.cwd, options.state ?? `${jsonl}.stele-import`);
  const voice = voiceOf(world, options.json === true);
  const where = locate(world, options, 'submit');
  const given = { world, voice, where, log: options.log, file, state };
  const { lines, recorded, repeated, rejected } = await importFile(given);
  voice.say(
    ...table([
      ['lines', String(lines)],
      ['recorded', String(recorded)],
      ['known before', String(repeated)],
      ['not imported', String(rejected)],
      ['state', options.state ?? `${jsonl}.stele-import`],
    ]),
  );
  voice.json({ lines, recorded, repeated, rejected, state });
  return rejected > 0 ? FAILS : HOLDS;
}

interface Submitting {
  readonly world: World;
  readonly options: Options;
  readonly series: Series;
  readonly statement: SignedStatement;
  readonly content: Content | undefined;
}

interface Submitted {
  readonly receipt: Uint8Array;
  readonly repeat: boolean;
  /** The log that a record named before it was made anew. */
  readonly was?: string;
}

/** Logs of one series that are passed over, at most. */
const LOGS_MAX = 1_000;

/**
 * Submits to the log that was named; with --follow to the one of its series that takes entries. Each is asked
 * first whether it has the statement: what was logged before the end is not logged again.
 */
async function submitTo({
  world,
  options,
  series,
  statement,
  content,
}: Submitting): Promise<Submitted> {
  let client = series.named(options.log);
  let { entry } = statement;
  let was: string | undefined;
  for (let passed = 0; ; passed++) {
    try {
      const { receipt, repeat } = await send(client, entry, content, world);
      return { receipt, repeat, ...(was === undefined ? {} : { was }) };
    } catch (error) {
      if (!hasCode(error, 'frozen') || options.follow !== true || passed === LOGS_MAX) throw error;
      const { origin, final, next } = await client.head();
      // It ended for good.
      if (final && next === undefined) throw error;
      const follower = await retrying(() => series.next(origin), { attempts: 6 });
      const made = await statement.forLog(follower);
      entry = made.entry;
      if (made.madeAnew) was ??= origin;
      client = await series.log(follower);
    }
  }
}

/** The same statement may be sent again at will (P3), so what may pass is waited for. */
function send(client: LogClient, entry: Uint8Array, content: Content | undefined, world: World) {
  const { interrupted } = world;
  return retrying(() => client.submit(entry, content, interrupted), {
    attempts: 4,
    // Nobody should wonder for minutes what a command is waiting for.
    maxAskedS: 5,
    signal: interrupted,
  });
}

function seriesOf(world: World, options: Options): Series {
  const { server, ...as } = locate(world, options, 'submit');
  const { trust: path } = options;
  const trust =
    path === undefined
      ? undefined
      : parseTrust(readBytes(resolve(world.cwd, path), 'trust file', TRUST_BYTES_MAX));
  return new Series({ server, ...as, trust });
}

function readContent(world: World, { disclosures, body }: Options): Content | undefined {
  if (disclosures === undefined) {
    if (body === undefined) return undefined;
    throw new Unusable('--body needs --disclosures: a body belongs to a disclosure that names it');
  }
  const text = readText(
    resolve(world.cwd, disclosures),
    'disclosures',
    DISCLOSURES_MAX * (DISCLOSURE_BYTES_MAX + 1),
  );
  return {
    disclosures: text.split('\n').filter((line) => line !== ''),
    bodies: (body ?? []).map((given) => openBody(world, given)),
  };
}

function openBody(world: World, given: string) {
  const [, field, file] = /^([a-z0-9_.]+)=(.+)$/.exec(given) ?? [];
  if (field === undefined || file === undefined) {
    throw new Unusable(`--body ${given}: not FIELD=FILE, such as request.body=request.json`);
  }
  const path = resolve(world.cwd, file);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new Unusable(`--body ${given}: there is no file ${path}`);
  return { field, bytes: stat.size, open: () => createReadStream(path) };
}
