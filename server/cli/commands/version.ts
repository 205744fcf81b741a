/** `stele version`: which release this is, and what it runs on. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { table, voiceOf } from '../terminal.ts';

export function command(cli: Cli): Command {
  return new Command('version')
    .description('Prints the version of Stele and of what it runs on.')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele version')
    .action(
      cli.action(async ({ json }: { json?: true }) => {
        const voice = voiceOf(cli.world, json === true);
        const { version } = cli.starters;
        const { node } = process.versions;
        const platform = `${process.platform}-${process.arch}`;
        voice.say(
          ...table([
            ['stele', version],
            ['node', node],
            ['platform', platform],
          ]),
        );
        voice.json({ stele: version, node, platform });
        return undefined;
      }),
    );
}
