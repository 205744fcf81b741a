/** `stele request`: acts on keys that wait for a second person (`admin.two_persons`). */
import { Command } from 'commander';
import { administer, cells } from '../administration.ts';
import type { Cli } from '../program.ts';
import { table } from '../terminal.ts';
import { addWhere, type WhereOptions } from '../where.ts';

export function command(cli: Cli): Command {
  return new Command('request')
    .description(
      'Lists, approves and refuses acts on keys that somebody asked for, where "admin.two_persons" is on.',
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ stele request list\n  $ stele request approve 0123456789abcdef --token approver.token',
    )
    .addCommand(list(cli))
    .addCommand(approve(cli))
    .addCommand(reject(cli));
}

function list(cli: Cli): Command {
  return addWhere(new Command('list'))
    .description('Lists what waits: what is to be done, in which log, and who asked for it.')
    .addHelpText('after', '\nExample:\n  $ stele request list')
    .action(
      cli.action((options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const requests = await admin.listRequests();
          const names = ['id', 'act', 'log', 'holder', 'expires', 'details'];
          voice.say(...table([names, ...requests.map((request) => cells(request, ...names))]));
          voice.json({ requests });
        }),
      ),
    );
}

function approve(cli: Cli): Command {
  return addWhere(new Command('approve'))
    .description('Does what another holder asked for. It takes a token with the role "approve".')
    .argument('<id>', 'as "stele request list" prints it')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele request approve 0123456789abcdef --token mine.token',
    )
    .action(
      cli.action((id: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const done = await admin.approveRequest(id);
          voice.say(...table(Object.keys(done).map((name) => [name, ...cells(done, name)])));
          voice.json(done);
        }),
      ),
    );
}

function reject(cli: Cli): Command {
  return addWhere(new Command('reject'))
    .description('Refuses a request, or withdraws one’s own.')
    .argument('<id>', 'as "stele request list" prints it')
    .addHelpText('after', '\nExample:\n  $ stele request reject 0123456789abcdef')
    .action(
      cli.action((id: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const rejected = await admin.rejectRequest(id);
          voice.say(...table([['rejected', ...cells(rejected, 'id')]]));
          voice.json(rejected);
        }),
      ),
    );
}
