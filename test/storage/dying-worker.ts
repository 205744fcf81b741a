/** The writer thread's program, but a publish of size 13 ends the thread before it is written. */
import { parentPort } from 'node:worker_threads';
import type { WriterRequest } from '../../server/storage/sqlite/writer-worker.ts';

parentPort?.on('message', (request: WriterRequest) => {
  if (request.op === 'publish' && request.head.size === 13) process.exit(1);
});
await import('../../server/storage/sqlite/writer-worker.ts');
