/**
 * How is a request sent upstream, and its answer read, with a limit on silence and on nothing else?
 *
 * Failures of the upstream come out as `UpstreamFailed`; what else is thrown is somebody else's.
 */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { UpstreamFailed } from './failures.ts';
import { headerValue } from './headers.ts';
import { IdleTimer } from './idle.ts';

/** A body in memory, or one that is read back piece by piece. */
export type RequestBody = Uint8Array | AsyncIterable<Uint8Array>;

/** Sends the request; resolves with the head of the answer, which may come before all of it was sent. */
export async function sendRequest(
  up: ClientRequest,
  body: RequestBody,
  idleMs: number,
): Promise<IncomingMessage> {
  let isIdle = false;
  const idle = new IdleTimer(idleMs, () => {
    isIdle = true;
    up.destroy();
  });
  idle.touch();
  let unreadable: unknown;
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    up.on('response', resolve);
    up.on('information', () => idle.touch());
    up.on('error', reject);
    up.on('close', () => reject(new Error('closed before an answer')));
  });
  const sent = sendBody(up, body, idle).catch((error: unknown) => {
    // The upstream must not take half a body for a whole one.
    unreadable = error;
    up.destroy();
  });
  try {
    const [answer] = await Promise.all([answered, Promise.race([sent, answered])]);
    return answer;
  } catch (error) {
    up.destroy();
    if (unreadable !== undefined) throw unreadable;
    throw new UpstreamFailed(isIdle ? 'timeout' : 'unreachable', error);
  } finally {
    idle.stop();
  }
}

async function sendBody(up: ClientRequest, body: RequestBody, idle: IdleTimer): Promise<void> {
  if (body instanceof Uint8Array) {
    up.end(body);
    return;
  }
  // An upstream may answer, or hang up, before it has read everything.
  const hungUp = new Promise<void>((resolve) => up.on('close', resolve));
  for await (const piece of body) {
    if (up.destroyed) return;
    idle.touch();
    if (!up.write(piece)) {
      await Promise.race([new Promise<void>((r) => up.once('drain', r)), hungUp]);
    }
  }
  up.end();
}

/** The answer's body. What fails inside is the upstream's failure; what the reader of it throws is not. */
export async function* chunksOf(
  answer: IncomingMessage,
  idleMs: number,
): AsyncGenerator<Uint8Array> {
  let isIdle = false;
  const idle = new IdleTimer(idleMs, () => {
    isIdle = true;
    answer.destroy(new Error('nothing came for the idle time'));
  });
  idle.touch();
  try {
    for await (const chunk of answer) {
      // What follows goes at the client's pace, which has a limit of its own (`delivery.ts`).
      idle.stop();
      yield chunk;
      idle.touch();
    }
  } catch (error) {
    throw new UpstreamFailed(isIdle ? 'timeout' : 'cut', error);
  } finally {
    idle.stop();
  }
}

/** How many bytes the answer's body has, if it says so. */
export function declaredLength({ rawHeaders }: IncomingMessage): number | undefined {
  if (headerValue(rawHeaders, 'transfer-encoding') !== undefined) return undefined;
  const text = headerValue(rawHeaders, 'content-length');
  return text === undefined || !/^[0-9]{1,15}$/.test(text) ? undefined : Number(text);
}
