/** `stele log`: the logs of an instance. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { type JsonObject, list as listIn, object, text } from '../../client/client.ts';
import type { LogChanges } from '../../client/instance.ts';
import { utf8 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { POLICY_BYTES_MAX } from '../../core/policy.ts';
import { RECORD_TYPE } from '../../core/statement.ts';
import { formatTrust, parseTrust } from '../../core/trust.ts';
import { administer, cells } from '../administration.ts';
import { Unusable } from '../exit.ts';
import { heads } from '../heads.ts';
import { check } from '../log-check.ts';
import { freeze, retire, roll } from '../log-end.ts';
import { placeOwnKeys } from '../own-keys.ts';
import type { Cli } from '../program.ts';
import { table } from '../terminal.ts';
import { addWhere, readText, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('log')
    .description('Creates, lists, shows, changes, ends and checks logs.')
    .addHelpText('after', '\nExample:\n  $ stele log create team-a\n  $ stele log show team-a')
    .addCommand(create(cli))
    .addCommand(list(cli))
    .addCommand(show(cli))
    .addCommand(change(cli))
    .addCommand(freeze(cli))
    .addCommand(roll(cli))
    .addCommand(retire(cli))
    .addCommand(heads(cli))
    .addCommand(trust(cli))
    .addCommand(check(cli));
}

interface CreateOptions extends WhereOptions {
  readonly visibility: string;
  readonly previous?: string;
  readonly also?: readonly string[];
  readonly continuity: 'flag' | 'require';
  readonly entriesPerSecond?: number;
  readonly bytesPerDay?: number;
  readonly identityKey?: string;
  readonly anchorKey?: string;
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
    .option('--previous <log>', 'it follows that log, which has ended or signs nothing more')
    .option('--also <media-type...>', 'payloads that it takes beside audit records')
    .addOption(
      new Option('--continuity <rule>', 'flag holes in a source’s chain, or refuse them')
        .choices(['flag', 'require'])
        .default('flag'),
    )
    .option('--entries-per-second <n>', 'what all gateways together may log', whole)
    .option('--bytes-per-day <n>', 'the same in bytes of entries, by days of UTC', whole)
    .option(
      '--identity-key <key>',
      'a key of your own that signs every head, Ed25519: a PKCS#8 file, or a pkcs11: URI',
    )
    .option('--anchor-key <key>', 'likewise for published heads, ECDSA P-256')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele log create team-a --visibility private\n  $ stele log create team-b --previous team-a',
    )
    .action(
      cli.action((name: string, options: CreateOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { identityKey: identity, anchorKey: anchor } = options;
          await placeOwnKeys(name, { identity, anchor }, { ...cli, options, admin });
          const { visibility, continuity, also = [] } = options;
          const { previous, entriesPerSecond, bytesPerDay } = options;
          const rules = {
            payload_types: [RECORD_TYPE, ...also],
            continuity,
            ...(entriesPerSecond === undefined ? {} : { entries_per_second: entriesPerSecond }),
            ...(bytesPerDay === undefined ? {} : { bytes_per_day: bytesPerDay }),
          };
          const follows = previous === undefined ? {} : { previous };
          const log = await admin.createLog({ name, visibility, rules, ...follows });
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
          voice.say(
            ...table(logs.map((log) => cells(log, 'name', 'visibility', 'state', 'origin'))),
          );
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

/** A limit that is taken away is "none". */
type Limit = number | 'none';

interface ChangeOptions extends WhereOptions {
  readonly visibility?: string;
  readonly also?: readonly string[];
  readonly recordsOnly?: true;
  readonly continuity?: 'flag' | 'require';
  readonly entriesPerSecond?: Limit;
  readonly bytesPerDay?: Limit;
}

function change(cli: Cli): Command {
  return addWhere(new Command('set'))
    .description(
      'Changes who may see a log, or what it admits; what it admits is an entry of the log.',
    )
    .argument('<name>')
    .addOption(
      new Option('--visibility <who>', 'what strangers see').choices([
        'public',
        'proofs',
        'private',
      ]),
    )
    .option('--also <media-type...>', 'payloads that it takes beside audit records, all of them')
    .option('--records-only', 'it takes audit records only')
    .addOption(new Option('--continuity <rule>', 'of holes').choices(['flag', 'require']))
    .option('--entries-per-second <n>', 'or "none"', wholeOrNone)
    .option('--bytes-per-day <n>', 'or "none"', wholeOrNone)
    .addHelpText(
      'after',
      '\nExample:\n  $ stele log set team-a --visibility public --entries-per-second 500',
    )
    .action(
      cli.action((name: string, options: ChangeOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { visibility } = options;
          const rules = changedRules(options);
          const log = await admin.changeLog(name, {
            ...(visibility === undefined ? {} : { visibility }),
            ...(Object.keys(rules).length === 0 ? {} : { rules }),
          });
          voice.say(...lines(log));
          voice.json(log);
        }),
      ),
    );
}

