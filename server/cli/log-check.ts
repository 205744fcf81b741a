/** `stele log check`: is everything that is stored of a log still what was signed? */
import { Command } from 'commander';
import { loadConfig } from '../config.ts';
import { parseDecimal } from '../core/decimal.ts';
import type { CheckRow } from '../storage/checks.ts';
import { FAILS, HOLDS, type Status, UNKNOWN, Unusable } from './exit.ts';
import type { Cli } from './program.ts';
import { oneLine, table, voiceOf } from './terminal.ts';

interface Options {
  readonly data?: string;
  readonly config?: string;
  readonly bytesPerSecond?: number;
  readonly json?: true;
}

export function check(cli: Cli): Command {
  return new Command('check')
    .description(
      'Reads everything that is stored of a log again, also beside its server: entries, tiles, the tree up to its signed head, and whether content still opens.',
    )
    .argument('[name]', 'the log; without it all of them')
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--config <file>', 'settings [STELE_CONFIG, stele.yaml in the data folder]')
    .option('--bytes-per-second <n>', 'how fast at most [check.bytes_per_second]', rate)
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele log check team-a --data /var/lib/stele')
    .action(
      cli.action(async (name: string | undefined, options: Options) => {
        const { world, starters } = cli;
        const { data, config: file, bytesPerSecond } = options;
        const config = loadConfig({ env: world.env, cwd: world.cwd, data, file });
        const voice = voiceOf(world, options.json === true);
        const { progress } = voice;
        try {
          const request = { name, bytesPerSecond, progress, signal: world.interrupted };
          const rows = await starters.checkLogs(config, request);
          voice.say(...linesOf(rows));
          voice.json({ logs: rows });
          return statusOf(rows);
        } catch (error) {
          // What was read so far says nothing of the rest.
          if (world.interrupted.aborted) throw new Unusable('interrupted', { cause: error });
          throw error;
        } finally {
          voice.progress('');
        }
      }),
    );
}

function rate(text: string): number {
  const n = parseDecimal(text, '--bytes-per-second');
  if (n === 0) throw new Unusable('--bytes-per-second: 0 reads nothing');
  return n;
}

function statusOf(rows: readonly CheckRow[]): Status {
  const verdicts = rows.flatMap(({ tree, content }) => [tree, content]);
  if (verdicts.includes('damaged')) return FAILS;
  return verdicts.includes('unknown') ? UNKNOWN : HOLDS;
}

function linesOf(rows: readonly CheckRow[]): string[] {
  const lines = table(
    rows.map((row) => [row.log, `${row.size} entries`, `${row.files} content files`, wordOf(row)]),
  );
  for (const { log, found, content } of rows) {
    for (const what of found) lines.push(`${log}: ${oneLine(what)}`);
    if (content === 'unknown' && found.length === 0) {
      lines.push(`${log}: its content was not opened: keys/vault.kek is not here`);
    }
  }
  return lines;
}

function wordOf({ tree, content }: CheckRow): string {
  if (tree === 'damaged') return 'DAMAGED: it signs nothing more';
  if (content === 'damaged') return 'CONTENT IS DAMAGED';
  return tree === 'holds' && content === 'holds' ? 'HOLDS' : 'COULD NOT TELL';
}
