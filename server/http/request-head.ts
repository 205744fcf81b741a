/**
 * Does a request's head mean the same to everyone who reads it on its way here?
 *
 * What a front end and this server could understand in two ways is refused, and the connection with it:
 * whatever comes next on it might be the rest of something else. The parser of Node refuses most of this by
 * itself (two lengths, a length beside chunks, folded lines); here is what it lets through.
 */
import type { IncomingMessage } from 'node:http';
import { shown } from '../core/errors.ts';
import { Refusal } from './errors.ts';

/** Headers of one request: browsers send twenty, and each proxy adds a few. */
export const HEADERS_MAX = 200;

/**
 * What says where a request goes, by whom it is sent or how it is read. Of two of them Node drops the
 * second, and another reader might drop the first.
 */
const ONCE = new Set(['host', 'authorization', 'content-type', 'content-encoding', 'expect']);

/** Bytes from strangers: throws where the head is one of those. */
export function checkHead(req: IncomingMessage): void {
  const { httpVersion, rawHeaders, headers } = req;
  // A request line without a version is HTTP/0.9, which has neither headers nor statuses.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw ambiguous(505, 'version', `HTTP/${httpVersion} where HTTP/1.1 is spoken`);
  }
  if (rawHeaders.length / 2 > HEADERS_MAX) {
    const count = rawHeaders.length / 2;
    throw ambiguous(431, 'headers', `${count} where at most ${HEADERS_MAX} are read`);
  }
  checkOnce(rawHeaders);
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked') {
    throw ambiguous(501, 'transfer-encoding', `${shown(coding)} where chunked alone is read`);
  }
  const { expect } = headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue') {
    throw ambiguous(417, 'expect', `${shown(expect)} where only 100-continue can be met`);
  }
}

function checkOnce(rawHeaders: readonly string[]): void {
  let seen: Set<string> | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (!ONCE.has(name)) continue;
    seen ??= new Set();
    if (seen.has(name)) throw ambiguous(400, name, 'is given twice');
    seen.add(name);
  }
}

function ambiguous(status: number, what: string, rule: string): Refusal {
  const code = status === 431 ? 'too_large' : 'malformed';
  return new Refusal(code, `${what}: ${rule}`, { status, headers: { connection: 'close' } });
}
