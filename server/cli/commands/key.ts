/** `stele key`: the keys that are in use, and new ones for gateways. */
import { createPublicKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { createKeyFile } from '../../keys/file.ts';
import { administer, cells } from '../administration.ts';
import type { Cli } from '../program.ts';
import { table, voiceOf } from '../terminal.ts';
import { addWhere, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('key')
    .description('Lists the keys of the logs; makes a key for a gateway.')
    .addHelpText('after', '\nExample:\n  $ stele key list\n  $ stele key create gateway.key')
    .addCommand(list(cli))
    .addCommand(create(cli));
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
          const names = ['log', 'purpose', 'alg', 'registered', 'revoked', 'keyid'];
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
