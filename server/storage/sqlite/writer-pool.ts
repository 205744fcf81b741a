/**
 * A fixed set of writer threads. A log always goes to the same one, by a hash of its path, so its
 * commits stay in order; different logs share the threads.
 */
import { Worker } from 'node:worker_threads';
import { sha256, utf8 } from '../../core/bytes.ts';
import { Bug, type Code, SteleError } from '../../core/errors.ts';
import { FsyncFailed } from './database.ts';
import type { HeadRow, PackedBatch } from './writer.ts';
import type { WriterError, WriterReply, WriterRequest } from './writer-worker.ts';

type Work =
  | { readonly op: 'open' | 'close'; readonly path: string }
  | { readonly op: 'commit'; readonly path: string; readonly batch: PackedBatch }
  | { readonly op: 'publish'; readonly path: string; readonly head: HeadRow };

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class WriterThread {
  readonly #worker = new Worker(new URL('./writer-worker.ts', import.meta.url), {
    // What the program was started with is not for its threads.
    execArgv: [],
  });
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  #ended: Error | undefined;

  constructor() {
    this.#worker.on('message', (reply: WriterReply) => {
      const waiting = this.#waiting.get(reply.id);
      this.#waiting.delete(reply.id);
      if (reply.ok) waiting?.resolve();
      else waiting?.reject(received(reply.error));
    });
    this.#worker.on('error', (cause) => this.#end(cause));
    this.#worker.on('exit', (code) => this.#end(new Error(`exit code ${code}`)));
  }

  run(work: Work, transfer: readonly ArrayBuffer[]): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      const request: WriterRequest = { id, ...work };
      this.#worker.postMessage(request, transfer);
    });
  }

  async close(): Promise<void> {
    this.#ended ??= new SteleError('storage', 'the writer thread was closed');
    await this.#worker.terminate();
  }

  /** A dead thread leaves outcomes unknown: `storage` makes the callers read the head again. */
  #end(cause: Error): void {
    this.#ended ??= new SteleError('storage', `the writer thread ended: ${cause.message}`, {
      cause,
    });
    for (const { reject } of this.#waiting.values()) reject(this.#ended);
    this.#waiting.clear();
  }
}

export class WriterPool {
  readonly #threads: readonly WriterThread[];

  /** `threads` are started at once; each holds one connection per open log of its share. */
  constructor(threads = 1) {
    this.#threads = Array.from({ length: threads }, () => new WriterThread());
  }

  open(path: string): Promise<void> {
    return this.#of(path).run({ op: 'open', path }, []);
  }

  commit(path: string, batch: PackedBatch): Promise<void> {
    const transfer = batch.chunks.map((chunk) => chunk.data.buffer as ArrayBuffer);
    return this.#of(path).run({ op: 'commit', path, batch }, transfer);
  }

  publish(path: string, head: HeadRow): Promise<void> {
    return this.#of(path).run({ op: 'publish', path, head }, []);
  }

  closeLog(path: string): Promise<void> {
    return this.#of(path).run({ op: 'close', path }, []);
  }

  /** Ends the threads. Logs must have been closed before. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #of(path: string): WriterThread {
    const at = (sha256(utf8(path))[0] ?? 0) % this.#threads.length;
    const thread = this.#threads[at];
    if (thread === undefined) throw new Bug('a writer pool has at least one thread');
    return thread;
  }
}

function received(error: WriterError): Error {
  if (error.kind === 'fsync')
    return new FsyncFailed('the log', { cause: new Error(error.message) });
  if (error.kind === 'bug') return new Bug(error.message);
  return new SteleError(error.code as Code, error.message, {
    ...(error.retryAfterS === undefined ? {} : { retryAfterS: error.retryAfterS }),
  });
}
