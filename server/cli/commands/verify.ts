/** `stele verify`: does a receipt hold? Offline: nothing is asked but the files that are named. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { hasCode, SteleError } from '../../core/errors.ts';
import { RECEIPT_BYTES_MAX } from '../../core/limits.ts';
import { parseTrust, TRUST_BYTES_MAX } from '../../core/trust.ts';
import { openSeam, type Seam } from '../../verify/seam.ts';
import { type Verdict, verifyReceipt } from '../../verify/verify.ts';
import { FAILS, HOLDS, Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { oneLine, table, voiceOf } from '../terminal.ts';
import { readBytes, readInput } from '../where.ts';

interface Options {
  readonly trust: string;
  readonly then?: string;
  readonly require?: readonly ('rekor' | 'rfc3161')[];
  readonly json?: true;
}

/** A body of 2 GiB, the most that a server takes unless told otherwise. */
const BODY_BYTES_MAX = 2 ** 31;

export function command(cli: Cli): Command {
  return new Command('verify')
    .description('Checks a receipt against keys that you got elsewhere. Works offline.')
    .argument('<file>', 'the receipt; "-" is standard input')
    .requiredOption('--trust <file>', 'stele.trust/1 JSON, or a C2SP tlog-policy')
    .option('--then <file>', 'the receipt of entry 0 of the log that goes on where this one ends')
    .addOption(
      new Option(
        '--require <anchor...>',
        'what the receipt has to carry, by somebody whom the trust file knows; a quorum of witnesses is asked for by its policy',
      ).choices(['rekor', 'rfc3161']),
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele verify receipt.json --trust stele-data/trust.json\n  $ stele verify last.json --then first.json --trust trust.json',
    )
    .action(
      cli.action(async (file: string, options: Options) => {
        const { world } = cli;
        const receipt = await readInput(world, file, RECEIPT_BYTES_MAX);
        const path = resolve(world.cwd, options.trust);
        const trust = readTrust(readBytes(path, 'trust file', TRUST_BYTES_MAX), path);
        const folder = file === '-' ? world.cwd : dirname(resolve(world.cwd, file));
        const verdict = verifyReceipt(receipt, trust, {
          body: (name) => readBody(folder, name),
          ...(options.require === undefined ? {} : { require: options.require }),
        });
        const voice = voiceOf(world, options.json === true);
        voice.say(...linesOf(verdict));
        if (options.then === undefined) {
          voice.json(jsonOf(verdict));
          return verdict.holds ? HOLDS : FAILS;
        }
        const genesis = await readInput(world, options.then, RECEIPT_BYTES_MAX);
        const seam = seamOf(() => openSeam(receipt, genesis, trust));
        voice.say('', ...seam.lines);
        voice.json({ ...jsonOf(verdict), seam: seam.json });
        return verdict.holds && seam.holds ? HOLDS : FAILS;
      }),
    );
}

/** Where the log goes on, or why that is not proven. */
function seamOf(open: () => Seam) {
  try {
    const { last, next } = open();
    const keys = next.keys.map(({ key }) => key.text);
    const lines = [
      `GOES ON: ${oneLine(last.origin)} ended with ${last.size} entries, and ${oneLine(next.origin)} follows it`,
      ...table(keys.map((key) => ['its key', key])),
    ];
    return { holds: true, lines, json: { holds: true, next: next.origin, size: last.size, keys } };
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const lines = [`DOES NOT GO ON: ${oneLine(error.message)}`];
    return { holds: false, lines, json: { holds: false, reason: error.message } };
  }
}

function readTrust(bytes: Uint8Array, path: string) {
  try {
    return parseTrust(bytes);
  } catch (cause) {
    // What cannot be read says nothing about the receipt.
    if (cause instanceof SteleError) throw new Unusable(`${path}: ${cause.message}`, { cause });
    throw cause;
  }
}

/** A file that the receipt names, in the receipt's own folder. The name is a stranger's: no path. */
function readBody(folder: string, name: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name)) return undefined;
  const path = join(folder, name);
  if (!existsSync(path)) return undefined;
  try {
    return readBytes(path, 'body', BODY_BYTES_MAX);
  } catch (error) {
    if (hasCode(error, 'too_large')) throw new Unusable(error.message, { cause: error });
    throw error;
  }
}

function linesOf({ holds, origin, index, steps, notes, fields, bounds }: Verdict): string[] {
  const rows = steps.map(({ step, status, detail }) => [status, step, oneLine(detail)]);
  const shown = fields.map(({ name, state }) => [state, 'field', name]);
  const lines = table([...rows, ...shown]);
  for (const note of notes) lines.push(`note: ${oneLine(note)}`);
  const [earliest] = bounds;
  if (earliest !== undefined && holds) {
    lines.push(
      '',
      `EXISTED: ${new Date(earliest.latestMs).toISOString()} at the latest, by ${oneLine(earliest.by)}`,
    );
  }
  const what = index === undefined ? 'this receipt' : `entry ${index} of ${oneLine(origin ?? '?')}`;
  lines.push('', holds ? `HOLDS: ${what}` : `DOES NOT HOLD: ${what}`);
  return lines;
}

function jsonOf({ holds, origin, index, steps, notes, fields, bounds }: Verdict) {
  const existed = bounds.map(({ by, latestMs }) => ({
    by,
    latest: new Date(latestMs).toISOString(),
  }));
  return { holds, origin: origin ?? null, index: index ?? null, steps, fields, existed, notes };
}
