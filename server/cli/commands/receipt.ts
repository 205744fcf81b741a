/** `stele receipt`: fetch what proves one entry. */
import { writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { parseReceipt } from '../../core/receipt.ts';
import { type WithContent, withContent } from '../content.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { voiceOf } from '../terminal.ts';
import { addLog, addWhere, logClient, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log: string;
  readonly wait?: string;
  readonly source?: string;
  readonly require?: readonly string[];
  readonly withContent?: string;
  readonly output?: string;
}

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('receipt')))
    .description('Fetches the receipt of an entry: what proves it, alone and offline.')
    .argument('<id>', 'an index, a leaf hash in hex, or a record id')
    .option('--wait <seconds>', 'wait for the entry to be logged, at most 20')
    .addOption(
      new Option(
        '--require <what...>',
        'only one that carries this; with --wait a quorum of witnesses is waited for',
      ).choices(['quorum', 'rekor', 'rfc3161']),
    )
    .option('--source <id>', 'the source of the record, where several used its id')
    .option(
      '--with-content <reason>',
      'add prompts and answers; the read and its reason are logged',
    )
    .option('-o, --output <file>', 'write it there; bodies over 1 MiB go into files beside it')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele receipt 2 -o receipt.json\n  $ stele receipt 0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f --with-content "case 4711" -o receipt.json',
    )
    .action(
      cli.action(async (id: string, options: Options) => {
        const { world } = cli;
        const voice = voiceOf(world, options.json === true);
        const { output, source, require, withContent: reason } = options;
        const client = logClient(world, options, reason === undefined ? 'read' : 'content');
        const wait = options.wait === undefined ? undefined : parseWait(options.wait);
        const plain = await client.receipt(id, {
          wait,
          source,
          require,
          signal: world.interrupted,
        });
        const folder = output === undefined ? undefined : dirname(resolve(world.cwd, output));
        const { receipt, files, missing }: WithContent =
          reason === undefined
            ? { receipt: plain, files: [], missing: [] }
            : await withContent(client, plain, { reason, folder, progress: voice.progress });
        if (output === undefined) {
          world.out(receipt);
          return undefined;
        }
        writeFileSync(resolve(world.cwd, output), receipt, { mode: 0o600 });
        const { index, origin } = parseReceipt(receipt);
        voice.say(`entry ${index} of ${origin}: ${output}`);
        for (const file of files) voice.say(`beside it: ${file}`);
        for (const field of missing) voice.say(`not stored: ${field}`);
        voice.json({ index, origin, receipt: output, files, missing });
        return undefined;
      }),
    );
}

function parseWait(text: string): number {
  const seconds = /^[0-9]{1,2}$/.test(text) ? Number(text) : Number.NaN;
  if (!(seconds <= 20)) throw new Unusable(`--wait ${text}: not a whole number from 0 to 20`);
  return seconds;
}
