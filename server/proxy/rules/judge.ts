/**
 * Judges requests by the rules and the module of an upstream, in threads and within a time.
 *
 *     judge ─▶ queue ─▶ a free thread ─▶ judgment          too slow: the thread is ended, another begins,
 *                                                          and the request could not be judged
 *
 * A regular expression can take for ever, and so can a module; a thread can be ended and a function cannot. When
 * a file changes, new threads begin with it, and take over once they are ready; if it is no good, that is said
 * and the old ones go on. The digest in the record says by which a request was judged.
 */
import { readFileSync, statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { parseUtf8, sha256, toHex, utf8 } from '../../core/bytes.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { markOf } from '../../storage/files.ts';
import type { ProxyLogger } from '../logger.ts';
import type { JudgedCall, Judgment } from './judgment.ts';
import { parseRules, RULES_BYTES_MAX, type Rule } from './rules.ts';
import type { ThreadReply, ThreadSetup, ThreadTask } from './worker.ts';

export interface JudgeOptions {
  /** Path of the rules file. */
  readonly rules: string | undefined;
  /** Path of an ES module that exports `judge`. */
  readonly module: string | undefined;
  readonly logger: ProxyLogger;
  readonly threads?: number;
}

/** By what a request was judged. */
export interface Policy {
  readonly version: string | undefined;
  /** SHA-256 of what was in force, as `policy.digest` of a record has it. */
  readonly digest: string;
}

export interface Judged extends Judgment {
  readonly policy: Policy;
}

const TIMEOUT_MS = 1_000;
const THREADS = 2;
/** Until a thread has loaded its module. */
const START_MS = 30_000;
/** Before a thread that ended by itself is replaced. */
const RESTART_MS = 1_000;
const QUEUE_MAX = 1_000;
const THREAD_MIB = 512;

interface Settings {
  readonly rules: readonly Rule[];
  readonly version: string | undefined;
  readonly timeoutMs: number;
  readonly onError: 'block' | 'warn';
  readonly rulesDigest: string | undefined;
}

interface Job {
  readonly task: ThreadTask;
  readonly resolve: (judged: Judged) => void;
}

export class Judge {
  readonly #options: JudgeOptions;
  #crew: Crew;
  #seen: string;
  #isChanging = false;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  private constructor(options: JudgeOptions, crew: Crew, seen: string) {
    this.#options = options;
    this.#crew = crew;
    this.#seen = seen;
  }

  /** Rejects with `malformed` or `not_found` if a file is no good. */
  static async open(options: JudgeOptions): Promise<Judge> {
    const seen = marks(options);
    return new Judge(options, await Crew.start(options), seen);
  }

  get policy(): Policy {
    return this.#crew.policy;
  }

  /** Never rejects for what is in the request; `pushback` where too many wait. */
  judge(call: JudgedCall, body: Uint8Array): Promise<Judged> {
    const seen = marks(this.#options);
    if (seen !== this.#seen && !this.#isChanging) {
      this.#seen = seen;
      this.#isChanging = true;
      void this.#change();
    }
    return this.#crew.judge({ call, body });
  }

  /** What is said of a request that could not be judged. */
  unjudged(reason: string): Judged {
    return this.#crew.unjudged(reason);
  }

  /** Large requests one after the other, since each is in memory as long as it is judged. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#crew.end();
  }

  async #change(): Promise<void> {
    const { logger } = this.#options;
    try {
      const crew = await Crew.start(this.#options);
      const old = this.#crew;
      if (this.#isClosed) return await crew.end();
      this.#crew = crew;
      logger.info({ digest: crew.policy.digest }, 'calls are judged by other rules');
      await old.retire();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      logger.error({ error: message }, 'the new rules are not used');
    } finally {
      this.#isChanging = false;
    }
  }
}

function marks({ rules, module }: JudgeOptions): string {
  return [rules, module].map((path) => (path === undefined ? '' : markOf(path))).join();
}

/** Threads of one state of the files. */
class Crew {
  readonly policy: Policy;
  readonly #settings: Settings;
  readonly #setup: ThreadSetup;
  readonly #logger: ProxyLogger;
  readonly #moduleDigest: string | undefined;
  readonly #threadsMax: number;
  readonly #threads = new Set<Thread>();
  readonly #queue: Job[] = [];
  #isEnded = false;
  #whenIdle: () => void = () => {};

  private constructor(
    options: JudgeOptions,
    settings: Settings,
    setup: ThreadSetup,
    first: Thread,
    moduleDigest: string | undefined,
  ) {
    this.#settings = settings;
    this.#setup = setup;
    this.#logger = options.logger;
    this.#moduleDigest = moduleDigest;
    const { version, rulesDigest } = settings;
    this.policy = { version, digest: digestOf(rulesDigest, moduleDigest) };
    this.#threadsMax = options.threads ?? THREADS;
    this.#take(first);
  }

  static async start(options: JudgeOptions): Promise<Crew> {
    const settings = settingsOf(options.rules);
    const { module } = options;
    const setup = { rules: settings.rules, module, onError: settings.onError };
    const first = new Thread(setup);
    try {
      return new Crew(options, settings, setup, first, await first.ready);
    } catch (cause) {
      await first.end();
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw malformed(`module ${module ?? ''}`, reason, { cause });
    }
  }

  judge(task: ThreadTask): Promise<Judged> {
    if (this.#queue.length >= QUEUE_MAX) {
      const rule = `rules: ${QUEUE_MAX} requests wait to be judged`;
      throw new SteleError('pushback', rule, { retryAfterS: 1 });
    }
    return new Promise((resolve) => {
      this.#queue.push({ task, resolve });
      this.#next();
    });
  }

  /** Ends when nothing waits any more. */
  async retire(): Promise<void> {
    while (this.#queue.length > 0 || [...this.#threads].some((thread) => thread.isBusy)) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await this.end();
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    for (const { resolve } of this.#queue.splice(0)) resolve(this.unjudged('the proxy stops'));
    await Promise.all([...this.#threads].map((thread) => thread.end()));
  }

  #next(): void {
    if (this.#queue.length === 0) {
      this.#whenIdle();
      return;
    }
    const thread = [...this.#threads].find(({ isBusy }) => !isBusy);
    if (thread !== undefined) {
      const job = this.#queue.shift() as Job;
      this.#run(thread, job).catch((error: unknown) => {
        this.#logger.error({ error: String(error) }, 'a request could not be judged');
        job.resolve(this.unjudged('error'));
      });
      return;
    }
    // Where none is left another begins by itself, and what waits waits for it.
    if (this.#threads.size > 0 && this.#threads.size < this.#threadsMax) this.#begin();
  }

  async #run(thread: Thread, { task, resolve }: Job): Promise<void> {
    const judgment = await thread.judge(task, this.#settings.timeoutMs);
    if (typeof judgment !== 'string') resolve({ ...judgment, policy: this.policy });
    else {
      this.#logger.error({ reason: judgment }, 'a request could not be judged');
      resolve(this.unjudged(judgment));
      // It has gone already if it ended by itself.
      if (this.#threads.delete(thread)) this.#begin();
      await thread.end();
    }
    this.#next();
  }

  /** Another thread with the same rules, and the same module if that is still the same. */
  #begin(): void {
    if (this.#isEnded || this.#threads.size >= this.#threadsMax) return;
    const thread = new Thread(this.#setup);
    // Nobody is judged by it before it is ready.
    this.#take(thread);
    thread.ready.then(
      (digest) => {
        if (digest === this.#moduleDigest) this.#next();
        // Its judgments would have the wrong digest; a change of files is on its way.
        else this.#failed(thread, 'the module is another one now');
      },
      (error: Error) => this.#failed(thread, error.message),
    );
  }

  /** It could not be started; where there is no other, nothing waits for one. */
  #failed(thread: Thread, reason: string): void {
    this.#drop(thread, reason);
    if (this.#threads.size > 0) return;
    for (const { resolve } of this.#queue.splice(0)) resolve(this.unjudged(reason));
  }

  #take(thread: Thread): void {
    this.#threads.add(thread);
    thread.onEnd = (reason) => this.#drop(thread, reason);
  }

  /** It ended by itself, or is of no use; another begins after a while. */
  #drop(thread: Thread, reason: string): void {
    if (this.#isEnded || !this.#threads.delete(thread)) return;
    this.#logger.error({ reason }, 'a thread that judges ended');
    thread.stop();
    setTimeout(() => this.#begin(), RESTART_MS).unref();
    this.#next();
  }

  unjudged(reason: string): Judged {
    const event = { rule: 'rules', verdict: 'error', action: this.#settings.onError } as const;
    return { events: [{ ...event, category: 'error', reason }], replaced: [], policy: this.policy };
  }
}

/** One thread, with at most one request. */
class Thread {
  readonly #worker: Worker;
  /** Resolves with the digest of its module. */
  readonly ready: Promise<string | undefined>;
  /** Told why it has ended, by itself or not. */
  onEnd: (reason: string) => void = () => {};
  #isReady = false;
  #settle: ((judgment: Judgment | string) => void) | undefined;
  #failure = 'the thread ended';

  constructor(setup: ThreadSetup) {
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: setup,
      // What the program was started with is not for its threads.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: THREAD_MIB },
    });
    this.#worker.unref();
    this.ready = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('it takes too long to load')), START_MS);
      late.unref();
      this.#worker.on('message', (reply: ThreadReply) => {
        if (reply.kind === 'judged') return this.#done(reply.judgment);
        clearTimeout(late);
        this.#isReady = true;
        resolve(reply.moduleDigest);
      });
      this.#worker.on('error', (error: Error) => {
        this.#failure = error.message;
      });
      this.#worker.on('exit', () => {
        clearTimeout(late);
        reject(new Error(this.#failure));
        this.#done(this.#failure);
        this.onEnd(this.#failure);
      });
    });
    // Whoever waits for it hears of it.
    this.ready.catch(() => {});
  }

  get isBusy(): boolean {
    return !this.#isReady || this.#settle !== undefined;
  }

  /** A judgment, or why there is none; then the thread is of no more use. */
  judge(task: ThreadTask, timeoutMs: number): Promise<Judgment | string> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#done('timeout'), timeoutMs);
      this.#settle = (judgment) => {
        clearTimeout(timer);
        this.#settle = undefined;
        resolve(judgment);
      };
      this.#worker.postMessage(task);
    });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  /** The same, for whoever does not wait. */
  stop(): void {
    void this.#worker.terminate();
  }

  #done(judgment: Judgment | string): void {
    this.#settle?.(judgment);
  }
}

