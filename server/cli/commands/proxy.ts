/** `stele proxy`: the LLM proxy on a machine of its own. */
import { Command } from 'commander';
import type { Cli } from '../program.ts';
import { addProxyListen, addStart, type StartFlags, startOptions } from '../start.ts';

interface Flags extends StartFlags {
  readonly server?: string;
  readonly token?: string;
  readonly key?: string;
  readonly trust?: string;
}

export function command(cli: Cli): Command {
  return addProxyListen(addStart(new Command('proxy')))
    .description(
      'Runs the LLM proxy alone, for a log elsewhere. Calls wait on this disk until they are logged.',
    )
    .option('--server <url>', 'the address of the log server [STELE_SERVER]')
    .option('--token <file>', 'a file with a submit token [STELE_TOKEN]')
    .option('--key <file>', 'the proxy’s key; made on first use, to be registered as a gateway')
    .option('--trust <file>', 'a trust file that the log’s answers are held to')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele proxy --data ./proxy-data --server https://log.example.com --token submit.token',
    )
    .action(
      cli.action(async (flags: Flags) => {
        const { server, token, key, trust } = flags;
        const options = { ...startOptions(flags), server, token, key, trust };
        await cli.starters.proxy(options, cli.world);
        return undefined;
      }),
    );
}
