/** `stele gateway`: whose signatures a log takes. */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { Algorithm } from '../../core/keys.ts';
import { administer, cells } from '../administration.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { table } from '../terminal.ts';
import { addLog, addWhere, readText, type WhereOptions } from '../where.ts';

type Options = WhereOptions & { readonly log: string };

export function command(cli: Cli): Command {
  return new Command('gateway')
    .description('Registers, lists and revokes the keys that may submit to a log.')
    .addHelpText('after', '\nExample:\n  $ stele gateway register gateway.pub --source gateway-1')
    .addCommand(register(cli))
    .addCommand(list(cli))
    .addCommand(revoke(cli));
}

function register(cli: Cli): Command {
  return addLog(addWhere(new Command('register')))
    .description('Registers a public key; the registration is an entry of the log.')
    .argument('<file>', 'the public key in PEM: Ed25519, P-256, P-384 or RSA')
    .option('--source <id>', 'the source that this key signs for')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele key create gateway.key\n  $ stele gateway register gateway.key.pub',
    )
    .action(
      cli.action((file: string, options: Options & { source?: string }) =>
        administer(cli, options, async (admin, voice) => {
          const key = readPublicKey(resolve(cli.world.cwd, file));
          const source = options.source === undefined ? {} : { source: options.source };
          const gateway = await admin.registerGateway(options.log, { ...key, ...source });
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
            cells(g, 'alg', 'purpose', 'registered', 'revoked', 'keyid'),
          );
          voice.say(...table([['alg', 'purpose', 'since', 'revoked', 'keyid'], ...rows]));
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

/** The algorithm and DER of a public key in PEM. A private key is refused: it has no business here. */
function readPublicKey(path: string): { alg: Algorithm; spki: string } {
  const pem = readText(path, 'public key', 16_384);
  if (pem.includes('PRIVATE KEY')) {
    throw new Unusable(`public key ${path}: it is a private key; give the public half of it`);
  }
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw new Unusable(`public key ${path}: it is not a public key in PEM`, { cause });
  }
  const alg = algorithmOf(key);
  if (alg === undefined) {
    throw new Unusable(`public key ${path}: it is none of Ed25519, P-256, P-384 and RSA`);
  }
  return { alg, spki: key.export({ format: 'der', type: 'spki' }).toString('base64') };
}

function algorithmOf(key: KeyObject): Algorithm | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  if (key.asymmetricKeyType === 'rsa') return 'rsa-pss';
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === 'prime256v1') return 'ecdsa-p256';
  return curve === 'secp384r1' ? 'ecdsa-p384' : undefined;
}
