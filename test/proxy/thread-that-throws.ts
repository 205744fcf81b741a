/** In the place of the proxy's thread: it starts, and whatever it is asked after that ends it by an error of its own. */
import { parentPort } from 'node:worker_threads';
import { connect, type HostCalls, type ThreadCalls } from '../../server/proxy/thread/calls.ts';

if (parentPort === null) throw new Error('this is the program of a thread');
connect<HostCalls, ThreadCalls>(parentPort, {
  start: async () => 'http://127.0.0.1:9',
  piece: async () => undefined,
  changeSigner: async () => {
    throwSoon();
    return [];
  },
  close: () => {
    throwSoon();
    return new Promise(() => {});
  },
});

function throwSoon(): void {
  setImmediate(() => {
    throw new Error('a bug in the thread');
  });
}
