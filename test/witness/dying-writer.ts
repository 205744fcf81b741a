/** A writer that ends before it has written anything. */
import { parentPort } from 'node:worker_threads';

parentPort?.on('message', () => process.exit(3));
