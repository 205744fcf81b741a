/** A writer on a disk whose fsync fails. */
import { parentPort } from 'node:worker_threads';

const error = { kind: 'fsync', code: '', message: 'fsync failed' };
parentPort?.on('message', () => parentPort?.postMessage({ ok: false, error }));
