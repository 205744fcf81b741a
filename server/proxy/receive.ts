/**
 * The client's side of a call: reading its request, refusing it, and breaking its connection.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SteleError } from '../core/errors.ts';
import { lingerAfter } from '../linger.ts';
import { ClientGone } from './failures.ts';
import { IdleTimer } from './idle.ts';
import { type Problem, problemBody, problemHeaders } from './problem.ts';

/**
 * The request's body, from a stranger, bounded in bytes and in silence. Throws `ClientGone` where it breaks off, and
 * leaves the connection as it is where the reader stops.
 */
export async function* requestChunks(
  req: IncomingMessage,
  limits: { readonly idleMs: number; readonly bytesMax: number },
): AsyncGenerator<Uint8Array> {
  const { idleMs, bytesMax } = limits;
  const idle = new IdleTimer(idleMs, () => {
    req.destroy(new Error('request: nothing came for the idle time'));
  });
  idle.touch();
  let bytes = 0;
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      idle.touch();
      bytes += chunk.length;
      if (bytes > bytesMax) {
        throw new SteleError('too_large', `request: more than ${bytesMax} bytes`);
      }
      yield chunk;
    }
  } catch (error) {
    if (!req.destroyed) throw error;
    throw new ClientGone('before it had sent everything', error);
  } finally {
    idle.stop();
  }
}

/** Answers with a problem document in place of the provider's answer. */
export function refuse(
  req: IncomingMessage,
  res: ServerResponse,
  problem: Problem,
  ours: readonly string[] = [],
): void {
  const body = problemBody(problem, req.url ?? '');
  const headers = [...problemHeaders(problem, body), ...ours];
  if (!req.complete) {
    headers.push('Connection', 'close');
    lingerAfter(req, res);
  }
  res.writeHead(problem.status, headers);
  res.end(body);
}

/** What was written goes out first; then the connection is reset, never ended. */
export function breakConnection(res: ServerResponse): void {
  const { socket } = res;
  if (socket === null || res.writableLength === 0) res.destroy();
  else socket.write('', () => res.destroy());
}
