/**
 * One request to Rekor, and what its status means for whoever asked.
 *
 *     no answer, 408, 425, 429, 499, 5xx    the same again later; `retry-after` says when
 *     405                                   this shard takes nothing more
 *     any other                             the request or its address is wrong
 */
import { parseUtf8 } from '../core/bytes.ts';
import { SteleError, shown } from '../core/errors.ts';
import type { Answered, Asked, Outbound } from '../outbound.ts';
import { ANSWER_BYTES_MAX } from './rekor-answer.ts';
import { TargetError } from './target.ts';

/** Rekor v2 answers when its next checkpoint is out, some seconds later, and asks for at least 20. */
const WRITE_TIMEOUT_MS = 30_000;

const READ_TIMEOUT_MS = 10_000;

/** Asks; throws `TargetError` where there is no answer, whatever its status if there is one. */
export async function askRekor(
  outbound: Outbound,
  url: string,
  asked: Pick<Asked, 'method' | 'body' | 'headers'> & { readonly maxBytes?: number },
  signal: AbortSignal,
): Promise<Answered> {
  const timeoutMs = asked.method === 'POST' ? WRITE_TIMEOUT_MS : READ_TIMEOUT_MS;
  try {
    return await outbound.ask(url, { maxBytes: ANSWER_BYTES_MAX, ...asked, timeoutMs, signal });
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new TargetError('retry', cause.message, { cause });
  }
}

/** Why an answer is not the one that was hoped for. */
export function refusal(url: string, { status, bytes, retryAfterS }: Answered): TargetError {
  const said = `${new URL(url).host} answered ${status}: ${textOf(bytes)}`;
  const isPassing = [408, 425, 429, 499].includes(status) || (status >= 500 && status !== 501);
  if (isPassing) return new TargetError('retry', said, { afterS: retryAfterS });
  if (status === 405) return new TargetError('frozen', said);
  const isRedirect = status >= 300 && status < 400;
  return new TargetError(
    'refused',
    isRedirect ? `${said}; redirects are not followed: give the address itself` : said,
  );
}

/** The same of what is read: it may be there a moment later, or at another replica, so no status is final. */
export function notRead(url: string, answered: Answered): TargetError {
  const { message, afterS } = refusal(url, answered);
  return new TargetError('retry', message, { afterS });
}

/** The begin of a stranger's text, for people. */
function textOf(bytes: Uint8Array): string {
  try {
    return shown(parseUtf8(bytes, 'answer').trim(), 200);
  } catch (error) {
    if (error instanceof SteleError) return `${bytes.length} bytes that are no text`;
    throw error;
  }
}
