/**
 * Reading a log's feed: lines as they come, each the one that is due [docs/formats-http.md].
 */
import { SteleError, unverified } from '../core/errors.ts';
import { FEED_LINE_BYTES_MAX, type FeedLine, parseFeedLine } from '../core/feed.ts';

/** Milliseconds without a byte after which a feed is taken for dead: a server that lives sends one in 30 s. */
const IDLE_MS = 120_000;

/** The chunks of a stream that is opened with a signal, until it ends or falls silent. */
export async function* untilSilent(
  open: (signal: AbortSignal) => AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), IDLE_MS);
  const signals = signal === undefined ? [silent.signal] : [silent.signal, signal];
  try {
    for await (const chunk of open(AbortSignal.any(signals))) {
      timer.refresh();
      yield chunk;
      // However long the reader took: the time counts from when it asks for more.
      timer.refresh();
    }
  } catch (cause) {
    if (!silent.signal.aborted) throw cause;
    throw new SteleError('storage', `feed: nothing came for ${IDLE_MS / 1000} s`, { cause });
  } finally {
    clearTimeout(timer);
  }
}

const NEWLINE = 10;
const NOTHING = new Uint8Array(0);

/** The lines of a feed that begins at `from`. Ends where the feed ends; a line that breaks off is an error. */
export async function* feedLines(
  chunks: AsyncIterable<Uint8Array>,
  from: number,
): AsyncGenerator<FeedLine> {
  let due = from;
  for await (const bytes of linesOf(chunks)) {
    const line = parseFeedLine(bytes);
    if (line.index !== due) throw unverified('feed', `entry ${line.index} where ${due} is due`);
    yield line;
    due += 1;
  }
}

/** Each line that has something in it: an empty one only shows that the server is there. */
async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = NOTHING;
  for await (const chunk of chunks) {
    let at = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, at)) {
      const line = joined(rest, chunk.subarray(at, end));
      rest = NOTHING;
      if (line.length > 0) yield line;
      at = end + 1;
    }
    rest = joined(rest, chunk.subarray(at));
    if (rest.length > FEED_LINE_BYTES_MAX) {
      throw new SteleError('too_large', `feed: a line of more than ${FEED_LINE_BYTES_MAX} bytes`);
    }
  }
  if (rest.length > 0) throw new SteleError('storage', 'feed: it broke off within a line');
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.length === 0 ? b : new Uint8Array(Buffer.concat([a, b]));
}
