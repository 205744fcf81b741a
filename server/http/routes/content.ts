/**
 * GET LOG/v1/content/{record_id}/{field} and …/body: reading someone's content (P11).
 *
 * Who reads, what, and why is logged before a byte of it leaves, in a log of its own that nobody can
 * shorten. If that entry cannot be appended, the read is refused.
 */
import { Readable } from 'node:stream';
import { parseUtf8 } from '../../core/bytes.ts';
import { decodeEntry } from '../../core/entry.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { commitmentsOf, parseRecord } from '../../core/record.ts';
import type { RecordKey, Vault } from '../../vault/vault.ts';
import { BYTES_TYPE, sendFresh, TEXT_TYPE } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';
import { ACCESS_SUFFIX } from '../roles.ts';
import { REASON_CHARS_MAX } from '../settings.ts';
import { parseRecordId } from './entries.ts';

export function contentRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/content/{record_id}/{field}',
      access: 'content',
      query: ['source'],
      handle: (call, log) => getDisclosure(parts, call, log),
    },
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/content/{record_id}/{field}/body',
      access: 'content',
      query: ['source'],
      handle: (call, log) => getBody(parts, call, log),
    },
  ];
}

async function getDisclosure(parts: Parts, call: Call, log: Log): Promise<void> {
  const { vault, key, field, digest } = await openContent(parts, call, log, false);
  sendFresh(call, TEXT_TYPE, await vault.disclosure(key, field, digest));
}

async function getBody(parts: Parts, call: Call, log: Log): Promise<void> {
  const { vault, key, field, digest } = await openContent(parts, call, log, true);
  const { value, chunks } = await vault.body(key, field, digest);
  const { ctx } = call;
  const body = Readable.from(whileGood(parts, call, chunks), { objectMode: false });
  // Content that turns out damaged on the way must not look whole: the connection breaks.
  body.on('error', (error) => ctx.res.destroy(error));
  // The media type is a stranger's word: taken as such, it would run as a page of this origin.
  ctx.set('Content-Type', BYTES_TYPE);
  ctx.set('Content-Disposition', 'attachment');
  ctx.set('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'; sandbox");
  ctx.set('Cache-Control', 'private, no-store');
  ctx.body = body;
  ctx.length = value.bytes;
}

/** A long read ends with its token. */
async function* whileGood(parts: Parts, call: Call, chunks: AsyncIterable<Uint8Array>) {
  for await (const chunk of chunks) {
    parts.tokens.checkStill(call.token);
    yield chunk;
  }
}

interface Opened {
  readonly vault: Vault;
  readonly key: RecordKey;
  readonly field: string;
  /** The record's commitment to the field. */
  readonly digest: string;
}

/** Finds the content and leaves the trace. From its return on, the content may be read. */
async function openContent(parts: Parts, call: Call, log: Log, body: boolean): Promise<Opened> {
  const reason = parseReason(call.ctx.req.headers['x-stele-reason']);
  const recordId = parseRecordId(param(call, 0));
  const field = param(call, 1);
  const record = await findRecord(log, recordId, call.query.get('source'));
  const digest = commitmentsOf(record).get(field);
  const key = { source: record.source.id, recordId };
  const vault = await parts.vaults(log.name);
  const stored = (await vault.fields(key)).find((known) => known.field === field);
  if (digest === undefined || !stored || (body && stored.bodyBytes === undefined)) {
    const what = body ? 'body' : 'disclosure';
    throw new SteleError('not_found', `content: record ${recordId} has no ${what} ${shown(field)}`);
  }
  const note = {
    record_id: recordId,
    source: key.source,
    fields: [field],
    reason,
    holder: call.token?.holder ?? '',
  };
  await parts.logs.recordAccess(log.name, note);
  return { vault, key, field, digest };
}

async function findRecord(log: Log, recordId: string, source: string | undefined) {
  if (log.name.endsWith(ACCESS_SUFFIX)) {
    throw new SteleError('not_found', 'content: an access log has no vault');
  }
  const entry = decodeEntry(await log.entry(await log.findRecord(recordId, source)));
  return parseRecord(entry.payload, log.origin);
}

/** Bytes from strangers: Node gives header values as latin1. */
function parseReason(header: string | readonly string[] | undefined): string {
  if (typeof header !== 'string') {
    throw malformed('x-stele-reason', 'is missing: reading content needs a reason');
  }
  const reason = parseUtf8(Buffer.from(header, 'latin1'), 'x-stele-reason').trim();
  if (reason.length < 1 || reason.length > REASON_CHARS_MAX) {
    const rule = `has ${reason.length} characters, not 1 to ${REASON_CHARS_MAX}`;
    throw malformed('x-stele-reason', rule);
  }
  if (/\p{Cc}/u.test(reason)) throw malformed('x-stele-reason', 'has a control character');
  return reason;
}
