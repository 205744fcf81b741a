/** The thread of `key-writer.ts`: one addition after another, each on disk when it is answered. */
import { parentPort } from 'node:worker_threads';
import { invariant } from '../core/errors.ts';
import { portable } from '../storage/sqlite/portable-error.ts';
import type { KeyReply, KeyRequest } from './key-writer.ts';
import { KeyAdder } from './keys.ts';

const open = new Map<string, KeyAdder>();

function perform(request: KeyRequest): KeyReply {
  const { id, path } = request;
  if (request.op === 'close') {
    open.get(path)?.close();
    open.delete(path);
    return { id, placements: [] };
  }
  let adder = open.get(path);
  if (adder === undefined) {
    adder = new KeyAdder(path);
    open.set(path, adder);
  }
  return { id, placements: adder.add(request.files, request.touched, request.nowMs) };
}

const port = parentPort;
invariant(port !== null, 'the vault’s writer runs in a worker thread');
port.on('message', (request: KeyRequest) => {
  let reply: KeyReply;
  try {
    reply = perform(request);
  } catch (error) {
    reply = { id: request.id, error: portable(error, request.path) };
  }
  port.postMessage(reply);
});
