/** `stele submit`: a record, any other statement, or an entry that is signed already. */
import { createReadStream, statSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import type { LogClient } from '../../client/client.ts';
import type { Content } from '../../client/multipart.ts';
import { retrying } from '../../client/retrying.ts';
import { signEntry } from '../../client/sign.ts';
import { utf8 } from '../../core/bytes.ts';
import { canonicalize } from '../../core/canonical.ts';
import { decodeEntry, encodeEntry, RECORD_TYPE } from '../../core/entry.ts';
import { parseEnvelopeJson } from '../../core/envelope.ts';
import { parseJson } from '../../core/json.ts';
import { DISCLOSURE_BYTES_MAX, DISCLOSURES_MAX, ENTRY_BYTES_MAX } from '../../core/limits.ts';
import { parseReceipt } from '../../core/receipt.ts';
import { openKeyFile } from '../../keys/file.ts';
import { Unusable } from '../exit.ts';
import type { Cli } from '../program.ts';
import { table, voiceOf, type World } from '../terminal.ts';
import { addLog, addWhere, logClient, readInput, readText, type WhereOptions } from '../where.ts';

interface Options extends WhereOptions {
  readonly log: string;
  readonly key?: string;
  readonly type?: string;
  readonly entry?: true;
  readonly envelope?: true;
  readonly disclosures?: string;
  readonly body?: readonly string[];
  readonly output?: string;
}

/** JSON that makes a record may be laid out for people; the record itself is much smaller. */
const INPUT_BYTES_MAX = 1_048_576;

export function command(cli: Cli): Command {
  return addLog(addWhere(new Command('submit')))
    .description(
      'Submits one entry and prints where it is. Without --type the file is an audit record as JSON.',
    )
    .argument('[file]', 'the payload; "-" is standard input', '-')
    .option('--key <file>', 'sign with this private key, in PEM, registered as a gateway')
    .option('--type <media-type>', 'the payload is of this type and is taken byte for byte')
    .option('--envelope', 'the file is a signed DSSE envelope as JSON')
    .option('--entry', 'the file is a signed entry in protobuf')
    .option('--disclosures <file>', 'disclosures of the record, one a line')
    .option('--body <field=file...>', 'bodies that the disclosures name')
    .option('-o, --output <file>', 'write the receipt there')
    .addHelpText(
      'after',
      '\nExample:\n  $ stele submit record.json --key gateway.key -o receipt.json\n  $ echo hello | stele submit --type text/plain --key gateway.key',
    )
    .action(
      cli.action(async (file: string, options: Options) => {
        const { world } = cli;
        const entry = await readEntry(world, file, options);
        const content = readContent(world, options);
        const client = logClient(world, options, 'submit');
        const { receipt, repeat } = await send(client, entry, content, world);
        const { index, origin } = parseReceipt(receipt);
        if (options.output !== undefined) {
          writeFileSync(resolve(world.cwd, options.output), receipt, { mode: 0o600 });
        }
        const voice = voiceOf(world, options.json === true);
        const rows = [
          ['entry', String(index)],
          ['log', origin],
        ];
        if (repeat) rows.push(['repeat', 'it was logged before']);
        if (options.output !== undefined) rows.push(['receipt', options.output]);
        voice.say(...table(rows));
        voice.json({ index, origin, repeat, receipt: options.output ?? null });
        return undefined;
      }),
    );
}

/** The same statement may be sent again at will (P3), so what may pass is waited for. */
function send(client: LogClient, entry: Uint8Array, content: Content | undefined, world: World) {
  const { interrupted } = world;
  return retrying(() => client.submit(entry, content, interrupted), {
    attempts: 4,
    // Nobody should wonder for minutes what a command is waiting for.
    maxAskedS: 5,
    signal: interrupted,
  });
}

async function readEntry(world: World, file: string, options: Options): Promise<Uint8Array> {
  const { key, type, envelope, entry } = options;
  const bytes = await readInput(world, file, INPUT_BYTES_MAX);
  if (entry === true || envelope === true) {
    if (key !== undefined || type !== undefined || (entry === true && envelope === true)) {
      throw new Unusable('--entry and --envelope are for what is signed already: they stand alone');
    }
    return entry === true ? encodeEntry(decodeEntry(bytes)) : encodeEntry(parseEnvelopeJson(bytes));
  }
  if (key === undefined) {
    throw new Unusable('no key: sign with --key FILE, or give a signed --envelope or --entry');
  }
  // A record has one spelling; people may lay out theirs as they like.
  const payload = type === undefined ? utf8(canonicalize(parseJson(bytes, 'record'))) : bytes;
  if (payload.length > ENTRY_BYTES_MAX) {
    throw new Unusable(
      `${file}: ${payload.length} bytes, and an entry has at most ${ENTRY_BYTES_MAX}`,
    );
  }
  const signer = await openKeyFile(resolve(world.cwd, key));
  try {
    return await signEntry(signer, type ?? RECORD_TYPE, payload);
  } finally {
    await signer.close();
  }
}

function readContent(world: World, { disclosures, body }: Options): Content | undefined {
  if (disclosures === undefined) {
    if (body === undefined) return undefined;
    throw new Unusable('--body needs --disclosures: a body belongs to a disclosure that names it');
  }
  const text = readText(
    resolve(world.cwd, disclosures),
    'disclosures',
    DISCLOSURES_MAX * (DISCLOSURE_BYTES_MAX + 1),
  );
  return {
    disclosures: text.split('\n').filter((line) => line !== ''),
    bodies: (body ?? []).map((given) => openBody(world, given)),
  };
}

function openBody(world: World, given: string) {
  const [, field, file] = /^([a-z0-9_.]+)=(.+)$/.exec(given) ?? [];
  if (field === undefined || file === undefined) {
    throw new Unusable(`--body ${given}: not FIELD=FILE, such as request.body=request.json`);
  }
  const path = resolve(world.cwd, file);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat?.isFile() !== true) throw new Unusable(`--body ${given}: there is no file ${path}`);
  return { field, bytes: stat.size, open: () => createReadStream(path) };
}
