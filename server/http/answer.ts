/**
 * How is an answer sent, and who may keep it?
 *
 * Only what never changes and what a stranger may have is kept by shared caches. Whatever needed a
 * token is `private, no-store`: a cache in between may ignore `Authorization` and `Vary`, so nothing
 * here relies on them.
 *
 * Headers come after the body: an error must not leave with a year of caching on it.
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { toBase64 } from '../core/bytes.ts';
import type { Hash } from '../core/units.ts';
import type { Call } from './call.ts';

const IMMUTABLE = 'public, max-age=31536000, immutable';
const PRIVATE = 'private, no-store';
const REVALIDATE = 'no-cache';
const NO_STORE = 'no-store';

export const JSON_TYPE = 'application/json';
export const BYTES_TYPE = 'application/octet-stream';
export const ENTRY_TYPE = 'application/protobuf';
export const TEXT_TYPE = 'text/plain; charset=utf-8';
export const HTML_TYPE = 'text/html; charset=utf-8';

/** For what will never be anything else, under a path that says all there is to ask. */
export function sendImmutable(call: Call, type: string, body: string | Uint8Array): void {
  send(call, type, body, call.shared ? IMMUTABLE : PRIVATE);
}

/** For what changes, or depends on the query string or the caller. */
export function sendFresh(call: Call, type: string, body: string | Uint8Array, status = 200): void {
  send(call, type, body, call.shared ? NO_STORE : PRIVATE);
  call.ctx.status = status;
}

export function sendJson(call: Call, value: unknown, status = 200): void {
  sendFresh(call, JSON_TYPE, JSON.stringify(value), status);
}

/** For what is made while it is sent. Where it fails on the way, the connection breaks: it must not look whole. */
export function sendStream(call: Call, type: string, body: Readable): void {
  const { ctx } = call;
  body.on('error', (error) => ctx.res.destroy(error));
  ctx.set('Content-Type', type);
  ctx.body = body;
  ctx.set('Cache-Control', call.shared ? NO_STORE : PRIVATE);
}

/** A head as it is sent, with its tag; made once per head and kept with it. */
export interface TaggedBody {
  readonly body: string;
  readonly etag: string;
}

export function tagged(body: string): TaggedBody {
  return { body, etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"` };
}

/** For heads: kept by caches only to be asked for again. */
export function sendHead(call: Call, type: string, head: TaggedBody): void {
  if (!call.shared) {
    send(call, type, head.body, PRIVATE);
    return;
  }
  const { ctx } = call;
  ctx.set('ETag', head.etag);
  if (isListed(ctx.req.headers['if-none-match'], head.etag)) {
    ctx.status = 304;
    ctx.set('Cache-Control', REVALIDATE);
    return;
  }
  send(call, type, head.body, REVALIDATE);
}

/** [RFC 9110 §13.1.2] Weak comparison against a list of tags, or "*". */
function isListed(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((tag) => {
    const text = tag.trim();
    return text === '*' || text === etag || text === `W/${etag}`;
  });
}

function send(call: Call, type: string, body: string | Uint8Array, caching: string): void {
  const { ctx } = call;
  ctx.set('Content-Type', type);
  ctx.body = typeof body === 'string' ? body : asBuffer(body);
  ctx.set('Cache-Control', caching);
}

/** The same bytes, seen as a Buffer: Koa tells bytes by that class. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A JSON list of base64: nothing in it needs escaping. */
export function formatProof(hashes: readonly Hash[]): string {
  let text = '[';
  for (const hash of hashes) text += `${text.length > 1 ? ',' : ''}"${toBase64(hash)}"`;
  return `${text}]`;
}
