/**
 * `stele caller`: who may call models through a proxy that has the providers' keys.
 *
 * It works on the file of callers beside the proxy, which looks at it before each call; no server is asked, so
 * that a token can be taken back while the log is away.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import type { Caller } from '../../callers/callers.ts';
import { changeCallers, readCallers } from '../../callers/file.ts';
import { type Config, loadConfig } from '../../config.ts';
import { toHex } from '../../core/bytes.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { newToken } from '../../core/token.ts';
import { timestamp } from '../../log/clock.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { addStart } from '../start.ts';
import { table, type Voice, voiceOf, type World } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly config?: string;
  readonly json?: true;
}

interface CreateOptions extends Options {
  readonly holder: string;
  readonly tenant: string;
  readonly kind: string;
  readonly upstream: readonly string[];
  readonly model?: readonly string[];
  readonly callsPerMinute?: string;
  readonly callsAtOnce?: string;
  readonly expires?: string;
  readonly output?: string;
}

export function command(cli: Cli): Command {
  return new Command('caller')
    .description('Creates, lists and revokes the tokens that the proxy lets calls in with.')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele caller create --holder ci --upstream openai --model "gpt-4o*" -o ci.token',
    )
    .addCommand(create(cli))
    .addCommand(list(cli))
    .addCommand(revoke(cli));
}

function create(cli: Cli): Command {
  return addFile(new Command('create'))
    .description('Creates a token for calls and shows it, this once.')
    .requiredOption('--holder <name>', 'the person or program that gets it; sealed in the records')
    .option('--tenant <name>', 'the tenant in its records', 'default')
    .option('--kind <word>', 'what calls, in its records: service, user, agent', 'service')
    .option('--upstream <name...>', 'the upstreams it may call; "*" is all of them', ['*'])
    .option('--model <name...>', 'the models it may use, such as "gpt-4o*"; without it all')
    .option('--calls-per-minute <n>', 'how many calls it may make in a minute')
    .option('--calls-at-once <n>', 'how many of its calls may be in progress')
    .option('--expires <time>', 'when it ends, such as 2027-01-01T00:00:00.000Z')
    .option('-o, --output <file>', 'write the token there, for its owner alone, and do not show it')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele caller create --holder ci --model "gpt-4o*" --calls-per-minute 60 -o ci.token',
    )
    .action(
      cli.action((options: CreateOptions) =>
        work(cli.world, options, (config, voice) => {
          const { token, id, hash } = newToken((n) => new Uint8Array(randomBytes(n)));
          const row = callerOf(cli.world, config, options, { id, hash: toHex(hash) });
          const output = options.output && resolve(cli.world.cwd, options.output);
          changeCallers(config.callers, (callers) => {
            // Before the row: a token that cannot be kept is of no use to anybody.
            if (output !== undefined) {
              writeFileSync(output, `${token}\n`, { mode: 0o600, flag: 'wx' });
            }
            return [...callers, row];
          });
          const { hash: _, ...shownRow } = row;
          voice.say(
            ...table([
              ['id', id],
              ['upstreams', row.upstreams.join(',')],
              ['models', row.models?.join(',') ?? 'all'],
            ]),
            output === undefined ? `token  ${token}` : `token  in ${options.output}`,
          );
          if (!config.custody) {
            voice.say('The proxy asks for no token yet: no upstream has a key_file or key_env.');
          }
          voice.json(output === undefined ? { ...shownRow, token } : shownRow);
        }),
      ),
    );
}

function list(cli: Cli): Command {
  return addFile(new Command('list'))
    .description('Lists the callers, without their tokens: those are not stored.')
    .addHelpText('after', '\nExample:\n  $ stele caller list')
    .action(
      cli.action((options: Options) =>
        work(cli.world, options, (config, voice) => {
          const callers = readCallers(config.callers).map(({ hash: _, ...caller }) => caller);
          const rows = callers.map((caller) => [
            caller.id,
            caller.holder,
            caller.tenant,
            caller.upstreams.join(','),
            caller.models?.join(',') ?? 'all',
            caller.calls_per_minute === undefined ? '-' : `${caller.calls_per_minute}/min`,
            caller.expires ?? '-',
            caller.revoked ?? '-',
          ]);
          const head = 'id holder tenant upstreams models calls expires revoked'.split(' ');
          voice.say(...table([head, ...rows]));
          voice.json({ callers });
        }),
      ),
    );
}

function revoke(cli: Cli): Command {
  return addFile(new Command('revoke'))
    .description('Revokes a token: from the next call on the proxy lets nobody in with it.')
    .argument('<id>', 'as "stele caller list" prints it')
    .addHelpText('after', '\nExample:\n  $ stele caller revoke 0123456789abcdef')
    .action(
      cli.action((id: string, options: Options) =>
        work(cli.world, options, (config, voice) => {
          const revoked = timestamp(cli.world.now());
          let since = revoked;
          changeCallers(config.callers, (callers) => {
            const found = callers.find((caller) => caller.id === id);
            if (found === undefined) {
              throw new SteleError('not_found', `caller: there is no ${shown(id)}`);
            }
            since = found.revoked ?? revoked;
            return callers.map((caller) =>
              caller === found ? { ...caller, revoked: since } : caller,
            );
          });
          voice.say(
            ...table([
              ['id', id],
              ['revoked', since],
            ]),
          );
          voice.json({ id, revoked: since });
        }),
      ),
    );
}

function addFile(command: Command): Command {
  return addStart(command).option('--json', 'print JSON');
}

async function work(
  world: World,
  { data, config: file, json }: Options,
  act: (config: Config, voice: Voice) => void,
): Promise<undefined> {
  const config = loadConfig({ env: world.env, cwd: world.cwd, data, file });
  if (!existsSync(dirname(config.callers))) {
    throw new Unusable(`${dirname(config.callers)}: there is no such folder: start the proxy once`);
  }
  act(config, voiceOf(world, json === true));
  return undefined;
}

function callerOf(
  world: World,
  { upstreams }: Config,
  options: CreateOptions,
  token: Pick<Caller, 'id' | 'hash'>,
): Caller {
  const { holder, tenant, kind, upstream, model, expires } = options;
  const names = upstreams.map(({ name }) => name);
  const unknown = upstream.find((name) => name !== '*' && !names.includes(name));
  if (unknown !== undefined) {
    throw malformed('--upstream', `${shown(unknown)} is not one of ${names.join(', ')}`);
  }
  const endsMs = expires === undefined ? undefined : Date.parse(expires);
  if (endsMs !== undefined && !(endsMs > world.now())) {
    throw malformed('--expires', `${shown(expires ?? '')} is not a time in the future`);
  }
  const perMinute = wholeOf('--calls-per-minute', options.callsPerMinute);
  const atOnce = wholeOf('--calls-at-once', options.callsAtOnce);
  return {
    ...token,
    ...{ holder, tenant, kind, upstreams: upstream },
    ...(model === undefined ? {} : { models: model }),
    ...(perMinute === undefined ? {} : { calls_per_minute: perMinute }),
    ...(atOnce === undefined ? {} : { calls_at_once: atOnce }),
    created: timestamp(world.now()),
    ...(endsMs === undefined ? {} : { expires: timestamp(endsMs) }),
  };
}

function wholeOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9][0-9]{0,6}$/.test(text)) throw malformed(option, `${shown(text)} is not a number`);
  return Number(text);
}
