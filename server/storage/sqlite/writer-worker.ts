/**
 * A writer thread: commits for the logs that are assigned to it, one after another, so that an fsync
 * never stops HTTP. It holds no state but open files; who asks in which order is decided outside.
 */
import { parentPort } from 'node:worker_threads';
import { invariant } from '../../core/errors.ts';
import { portable, type WriterError } from './portable-error.ts';
import {
  type HeadRow,
  LogWriter,
  type PackedBatch,
  type PackedStage,
  type TreeHeadRow,
} from './writer.ts';

export type WriterRequest =
  | { readonly id: number; readonly op: 'open' | 'close'; readonly path: string }
  | {
      readonly id: number;
      readonly op: 'commit';
      readonly path: string;
      readonly batch: PackedBatch;
    }
  | {
      readonly id: number;
      readonly op: 'stage';
      readonly path: string;
      readonly stage: PackedStage;
    }
  | {
      readonly id: number;
      readonly op: 'publish' | 'keep';
      readonly path: string;
      readonly head: HeadRow;
    }
  | {
      readonly id: number;
      readonly op: 'tree-head';
      readonly path: string;
      readonly head: TreeHeadRow;
    };

export type WriterReply =
  | { readonly id: number; readonly ok: true }
  | { readonly id: number; readonly ok: false; readonly error: WriterError };

const writers = new Map<string, LogWriter>();

function perform(request: WriterRequest): void {
  if (request.op === 'open') {
    if (!writers.has(request.path)) writers.set(request.path, new LogWriter(request.path));
    return;
  }
  const writer = writers.get(request.path);
  invariant(writer !== undefined, `${request.path} is open in its writer thread`);
  if (request.op === 'commit') writer.commit(request.batch);
  else if (request.op === 'stage') writer.stage(request.stage);
  else if (request.op === 'publish') writer.publish(request.head);
  else if (request.op === 'keep') writer.keep(request.head);
  else if (request.op === 'tree-head') writer.keepTreeHead(request.head);
  else {
    writer.close();
    writers.delete(request.path);
  }
}

const port = parentPort;
invariant(port !== null, 'a writer runs in a worker thread');
port.on('message', (request: WriterRequest) => {
  let reply: WriterReply;
  try {
    perform(request);
    reply = { id: request.id, ok: true };
  } catch (error) {
    reply = { id: request.id, ok: false, error: portable(error, request.path) };
  }
  port.postMessage(reply);
});
