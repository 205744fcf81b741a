/**
 * A thread that checks signatures for `verifier-pool.ts`: one batch in, one reply out, in order.
 *
 * Keys come as SPKI and are parsed again here, with the whole rule: a thread trusts no more than the
 * program does. Anything but an `unverified` signature ends the thread, and the pool starts another.
 */
import { parentPort } from 'node:worker_threads';
import { invariant, SteleError } from '../core/errors.ts';
import { type PublicKey, parsePublicKey } from '../core/keys.ts';
import { useNativePrimitives } from '../native.ts';
import { checkSignatureNative } from './engine.ts';
import { type BatchReply, type BatchRequest, unpackJobs } from './verifier-batch.ts';

invariant(parentPort !== null, 'a verifier worker is started by the pool');
useNativePrimitives();

const port = parentPort;
const keys = new Map<number, PublicKey>();

port.on('message', (request: BatchRequest) => {
  if (request.forget) keys.clear();
  for (const [number, alg, spki] of request.newKeys) keys.set(number, parsePublicKey(alg, spki));
  const failures: BatchReply['failures'][number][] = [];
  let position = 0;
  for (const { number, message, signature } of unpackJobs(request.jobs)) {
    const key = keys.get(number);
    invariant(key !== undefined, `key ${number} was sent before it is used`);
    try {
      checkSignatureNative(key, message, signature);
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      failures.push([position, error.code, error.message]);
    }
    position++;
  }
  port.postMessage({ failures } satisfies BatchReply);
});
