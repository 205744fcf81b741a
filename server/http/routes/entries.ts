/** Reading what was logged: `v1/entries`, `v1/leaves`, `v1/records`, `v1/sources`. */
import { parseHex, toBase64 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { HASH_BYTES, hash, leafIndex, treeSize } from '../../core/units.ts';
import { ENTRY_TYPE, JSON_TYPE, sendFresh, sendImmutable, sendJson } from '../answer.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';
import { priceOfPage } from '../rates.ts';
import { PAGE_BYTES_MAX, PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX } from '../settings.ts';

export const entryRoutes: readonly LogRoute[] = [
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/entries',
    access: 'entries',
    query: ['start', 'limit'],
    handle: getPage,
  },
  { on: 'log', method: 'GET', pattern: '/v1/entries/{index}', access: 'entries', handle: getEntry },
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/leaves/{leaf_hash}',
    access: 'entries',
    handle: getLeaf,
  },
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/records/{record_id}',
    access: 'entries',
    query: ['source'],
    handle: getRecord,
  },
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/sources',
    access: 'entries',
    query: ['after', 'limit'],
    handle: getSources,
  },
];

async function getEntry(call: Call, log: Log): Promise<void> {
  const index = leafIndex(parseDecimal(param(call, 0), 'index'));
  sendImmutable(call, ENTRY_TYPE, await log.entry(index));
}

/** Entries read from the store at once: 64 of the largest are one page's bytes. */
const STEP = 64;

async function getPage(call: Call, log: Log): Promise<void> {
  const start = parseDecimal(call.query.get('start') ?? '0', 'start');
  const limit = parseLimit(call);
  const { size } = log.head();
  if (start > size) throw new SteleError('not_found', `start ${start} is beyond the log's ${size}`);
  const page = await readPage(call, log, { start, end: Math.min(size, start + limit) });
  const entries = page.map(toBase64);
  const next = start + entries.length;
  // The answer depends on the query string, which a careless cache may ignore.
  sendFresh(call, JSON_TYPE, JSON.stringify({ start, entries, ...(next < size ? { next } : {}) }));
}

/** The entries [start, end), at most `PAGE_ENTRIES_MAX` of them, or as many as have room on a page. */
export async function readPage(
  call: Call,
  log: Log,
  { start, end }: { readonly start: number; readonly end: number },
): Promise<Uint8Array[]> {
  call.charge.more(priceOfPage(end - start));
  const page: Uint8Array[] = [];
  let bytes = 0;
  for (let at = start; at < end; at += STEP) {
    for (const entry of await log.entries(leafIndex(at), treeSize(Math.min(end, at + STEP)))) {
      bytes += entry.length;
      // A page has at least one entry, however large.
      if (page.length > 0 && bytes > PAGE_BYTES_MAX) return page;
      page.push(entry);
    }
  }
  return page;
}

function parseLimit(call: Call): number {
  const limit = parseDecimal(call.query.get('limit') ?? String(PAGE_ENTRIES_DEFAULT), 'limit');
  if (limit < 1 || limit > PAGE_ENTRIES_MAX) {
    throw malformed('limit', `${limit} is not from 1 to ${PAGE_ENTRIES_MAX}`);
  }
  return limit;
}

async function getLeaf(call: Call, log: Log): Promise<void> {
  const text = param(call, 0);
  const index = await log.findLeaf(hash(parseHex(text, 'leaf_hash', HASH_BYTES)));
  sendImmutable(call, JSON_TYPE, JSON.stringify({ leaf_hash: text, index }));
}

async function getRecord(call: Call, log: Log): Promise<void> {
  const id = parseRecordId(param(call, 0));
  const index = await log.findRecord(id, call.query.get('source'));
  sendJson(call, { record_id: id, index });
}

async function getSources(call: Call, log: Log): Promise<void> {
  const limit = parseLimit(call);
  const sources = await log.sources(call.query.get('after'), limit);
  const last = sources.at(-1);
  sendJson(call, {
    sources: sources.map(({ id, keyid, begin, next, holes, moreHoles, forks }) => ({
      id,
      keyid,
      ...(begin === 0 ? {} : { begin }),
      next,
      holes,
      ...(moreHoles ? { more_holes: true } : {}),
      forks,
    })),
    ...(sources.length < limit || last === undefined ? {} : { next: last.id }),
  });
}

/** UUIDv7 in lower case, as records spell it. */
export const RECORD_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export function isRecordId(text: string): boolean {
  return RECORD_ID.test(text);
}

export function parseRecordId(text: string): string {
  if (!isRecordId(text)) throw malformed('record_id', `${shown(text)} is not a lower-case UUIDv7`);
  return text;
}