function changedRules(options: ChangeOptions): NonNullable<LogChanges['rules']> {
  const { also, recordsOnly, continuity, entriesPerSecond, bytesPerDay } = options;
  if (also !== undefined && recordsOnly === true) {
    throw new Unusable('--also and --records-only: one of them says which payloads it takes');
  }
  const isNamed = also !== undefined || recordsOnly === true;
  return {
    ...(isNamed ? { payload_types: [RECORD_TYPE, ...(also ?? [])] } : {}),
    ...(continuity === undefined ? {} : { continuity }),
    ...(entriesPerSecond === undefined ? {} : { entries_per_second: orNull(entriesPerSecond) }),
    ...(bytesPerDay === undefined ? {} : { bytes_per_day: orNull(bytesPerDay) }),
  };
}

function orNull(limit: Limit): number | null {
  return limit === 'none' ? null : limit;
}

function whole(text: string): number {
  return parseDecimal(text, 'limit');
}

function wholeOrNone(text: string): Limit {
  return text === 'none' ? text : whole(text);
}

function trust(cli: Cli): Command {
  return addWhere(new Command('trust'))
    .description('Prints a trust file for a log: its keys, and the gateways that it knows now.')
    .argument('<name>')
    .option('--policy <file>', 'with these witnesses and their quorum: a C2SP tlog-policy')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele log trust team-a > team-a-trust.json\n  $ stele log trust team-a --policy witnesses.txt > team-a-trust.json',
    )
    .action(
      cli.action((name: string, options: WhereOptions & { readonly policy?: string }) => {
        const { world } = cli;
        const policy =
          options.policy === undefined
            ? undefined
            : readText(resolve(world.cwd, options.policy), 'policy', POLICY_BYTES_MAX);
        return administer(cli, options, async (admin) => {
          const log = await admin.showLog(name);
          world.out(trustOf(log, await admin.listGateways(name), policy));
        });
      }),
    );
}

/** A trust file by the word of the server itself: for its operator to check and hand out. */
function trustOf(
  log: JsonObject,
  gateways: readonly JsonObject[],
  policy: string | undefined,
): string {
  const origin = text(log, 'origin');
  const keys = listIn(log.keys, 'keys').map((key) => ({
    vkey: text(key, 'vkey'),
    ...(key.last_size === undefined ? {} : { until_size: key.last_size }),
  }));
  const pinned = gateways
    .filter(({ revoked }) => revoked === undefined)
    .map((key) => ({ keyid: text(key, 'keyid'), alg: text(key, 'alg'), spki: text(key, 'spki') }));
  const file = {
    format: 'stele.trust/1',
    logs: [{ origin, keys, gateways: pinned }],
    ...(policy === undefined ? {} : { policy }),
  };
  return formatTrust(parseTrust(utf8(JSON.stringify(file))));
}

function lines(log: JsonObject): string[] {
  const rows = Object.keys(log).flatMap((name) => {
    const { keys } = log;
    if (name === 'stats') return figures(object(log.stats, 'stats'));
    if (name !== 'keys' || !Array.isArray(keys)) return [[name, ...cells(log, name)]];
    return keys.map((key: JsonObject) => [
      `${key.purpose} key`,
      key.last_size === undefined ? String(key.vkey) : `${key.vkey} (until size ${key.last_size})`,
    ]);
  });
  return table(rows);
}

function figures(stats: JsonObject): string[][] {
  const [entries, bytes, stored, sources, gateways, day, ofDay, bytesOfDay] = cells(
    stats,
    'entries',
    'bytes',
    'stored_bytes',
    'sources',
    'gateways',
    'day',
    'day_entries',
    'day_bytes',
  );
  return [
    ['holds', `${entries} entries of ${bytes} bytes, in ${stored} bytes of files`],
    ['last day', `${day}: ${ofDay} entries of ${bytesOfDay} bytes`],
    ['from', `${sources} sources, ${gateways} gateway keys`],
  ];
}
