/**
 * A thread that adds to key databases, so that the sync of a commit never stops HTTP.
 *
 * Each batch of a log with content adds rows, many times a second; everything else that writes there is rare and stays
 * with the caller. One thread serves all vaults of a process: it waits for disks, and does little else. It opens a
 * database when it is first asked for it and holds it until it is told to close it.
 */
import { Worker } from 'node:worker_threads';
import { SteleError } from '../core/errors.ts';
import { received, type WriterError } from '../storage/sqlite/portable-error.ts';
import type { NewFile, Placement } from './keys.ts';

export type KeyRequest =
  | {
      readonly id: number;
      readonly op: 'add';
      readonly path: string;
      readonly files: readonly NewFile[];
      readonly touched: readonly number[];
      readonly nowMs: number;
    }
  | { readonly id: number; readonly op: 'close'; readonly path: string };

export type KeyReply =
  | { readonly id: number; readonly placements: Placement[] }
  | { readonly id: number; readonly error: WriterError };

interface Waiting {
  resolve(placements: Placement[]): void;
  reject(error: Error): void;
}

export class KeyWriter {
  readonly #program: URL;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #next = 0;

  /** Tests give a program that fails. */
  constructor(program = new URL('./key-writer-worker.ts', import.meta.url)) {
    this.#program = program;
  }

  /** As `KeyTable.add`, for the database at this path. If the thread dies the outcome is unknown: `storage`. */
  add(
    path: string,
    files: readonly NewFile[],
    touched: readonly number[],
    nowMs: number,
  ): Promise<Placement[]> {
    return this.#ask({ id: this.#next++, op: 'add', path, files, touched, nowMs });
  }

  /** Closes the database at this path, if the thread has it open. */
  async release(path: string): Promise<void> {
    if (this.#worker !== undefined) await this.#ask({ id: this.#next++, op: 'close', path });
  }

  async close(): Promise<void> {
    await this.#worker?.terminate();
  }

  #ask(request: KeyRequest): Promise<Placement[]> {
    const worker = this.#worker ?? this.#start();
    const { promise, resolve, reject } = Promise.withResolvers<Placement[]>();
    this.#waiting.set(request.id, { resolve, reject });
    // A thread that is waited for keeps the process, and an idle one does not.
    worker.ref();
    worker.postMessage(request);
    return promise;
  }

  #start(): Worker {
    // What the program was started with is not for its threads.
    const worker = new Worker(this.#program, { execArgv: [] });
    let failure: Error | undefined;
    worker.on('message', (reply: KeyReply) => this.#settle(worker, reply));
    // An exit always follows: only then is nothing written any more.
    worker.on('error', (error: Error) => {
      failure = error;
    });
    worker.on('exit', (code) => this.#end(failure ?? new Error(`exit code ${code}`)));
    this.#worker = worker;
    return worker;
  }

  #settle(worker: Worker, reply: KeyReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (this.#waiting.size === 0) worker.unref();
    if ('error' in reply) waiting?.reject(received(reply.error, 'the vault’s keys'));
    else waiting?.resolve(reply.placements);
  }

  #end(cause: Error): void {
    this.#worker = undefined;
    const ended = new SteleError('storage', `the vault’s writer ended: ${cause.message}`, {
      cause,
    });
    for (const { reject } of this.#waiting.values()) reject(ended);
    this.#waiting.clear();
  }
}