function settingsOf(path: string | undefined): Settings {
  const none = { rules: [], version: undefined, rulesDigest: undefined };
  if (path === undefined) return { ...none, timeoutMs: TIMEOUT_MS, onError: 'block' };
  const bytes = readRulesFile(path);
  const file = parseRules(parseUtf8(bytes, path), path);
  return {
    rules: file.rules,
    version: file.version,
    timeoutMs: file.timeout_ms ?? TIMEOUT_MS,
    onError: file.on_error ?? 'block',
    rulesDigest: toHex(sha256(bytes)),
  };
}

function readRulesFile(path: string): Uint8Array {
  try {
    const { size } = statSync(path);
    if (size <= RULES_BYTES_MAX) return new Uint8Array(readFileSync(path));
    throw malformed(path, `${size} bytes, at most ${RULES_BYTES_MAX}`);
  } catch (cause) {
    if (cause instanceof SteleError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    throw new SteleError('not_found', `rules ${path}: it cannot be read (${code})`, { cause });
  }
}

/** SHA-256 over a line for each file, with its own SHA-256. */
function digestOf(rules: string | undefined, module: string | undefined): string {
  const lines = [rules && `rules ${rules}\n`, module && `module ${module}\n`];
  return `sha-256:${toHex(sha256(utf8(lines.filter((line) => line !== undefined).join(''))))}`;
}
