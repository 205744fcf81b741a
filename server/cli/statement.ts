/**
 * What `stele submit` sends: signed here, or signed already; and what becomes of it where its log has ended.
 *
 * Opaque bytes are bound to no log and go to the next one as they are. A record names its log, so it is made
 * anew: only `log` changes, since its number and the record before it are the source's own. One that was
 * signed elsewhere can be made anew only there.
 */
import { resolve } from 'node:path';
import { signEntry } from '../client/sign.ts';
import { utf8 } from '../core/bytes.ts';
import { canonicalize } from '../core/canonical.ts';
import { decodeEntry, encodeEntry, RECORD_TYPE } from '../core/entry.ts';
import { parseEnvelopeJson } from '../core/envelope.ts';
import { parseJson } from '../core/json.ts';
import { ENTRY_BYTES_MAX } from '../core/limits.ts';
import { formatRecord, parseRecord } from '../core/record.ts';
import { openKeyFile } from '../keys/file.ts';
import type { Signer } from '../keys/signer.ts';
import { Unusable } from './exit.ts';
import type { World } from './terminal.ts';
import { readInput } from './where.ts';

export interface StatementOptions {
  readonly key?: string;
  readonly type?: string;
  readonly entry?: true;
  readonly envelope?: true;
}

export interface SignedStatement {
  readonly entry: Uint8Array;
  /** The same for the log of this origin. Throws `Unusable` if it cannot be made for another log here. */
  forLog(origin: string): Promise<{ readonly entry: Uint8Array; readonly madeAnew: boolean }>;
  close(): Promise<void>;
}

/** JSON that makes a record may be laid out for people; the record itself is much smaller. */
const INPUT_BYTES_MAX = 1_048_576;

export async function readStatement(
  world: World,
  file: string,
  options: StatementOptions,
): Promise<SignedStatement> {
  const { key, type, envelope, entry } = options;
  const bytes = await readInput(world, file, INPUT_BYTES_MAX);
  if (entry === true || envelope === true) {
    if (key !== undefined || type !== undefined || (entry === true && envelope === true)) {
      throw new Unusable('--entry and --envelope are for what is signed already: they stand alone');
    }
    return signedElsewhere(
      encodeEntry(entry === true ? decodeEntry(bytes) : parseEnvelopeJson(bytes)),
    );
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
  return signedHere(signer, type ?? RECORD_TYPE, payload);
}

function signedElsewhere(entry: Uint8Array): SignedStatement {
  const { payloadType, payload } = decodeEntry(entry);
  return {
    entry,
    async forLog(origin) {
      if (payloadType !== RECORD_TYPE) return { entry, madeAnew: false };
      const { log } = parseRecord(payload);
      throw new Unusable(
        `the record was made and signed for ${log}: whoever signs it has to make it for ${origin}`,
      );
    },
    close: async () => undefined,
  };
}

async function signedHere(
  signer: Signer,
  type: string,
  payload: Uint8Array,
): Promise<SignedStatement> {
  return {
    entry: await signEntry(signer, type, payload),
    async forLog(origin) {
      if (type !== RECORD_TYPE) {
        return { entry: await signEntry(signer, type, payload), madeAnew: false };
      }
      const record = formatRecord({ ...parseRecord(payload), log: origin });
      return { entry: await signEntry(signer, type, record), madeAnew: true };
    },
    close: () => signer.close(),
  };
}
