/**
 * Checks a request's AWS signature the way AWS does: from what arrived, and the secret.
 *
 * [AWS Signature Version 4] The canonical request is method, path (encoded once more), query, the signed headers
 * and the body's digest; the key is the secret, bound to day, region and service.
 */
import { createHash, createHmac } from 'node:crypto';
import type { ReplayRequest } from './replay.ts';

const hex = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
const mac = (key: string | Uint8Array, data: string) =>
  createHmac('sha256', key).update(data).digest();

export function isSignedBy(secret: string, request: ReplayRequest): boolean {
  const { headers, method, target, body } = request;
  const form =
    /^AWS4-HMAC-SHA256 Credential=[^/]+\/([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;
  const match = form.exec(headers.authorization ?? '');
  if (match === null) return false;
  const [, scope = '', names = '', signature] = match;
  const [path = '', query = ''] = target.split('?');
  const canonical = [
    method,
    path.split('/').map(encodeURIComponent).join('/'),
    query.split('&').sort().join('&'),
    ...names.split(';').map((name) => `${name}:${String(headers[name] ?? '').trim()}`),
    '',
    names,
    hex(body),
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hex(canonical)].join('\n');
  const key = scope.split('/').reduce(mac, `AWS4${secret}` as string | Uint8Array);
  return mac(key as Uint8Array, text).toString('hex') === signature;
}
