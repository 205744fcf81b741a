/**
 * `stele gateway`: whose signatures a log takes.
 *
 * A server registers a key only with a proof that its private half is at hand. With `--key` that is one
 * step; where the private key is on another machine, and stays there, it is three:
 *
 *     operator   stele gateway challenge --log team-a
 *     gateway    stele gateway prove gateway.key --origin … --challenge …
 *     operator   stele gateway register gateway.pub --log team-a --challenge … --proof …
 */
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { Administration, NewGateway } from '../../client/instance.ts';
import { proofFor, prove } from '../../client/possession.ts';
import { SteleError } from '../../core/errors.ts';
import { KEY_TEXT_MAX, parseKeyText } from '../../core/key-text.ts';
import { checkOrigin } from '../../core/tree-head.ts';
import { openKeyFile } from '../../keys/file.ts';
import { administer, cells } from '../administration.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { table, voiceOf } from '../terminal.ts';
import { addLog, addWhere, readText, type WhereOptions } from '../where.ts';

type Options = WhereOptions & { readonly log: string };

export function command(cli: Cli): Command {
  return new Command('gateway')
    .description('Registers, lists and revokes the keys that may submit to a log.')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele gateway register gateway.key.pub --key gateway.key --source gateway-1',
    )
    .addCommand(register(cli))
    .addCommand(challenge(cli))
    .addCommand(proveCommand(cli))
    .addCommand(list(cli))
    .addCommand(revoke(cli));
}

interface RegisterOptions extends Options {
  readonly source?: string;
  readonly key?: string;
  readonly challenge?: string;
  readonly proof?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
}

function register(cli: Cli): Command {
  return addLog(addWhere(new Command('register')))
    .description('Registers a public key; the registration is an entry of the log.')
    .argument(
      '<file>',
      'a public key or a certificate in PEM, or a JWK; Ed25519, P-256, P-384, RSA',
    )
    .option('--source <id>', 'the source that this key signs for')
    .option('--key <file>', 'the private key, to prove that it is at hand; it stays here')
    .option('--challenge <base64>', 'a challenge of "stele gateway challenge"')
    .option('--proof <base64>', 'what "stele gateway prove" answers to it')
    .option('--not-before <time>', 'admit it from then on [a certificate says it itself]')
    .option('--not-after <time>', 'admit it until then [a certificate says it itself]')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele key create gateway.key\n  $ stele gateway register gateway.key.pub --key gateway.key',
    )
    .action(
      cli.action((file: string, options: RegisterOptions) =>
        administer(cli, options, async (admin, voice) => {
          const path = resolve(cli.world.cwd, file);
          const key = readPublicKey(path);
          const proof = await proofOf(cli, admin, path, key, options);
          const gateway = await admin.registerGateway(options.log, {
            key,
            ...proof,
            ...(options.source === undefined ? {} : { source: options.source }),
            ...(options.notBefore === undefined ? {} : { not_before: options.notBefore }),
            ...(options.notAfter === undefined ? {} : { not_after: options.notAfter }),
          });
          voice.say(
            ...table([
              ['keyid', ...cells(gateway, 'keyid')],
              ['entry', ...cells(gateway, 'index')],
            ]),
          );
          voice.json(gateway);
        }),
      ),
    );
}

/** The proof that was given, or one made here; nothing where there is neither. */
async function proofOf(
  cli: Cli,
  admin: Administration,
  path: string,
  text: string,
  { log, key, challenge, proof }: RegisterOptions,
): Promise<Pick<NewGateway, 'challenge' | 'proof'>> {
  if ((challenge === undefined) !== (proof === undefined)) {
    throw new Unusable('--challenge and --proof belong together: give both or neither');
  }
  if (challenge !== undefined && proof !== undefined) return { challenge, proof };
  if (key === undefined) return {};
  const signer = await openKeyFile(resolve(cli.world.cwd, key));
  try {
    const { keyid } = parseKeyText(text).key;
    if (signer.publicKey.keyid !== keyid) {
      throw new Unusable(`--key ${key}: it is not the private half of ${path}`);
    }
    return await proofFor(admin, log, signer);
  } finally {
    await signer.close();
  }
}

