/** `stele backup`: a copy of a data folder, taken while a server runs on it; and whether one is whole. */
import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { noteBackup } from '../../backup/last.ts';
import { type Backup, takeBackup } from '../../backup/take.ts';
import { readManifest, verifyPart } from '../../backup/verify.ts';
import { dataFolder, loadConfig } from '../../config.ts';
import { toHex } from '../../core/bytes.ts';
import { SteleError } from '../../core/errors.ts';
import { FAILS, HOLDS, type Status } from '../exit.ts';
import type { Cli } from '../program.ts';
import { oneLine, table, type Voice, voiceOf } from '../terminal.ts';

interface Options {
  readonly data?: string;
  readonly keys?: string;
  readonly vaultKeys?: string;
  readonly except?: readonly string[];
  readonly json?: true;
}

export function command(cli: Cli): Command {
  return new Command('backup')
    .description(
      'Copies the logs and the sealed content of a data folder, also while a server runs on it, and verifies the copy.',
    )
    .argument('<dest>', 'a folder that is new or empty')
    .option('--data <dir>', 'the data folder [STELE_DATA, ./stele-data]')
    .option('--keys <dest>', 'copy private keys, key-encryption keys and tokens as well, to there')
    .option('--vault-keys <dest>', 'copy the data keys of content as well, to there')
    .option('--except <log...>', 'leave these logs out')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele backup /backup/today --data /var/lib/stele --vault-keys /short/today\n  $ stele backup verify /backup/today',
    )
    .addCommand(verify(cli))
    .action(cli.action((dest: string, options: Options) => take(cli, dest, options)));
}

async function take({ world, starters }: Cli, dest: string, options: Options): Promise<Status> {
  const voice = voiceOf(world, options.json === true);
  const at = (path: string | undefined) => path && resolve(world.cwd, path);
  const to = {
    data: resolve(world.cwd, dest),
    keys: at(options.keys),
    'vault-keys': at(options.vaultKeys),
  };
  const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
  try {
    const backup = await takeBackup({
      data,
      to,
      except: options.except ?? [],
      version: starters.version,
      nowMs: world.now(),
      id: toHex(new Uint8Array(randomBytes(8))),
      progress: voice.progress,
      signal: world.interrupted,
    });
    voice.say(...linesOf(backup, to));
    voice.json(jsonOf(backup));
    if (backup.findings.length === 0) note({ world }, data, backup);
    return backup.findings.length === 0 ? HOLDS : FAILS;
  } finally {
    voice.progress('');
  }
}

/** For `stele doctor`. The backup is as good without it. */
function note({ world }: Pick<Cli, 'world'>, data: string, { parts }: Backup): void {
  const [first] = parts;
  if (first === undefined) return;
  try {
    const { state } = loadConfig({ env: world.env, cwd: world.cwd, data });
    const { id, time } = first.manifest;
    noteBackup(state, { data, folder: first.folder, id, time });
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    world.err(`stele: the backup is not noted for "stele doctor": ${oneLine(error.message)}\n`);
  }
}

function linesOf({ parts, findings, lost }: Backup, to: { readonly data: string }): string[] {
  const lines = parts.map(({ folder, files, bytes }) => [
    folder,
    `${files} files`,
    `${bytes} bytes`,
  ]);
  const given = new Set(parts.map(({ part }) => part));
  const rows = table(lines);
  if (!given.has('keys')) rows.push('Private keys were not copied: --keys DEST, once and offline.');
  if (!given.has('vault-keys')) {
    rows.push('Data keys of content were not copied: --vault-keys DEST, with an end to each copy.');
  }
  if (lost.count > 0) {
    rows.push(`${lost.count} content files are lost, such as ${lost.some[0]}: run stele log check`);
  }
  for (const { folder, path, what } of findings) rows.push(`${folder}: ${path}: ${oneLine(what)}`);
  const verdict =
    findings.length === 0
      ? 'VERIFIED'
      : `DOES NOT VERIFY: ${to.data} has no backup.json and is no backup`;
  return [...rows, '', verdict];
}

function jsonOf({ parts, findings, lost }: Backup) {
  return {
    parts: parts.map(({ part, folder, files, bytes, manifest }) => ({
      part,
      folder,
      files,
      bytes,
      id: manifest.id,
      time: manifest.time,
      logs: manifest.logs.map(({ name, origin, size, root }) => ({ name, origin, size, root })),
    })),
    lost,
    findings,
    verified: findings.length === 0,
  };
}

function verify(cli: Cli): Command {
  return new Command('verify')
    .description('Checks a backup: every file, and the tree of every log, up to its signed head.')
    .argument('<folder>', 'what was given to "stele backup", or to its --keys or --vault-keys')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  $ stele backup verify /backup/today')
    .action(
      cli.action(async (folder: string, _options: object, self: Command) => {
        const { world } = cli;
        // "stele backup" has the same option, and takes it wherever it stands.
        const { json } = self.optsWithGlobals<Pick<Options, 'json'>>();
        const voice = voiceOf(world, json === true);
        return await verifyOne(voice, resolve(world.cwd, folder), world.interrupted);
      }),
    );
}

async function verifyOne(voice: Voice, folder: string, signal: AbortSignal): Promise<Status> {
  try {
    const manifest = await readManifest(folder);
    const { progress } = voice;
    const { findings, wrong, older, files, bytes } = await verifyPart(folder, manifest, {
      progress,
      signal,
    });
    const lines = table([
      ['backup', `${manifest.part}, ${manifest.id}, by stele ${manifest.version}`],
      ['time', manifest.time],
      ['files', `${files}, ${bytes} bytes`],
      ...manifest.logs.map(({ name, size }) => ['log', `${name}, ${size} entries`]),
    ]);
    for (const name of older) {
      lines.push(`log ${name} is of an older release: its files were checked, and not its tree`);
    }
    for (const { path, what } of findings) lines.push(`${path}: ${oneLine(what)}`);
    if (wrong > findings.length) lines.push(`and ${wrong - findings.length} more`);
    voice.say(...lines, '', wrong === 0 ? 'HOLDS' : `DOES NOT HOLD: ${wrong} found`);
    voice.json({ folder, ...manifest, files, bytes, older, findings, wrong, holds: wrong === 0 });
    return wrong === 0 ? HOLDS : FAILS;
  } finally {
    voice.progress('');
  }
}
