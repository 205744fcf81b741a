/**
 * A verifier thread that dies of messages that begin with a given byte, for `verifier-pool.test.ts`:
 *
 *     0xdd   every thread dies of it
 *     0xd1   only the first does; the file named in STELE_MORTAL remembers that it died
 *
 * Each that starts adds a byte to the file of that name with `.starts`.
 */
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { type BatchRequest, unpackJobs } from '../../../server/keys/verifier-batch.ts';

const memory = process.env.STELE_MORTAL ?? '';
appendFileSync(`${memory}.starts`, '.');

const port = parentPort as MessagePort;
const listen = port.on.bind(port);

// The real thread listens through this, so that death comes before its reply.
port.on = ((event: 'message', answer: (request: BatchRequest) => void) =>
  listen(event, (request: BatchRequest) => {
    for (const { message } of unpackJobs(request.jobs)) {
      if (message[0] === 0xdd) throw new Error('this thread dies of 0xdd');
      if (message[0] === 0xd1 && !existsSync(memory)) {
        writeFileSync(memory, 'died');
        process.exit(3);
      }
    }
    answer(request);
  })) as typeof port.on;

await import('../../../server/keys/verifier-worker.ts');
