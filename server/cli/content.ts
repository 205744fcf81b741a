/**
 * A receipt with its content: every field that the record commits to and that the vault still has, each
 * read through the server, with a reason, so that each read leaves its trace (P11).
 *
 * A body of up to 1 MiB goes into the receipt. A larger one goes into a file beside it, and the receipt
 * names that file.
 */
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { LogClient } from '../client/client.ts';
import { bodyValueOf, parseDisclosure } from '../core/disclosure.ts';
import { decodeEntry, RECORD_TYPE } from '../core/entry.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import { INLINE_BODY_BYTES_MAX } from '../core/limits.ts';
import { formatReceipt, parseReceipt, type ReceiptDisclosure } from '../core/receipt.ts';
import { type Record as AuditRecord, commitmentsOf, parseRecord } from '../core/record.ts';
import { Unusable } from './exit.ts';

export interface ContentWanted {
  readonly reason: string;
  /** Where larger bodies go; nothing where there is no folder for them, as with standard output. */
  readonly folder: string | undefined;
  readonly progress: (line: string) => void;
}

/** What is needed of a log. */
export type ContentClient = Pick<LogClient, 'disclosure' | 'body'>;

export interface WithContent {
  readonly receipt: Uint8Array;
  /** Files that were written beside it. */
  readonly files: readonly string[];
  /** Fields that the record commits to and the vault does not have. */
  readonly missing: readonly string[];
}

export async function withContent(
  client: ContentClient,
  bytes: Uint8Array,
  wanted: ContentWanted,
): Promise<WithContent> {
  const receipt = parseReceipt(bytes);
  const record = recordOf(receipt.entry);
  const disclosures: ReceiptDisclosure[] = [];
  const missing: string[] = [];
  for (const [field] of commitmentsOf(record)) {
    wanted.progress(`reading ${field}`);
    const one = await disclose(client, record, field, wanted);
    if (one === undefined) missing.push(field);
    else disclosures.push(one);
  }
  wanted.progress('');
  const whole = disclosures.length === 0 ? receipt : { ...receipt, disclosures };
  const files = disclosures.flatMap((one) => (one.body_file === undefined ? [] : [one.body_file]));
  return { receipt: formatReceipt(whole), files, missing };
}

function recordOf(entry: Uint8Array): AuditRecord {
  const { payloadType, payload } = decodeEntry(entry);
  if (payloadType !== RECORD_TYPE) {
    throw new Unusable(`the entry is ${payloadType} and no audit record: it has no content`);
  }
  return parseRecord(payload);
}

async function disclose(
  client: ContentClient,
  record: AuditRecord,
  field: string,
  wanted: ContentWanted,
): Promise<ReceiptDisclosure | undefined> {
  const read = { reason: wanted.reason, source: record.source.id };
  let disclosure: string;
  try {
    disclosure = await client.disclosure(record.record_id, field, read);
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
  const value = bodyValueOf(parseDisclosure(disclosure).value);
  if (value === undefined) return { disclosure };
  const body = client.body(record.record_id, field, read);
  if (value.bytes <= INLINE_BODY_BYTES_MAX) {
    const whole = await inline(body, field);
    return whole === undefined ? { disclosure } : { disclosure, body: whole };
  }
  const file = `${record.record_id}.${field}`;
  if (wanted.folder === undefined) {
    throw new Unusable(
      `${field} has ${value.bytes} bytes and goes into a file beside the receipt: name the receipt with -o`,
    );
  }
  await save(body, join(wanted.folder, file), value.bytes);
  return { disclosure, body_file: file };
}

/** The bytes of a body that is small by its disclosure; nothing if only the disclosure was stored. */
async function inline(
  chunks: AsyncIterable<Uint8Array>,
  field: string,
): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of chunks) {
      length += chunk.length;
      if (length > INLINE_BODY_BYTES_MAX) {
        throw new SteleError('unverified', `${field}: more bytes than its disclosure says`);
      }
      parts.push(chunk);
    }
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
  return new Uint8Array(Buffer.concat(parts));
}

async function save(chunks: AsyncIterable<Uint8Array>, path: string, bytes: number): Promise<void> {
  const draft = `${path}.part`;
  let length = 0;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      length += chunk.length;
      if (length > bytes) {
        throw new SteleError('unverified', `${path}: more bytes than its disclosure says`);
      }
      yield chunk;
    }
  }
  await pipeline(counted(), createWriteStream(draft, { mode: 0o600 }));
  await rename(draft, path);
}
