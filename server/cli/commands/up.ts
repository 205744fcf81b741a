/** `stele up`: everything in one process, set up on first use. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { addListen, addProxyListen, addStart, type StartFlags, startOptions } from '../start.ts';

export function command(cli: Cli): Command {
  return addProxyListen(addListen(addStart(new Command('up'))))
    .description(
      'Runs the log and the LLM proxy in one process. In an empty folder it first makes settings, keys, the log "default", tokens and a trust file.',
    )
    .addHelpText('after', '\nExample:\n  $ stele up --data ./stele-data')
    .action(
      cli.action(async (flags: StartFlags) => {
        await cli.starters.up(startOptions(flags), cli.world);
        return undefined;
      }),
    );
}
