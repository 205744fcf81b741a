/**
 * GET LOG/v1/feed: all entries from an index on, a line of JSON each, and with `follow=1` those that come.
 *
 *     ask ─► page of entries ─► piece of lines ─► reader takes it ─► next page …
 *                                                   │ not within `feedStallMs`: cut
 *
 * A reader pulls: while it takes nothing, nothing is read for it, and all that is held is one piece. The
 * writer never knows of readers. Whoever is cut goes on from the index after its last whole line.
 */
import { Readable } from 'node:stream';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError, shown } from '../../core/errors.ts';
import { formatFeedLine } from '../../core/feed.ts';
import { leafIndex, treeSize } from '../../core/units.ts';
import { sendStream } from '../answer.ts';
import type { Parts } from '../app.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { FEED_PIECE_CHARS } from '../settings.ts';
import { NDJSON_TYPE } from './batch.ts';

export function feedRoutes(parts: Parts): readonly LogRoute[] {
  return [
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/feed',
      access: 'entries',
      query: ['from', 'limit', 'follow'],
      handle: (call, log) => getFeed(parts, call, log),
    },
  ];
}

interface Asked {
  readonly from: number;
  /** Where it ends, however long the log gets. */
  readonly end: number;
  readonly follow: boolean;
}

function getFeed(parts: Parts, call: Call, log: Log): void {
  const asked = parseAsked(call, log.head().size);
  const { res, method } = call.ctx;
  const leave = parts.feeds.take(call.token);
  const over = new AbortController();
  const stop = (): void => over.abort();
  const unwatch = parts.tokens.watch(call.token, stop);
  parts.stopping.addEventListener('abort', stop, { once: true });
  res.once('close', () => {
    stop();
    unwatch();
    parts.stopping.removeEventListener('abort', stop);
    leave();
  });
  if (parts.stopping.aborted) stop();
  const pieces = method === 'HEAD' ? [] : piecesOf(parts, call, log, asked, over.signal);
  sendStream(call, NDJSON_TYPE, Readable.from(pieces, { objectMode: false, highWaterMark: 1 }));
  // A front end that collects answers would keep the newest lines to itself.
  call.ctx.set('X-Accel-Buffering', 'no');
  if (asked.follow && method !== 'HEAD') call.ctx.flushHeaders();
}

function parseAsked({ query }: Call, size: number): Asked {
  const from = parseDecimal(query.get('from') ?? '0', 'from');
  if (from > size) throw new SteleError('not_found', `from ${from} is beyond the log's ${size}`);
  const text = query.get('follow') ?? '0';
  if (text !== '0' && text !== '1') throw malformed('follow', `${shown(text)} is neither 0 nor 1`);
  const follow = text === '1';
  const limit = query.get('limit');
  if (limit === undefined) return { from, end: follow ? Number.MAX_SAFE_INTEGER : size, follow };
  const count = parseDecimal(limit, 'limit');
  if (count < 1) throw malformed('limit', '0 is not 1 or more');
  const end = Math.min(from + count, Number.MAX_SAFE_INTEGER);
  return { from, end: follow ? end : Math.min(end, size), follow };
}

/** The lines, in pieces. Ends where nothing more is to come, at shutdown, and when the token ends. */
async function* piecesOf(
  parts: Parts,
  call: Call,
  log: Log,
  { from, end, follow }: Asked,
  over: AbortSignal,
): AsyncGenerator<string> {
  const { settings } = parts;
  const { authorization } = call.ctx.req.headers;
  for (let at = from; at < end; ) {
    if (over.aborted || !isGood(parts, authorization)) return;
    const { size } = log.head();
    if (at < size) {
      const { text, next } = await readPiece(log, at, Math.min(end, size));
      yield* taken(call, settings.feedStallMs, text);
      at = next;
    } else if (!follow || log.end !== undefined) return;
    else if (!(await hasGrown(log, at, settings.feedQuietMs, over))) {
      if (over.aborted) return;
      // Shows both ends that the other is there. A reader of lines of JSON passes over an empty one.
      yield* taken(call, settings.feedStallMs, '\n');
    }
  }
}

/** A token that expired while the feed went on ends it as much as one that was revoked. */
function isGood(parts: Parts, authorization: string | undefined): boolean {
  try {
    parts.tokens.identify(authorization);
    return true;
  } catch (error) {
    if (error instanceof SteleError && error.code === 'unauthenticated') return false;
    throw error;
  }
}

/** Hands out a piece, and cuts the connection if it is not taken in time. */
function* taken(call: Call, stallMs: number, piece: string): Generator<string> {
  const timer = setTimeout(() => call.ctx.res.destroy(), stallMs);
  try {
    yield piece;
  } finally {
    clearTimeout(timer);
  }
}

/** Entries read from the store at once. */
const STEP = 64;

/** Lines of the entries from `at` on, up to about `FEED_PIECE_CHARS` of them; at least one. */
async function readPiece(log: Log, at: number, end: number) {
  const entries = await log.entries(leafIndex(at), treeSize(Math.min(end, at + STEP)));
  let text = '';
  let next = at;
  for (const entry of entries) {
    if (text.length >= FEED_PIECE_CHARS) break;
    text += `${formatFeedLine(next, entry)}\n`;
    next += 1;
  }
  return { text, next };
}

/** Whether the log got more than `at` entries before it was quiet for too long, or all is over. */
async function hasGrown(
  log: Log,
  at: number,
  quietMs: number,
  over: AbortSignal,
): Promise<boolean> {
  const quiet = new AbortController();
  const stop = (): void => quiet.abort();
  const timer = setTimeout(stop, quietMs);
  over.addEventListener('abort', stop, { once: true });
  if (over.aborted) stop();
  try {
    await log.grown(treeSize(at), quiet.signal);
    return true;
  } catch (error) {
    if (quiet.signal.aborted) return false;
    throw error;
  } finally {
    clearTimeout(timer);
    over.removeEventListener('abort', stop);
  }
}
