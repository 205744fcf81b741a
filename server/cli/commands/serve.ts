/** `stele serve`: the log without the proxy. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { addListen, addStart, type StartFlags, startOptions } from '../start.ts';

export function command(cli: Cli): Command {
  return addListen(addStart(new Command('serve')))
    .description('Runs the log alone; gateways and proxies elsewhere submit to it.')
    .addHelpText('after', '\nExample:\n  $ stele serve --public-url https://log.example.com')
    .action(
      cli.action(async (flags: StartFlags) => {
        await cli.starters.serve(startOptions(flags), cli.world);
        return undefined;
      }),
    );
}
