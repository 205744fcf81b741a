/**
 * `stele key`: the keys that are in use, new ones for gateways, and the change of a log's own.
 *
 * A change takes two steps, since readers have to hear of the new key before the old one ends:
 *
 *     stele key rotate --log team-a --purpose identity      both sign from here on
 *     stele key retire --log team-a --purpose identity      30 days later: the new one alone
 *
 * The server's own gateway keys, of access records and of its proxy, take one: `stele key rotate-own proxy`.
 */
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Argument, Command, Option } from 'commander';
import { type JsonObject, list as listIn } from '../../client/client.ts';
import { createKeyFile } from '../../keys/file.ts';
import { OWN_PURPOSES, type OwnPurpose } from '../../log/own-gateways.ts';
import { administer, cells } from '../administration.ts';
import type { Cli } from '../program.ts';
import { table, voiceOf } from '../terminal.ts';
import { addLog, addWhere, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('key')
    .description('Lists the keys of the logs, and changes them; makes a key for a gateway.')
    .addHelpText('after', '\nExample:\n  $ stele key list\n  $ stele key create gateway.key')
    .addCommand(list(cli))
    .addCommand(create(cli))
    .addCommand(rotate(cli))
    .addCommand(retire(cli))
    .addCommand(rotateOwn(cli));
}

function list(cli: Cli): Command {
  return addWhere(new Command('list'))
    .description(
      'Lists every key that a log ever knew, with its purpose and its first and last entry.',
    )
    .addHelpText('after', '\nExample:\n  $ stele key list')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const keys = await admin.listKeys();
          const names = ['log', 'purpose', 'alg', 'registered', 'revoked', 'last_size', 'keyid'];
          voice.say(...table([names, ...keys.map((key) => cells(key, ...names))]));
          voice.json({ keys });
        }),
      ),
    );
}

interface CreateOptions {
  readonly alg: 'ed25519' | 'ecdsa-p256';
  readonly json?: true;
}

function create(cli: Cli): Command {
  return new Command('create')
    .description('Makes a key: FILE for the gateway alone, FILE.pub to register it with.')
    .argument('<file>', 'never overwritten')
    .addOption(
      new Option('--alg <name>', 'the algorithm')
        .choices(['ed25519', 'ecdsa-p256'])
        .default('ed25519'),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele key create gateway.key')
    .action(
      cli.action(async (file: string, { alg, json }: CreateOptions) => {
        const path = resolve(cli.world.cwd, file);
        const signer = await createKeyFile(path, alg);
        const { keyid, spki } = signer.publicKey;
        const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
        writeFileSync(`${path}.pub`, key.export({ format: 'pem', type: 'spki' }));
        await signer.close();
        const voice = voiceOf(cli.world, json === true);
        voice.say(
          ...table([
            ['keyid', keyid],
            ['private', file],
            ['public', `${file}.pub`],
          ]),
        );
        voice.json({ keyid, alg, private: file, public: `${file}.pub` });
        return undefined;
      }),
    );
}

interface ChangeOptions extends WhereOptions {
  readonly log: string;
  readonly purpose: 'identity' | 'anchor';
  readonly compromised?: true;
}

function change(command: Command): Command {
  return addLog(addWhere(command)).addOption(
    new Option('--purpose <purpose>', 'which of the log’s keys')
      .choices(['identity', 'anchor'])
      .makeOptionMandatory(),
  );
}

function rotate(cli: Cli): Command {
  return change(new Command('rotate'))
    .description('Announces another key of the log itself. From then on both sign.')
    .option('--finish', 'have the old key end by itself; an anchor key does, a day later')
    .option('--compromised', 'others may have the old key: it ends at once')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele key rotate --log team-a --purpose identity --finish',
    )
    .action(
      cli.action((options: ChangeOptions & { readonly finish?: true }) =>
        administer(cli, options, async (admin, voice) => {
          const { log, purpose, finish = false, compromised = false } = options;
          const key = await admin.rotateKey(log, {
            purpose,
            ...(finish ? { finish } : {}),
            ...(compromised ? { compromised } : {}),
          });
          const others = listIn(key.others, 'others');
          voice.say(
            ...table([
              ['key', ...cells(key, 'vkey')],
              ['entry', ...cells(key, 'registered')],
              ...others.map((other) => ['before it', `${other.keyid}, ${fateOf(other)}`]),
            ]),
          );
          voice.json(key);
        }),
      ),
    );
}

/** What becomes of a key that another one follows. */
function fateOf(key: JsonObject): string {
  const { last_size, retire_from, finish } = key;
  if (last_size !== undefined) return `which has ended: it signs nothing beyond size ${last_size}`;
  const when = String(retire_from);
  return finish === true ? `which ends by itself after ${when}` : `which may end from ${when} on`;
}

function retire(cli: Cli): Command {
  return change(new Command('retire'))
    .description('Ends a key of the log itself that another one follows.')
    .option('--key <keyid>', 'which one [the oldest]')
    .option('--compromised', 'others may have it: no overlap is waited for')
    .addHelpText('after', '\nExample:\n  $ stele key retire --log team-a --purpose identity')
    .action(
      cli.action((options: ChangeOptions & { readonly key?: string }) =>
        administer(cli, options, async (admin, voice) => {
          const { log, purpose, key: keyid, compromised = false } = options;
          const key = await admin.retireKey(log, {
            purpose,
            ...(keyid === undefined ? {} : { keyid }),
            ...(compromised ? { compromised } : {}),
          });
          voice.say(
            ...table([
              ['key', ...cells(key, 'vkey')],
              ['entry', ...cells(key, 'revoked')],
              ['last size', ...cells(key, 'last_size')],
            ]),
          );
          voice.json(key);
        }),
      ),
    );
}

function rotateOwn(cli: Cli): Command {
  return addWhere(new Command('rotate-own'))
    .description(
      'Gives the server itself another gateway key; the one before is revoked a day later.',
    )
    .addArgument(
      new Argument(
        '<purpose>',
        'of access records, of the proxy beside the logs, or of what others report',
      ).choices(OWN_PURPOSES),
    )
    .option('--compromised', 'others may have the old key: it is revoked at once')
    .addHelpText('after', '\nExample:\n  $ stele key rotate-own proxy')
    .action(
      cli.action((purpose: OwnPurpose, options: WhereOptions & { readonly compromised?: true }) =>
        administer(cli, options, async (admin, voice) => {
          const { compromised = false } = options;
          const key = await admin.rotateOwnKey({
            purpose,
            ...(compromised ? { compromised } : {}),
          });
          const waiting = listIn(key.waiting, 'waiting');
          voice.say(
            ...table([
              ['key', ...cells(key, 'keyid')],
              ...listIn(key.others, 'others').map((other) => ['before it', ownFateOf(other)]),
              ...waiting.map((log) => ['waits', `${log.log ?? 'some logs'}: ${log.detail}`]),
            ]),
          );
          voice.json(key);
        }),
      ),
    );
}

function ownFateOf({ keyid, revoke_from, revoked }: JsonObject): string {
  if (revoke_from !== undefined) return `${keyid}, which is revoked after ${revoke_from}`;
  const logs = listIn(revoked, 'revoked').map(({ log, index }) => `${log} (entry ${index})`);
  return `${keyid}, which is revoked in ${logs.join(', ') || 'no log'}`;
}
