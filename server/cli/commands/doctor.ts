/** `stele doctor`: is this installation in order? */
import { Command } from 'commander';
import { type Config, loadConfig } from '../../config.ts';
import { SteleError } from '../../core/errors.ts';
import { examine } from '../checkup.ts';
import { FAILS, HOLDS } from '../exit.ts';
import { type Finding, fail } from '../finding.ts';
import type { Cli } from '../program.ts';
import { oneLine, table, voiceOf } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly config?: string;
  readonly json?: true;
}

/** Settings that are refused keep a server from starting, and leave nothing to look at with. */
async function look(
  { world, starters }: Cli,
  named: { readonly data: string | undefined; readonly file: string | undefined },
): Promise<readonly Finding[]> {
  let config: Config;
  try {
    config = loadConfig({ env: world.env, cwd: world.cwd, ...named });
  } catch (error) {
    if (error instanceof SteleError) return [fail('settings', error.message)];
    throw error;
  }
  return await examine({
    config,
    memories: await starters.memories(config),
    now: world.now(),
    version: starters.version,
    env: world.env,
  });
}

export function command(cli: Cli): Command {
  return new Command('doctor')
    .description('Looks at an installation and says what is wrong with it. Changes nothing.')
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--config <file>', 'settings [STELE_CONFIG, stele.yaml in the data folder]')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele doctor --data ./stele-data')
    .action(
      cli.action(async ({ data, config: file, json }: Options) => {
        const { world } = cli;
        const findings = await look(cli, { data, file });
        const fails = findings.some(({ health }) => health === 'fail');
        const voice = voiceOf(world, json === true);
        voice.say(...table(findings.map((f) => [f.health, f.check, oneLine(f.detail)])));
        voice.json({ healthy: !fails, findings });
        return fails ? FAILS : HOLDS;
      }),
    );
}
