/**
 * How do many checkpoints share one fsync? Whatever is asked while a transaction is being written goes into
 * the next, in the order in which it came. There is no timer.
 *
 *     judge(asked) ─► waiting, bounded ─► one batch at the writer ─► verdicts, on disk
 *
 * One batch at a time: of two requests for one log the second is judged by what the first left. If the writer
 * fails or dies, nobody is told that anything was cosigned, and whoever asks again is judged by what is on disk.
 */
import { Worker } from 'node:worker_threads';
import { SteleError } from '../core/errors.ts';
import { received } from '../storage/sqlite/portable-error.ts';
import type { Asked, Judged, Verdict } from '../storage/witnessed.ts';
import type { WitnessReply, WitnessRequest } from './giving-worker.ts';

/** Checkpoints that may wait: with notes of half a kilobyte as much memory as one large body. */
const WAITING_MAX = 4_096;
/** Bytes of notes that may wait. */
const WAITING_BYTES_MAX = 16_777_216;
/** Checkpoints in one transaction: some tens of milliseconds. */
const BATCH_MAX = 256;

interface Waiting {
  readonly asked: Asked;
  readonly resolve: (verdict: Verdict) => void;
  readonly reject: (error: Error) => void;
}

export interface QueueOptions {
  /** Of the instance database. */
  readonly path: string;
  /** Seconds since 1970. */
  readonly nowS: () => number;
  /** Told of every batch when it is on disk and before anybody else is. */
  readonly written: (judged: Judged) => void;
  /** The writer's program. Tests give one that fails. */
  readonly program?: URL;
}

export class JudgeQueue {
  readonly #options: QueueOptions;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #batch: readonly Waiting[] | undefined;
  #worker: Worker | undefined;
  #idle: (() => void) | undefined;
  #closed = false;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** Rejects with `pushback` where too many wait, and with `storage` if it is not known what is on disk. */
  judge(asked: Asked): Promise<Verdict> {
    if (this.#closed) return Promise.reject(new SteleError('storage', 'the witness is closed'));
    const bytes = asked.note.length;
    if (this.#waiting.length >= WAITING_MAX || this.#waitingBytes + bytes > WAITING_BYTES_MAX) {
      return Promise.reject(
        new SteleError('pushback', `${this.#waiting.length} checkpoints wait for the disk already`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ asked, resolve, reject });
      this.#waitingBytes += bytes;
      // What else comes in this turn of the event loop goes with it.
      if (this.#waiting.length === 1 && this.#batch === undefined) setImmediate(() => this.#send());
    });
  }

  /** What waits is still judged. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#batch !== undefined || this.#waiting.length > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    await this.#worker?.terminate();
  }

  #send(): void {
    if (this.#batch !== undefined) return;
    if (this.#waiting.length === 0) {
      this.#idle?.();
      return;
    }
    const batch = this.#waiting.slice(0, BATCH_MAX);
    this.#waiting = this.#waiting.slice(BATCH_MAX);
    this.#waitingBytes = this.#waiting.reduce((sum, { asked }) => sum + asked.note.length, 0);
    this.#batch = batch;
    const request: WitnessRequest = {
      asked: batch.map(({ asked }) => asked),
      nowS: this.#options.nowS(),
    };
    (this.#worker ?? this.#start()).postMessage(request);
  }

  #start(): Worker {
    const program = this.#options.program ?? new URL('./giving-worker.ts', import.meta.url);
    // What the program was started with is not for its threads.
    const worker = new Worker(program, { execArgv: [], workerData: this.#options.path });
    let failure: Error | undefined;
    worker.on('message', (reply: WitnessReply) => this.#settle(reply));
    worker.on('error', (error: Error) => {
      failure = error;
    });
    // An exit always follows: only then is nothing written any more.
    worker.on('exit', (code) => {
      this.#worker = undefined;
      const cause = failure ?? new Error(`exit code ${code}`);
      this.#fail(
        new SteleError('storage', `the witness' writer ended: ${cause.message}`, { cause }),
      );
    });
    this.#worker = worker;
    return worker;
  }

  #settle(reply: WitnessReply): void {
    if (!reply.ok) {
      this.#fail(received(reply.error, this.#options.path));
      return;
    }
    try {
      this.#options.written(reply.judged);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    const { verdicts } = reply.judged;
    const batch = this.#batch ?? [];
    this.#batch = undefined;
    for (const [i, { resolve, reject }] of batch.entries()) {
      const verdict = verdicts[i];
      if (verdict !== undefined) resolve(verdict);
      else reject(new SteleError('storage', 'the witness’ writer gave too few answers'));
    }
    this.#send();
  }

  #fail(error: Error): void {
    const batch = this.#batch ?? [];
    this.#batch = undefined;
    for (const { reject } of batch) reject(error);
    this.#send();
  }
}
