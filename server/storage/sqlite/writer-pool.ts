/**
 * A fixed set of writer threads. A log always goes to the same one, by a hash of its path, so its
 * commits stay in order; different logs share the threads.
 */
import { Worker } from 'node:worker_threads';
import { sha256, utf8 } from '../../core/bytes.ts';
import { Bug, SteleError } from '../../core/errors.ts';
import { received } from './portable-error.ts';
import type { HeadRow, PackedBatch, PackedStage, TreeHeadRow } from './writer.ts';
import type { WriterReply, WriterRequest } from './writer-worker.ts';

type Writing =
  | { readonly op: 'commit'; readonly path: string; readonly batch: PackedBatch }
  | { readonly op: 'stage'; readonly path: string; readonly stage: PackedStage }
  | { readonly op: 'publish' | 'keep'; readonly path: string; readonly head: HeadRow }
  | { readonly op: 'tree-head'; readonly path: string; readonly head: TreeHeadRow };

type Work = Writing | { readonly op: 'open' | 'close'; readonly path: string };

interface Waiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

class WriterThread {
  readonly #program: URL;
  readonly #waiting = new Map<number, Waiting>();
  /** Files that are open, for whoever asks here; and those of them that this very thread has open. */
  readonly #paths = new Set<string>();
  readonly #opened = new Set<string>();
  #worker: Worker | undefined;
  #next = 0;
  #closed = false;

  constructor(program: URL) {
    this.#program = program;
    this.#start();
  }

  async open(path: string): Promise<void> {
    await this.#open(path);
    this.#paths.add(path);
  }

  async write(work: Writing, transfer: readonly ArrayBuffer[]): Promise<void> {
    const { path } = work;
    // A thread that took a dead one's place opens what that one had open when it is written to.
    if (this.#paths.has(path) && !this.#opened.has(path)) await this.#open(path);
    await this.#run(work, transfer);
  }

  async closeFile(path: string): Promise<void> {
    this.#paths.delete(path);
    if (this.#opened.delete(path)) await this.#run({ op: 'close', path }, []);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
  }

  async #open(path: string): Promise<void> {
    await this.#run({ op: 'open', path }, []);
    this.#opened.add(path);
  }

  #run(work: Work, transfer: readonly ArrayBuffer[]): Promise<void> {
    if (this.#closed) {
      return Promise.reject(new SteleError('storage', 'the writer thread was closed'));
    }
    const worker = this.#worker ?? this.#start();
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#waiting.set(id, { resolve, reject });
      const request: WriterRequest = { id, ...work };
      worker.postMessage(request, transfer);
    });
  }

  #start(): Worker {
    // What the program was started with is not for its threads.
    const worker = new Worker(this.#program, { execArgv: [] });
    let failure: Error | undefined;
    worker.on('message', (reply: WriterReply) => this.#settle(reply));
    // An exit always follows: only then is nothing written any more.
    worker.on('error', (error: Error) => {
      failure = error;
    });
    worker.on('exit', (code) => this.#end(failure ?? new Error(`exit code ${code}`)));
    this.#worker = worker;
    return worker;
  }

  #settle(reply: WriterReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.ok) waiting?.resolve();
    else waiting?.reject(received(reply.error, 'the log'));
  }

  /** A dead thread leaves outcomes unknown: `storage` makes the callers read the head again. */
  #end(cause: Error): void {
    this.#worker = undefined;
    this.#opened.clear();
    const ended = new SteleError('storage', `the writer thread ended: ${cause.message}`, { cause });
    for (const { reject } of this.#waiting.values()) reject(ended);
    this.#waiting.clear();
  }
}

export class WriterPool {
  readonly #threads: readonly WriterThread[];

  /**
   * `threads` are started at once; each holds one connection per open log of its share. One that dies is
   * replaced when there is something to write. Tests give a program that fails.
   */
  constructor(threads = 1, program = new URL('./writer-worker.ts', import.meta.url)) {
    this.#threads = Array.from({ length: threads }, () => new WriterThread(program));
  }

  open(path: string): Promise<void> {
    return this.#of(path).open(path);
  }

  commit(path: string, batch: PackedBatch): Promise<void> {
    const transfer = batch.chunks.map((chunk) => chunk.data.buffer as ArrayBuffer);
    return this.#of(path).write({ op: 'commit', path, batch }, transfer);
  }

  stage(path: string, stage: PackedStage): Promise<void> {
    const transfer = [stage.entries.buffer as ArrayBuffer];
    return this.#of(path).write({ op: 'stage', path, stage }, transfer);
  }

  publish(path: string, head: HeadRow): Promise<void> {
    return this.#of(path).write({ op: 'publish', path, head }, []);
  }

  keep(path: string, head: HeadRow): Promise<void> {
    return this.#of(path).write({ op: 'keep', path, head }, []);
  }

  keepTreeHead(path: string, head: TreeHeadRow): Promise<void> {
    return this.#of(path).write({ op: 'tree-head', path, head }, []);
  }

  closeLog(path: string): Promise<void> {
    return this.#of(path).closeFile(path);
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
