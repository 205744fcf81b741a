/** `stele witness key`, `given` and `refused`: this instance as a witness of other logs. */
import { Command } from 'commander';
import { list } from '../client/client.ts';
import { parseDecimal } from '../core/decimal.ts';
import { administer, cells } from './administration.ts';
import type { Cli } from './program.ts';
import { oneLine, table } from './terminal.ts';
import { addWhere, type WhereOptions } from './where.ts';

export function givingCommands(cli: Cli): readonly Command[] {
  return [key(cli), given(cli), refused(cli)];
}

function key(cli: Cli): Command {
  return addWhere(new Command('key'))
    .description('Prints the verifier keys that this instance cosigns other logs with.')
    .addHelpText('after', '\nExample:\n  $ stele witness key')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { name, keys } = await admin.witness();
          // Each on a line of its own, to be passed on as it is.
          for (const one of keys as readonly string[]) voice.say(one);
          voice.json({ name, keys });
        }),
      ),
    );
}

function given(cli: Cli): Command {
  return addWhere(new Command('given'))
    .description('Lists the logs that this instance cosigned, the last one first.')
    .addHelpText('after', '\nExample:\n  $ stele witness given')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { logs, witnessed } = await admin.witness();
          const names = ['origin', 'size', 'time', 'times'];
          const rows = list(logs, 'logs').map((log) => cells(log, ...names).map(oneLine));
          voice.say(...table([names, ...rows]));
          if (rows.length < Number(witnessed))
            voice.say(`and ${Number(witnessed) - rows.length} more`);
          voice.json({ logs, witnessed });
        }),
      ),
    );
}

interface RefusedOptions extends WhereOptions {
  readonly before?: string;
}

function refused(cli: Cli): Command {
  return addWhere(new Command('refused'))
    .description(
      'Lists checkpoints that other logs had signed and that this instance refused, the newest first, each with what it was held against.',
    )
    .option('--before <id>', 'only those with a smaller id')
    .addHelpText('after', '\nExample:\n  $ stele witness refused')
    .action(
      cli.action((options: RefusedOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { before } = options;
          const answer = await admin.witnessEvidence(
            before === undefined ? undefined : parseDecimal(before, '--before'),
          );
          for (const one of list(answer.evidence, 'evidence')) {
            const { id, kind, origin, seen, checkpoint, held } = one;
            voice.say(oneLine(`${id}  ${kind}  ${origin}  ${seen}`), 'It was shown this:');
            voice.say(...linesOf(checkpoint));
            if (held !== undefined) voice.say('It had cosigned this:', ...linesOf(held));
            voice.say('');
          }
          voice.json(answer);
        }),
      ),
    );
}

function linesOf(note: unknown): string[] {
  return String(note)
    .trimEnd()
    .split('\n')
    .map((line) => `  ${oneLine(line)}`);
}
