/** `stele restore`: a data folder that was copied, moved or put back from a backup. */
import { Command } from 'commander';
import { dataFolder } from '../../config.ts';
import { UNKNOWN } from '../exit.ts';
import type { Cli } from '../program.ts';
import { voiceOf } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly accept?: true;
  readonly json?: true;
}

export function command(cli: Cli): Command {
  return new Command('restore')
    .description(
      'Takes over a data folder that was copied or restored, as the only copy that will ever sign.',
    )
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--accept', 'I have made sure that no other copy of this folder runs, or ever will')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele restore --data /var/lib/stele --accept')
    .action(
      cli.action(async (options: Options) => {
        const { world, starters } = cli;
        const voice = voiceOf(world, options.json === true);
        const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
        if (options.accept !== true) {
          voice.say(
            `Two copies of ${data} that both sign make two histories under one origin, for all to see.`,
            'If no other copy runs or ever will: stele restore --accept',
          );
          voice.json({ accepted: false });
          return UNKNOWN;
        }
        const stopped = await starters.restore(data, world);
        voice.say(`${data} is accepted: this is now the only place where its logs sign.`);
        for (const reason of stopped) voice.say(`but ${reason}`);
        voice.json({ accepted: true, stopped });
        return stopped.length === 0 ? undefined : UNKNOWN;
      }),
    );
}
