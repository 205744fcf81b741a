/** `stele token`: who may do what over HTTP. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { WaitsForApproval } from '../../client/instance.ts';
import { administer, cells } from '../administration.ts';
import type { Cli } from '../program.ts';
import { table } from '../terminal.ts';
import { addWhere, type WhereOptions } from '../where.ts';

interface CreateOptions extends WhereOptions {
  readonly holder: string;
  readonly role: readonly string[];
  readonly log: readonly string[];
  readonly expires?: string;
  readonly output?: string;
}

export function command(cli: Cli): Command {
  return new Command('token')
    .description('Creates, lists and revokes access tokens.')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele token create --holder ci --role submit --log team-a -o ci.token',
    )
    .addCommand(create(cli))
    .addCommand(list(cli))
    .addCommand(revoke(cli));
}

function create(cli: Cli): Command {
  return addWhere(new Command('create'))
    .description('Creates a token and shows it, this once.')
    .requiredOption('--holder <name>', 'the person or program that gets it')
    .addOption(
      new Option('--role <role...>', 'what it is for')
        .choices(['submit', 'read', 'content', 'approve', 'keys', 'metrics', 'admin'])
        .makeOptionMandatory(),
    )
    .option('--log <name...>', 'the logs it counts for; "*" is all of them', ['default'])
    .option('--expires <time>', 'when it ends, such as 2027-01-01T00:00:00.000Z')
    .option('-o, --output <file>', 'write the token there, for its owner alone, and do not show it')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele token create --holder ci --role submit -o ci.token',
    )
    .action(
      cli.action((options: CreateOptions) =>
        administer(cli, options, async (admin, voice) => {
          const { holder, role: roles, log: logs, expires, output } = options;
          const asked = { holder, roles, logs, ...(expires === undefined ? {} : { expires }) };
          const keep = (token: string) => {
            if (output === undefined) return `token  ${token}`;
            const path = resolve(cli.world.cwd, output);
            writeFileSync(path, `${token}\n`, { mode: 0o600, flag: 'wx' });
            return `token  in ${output}`;
          };
          const { token, ...made } = await admin.createToken(asked).catch((error: unknown) => {
            // Whoever asked has the token, which opens nothing before somebody approves.
            if (error instanceof WaitsForApproval) voice.say(keep(error.token ?? ''));
            throw error;
          });
          const kept = keep(String(token));
          voice.say(
            ...table([
              ['id', ...cells(made, 'id')],
              ['roles', roles.join(',')],
              ['logs', logs.join(',')],
            ]),
          );
          voice.say(kept);
          voice.json(output === undefined ? { ...made, token } : made);
        }),
      ),
    );
}

function list(cli: Cli): Command {
  return addWhere(new Command('list'))
    .description('Lists the tokens that were given out, without the secrets: those are not stored.')
    .addHelpText('after', '\nExample:\n  $ stele token list')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const tokens = await admin.listTokens();
          const names = ['id', 'holder', 'roles', 'logs', 'expires', 'revoked'];
          voice.say(...table([names, ...tokens.map((token) => cells(token, ...names))]));
          voice.json({ tokens });
        }),
      ),
    );
}

function revoke(cli: Cli): Command {
  return addWhere(new Command('revoke'))
    .description('Revokes a token: from now on it opens nothing.')
    .argument('<id>', 'as "stele token list" prints it')
    .addHelpText('after', '\nExample:\n  $ stele token revoke 0123456789abcdef')
    .action(
      cli.action((id: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const revoked = await admin.revokeToken(id);
          voice.say(
            ...table([
              ['id', ...cells(revoked, 'id')],
              ['revoked', ...cells(revoked, 'revoked')],
            ]),
          );
          voice.json(revoked);
        }),
      ),
    );
}
