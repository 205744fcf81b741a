/** `stele audit`: is a whole log what it says it is? */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { dataFolder, loadConfig } from '../../config.ts';
import { toBase64 } from '../../core/bytes.ts';
import { openCheckpoint, parseCheckpoint } from '../../core/checkpoint.ts';
import { SteleError } from '../../core/errors.ts';
import { NOTE_BYTES_MAX } from '../../core/limits.ts';
import { parseNote } from '../../core/note.ts';
import { keysGoodAt, parseTrust, TRUST_BYTES_MAX, type TrustedKey } from '../../core/trust.ts';
import { VerifierPool } from '../../keys/verifier-pool.ts';
import { type AuditReport, audit } from '../../log/audit/audit.ts';
import type { AuditReader, KnownHead } from '../../log/audit/reader.ts';
import { StoreReader } from '../../log/audit/store-reader.ts';
import type { MemoryKind } from '../../log/memories.ts';
import { HttpReader } from '../../monitor/http-reader.ts';
import { SqliteStore } from '../../storage/sqlite/log-store.ts';
import { FAILS, HOLDS, UNKNOWN, Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { readRunning } from '../running.ts';
import { oneLine, table, voiceOf, type World } from '../terminal.ts';
import { addLog, addWhere, logClient, readBytes, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log: string;
  readonly files?: true;
  readonly trust?: string;
  readonly known?: string;
  readonly treeOnly?: true;
}

interface Source {
  readonly reader: AuditReader;
  readonly close: () => Promise<void>;
}

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('audit')))
    .description(
      'Reads a whole log and derives everything again: leaf hashes, tiles, the root, keys, signatures, records, chains.',
    )
    .option('--files', 'read the files of the data folder, also while a server runs on it')
    .option('--trust <file>', 'the log’s keys [trust.json in the data folder]')
    .option('--known <file>', 'a checkpoint from earlier, which the log must still contain')
    .option('--tree-only', 'leave out signatures and records')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele audit --known checkpoint-of-may\n  $ stele audit --data /var/lib/stele --files',
    )
    .action(
      cli.action(async (options: Options) => {
        const { world } = cli;
        const voice = voiceOf(world, options.json === true);
        const { reader, close } = openSource(world, options);
        const pool = options.treeOnly === true ? undefined : new VerifierPool();
        try {
          const trusted = readKeys(world, options);
          const head = parseCheckpoint(parseNote(await reader.checkpoint()).text);
          const keys = trusted?.get(head.origin);
          if (trusted !== undefined && keys === undefined) {
            throw new Unusable(`the trust file does not know the log ${oneLine(head.origin)}`);
          }
          // Read before the head under audit, which is then at least as new as what is known.
          const known = await knownHeads(cli, options, head.origin, keys);
          const report = await audit({
            reader,
            keys,
            known,
            checker: pool,
            progress: progressOf(world, voice.progress),
          });
          voice.say(...linesOf(report));
          voice.json({
            ...report,
            root: toBase64(report.root),
            contained: report.contained.map((k) => k.from),
          });
          if (report.fails) return FAILS;
          return report.holds ? HOLDS : UNKNOWN;
        } finally {
          voice.progress('');
          await pool?.close();
          await close();
        }
      }),
    );
}

function openSource(world: World, options: Options): Source {
  const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
  if (options.files !== true && hasServer(world, options, data)) {
    const reader = new HttpReader(logClient(world, options, 'read'), world.interrupted);
    return { reader, close: async () => undefined };
  }
  const path = join(data, 'logs', `${options.log}.db`);
  if (!existsSync(path)) {
    throw new Unusable(`${path}: there is no such log, and no server was named with --server`);
  }
  const store = SqliteStore.openReadOnly(path);
  return { reader: new StoreReader(store), close: () => store.close() };
}

