/**
 * `stele signer`: the keys of logs in a process of their own, which remembers what it signed.
 *
 *     operator   stele signer add log.example.com/logs/team-a --keys KEYS
 *                stele signer add log.example.com/logs/team-a --keys KEYS --next identity
 *     service    stele signer --keys KEYS --socket SOCKET --state STATE
 *     server     stele serve, with the setting signer.socket
 */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { anchorVerifierKey, identityVerifierKey, sthVerifierKey } from '../../keys/log-keys.ts';
import {
  addKeys,
  addNext,
  type GivenKeys,
  type NextPurpose,
  type AddOptions as PlaceOptions,
} from '../../keys/remote/add-keys.ts';
import { Unusable } from '../exit.ts';
import type { Cli, SignerOptions } from '../program.ts';
import { takeSecrets } from '../signer-secrets.ts';
import { table, voiceOf } from '../terminal.ts';

export function command(cli: Cli): Command {
  return (
    secrets(new Command('signer'))
      .description(
        'Holds the keys of logs behind a socket, remembers every head that it signed, and signs none that does not continue it.',
      )
      .option('--keys <dir>', 'the folder of the keys: see "stele signer add"')
      .option('--socket <path>', 'where servers connect to')
      .option('--state <dir>', 'the folder of what it remembers; never put back from a backup')
      .addOption(
        new Option('--socket-mode <mode>', 'who may connect: its owner, or its group too')
          .choices(['0600', '0660'])
          .default('0600'),
      )
      .option('--create', 'make keys for a log that a server creates')
      .option(
        '--expect <path...>',
        'checkpoints that it must know, as files or a folder of them: for logs that are older than its state',
      )
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        '\nExample:\n  $ stele signer --keys ./signer-keys --socket ./signer.sock --state ./signer-state --create',
      )
      // Both commands have options of the same names.
      .enablePositionalOptions()
      .addCommand(add(cli))
      .action(
        cli.action(async (flags: Partial<SignerOptions>) => {
          const { keys, socket, state } = flags;
          if (keys === undefined || socket === undefined || state === undefined) {
            throw new Unusable(
              'stele signer needs --keys, --socket and --state (--help explains them)',
            );
          }
          await cli.starters.signer({ ...flags, keys, socket, state }, cli.world);
          return undefined;
        }),
      )
  );
}

/** What readers know each of a log's keys by. */
const VKEYS = {
  identity: identityVerifierKey,
  anchor: anchorVerifierKey,
  sth: sthVerifierKey,
} as const;

interface AddOptions {
  readonly keys: string;
  readonly identityKey?: string;
  readonly anchorKey?: string;
  readonly sthKey?: string;
  readonly operatorKey?: string;
  readonly next?: NextPurpose;
  readonly passphraseFile?: string;
  readonly pinFile?: string;
  readonly json?: true;
}

function add(cli: Cli): Command {
  const key = 'a file with it (PKCS#8 in PEM), or a pkcs11: URI; made where none is given';
  return secrets(new Command('add'))
    .description(
      'Gives a signer the keys of a log: those that are brought along, and new ones for the rest. Its access log is a log of its own: ORIGIN.access.',
    )
    .argument('<origin>', 'of the log, such as log.example.com/logs/team-a')
    .requiredOption('--keys <dir>', 'the folder of the signer’s keys')
    .option('--identity-key <key>', `signs every head, Ed25519: ${key}`)
    .option('--anchor-key <key>', 'signs published heads, ECDSA P-256: likewise')
    .option('--sth-key <key>', 'signs RFC 6962 tree heads, ECDSA P-256: likewise')
    .option('--operator-key <key>', 'signs control records of all logs; else the server has it')
    .addOption(
      new Option(
        '--next <purpose>',
        'one more key of this purpose, for "stele key rotate" to announce: --identity-key or --anchor-key, or a new one',
      ).choices(['identity', 'anchor']),
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele signer add log.example.com/logs/team-a --keys ./signer-keys --identity-key team-a.pem' +
        '\n  $ stele signer add log.example.com/logs/team-a --keys ./signer-keys --next identity',
    )
    .action(
      cli.action(async (origin: string, options: AddOptions) => {
        await addToFolder(cli, origin, options);
        return undefined;
      }),
    );
}

async function addToFolder(cli: Cli, origin: string, options: AddOptions): Promise<void> {
  const { cwd } = cli.world;
  const given: GivenKeys = {
    identity: options.identityKey,
    anchor: options.anchorKey,
    sth: options.sthKey,
    operator: options.operatorKey,
  };
  const folder = resolve(cwd, options.keys);
  const secrets = takeSecrets(options, cli.world);
  const added =
    options.next === undefined
      ? await addKeys(folder, origin, given, { cwd, secrets })
      : [await addOne(folder, origin, options.next, given, { cwd, secrets })];
  const keys = added.map(({ purpose, key }) => {
    const { alg, keyid } = key;
    const vkey =
      purpose === 'operator' ? undefined : VKEYS[purpose](origin, { publicKey: key }).text;
    return { purpose, alg, keyid, ...(vkey === undefined ? {} : { vkey }) };
  });
  const voice = voiceOf(cli.world, options.json === true);
  voice.say(
    ...table([
      ['origin', origin],
      ...keys.map((key) => [`${key.purpose} key`, key.vkey ?? key.keyid]),
    ]),
  );
  voice.json({ origin, keys });
}

async function addOne(
  folder: string,
  origin: string,
  purpose: NextPurpose,
  given: GivenKeys,
  options: PlaceOptions,
) {
  const other = Object.entries(given).find(([its, key]) => key !== undefined && its !== purpose);
  if (other !== undefined) {
    throw new Unusable(`--next ${purpose} with --${other[0]}-key: one key is added at a time`);
  }
  const key = await addNext(folder, origin, { purpose, reference: given[purpose] }, options);
  return { purpose, key };
}

function secrets(command: Command): Command {
  return command
    .option('--passphrase-file <file>', 'of key files that are encrypted [STELE_SIGNER_PASSPHRASE]')
    .option('--pin-file <file>', 'of tokens whose URI names no file with it [STELE_SIGNER_PIN]');
}
