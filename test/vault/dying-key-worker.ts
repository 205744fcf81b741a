/** The program of the vault's thread, but an addition at time 13 ends the thread before it is written. */
import { parentPort } from 'node:worker_threads';
import type { KeyRequest } from '../../server/vault/key-writer.ts';

parentPort?.on('message', (request: KeyRequest) => {
  if (request.op === 'add' && request.nowMs === 13) process.exit(7);
});
await import('../../server/vault/key-writer-worker.ts');
