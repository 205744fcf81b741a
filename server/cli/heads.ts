/**
 * `stele log heads`: the newest checkpoints of all logs, read from the files of a data folder, whether a
 * server runs or not.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { dataFolder } from '../config.ts';
import { Unusable } from './exit.ts';
import type { Cli } from './program.ts';
import { table, voiceOf } from './terminal.ts';

export function heads(cli: Cli): Command {
  return new Command('heads')
    .description(
      'Writes the newest checkpoint of every log into a folder, from the files: for a signer’s --expect, or to keep.',
    )
    .argument('<folder>', 'made where there is none; NAME and NAME.access in it')
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele log heads ./heads')
    .action(
      cli.action(async (folder: string, options: { data?: string; json?: true }) => {
        const { world } = cli;
        const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
        const written = await writeHeads(data, resolve(world.cwd, folder));
        const voice = voiceOf(world, options.json === true);
        voice.say(...table(written.map(({ name, size }) => [name, `${size} entries`])));
        voice.json({ heads: written });
        return undefined;
      }),
    );
}

interface WrittenHead {
  readonly name: string;
  readonly size: number;
}

/** Writes each log's into a file of its name. A log whose creation was cut short has none. */
async function writeHeads(data: string, folder: string): Promise<readonly WrittenHead[]> {
  // Most commands do without a database.
  const { SqliteStore } = await import('../storage/sqlite/log-store.ts');
  const logs = join(data, 'logs');
  if (!existsSync(logs)) throw new Unusable(`${data} is no data folder: name one with --data`);
  mkdirSync(folder, { recursive: true });
  const written: WrittenHead[] = [];
  const names = readdirSync(logs).flatMap((file) =>
    file.endsWith('.db') ? [file.slice(0, -3)] : [],
  );
  for (const name of names.sort()) {
    const store = SqliteStore.openReadOnly(join(logs, `${name}.db`));
    try {
      const head = await store.readHead();
      if (head === undefined) continue;
      writeFileSync(join(folder, name), head.checkpoint);
      written.push({ name, size: head.size });
    } finally {
      await store.close();
    }
  }
  return written;
}
