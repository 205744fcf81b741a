/** `stele get`: one entry, for people, or its bytes. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { LogClient } from '../../client/client.ts';
import { parseHex, toBase64, toHex } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { decodeEntry, type Entry, RECORD_TYPE } from '../../core/entry.ts';
import { leafHash } from '../../core/merkle.ts';
import { hash, type LeafIndex, leafIndex } from '../../core/units.ts';
import type { Cli } from '../program.ts';
import { oneLine, table, voiceOf } from '../terminal.ts';
import { addLog, addWhere, logClient, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log: string;
  readonly source?: string;
  readonly raw?: true;
  readonly output?: string;
}

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('get')))
    .description('Shows one entry: who signed it, and what it says.')
    .argument('<id>', 'an index, a leaf hash in hex, or a record id')
    .option('--source <id>', 'the source of the record, where several used its id')
    .option('--raw', 'print the bytes of the entry')
    .option('-o, --output <file>', 'write the bytes of the entry there')
    .addHelpText('after', '\nExample:\n  $ stele get 0\n  $ stele get 2 --raw > entry')
    .action(
      cli.action(async (id: string, options: Options) => {
        const { world } = cli;
        const client = logClient(world, options, 'read');
        const index = await find(client, id, options.source);
        const bytes = await client.entry(index);
        if (options.output !== undefined) writeFileSync(resolve(world.cwd, options.output), bytes);
        if (options.raw === true) {
          world.out(bytes);
          return undefined;
        }
        const entry = decodeEntry(bytes);
        const voice = voiceOf(world, options.json === true);
        voice.say(...linesOf(index, bytes, entry));
        voice.json({
          index,
          leaf_hash: toHex(leafHash(bytes)),
          payload_type: entry.payloadType,
          payload: toBase64(entry.payload),
          keyids: entry.signatures.map(({ keyid }) => keyid),
        });
        return undefined;
      }),
    );
}

async function find(client: LogClient, id: string, source?: string): Promise<LeafIndex> {
  if (/^[0-9]{1,16}$/.test(id)) return leafIndex(parseDecimal(id, 'index'));
  if (/^[0-9a-f]{64}$/.test(id)) return client.findLeaf(hash(parseHex(id, 'leaf hash')));
  return client.findRecord(id, source);
}

function linesOf(index: LeafIndex, bytes: Uint8Array, entry: Entry): string[] {
  const { payloadType, payload, signatures } = entry;
  const rows = [
    ['entry', String(index)],
    ['leaf', toHex(leafHash(bytes))],
    ['type', oneLine(payloadType)],
    ['bytes', String(bytes.length)],
    ...signatures.map(({ keyid, window }) => [
      'signed by',
      window === undefined ? keyid : `${keyid} (${window.index + 1} of ${window.size} in a window)`,
    ]),
  ];
  const text = payloadType === RECORD_TYPE ? laidOut(payload) : printable(payload);
  return [...table(rows), '', ...text.split('\n')];
}

/** A record was parsed strictly when it was logged; here it is only laid out. */
function laidOut(payload: Uint8Array): string {
  const json: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
  return JSON.stringify(json, null, 2);
}

/** A payload that anybody may have written: text if it is plain text, else base64. */
function printable(payload: Uint8Array): string {
  const text = Buffer.from(payload).toString('utf8');
  const isText = Buffer.from(text, 'utf8').equals(payload) && !/[^\P{Cc}\n\t]/u.test(text);
  return isText ? text.trimEnd() : toBase64(payload);
}
