/** `stele log`: the logs of an instance. */
import { Command, Option } from 'commander';
import type { JsonObject } from '../../client/client.ts';
import { RECORD_TYPE } from '../../core/statement.ts';
import { administer, cells } from '../administration.ts';
import type { Cli } from '../program.ts';
import { table } from '../terminal.ts';
import { addWhere, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('log')
    .description('Creates, lists and shows logs.')
    .addHelpText('after', '\nExample:\n  $ stele log create team-a\n  $ stele log show team-a')
    .addCommand(create(cli))
    .addCommand(list(cli))
    .addCommand(show(cli));
}

interface CreateOptions extends WhereOptions {
  readonly visibility: string;
  readonly also?: readonly string[];
  readonly continuity: 'flag' | 'require';
}

function create(cli: Cli): Command {
  return addWhere(new Command('create'))
    .description(
      'Creates a log with keys of its own, and beside it the log of who read its content.',
    )
    .argument('<name>', 'a-z, 0-9 and -, at most 63')
    .addOption(
      new Option('--visibility <who>', 'what strangers see: entries; heads and proofs; nothing')
        .choices(['public', 'proofs', 'private'])
        .default('proofs'),
    )
    .option('--also <media-type...>', 'payloads that it takes beside audit records')
    .addOption(
      new Option('--continuity <rule>', 'flag holes in a source’s chain, or refuse them')
        .choices(['flag', 'require'])
        .default('flag'),
    )
    .addHelpText('after', '\nExample:\n  $ stele log create team-a --visibility private')
    .action(
      cli.action((name: string, options: CreateOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { visibility, continuity, also = [] } = options;
          const rules = { payload_types: [RECORD_TYPE, ...also], continuity };
          const log = await admin.createLog({ name, visibility, rules });
          voice.say(...lines(log));
          voice.json(log);
        }),
      ),
    );
}

function list(cli: Cli): Command {
  return addWhere(new Command('list'))
    .description('Lists the logs.')
    .addHelpText('after', '\nExample:\n  $ stele log list')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const logs = await admin.listLogs();
          voice.say(...table(logs.map((log) => cells(log, 'name', 'visibility', 'origin'))));
          voice.json({ logs });
        }),
      ),
    );
}

function show(cli: Cli): Command {
  return addWhere(new Command('show'))
    .description('Shows one log: its head, its keys and its admission rules.')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  $ stele log show default')
    .action(
      cli.action((name: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const log = await admin.showLog(name);
          voice.say(...lines(log));
          voice.json(log);
        }),
      ),
    );
}

function lines(log: JsonObject): string[] {
  const rows = Object.keys(log).flatMap((name) => {
    const { keys } = log;
    if (name !== 'keys' || !Array.isArray(keys)) return [[name, ...cells(log, name)]];
    return keys.map((key: JsonObject) => [`${key.purpose} key`, String(key.vkey)]);
  });
  return table(rows);
}
