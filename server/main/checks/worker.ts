/** A thread in which one log is checked, so that no request waits for it. */
import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../../core/errors.ts';
import { useNativePrimitives } from '../../native.ts';
import { type CheckTask, checkOne } from './task.ts';

useNativePrimitives();
invariant(parentPort !== null, 'a check runs in a worker thread');
// What is given to a thread is what its starter says: see `thread.ts`.
parentPort.postMessage(await checkOne(workerData as CheckTask, () => {}));
