/** `stele witness`: this instance as a witness of other logs. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { givingCommands } from '../witness-given.ts';

export function command(cli: Cli): Command {
  const witness = new Command('witness')
    .description('Shows whom this instance witnessed, with which keys, and what it refused.')
    .addHelpText('after', '\nExample:\n  $ stele witness key\n  $ stele witness given');
  for (const one of givingCommands(cli)) witness.addCommand(one);
  return witness;
}
