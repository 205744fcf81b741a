/**
 * How are thousands of signatures a second checked without stopping the program?
 *
 * On threads, in packed batches. A thread that is free gets all that was asked in one turn of the event
 * loop, so a lone signature waits for nothing; whatever comes while all are busy becomes the next
 * batches. There is no timer. A batch has a cap, so that two threads share a burst, and a second batch
 * lies ready at a busy thread only when there is a burst, so that it need not wait for this program's
 * event loop.
 *
 *     check(jobs) ─► waiting jobs, bounded in bytes ─► batch ─► thread ─► verdicts, in the jobs' order
 *
 * A thread that dies takes no verdict with it: its jobs are tried once more, each alone and on a fresh
 * thread, so that one that kills threads hurts no other. Threads are started again only when there is
 * something to check.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { invariant, SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import {
  type BatchReply,
  type BatchRequest,
  packedBytes,
  packJobs,
  type VerifierJob,
} from './verifier-batch.ts';

export type { VerifierJob } from './verifier-batch.ts';

export interface VerifierPoolOptions {
  /** Threads; as many as the machine runs at once unless said otherwise, and at most 16. */
  readonly threads?: number;
  /** Bytes of jobs that may wait, or else one call; beyond that `check` rejects with `pushback`. */
  readonly queueBytes?: number;
  /** The thread's program. Tests give one that fails. */
  readonly worker?: URL;
}

const THREADS_MAX = 16;

/** The largest request there is, a batch of 256 entries of 64 KiB, four times. */
const QUEUE_BYTES = 67_108_864;

/** Bytes of bookkeeping for a waiting job, so that very many small ones are bounded too. */
const JOB_BYTES = 256;

/** Jobs in a batch: some 5 ms of work, beside which the 50 µs of handing it over are nothing. */
const BATCH_JOBS_MAX = 64;

/** Bytes in a batch, so that a few large messages are shared between threads too. */
const BATCH_BYTES_MAX = 1_048_576;

/** Batches at one thread, the second only if at least this many jobs wait. */
const DEPTH_MAX = 2;
const DEEP_JOBS_MIN = 32;

/** Threads that may die one after the other without an answer between; then what waits is given up. */
const DEATHS_MAX = 8;

/** Keys that a thread remembers; then it forgets all and starts again. */
const KEYS_MAX = 4096;

interface Waiting {
  readonly job: VerifierJob;
  readonly settle: (verdict: SteleError | undefined) => void;
  /** Whether a thread has died of it, or of one in the same batch. */
  readonly retried: boolean;
}

interface Thread {
  readonly worker: Worker;
  readonly numbers: Map<string, number>;
  /** What it was given and has not answered; it works on the first. */
  readonly batches: (readonly Waiting[])[];
  /** Why it is about to end, if it said. */
  failure?: unknown;
}

export class VerifierPool {
  readonly #size: number;
  readonly #queueBytes: number;
  readonly #program: URL;
  readonly #threads = new Set<Thread>();
  /** Jobs that wait, from `#head` on; what is before was taken. */
  #queue: Waiting[] = [];
  #head = 0;
  #bytes = 0;
  #open = 0;
  /** Threads that died since the last answer. */
  #deaths = 0;
  #closing: (() => void)[] | undefined;
  #soon = false;

