/** `stele anchor`: heads shown to parties outside, and what these said. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { type JsonObject, list, object } from '../../client/client.ts';
import { parseUtf8 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { treeSize } from '../../core/units.ts';
import { administer, cells } from '../administration.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { table, voiceOf } from '../terminal.ts';
import { addLog, addWhere, logClient, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('anchor')
    .description(
      'Shows a log’s heads to Rekor logs and time-stamping authorities, and what these said of them.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ stele anchor now team-a\n  $ stele anchor list --log team-a',
    )
    .addCommand(now(cli))
    .addCommand(listed(cli))
    .addCommand(get(cli));
}

function now(cli: Cli): Command {
  return addWhere(new Command('now'))
    .description(
      'Shows the newest head to every target that is configured, without waiting for its time.',
    )
    .argument('<log>', 'its name')
    .addHelpText('after', '\nExample:\n  $ stele anchor now team-a')
    .action(
      cli.action((name: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const done = await admin.anchorLog(name);
          const targets = list(done.anchoring, 'anchoring');
          voice.say(...table([PROGRESS, ...targets.map(progress)]));
          voice.json(done);
        }),
      ),
    );
}

const PROGRESS = ['target', 'type', 'size', 'time', 'pending', 'missed'];

function progress(target: JsonObject): string[] {
  const { pending } = target;
  const waiting = pending === undefined ? undefined : object(pending, 'pending');
  const [name = '', type = '', size = '', time = '', missed = ''] = cells(
    target,
    'target',
    'type',
    'size',
    'time',
    'missed',
  );
  const shown = waiting === undefined ? '-' : `${waiting.size} (${waiting.attempts} attempts)`;
  return [name, type, size, time, shown, missed];
}

interface ListOptions extends WhereOptions {
  readonly log: string;
  readonly before?: string;
}

function listed(cli: Cli): Command {
  return addLog(addWhere(new Command('list')))
    .description('Lists what targets were shown, the newest first, holes included.')
    .option('--before <size>', 'only heads below this size')
    .addHelpText('after', '\nExample:\n  $ stele anchor list --log team-a')
    .action(
      cli.action(async (options: ListOptions) => {
        const { before } = options;
        const client = logClient(cli.world, options, 'read');
        const voice = voiceOf(cli.world, options.json === true);
        const anchors = await client.anchors(
          before === undefined ? {} : { before: treeSize(parseDecimal(before, '--before')) },
        );
        const names = ['size', 'target', 'type', 'state', 'time', 'attempts', 'reason'];
        voice.say(...table([names, ...anchors.map((anchor) => cells(anchor, ...names))]));
        voice.json({ anchors });
        return undefined;
      }),
    );
}

interface GetOptions extends WhereOptions {
  readonly log: string;
  readonly output?: string;
}

function get(cli: Cli): Command {
  return addLog(addWhere(new Command('get')))
    .description('Fetches what a target said: a Sigstore bundle, or an RFC 3161 response.')
    .argument('<target>', 'its name, as the list has it')
    .argument('<size>', 'of the head')
    .option('-o, --output <file>', 'write it there')
    .addHelpText('after', '\nExample:\n  $ stele anchor get own-tsa 120 --log team-a -o head.tsr')
    .action(
      cli.action(async (target: string, size: string, options: GetOptions) => {
        const { world } = cli;
        const client = logClient(world, options, 'read');
        const bytes = await client.anchor(target, treeSize(parseDecimal(size, 'size')));
        const { output: file } = options;
        if (file === undefined) {
          world.out(`${textOf(bytes)}\n`);
          return undefined;
        }
        writeFileSync(resolve(world.cwd, file), bytes);
        const voice = voiceOf(world, options.json === true);
        voice.say(`${bytes.length} bytes: ${file}`);
        voice.json({ target, size, bytes: bytes.length, file });
        return undefined;
      }),
    );
}

/** A bundle is text, a response is not. */
function textOf(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes, 'answer');
  } catch (cause) {
    throw new Unusable('it is no text: name a file for it with -o', { cause });
  }
}