function challenge(cli: Cli): Command {
  return addLog(addWhere(new Command('challenge')))
    .description('Asks for a challenge that a key elsewhere has to sign before it is registered.')
    .addHelpText('after', '\nExample:\n  $ stele gateway challenge --log team-a')
    .action(
      cli.action((options: Options) =>
        administer(cli, options, async (admin, voice) => {
          const asked = await admin.challengeGateway(options.log);
          const names = ['origin', 'challenge', 'expires'];
          voice.say(...table(names.map((name) => [name, ...cells(asked, name)])));
          voice.json(asked);
        }),
      ),
    );
}

interface ProveOptions {
  readonly origin: string;
  readonly challenge: string;
  readonly json?: true;
}

function proveCommand(cli: Cli): Command {
  return new Command('prove')
    .description('Signs a challenge with a private key. Needs no server, and changes nothing.')
    .argument('<file>', 'the private key in PEM')
    .requiredOption('--origin <origin>', 'the log, as "stele gateway challenge" prints it')
    .requiredOption('--challenge <base64>', 'as "stele gateway challenge" prints it')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele gateway prove gateway.key --origin log.example.com/logs/team-a --challenge qX9…',
    )
    .action(
      cli.action(async (file: string, { origin, challenge: text, json }: ProveOptions) => {
        checkOrigin(origin);
        const signer = await openKeyFile(resolve(cli.world.cwd, file));
        try {
          const { keyid } = signer.publicKey;
          const proof = await prove(signer, origin, text);
          const voice = voiceOf(cli.world, json === true);
          voice.say(
            ...table([
              ['keyid', keyid],
              ['proof', proof],
            ]),
          );
          voice.json({ keyid, proof });
        } finally {
          await signer.close();
        }
        return undefined;
      }),
    );
}

function list(cli: Cli): Command {
  return addLog(addWhere(new Command('list')))
    .description(
      'Lists the gateway keys of a log, with the entries that registered and revoked them.',
    )
    .addHelpText('after', '\nExample:\n  $ stele gateway list')
    .action(
      cli.action((options: Options) =>
        administer(cli, options, async (admin, voice) => {
          const gateways = await admin.listGateways(options.log);
          const rows = gateways.map((g) =>
            cells(g, 'alg', 'purpose', 'registered', 'revoked', 'not_after', 'keyid'),
          );
          voice.say(...table([['alg', 'purpose', 'since', 'revoked', 'until', 'keyid'], ...rows]));
          voice.json({ gateways });
        }),
      ),
    );
}

function revoke(cli: Cli): Command {
  return addLog(addWhere(new Command('revoke')))
    .description('Revokes a key: it is good for nothing after the entry that says so.')
    .argument('<keyid>', 'as "stele gateway list" prints it')
    .addHelpText('after', '\nExample:\n  $ stele gateway revoke 3f5a…')
    .action(
      cli.action((keyid: string, options: Options) =>
        administer(cli, options, async (admin, voice) => {
          const revoked = await admin.revokeGateway(options.log, keyid);
          voice.say(
            ...table([
              ['keyid', ...cells(revoked, 'keyid')],
              ['entry', ...cells(revoked, 'index')],
            ]),
          );
          voice.json(revoked);
        }),
      ),
    );
}

/** The text of a public key. The server judges it; here it is so that a private one never leaves. */
function readPublicKey(path: string): string {
  const text = readText(path, 'public key', KEY_TEXT_MAX);
  if (text.includes('PRIVATE KEY')) {
    throw new Unusable(`public key ${path}: it is a private key; give the public half of it`);
  }
  try {
    parseKeyText(text);
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new Unusable(`${path}: ${cause.message}`, { cause });
  }
  return text;
}