/** Whether there is a server to ask. Where none runs, the files are at rest and say the same. */
function hasServer(world: World, options: Options, data: string): boolean {
  if (options.server !== undefined || world.env.STELE_SERVER !== undefined) return true;
  const running = readRunning(data);
  if (running === undefined) return false;
  try {
    // Signal 0 only asks. A server that was killed left its address behind.
    process.kill(running.pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The keys of each log that the trust file knows; nothing where there is no such file. */
function readKeys(
  world: World,
  options: Options,
): ReadonlyMap<string, readonly TrustedKey[]> | undefined {
  const data = dataFolder({ env: world.env, cwd: world.cwd, data: options.data });
  const own = join(data, 'trust.json');
  // The folder's own trust file is for its own first log; other logs bring theirs.
  const standard = options.log === 'default' && existsSync(own) ? own : undefined;
  const path = options.trust === undefined ? standard : resolve(world.cwd, options.trust);
  if (path === undefined) return undefined;
  try {
    const { logs } = parseTrust(readBytes(path, 'trust file', TRUST_BYTES_MAX));
    return new Map(logs.map(({ origin, keys }) => [origin, keys]));
  } catch (cause) {
    if (cause instanceof SteleError) throw new Unusable(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
}

/** Heads of this log that are known from elsewhere: a kept checkpoint, and what memories know. */
async function knownHeads(
  { world, starters }: Cli,
  options: Options,
  origin: string,
  keys: readonly TrustedKey[] | undefined,
): Promise<KnownHead[]> {
  const known: KnownHead[] = [];
  if (options.known !== undefined) {
    const path = resolve(world.cwd, options.known);
    const bytes = readBytes(path, 'checkpoint', NOTE_BYTES_MAX);
    try {
      const { size, root } =
        keys === undefined
          ? parseCheckpoint(parseNote(bytes).text)
          : openCheckpoint(bytes, origin, keysGoodAt(keys, sizeOf(bytes))).checkpoint;
      known.push({ from: options.known, size, root });
    } catch (cause) {
      if (cause instanceof SteleError) throw new Unusable(`${path}: ${cause.message}`, { cause });
      throw cause;
    }
  }
  const config = loadConfig({ env: world.env, cwd: world.cwd, data: options.data });
  for (const answer of await (await starters.memories(config)).ask(origin)) {
    if (answer.failure !== undefined) {
      // One that cannot be asked must not pass for one that knows nothing.
      if (answer.kind !== 'witness' || answer.failure.code === 'split_view') throw answer.failure;
      world.err(`stele: not compared with ${answer.place}: ${answer.failure.message}\n`);
    }
    if (answer.known === undefined) continue;
    const { size, root } = answer.known;
    known.push({ from: MEMORY[answer.kind], size, root });
  }
  return known;
}

/** What each kind of memory is called in a report. */
const MEMORY = {
  'high-water': 'the high-water file',
  signer: 'the signer',
  anchors: 'the heads that were shown outside',
  witness: 'a witness',
} as const satisfies Record<MemoryKind, string>;

/** The size that a checkpoint claims. */
function sizeOf(bytes: Uint8Array): number {
  return parseCheckpoint(parseNote(bytes).text).size;
}

const PROGRESS_EVERY_MS = 200;

function progressOf(world: World, show: (line: string) => void) {
  const begun = world.now();
  let shown = begun;
  return (done: number, size: number) => {
    const now = world.now();
    if (now - shown < PROGRESS_EVERY_MS) return;
    shown = now;
    const rate = Math.round(done / Math.max(0.001, (now - begun) / 1000));
    show(`${done} of ${size} entries, ${Math.floor((100 * done) / size)} %, ${rate} a second`);
  };
}

function linesOf(report: AuditReport): string[] {
  const { origin, size, root, findings, counts, contained, holds, fails } = report;
  const lines = table([
    ['log', oneLine(origin)],
    ['size', String(size)],
    ['root', toBase64(root)],
    [
      'checked',
      `${size} entries, ${counts.signatures} signatures, ${counts.records} records of ${counts.sources} sources`,
    ],
    ...contained.map((head) => ['contains', `${head.from}, size ${head.size}`]),
  ]);
  for (const { severity, index, what } of findings) {
    const place = index === undefined ? '' : `entry ${index}: `;
    lines.push(`${severity.padEnd(7)}  ${place}${oneLine(what)}`);
  }
  const listed = findings.length;
  const all = counts.fail + counts.note + counts.unknown;
  if (listed < all) lines.push(`…        and ${all - listed} more`);
  const bad = report.firstBad === undefined ? '' : `, first at entry ${report.firstBad}`;
  const verdict = fails
    ? `DOES NOT HOLD: ${counts.fail} found${bad}`
    : holds
      ? 'HOLDS'
      : 'COULD NOT TELL: nothing is wrong with what was there to check';
  return [...lines, '', verdict];
}
