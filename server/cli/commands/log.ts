/** `stele log`: the logs of an instance. */
import { Command, Option } from 'commander';
import { type JsonObject, list as listIn, text } from '../../client/client.ts';
import { utf8 } from '../../core/bytes.ts';
import { RECORD_TYPE } from '../../core/statement.ts';
import { formatTrust, parseTrust } from '../../core/trust.ts';
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
    .addCommand(show(cli))
    .addCommand(trust(cli));
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

function trust(cli: Cli): Command {
  return addWhere(new Command('trust'))
    .description('Prints a trust file for a log: its keys, and the gateways that it knows now.')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  $ stele log trust team-a > team-a-trust.json')
    .action(
      cli.action((name: string, options: WhereOptions) =>
        administer(cli, options, async (admin) => {
          const log = await admin.showLog(name);
          cli.world.out(trustOf(log, await admin.listGateways(name)));
        }),
      ),
    );
}

/** A trust file by the word of the server itself: for its operator to check and hand out. */
function trustOf(log: JsonObject, gateways: readonly JsonObject[]): string {
  const origin = text(log, 'origin');
  const keys = listIn(log.keys, 'keys').map((key) => ({ vkey: text(key, 'vkey') }));
  const pinned = gateways
    .filter(({ revoked }) => revoked === undefined)
    .map((key) => ({ keyid: text(key, 'keyid'), alg: text(key, 'alg'), spki: text(key, 'spki') }));
  const file = { format: 'stele.trust/1', logs: [{ origin, keys, gateways: pinned }] };
  return formatTrust(parseTrust(utf8(JSON.stringify(file))));
}

function lines(log: JsonObject): string[] {
  const rows = Object.keys(log).flatMap((name) => {
    const { keys } = log;
    if (name !== 'keys' || !Array.isArray(keys)) return [[name, ...cells(log, name)]];
    return keys.map((key: JsonObject) => [`${key.purpose} key`, String(key.vkey)]);
  });
  return table(rows);
}
