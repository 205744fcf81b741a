/**
 * The witness' writer thread: judges what it is given and has it on disk before it answers, so that neither
 * proofs nor an fsync stop HTTP. It holds no state but an open file.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { invariant } from '../core/errors.ts';
import { useNativePrimitives } from '../native.ts';
import { openForWriting } from '../storage/sqlite/database.ts';
import { portable, type WriterError } from '../storage/sqlite/portable-error.ts';
import { type Asked, type Judged, witnessWriter } from '../storage/witnessed.ts';

export interface WitnessRequest {
  readonly asked: readonly Asked[];
  readonly nowS: number;
}

export type WitnessReply =
  | { readonly ok: true; readonly judged: Judged }
  | { readonly ok: false; readonly error: WriterError };

useNativePrimitives();
const port = parentPort;
invariant(port !== null, 'a witness writer runs in a worker thread');
const path = String(workerData);
let judge: ReturnType<typeof witnessWriter> | undefined;

port.on('message', ({ asked, nowS }: WitnessRequest) => {
  let reply: WitnessReply;
  try {
    judge ??= witnessWriter(openForWriting(path, 'instance'));
    reply = { ok: true, judged: judge(asked, nowS) };
  } catch (error) {
    reply = { ok: false, error: portable(error, path) };
  }
  port.postMessage(reply);
});
