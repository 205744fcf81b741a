/**
 * A body that came in gzip, undone within bounds: what it unfolds to is counted while it does, against the
 * same bound for the whole process as any body's bytes.
 */
import { createGunzip } from 'node:zlib';
import { malformed, SteleError } from '../core/errors.ts';
import type { HeldBytes } from './body.ts';
import type { Call } from './call.ts';

export function inflate(
  call: Call,
  body: Uint8Array,
  bytesMax: number,
  held: HeldBytes,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const gunzip = createGunzip();
    const chunks: Buffer[] = [];
    let length = 0;
    const stop = (error: unknown) => {
      gunzip.destroy();
      reject(error);
    };
    gunzip.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > bytesMax) {
        stop(new SteleError('too_large', `body: it unfolds to more than ${bytesMax} bytes`));
        return;
      }
      try {
        held.take(call, chunk.length);
        chunks.push(chunk);
      } catch (error) {
        stop(error);
      }
    });
    gunzip.on('error', (error) => stop(malformed('body', `it is no gzip: ${error.message}`)));
    gunzip.on('end', () => resolve(Buffer.concat(chunks, length)));
    gunzip.end(body);
  });
}
