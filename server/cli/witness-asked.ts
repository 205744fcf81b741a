/** `stele witness now` and `list`: heads shown to the witnesses of a log, and what these said. */
import { Command } from 'commander';
import { type JsonObject, list, object } from '../client/client.ts';
import { parseDecimal } from '../core/decimal.ts';
import { treeSize } from '../core/units.ts';
import { administer, cells } from './administration.ts';
import type { Cli } from './program.ts';
import { oneLine, table, voiceOf } from './terminal.ts';
import { addLog, addWhere, logClient, type WhereOptions } from './where.ts';

/** What there is to do about the witnesses of logs of this instance. */
export function askingCommands(cli: Cli): readonly Command[] {
  return [now(cli), listed(cli)];
}

function now(cli: Cli): Command {
  return addWhere(new Command('now'))
    .description('Shows the newest head to every witness of a log, without waiting for its time.')
    .argument('<log>', 'its name')
    .addHelpText('after', '\nExample:\n  $ stele witness now team-a')
    .action(
      cli.action((name: string, options: WhereOptions) =>
        administer(cli, options, async (admin, voice) => {
          const done = await admin.witnessLog(name);
          voice.say(...progressLines(list(done.witnessing, 'witnessing')));
          voice.json(done);
        }),
      ),
    );
}

const PROGRESS = ['witness', 'size', 'time', 'pending', 'missed', 'asked', 'failed'];

function progressLines(witnessing: readonly JsonObject[]): string[] {
  const rows = witnessing.map((one) => {
    const { pending } = one;
    const waiting = pending === undefined ? undefined : object(pending, 'pending');
    const shown = waiting === undefined ? '-' : `${waiting.size} (${waiting.attempts} attempts)`;
    return cells({ ...one, pending: shown }, ...PROGRESS).map(oneLine);
  });
  const disputes = witnessing
    .filter(({ disputes: said }) => said !== undefined)
    .map(({ witness, disputes: said }) => oneLine(`DISPUTES: ${witness} ${said}`));
  return [...table([PROGRESS, ...rows]), ...disputes];
}

interface ListOptions extends WhereOptions {
  readonly log: string;
  readonly before?: string;
}

function listed(cli: Cli): Command {
  return addLog(addWhere(new Command('list')))
    .description(
      'Says how far each witness is, lists what they were asked, the newest first, holes included, and what one holds against the log.',
    )
    .option('--before <size>', 'only heads below this size')
    .addHelpText('after', '\nExample:\n  $ stele witness list --log team-a')
    .action(
      cli.action(async (options: ListOptions) => {
        const { before } = options;
        const client = logClient(cli.world, options, 'read');
        const voice = voiceOf(cli.world, options.json === true);
        const answer = await client.witnesses(
          before === undefined ? {} : { before: treeSize(parseDecimal(before, '--before')) },
        );
        const names = ['size', 'witness', 'state', 'time', 'attempts', 'reason'];
        const asked = list(answer.asked, 'asked').map((one) => cells(one, ...names).map(oneLine));
        voice.say(
          ...progressLines(list(answer.witnessing, 'witnessing')),
          '',
          ...table([names, ...asked]),
          ...list(answer.evidence, 'evidence').flatMap(evidenceLines),
        );
        voice.json(answer);
        return undefined;
      }),
    );
}

/** The two heads, for whoever has to see which of them others have. */
function evidenceLines({
  witness,
  said,
  time,
  proven,
  asked,
  checkpoint,
  let_go: letGo,
}: JsonObject): string[] {
  const shown = object(asked, 'asked');
  const theirs =
    checkpoint === undefined
      ? ['It has shown no head with the log’s signature for that.']
      : ['It has this head, with the log’s own signature:', ...linesOf(checkpoint)];
  return [
    '',
    oneLine(
      `${witness} ${said} (${time}, ${proven === true ? 'proven' : 'by its word alone'}${letGo === undefined ? '' : `, let go ${letGo}`})`,
    ),
    'It was shown this head:',
    ...linesOf(shown.checkpoint),
    ...theirs,
  ];
}

function linesOf(note: unknown): string[] {
  return String(note)
    .split('\n')
    .map((line) => `  ${oneLine(line)}`);
}