  constructor(options: VerifierPoolOptions = {}) {
    this.#size = Math.min(options.threads ?? availableParallelism(), THREADS_MAX);
    invariant(this.#size >= 1, 'a pool has a thread');
    this.#queueBytes = options.queueBytes ?? QUEUE_BYTES;
    this.#program = options.worker ?? new URL('./verifier-worker.ts', import.meta.url);
    // Started now and not with the first job, which would wait for it.
    while (this.#threads.size < this.#size) this.#start();
  }

  /** Signatures that are being checked or wait for it. */
  get waiting(): number {
    return this.#open;
  }

  /**
   * Checks signatures: for each job, in order, nothing if it holds and otherwise the error. An error
   * with the code `pushback` says that no thread survived the job. Rejects with `pushback`, and checks
   * none, if too much waits already or the pool is closing.
   */
  async check(jobs: readonly VerifierJob[]): Promise<(SteleError | undefined)[]> {
    if (jobs.length === 0) return [];
    if (this.#closing !== undefined) throw pushback('the signature check is closing');
    let bytes = 0;
    for (const job of jobs) bytes += costOf(job);
    // Whoever asked was bounded by the size of a request, so one call that is alone always fits: to
    // push it back would be to refuse it for ever.
    if (this.#bytes > 0 && this.#bytes + bytes > this.#queueBytes) {
      throw pushback(`${this.#bytes} bytes already wait for their signatures to be checked`);
    }
    this.#bytes += bytes;
    this.#open += jobs.length;
    return await new Promise((resolve) => {
      const verdicts = new Array<SteleError | undefined>(jobs.length);
      let left = jobs.length;
      jobs.forEach((job, i) => {
        const settle = (verdict: SteleError | undefined): void => {
          verdicts[i] = verdict;
          this.#open--;
          if (--left === 0) resolve(verdicts);
        };
        this.#queue.push({ job, settle, retried: false });
      });
      this.#dispatchSoon();
    });
  }

  /** Once for all that is asked in this turn of the event loop: a message to a thread is not cheap. */
  #dispatchSoon(): void {
    if (this.#soon) return;
    this.#soon = true;
    setImmediate(() => {
      this.#soon = false;
      this.#dispatch();
    });
  }

  /** Waits until everything asked so far is answered, then ends the threads. */
  async close(): Promise<void> {
    if (this.#closing === undefined) this.#closing = [];
    const waiting = this.#closing;
    if (this.#open > 0) await new Promise<void>((resolve) => waiting.push(resolve));
    const threads = [...this.#threads];
    this.#threads.clear();
    await Promise.all(threads.map((thread) => thread.worker.terminate()));
  }

  #start(): void {
    // Without this program's own arguments: some, such as --input-type, end a thread that has a file.
    const worker = new Worker(this.#program, { execArgv: [] });
    const thread: Thread = { worker, numbers: new Map(), batches: [] };
    this.#threads.add(thread);
    worker.on('message', (reply: BatchReply) => this.#settle(thread, reply));
    // An exit always follows, which handles both.
    worker.on('error', (failure) => {
      thread.failure = failure;
    });
    worker.on('exit', () => this.#bury(thread));
    // An idle pool must not keep a process alive; a waiting answer must.
    worker.unref();
  }

  /** Gives waiting jobs to threads for as long as both are there. */
  #dispatch(): void {
    while (this.#waiting() > 0) {
      const thread = this.#freest();
      if (thread === undefined) return;
      const idle = [...this.#threads].filter((other) => other.batches.length === 0).length;
      this.#send(thread, this.#take(Math.ceil(this.#waiting() / Math.max(1, idle))));
    }
  }

  #waiting(): number {
    return this.#queue.length - this.#head;
  }

  /** A thread that may have a batch now: an idle one first, a busy one only in a burst. */
  #freest(): Thread | undefined {
    while (this.#threads.size < this.#size) this.#start();
    let freest: Thread | undefined;
    for (const thread of this.#threads) {
      if (freest === undefined || thread.batches.length < freest.batches.length) freest = thread;
    }
    const depth = this.#waiting() >= DEEP_JOBS_MIN ? DEPTH_MAX : 1;
    return freest !== undefined && freest.batches.length < depth ? freest : undefined;
  }

  /** The next batch: up to `fair` jobs within the caps; one that was retried is alone. */
  #take(fair: number): readonly Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    while (this.#waiting() > 0 && batch.length < Math.min(fair, BATCH_JOBS_MAX)) {
      const next = this.#queue[this.#head];
      invariant(next !== undefined, 'a waiting job is in the queue');
      if (batch.length > 0 && (next.retried || bytes + packedBytes(next.job) > BATCH_BYTES_MAX)) {
        break;
      }
      this.#head++;
      batch.push(next);
      bytes += packedBytes(next.job);
      if (next.retried) break;
    }
    // Now and then the taken part is cut off, so that the queue does not grow for ever.
    if (this.#head > 1024 || this.#waiting() === 0) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return batch;
  }

  #send(thread: Thread, batch: readonly Waiting[]): void {
    const newKeys: BatchRequest['newKeys'][number][] = [];
    const forget = thread.numbers.size > KEYS_MAX - BATCH_JOBS_MAX;
    if (forget) thread.numbers.clear();
    const numberOf = (key: PublicKey): number => {
      let number = thread.numbers.get(key.keyid);
      if (number === undefined) {
        number = thread.numbers.size;
        thread.numbers.set(key.keyid, number);
        newKeys.push([number, key.alg, key.spki]);
      }
      return number;
    };
    const jobs = packJobs(
      batch.map((waiting) => waiting.job),
      numberOf,
    );
    thread.batches.push(batch);
    thread.worker.ref();
    thread.worker.postMessage({ jobs, newKeys, forget } satisfies BatchRequest, [jobs]);
  }

  #settle(thread: Thread, reply: BatchReply): void {
    const batch = thread.batches.shift();
    invariant(batch !== undefined, 'a reply answers a batch');
    this.#deaths = 0;
    if (thread.batches.length === 0) thread.worker.unref();
    const failures = new Map(reply.failures.map(([i, code, text]) => [i, { code, text }]));
    // The thread works while the callers are told.
    this.#dispatch();
    batch.forEach((waiting, i) => {
      const failure = failures.get(i);
      this.#finish(waiting, failure && new SteleError(failure.code, failure.text));
    });
  }

  #finish(waiting: Waiting, verdict: SteleError | undefined): void {
    this.#bytes -= costOf(waiting.job);
    waiting.settle(verdict);
    if (this.#open === 0) for (const resolve of this.#closing ?? []) resolve();
  }

  /** A thread ended. Unless the pool ended it, its jobs go back to the front, or are given up. */
  #bury(thread: Thread): void {
    if (!this.#threads.delete(thread)) return;
    this.#deaths++;
    const [running = [], ...behind] = thread.batches;
    const guilty = running.filter((waiting) => waiting.retried);
    const again = running.filter((waiting) => !waiting.retried);
    // Only what it was working on can be the cause; the rest waits as before.
    this.#queue = [
      ...again.map((waiting) => ({ ...waiting, retried: true })),
      ...behind.flat(),
      ...this.#queue.slice(this.#head),
    ];
    this.#head = 0;
    for (const waiting of guilty) {
      this.#finish(waiting, pushback('two threads died of this signature', thread.failure));
    }
    if (this.#deaths >= DEATHS_MAX) this.#giveUp(thread.failure);
    this.#dispatch();
  }

  /** Where no thread lives, nothing is checked: callers are told, and the next call tries again. */
  #giveUp(cause: unknown): void {
    const waiting = this.#queue.slice(this.#head);
    this.#queue = [];
    this.#head = 0;
    this.#deaths = 0;
    for (const one of waiting)
      this.#finish(one, pushback('no signature thread stays alive', cause));
  }
}

/** What a job costs in memory while it waits. */
function costOf(job: VerifierJob): number {
  return packedBytes(job) + JOB_BYTES;
}

function pushback(message: string, cause?: unknown): SteleError {
  return new SteleError('pushback', message, { retryAfterS: 1, cause });
}
