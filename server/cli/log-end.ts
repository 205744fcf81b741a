/** How a log ends: `stele log freeze`, `roll` and `retire`. */
import { Command } from 'commander';
import type { JsonObject } from '../client/client.ts';
import { administer, cells } from './administration.ts';
import { UNKNOWN } from './exit.ts';
import type { Cli } from './program.ts';
import { table, voiceOf } from './terminal.ts';
import { addWhere, type WhereOptions } from './where.ts';

export function freeze(cli: Cli): Command {
  return addWhere(new Command('freeze'))
    .description(
      'Ends a log: its last entry says so. It takes nothing more, for good, and is read on.',
    )
    .argument('<name>')
    .option('--reason <text>', 'why; it becomes part of the log')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele log freeze team-a --reason "the team was dissolved"',
    )
    .action(
      cli.action((name: string, options: WhereOptions & { reason?: string }) =>
        administer(cli, options, async (admin, voice) => {
          const log = await admin.freezeLog(name, options.reason);
          voice.say(...ended(log));
          voice.json(log);
        }),
      ),
    );
}

export function roll(cli: Cli): Command {
  return addWhere(new Command('roll'))
    .description(
      'Ends a log and begins the one that follows it, with its rules and gateways. Each names the other.',
    )
    .argument('<name>')
    .option('--to <name>', 'the log that follows; without it the old name and the year')
    .addHelpText('after', '\nExample:\n  $ stele log roll team-a --to team-a-2027')
    .action(
      cli.action((name: string, options: WhereOptions & { to?: string }) =>
        administer(cli, options, async (admin, voice) => {
          const log = await admin.rollLog(name, options.to);
          const rows = ['name', 'origin', 'state'].map((of) => [of, ...cells(log, of)]);
          voice.say(...table([...rows, ['follows', ...cells(log, 'previous')]]));
          voice.json(log);
        }),
      ),
    );
}

interface RetireOptions extends WhereOptions {
  readonly name?: string;
  readonly cancel?: true;
}

export function retire(cli: Cli): Command {
  return addWhere(new Command('retire'))
    .description(
      'Ends a log and, after the cooling period, removes its entries, content and keys. Its access log stays.',
    )
    .argument('<name>')
    .option('--name <name>', 'the name once more: without it, only what would happen is told')
    .option('--cancel', 'keep it after all; it stays ended')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele export --log team-a -o team-a.jsonl\n  $ stele log retire team-a --name team-a',
    )
    .action(
      cli.action(async (name: string, options: RetireOptions) => {
        if (options.name === undefined && options.cancel !== true) {
          voiceOf(cli.world, options.json === true).say(
            `Retiring ${name} ends it now and removes it after the cooling period: entries, content, keys.`,
            `Keep a copy first:  stele export --log ${name} -o ${name}.jsonl`,
            `Then:               stele log retire ${name} --name ${name}`,
          );
          return UNKNOWN;
        }
        await administer(cli, options, async (admin, voice) => {
          const log =
            options.cancel === true
              ? await admin.unretireLog(name)
              : await admin.retireLog(name, options.name ?? '');
          voice.say(...ended(log));
          voice.json(log);
        });
        return undefined;
      }),
    );
}

function ended(log: JsonObject): string[] {
  const names = ['name', 'state', 'size', 'root', 'next', 'retire_at'];
  return table(
    names.flatMap((name) => (log[name] === undefined ? [] : [[name, ...cells(log, name)]])),
  );
}
