/** `stele witness`: the witnesses of its logs, and this instance as a witness of others. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { askingCommands } from '../witness-asked.ts';
import { givingCommands } from '../witness-given.ts';

export function command(cli: Cli): Command {
  const witness = new Command('witness')
    .description(
      'Shows heads to the witnesses of a log, and what these said; and whom this instance witnessed itself.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ stele witness now team-a\n  $ stele witness list --log team-a\n  $ stele witness key\n  $ stele witness given',
    );
  for (const one of [...askingCommands(cli), ...givingCommands(cli)]) witness.addCommand(one);
  return witness;
}
