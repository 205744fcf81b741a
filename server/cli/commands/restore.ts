/** `stele restore`: a backup put back, or a data folder that was copied or moved taken over. */
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import type { Manifest } from '../../backup/manifest.ts';
import { type Restored, restoreBackup } from '../../backup/restore.ts';
import { dataFolder, loadConfig } from '../../config.ts';
import { SteleError } from '../../core/errors.ts';
import { compareWithMemories } from '../../log/remembered.ts';
import { SqliteStore } from '../../storage/sqlite/log-store.ts';
import { FAILS, type Status, UNKNOWN } from '../exit.ts';
import type { Cli } from '../program.ts';
import { oneLine, type Voice, voiceOf } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly accept?: true;
  readonly from?: string;
  readonly keys?: string;
  readonly vaultKeys?: string;
  readonly json?: true;
}

export function command(cli: Cli): Command {
  return new Command('restore')
    .description(
      'Puts a backup back, or takes over a data folder that was copied or moved, as the only copy that will ever sign.',
    )
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--from <backup>', 'put this backup into the data folder, which must be new or empty')
    .option('--keys <backup>', 'what "stele backup --keys" wrote')
    .option('--vault-keys <backup>', 'what "stele backup --vault-keys" wrote')
    .option('--accept', 'I have made sure that no other copy of this folder runs, or ever will')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele restore --data /var/lib/stele --accept\n  $ stele restore --from /backup/today --keys /safe/keys --vault-keys /short/today --data /var/lib/stele',
    )
    .action(
      cli.action(async (options: Options) => {
        const { world } = cli;
        const voice = voiceOf(world, options.json === true);
        const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
        if (options.from !== undefined) return putBack(cli, voice, data, options);
        if (options.accept === true) return await accept(cli, voice, data);
        voice.say(
          `Two copies of ${data} that both sign make two histories under one origin, for all to see.`,
          'If no other copy runs or ever will: stele restore --accept',
        );
        voice.json({ accepted: false });
        return UNKNOWN;
      }),
    );
}

async function accept(
  { world, starters }: Cli,
  voice: Voice,
  data: string,
): Promise<Status | undefined> {
  const stopped = await starters.restore(data, world);
  voice.say(`${data} is accepted: this is now the only place where its logs sign.`);
  for (const reason of stopped) voice.say(`but ${reason}`);
  voice.json({ accepted: true, stopped });
  return stopped.length === 0 ? undefined : FAILS;
}

async function putBack(
  cli: Cli,
  voice: Voice,
  data: string,
  { from = '', keys, vaultKeys }: Options,
): Promise<Status | undefined> {
  const { world } = cli;
  const at = (path: string | undefined) => path && resolve(world.cwd, path);
  try {
    const restored = await restoreBackup({
      from: { data: resolve(world.cwd, from), keys: at(keys), 'vault-keys': at(vaultKeys) },
      data,
      progress: voice.progress,
      signal: world.interrupted,
    });
    const { findings, manifest, files, bytes } = restored;
    if (findings.length > 0) return refuse(voice, data, restored);
    const stopped = await stoppedLogs(cli, data, manifest);
    voice.say(
      `${files} files, ${bytes} bytes of ${manifest.time} are put back into ${data}.`,
      'This is now the only place where its logs sign.',
      ...manifest.logs.map(({ name, size }) => `log ${name}: ${size} entries`),
      ...manifest.except.map((name) => `log ${name}: the backup was made without it`),
    );
    if (keys === undefined) voice.say('Before the start, bring back keys/: it was not given.');
    if (vaultKeys === undefined) {
      voice.say('Before the start, bring back vault-keys/: without it no content opens again.');
    }
    for (const reason of stopped) voice.say(`but ${oneLine(reason)}`);
    voice.json({ restored: true, files, bytes, id: manifest.id, time: manifest.time, stopped });
    return stopped.length === 0 ? undefined : FAILS;
  } finally {
    voice.progress('');
  }
}

function refuse(voice: Voice, data: string, { findings }: Restored): Status {
  for (const { folder, path, what } of findings) voice.say(`${folder}: ${path}: ${oneLine(what)}`);
  voice.say('', `DOES NOT HOLD: nothing was put into ${data}`);
  voice.json({ restored: false, findings });
  return FAILS;
}

/** Why any of the logs will sign nothing: something outside the folder knows better than the backup. */
async function stoppedLogs(
  { world, starters }: Cli,
  data: string,
  { logs }: Manifest,
): Promise<readonly string[]> {
  const config = loadConfig({ env: world.env, cwd: world.cwd, data });
  const memories = await starters.memories(config);
  const stopped: string[] = [];
  for (const { name, origin } of logs) {
    const store = SqliteStore.openReadOnly(join(data, 'logs', `${name}.db`));
    try {
      const { reason } = await compareWithMemories(store, { name, origin }, memories);
      if (reason !== undefined) stopped.push(`log ${name} signs nothing: it ${reason}`);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      stopped.push(error.message);
    } finally {
      await store.close();
    }
  }
  return stopped;
}
