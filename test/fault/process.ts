/**
 * A real `stele up`, in a process of its own, on a folder of the test's own: to be killed, starved and
 * started again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readRunning } from '../../server/cli/running.ts';
import { LogClient } from '../../server/client/client.ts';
import { InstanceClient } from '../../server/client/instance.ts';
import { proofFor } from '../../server/client/possession.ts';
import { toBase64 } from '../../server/core/bytes.ts';
import { parseTrust, type Trust } from '../../server/core/trust.ts';
import type { Signer } from '../../server/keys/signer.ts';

export const STELE = join(import.meta.dirname, '..', '..', 'server', 'cli', 'stele.js');

/** What a process said, at most: it is for the message of a failed test. */
const OUTPUT_CHARS_MAX = 65_536;

/** A start under load takes seconds; one that takes longer than this hangs. */
const READY_MS = 60_000;

export type Role = 'admin' | 'read' | 'submit' | 'content';

/** How a process ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

export interface Addresses {
  readonly server: string;
  readonly proxy: string;
}

export class Process {
  readonly child: ChildProcess;
  /** Resolves when it says that it runs. Rejects if it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Ended>;
  #output = '';

  constructor(command: string, argv: readonly string[], env: NodeJS.ProcessEnv, cwd: string) {
    const child = spawn(command, argv, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child = child;
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal, output: this.#output }));
    });
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`not ready after ${READY_MS} ms:\n${this.#output}`));
      }, READY_MS);
      const say = (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
        if (!this.#output.includes('Ctrl-C stops it.')) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout?.on('data', say);
      child.stderr?.on('data', say);
      this.ended.then(
        ({ code, signal }) => {
          clearTimeout(timer);
          reject(new Error(`ended before it ran (${code ?? signal}):\n${this.#output}`));
        },
        (error: unknown) => {
          clearTimeout(timer);
          reject(error);
        },
      );
    });
    // Who waits hears of it; a test that kills a process while it starts does not wait.
    this.ready.catch(() => {});
  }

  get pid(): number {
    const { pid } = this.child;
    if (pid === undefined) throw new Error('the process did not start');
    return pid;
  }

  get output(): string {
    return this.#output;
  }

  /** Resolves once it has said this. Rejects if it ends before. */
  async says(text: string): Promise<void> {
    for (;;) {
      if (this.#output.includes(text)) return;
      if (!this.isRunning)
        throw new Error(`ended without ${JSON.stringify(text)}:\n${this.#output}`);
      await Promise.race([this.#more(), this.ended]);
    }
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      for (const stream of [this.child.stdout, this.child.stderr]) {
        stream?.once('data', () => resolve());
      }
    });
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it at once, as a power switch would. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** What runs on a place, in the words of the command line, `--data` left out. */
const UP: readonly string[] = ['up'];

/** A data folder, a state folder, settings, and whatever runs on them. */
export class Place {
  readonly folder: string;
  readonly data: string;
  readonly env: Readonly<Record<string, string>>;
  running: Process | undefined;
  readonly #command: readonly string[];
  readonly #children = new Set<Process>();

  constructor(env: Readonly<Record<string, string>> = {}, command = UP) {
    this.#command = command;
    this.folder = mkdtempSync(join(tmpdir(), 'stele-fault-'));
    this.data = join(this.folder, 'data');
    mkdirSync(this.data);
    this.env = {
      PATH: process.env.PATH ?? '',
      STELE_STATE: join(this.folder, 'state'),
      STELE_LISTEN: '127.0.0.1:0',
      STELE_PROXY_LISTEN: '127.0.0.1:0',
      STELE_LOG_LEVEL: 'warn',
      STELE_VERIFY_THREADS: '1',
      // Tests run on small disks.
      STELE_LIMITS_DISK_FLOOR_BYTES: '1000000',
      ...env,
    };
  }

  /** Starts it and does not wait. */
  spawn(): Process {
    const own = this.#spawn([...this.#command, '--data', this.data]);
    this.running = own;
    return own;
  }

  async start(): Promise<Process> {
    const own = this.spawn();
    await own.ready;
    return own;
  }

  /** Stops it as an operator does; it must end well. */
  async stop(): Promise<Ended> {
    const ended = await this.#own().kill('SIGTERM');
    if (ended.code !== 0) throw new Error(`stopped with ${ended.code ?? ended.signal}`);
    return ended;
  }

  /** Any other command, which goes on by itself. */
  begin(...argv: readonly string[]): Process {
    return this.#spawn(argv);
  }

  /** Any other command, to its end. */
  stele(...argv: readonly string[]): Promise<Ended> {
    return this.#spawn(argv).ended;
  }

  /** Ends what still runs. */
  async end(): Promise<void> {
    for (const child of this.#children) if (child.isRunning) await child.kill();
  }

  /** Ends what still runs and removes the folder. */
  async close(): Promise<void> {
    await this.end();
    if (process.env.STELE_KEEP === undefined) {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  addresses(): Addresses {
    const running = readRunning(this.data);
    if (running === undefined) throw new Error('nothing runs');
    return { server: running.server, proxy: running.proxy ?? '' };
  }

  token(role: Role): string {
    return readFileSync(join(this.data, 'tokens', role), 'utf8').trim();
  }

  log(role: Role, name = 'default'): LogClient {
    const { server } = this.addresses();
    return new LogClient({ base: `${server}/logs/${name}`, token: this.token(role) });
  }

  admin(): InstanceClient {
    return new InstanceClient({ base: this.addresses().server, token: this.token('admin') });
  }

  async register(signer: Signer, log = 'default'): Promise<void> {
    const admin = this.admin();
    const key = toBase64(signer.publicKey.spki);
    await admin.registerGateway(log, { key, ...(await proofFor(admin, log, signer)) });
  }

  trust(): Trust {
    return parseTrust(new Uint8Array(readFileSync(join(this.data, 'trust.json'))));
  }

  #own(): Process {
    if (this.running === undefined) throw new Error('nothing was started');
    return this.running;
  }

  #spawn(argv: readonly string[]): Process {
    const child = new Process(process.execPath, [STELE, ...argv], this.env, this.folder);
    this.#children.add(child);
    child.ended.then(
      () => this.#children.delete(child),
      () => this.#children.delete(child),
    );
    return child;
  }
}
