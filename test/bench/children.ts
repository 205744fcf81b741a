/**
 * The processes of a bench: started here, and ended here by the handle they were started with.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Result, Task } from './task.ts';

export const STELE = fileURLToPath(new URL('../../server/cli/stele.js', import.meta.url));

/** Milliseconds for a server to come up, and to put everything on disk and end. */
const START_MS = 60_000;
const STOP_MS = 30_000;

/** The load generator. */
export class Generator {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('./generator.ts', import.meta.url)));

  async run<R extends Result>(task: Task): Promise<R> {
    const ended = new AbortController();
    try {
      this.#child.send(task);
      const [said] = (await Promise.race([
        once(this.#child, 'message', { signal: ended.signal }),
        once(this.#child, 'exit', { signal: ended.signal }).then(() => [{ error: 'it ended' }]),
      ])) as [{ readonly result: R } | { readonly error: string }];
      if ('error' in said) throw new Error(`${task.do}: ${said.error}`);
      return said.result;
    } finally {
      ended.abort();
    }
  }

  stop(): Promise<void> {
    return stopped(this.#child);
  }
}

/** The echo and the model that do nothing. */
export class Upstream {
  readonly #child: ChildProcess = fork(fileURLToPath(new URL('./upstream.ts', import.meta.url)));

  async addresses(): Promise<{ readonly model: string; readonly echo: string }> {
    const [said] = await once(this.#child, 'message', { signal: AbortSignal.timeout(START_MS) });
    return said as { readonly model: string; readonly echo: string };
  }

  stop(): Promise<void> {
    return stopped(this.#child);
  }
}

export interface ServerOptions {
  readonly command: 'serve' | 'up';
  /** Holds the data folder, and beside it what the server remembers outside of it. */
  readonly folder: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where to put a profile of every thread. */
  readonly profiles?: string | undefined;
}

/** `stele serve` or `stele up`, as a user starts it. */
export class Server {
  readonly url: string;
  readonly proxy: string | undefined;
  readonly data: string;
  /** Milliseconds from starting the process to its first answer. */
  readonly startMs: number;
  readonly #child: ChildProcess;

  static async start({ command, folder, env, profiles }: ServerOptions): Promise<Server> {
    const data = join(folder, 'data');
    // Left behind by a server that was killed, it would name the wrong address.
    rmSync(join(data, 'running.json'), { force: true });
    const begun = performance.now();
    const child = spawn(
      process.execPath,
      [
        ...(profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`]),
        STELE,
        command,
        '--data',
        data,
        '--listen',
        '127.0.0.1:0',
        ...(command === 'up' ? ['--proxy-listen', '127.0.0.1:0'] : []),
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: {
          ...process.env,
          STELE_STATE: join(folder, 'state'),
          STELE_LOG_LEVEL: 'warn',
          // Counted as ever, and out of the way: what is measured is what the server can do.
          STELE_LIMITS_TOKEN_RATE: '1000000',
          STELE_LIMITS_ADDRESS_RATE: '1000000',
          STELE_GATEWAYS_REQUIRE_POSSESSION: 'false',
          ...env,
        },
      },
    );
    let errors = '';
    child.stderr.on('data', (part: Buffer) => {
      errors = (errors + part.toString()).slice(-4_000);
    });
    try {
      const running = await untilAnswering(child, join(data, 'running.json'));
      return new Server(child, data, running, performance.now() - begun);
    } catch (cause) {
      await stopped(child);
      throw new Error(`the server did not start: ${errors}`, { cause });
    }
  }

  private constructor(
    child: ChildProcess,
    data: string,
    running: { readonly server: string; readonly proxy?: string },
    startMs: number,
  ) {
    this.#child = child;
    this.data = data;
    this.url = running.server;
    this.proxy = running.proxy;
    this.startMs = startMs;
  }

  /** Milliseconds of processor time of all its threads so far; nothing where the system does not say. */
  cpuMs(): number | undefined {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      // User and system time, in ticks of 10 ms.
      return (Number(fields[11]) + Number(fields[12])) * 10;
    } catch {
      return undefined;
    }
  }

  /** Bytes of resident memory; nothing where the system does not say. */
  residentBytes(): number | undefined {
    try {
      const status = readFileSync(`/proc/${this.#child.pid}/status`, 'latin1');
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1_024;
    } catch {
      return undefined;
    }
  }

  token(role: string): string {
    return readFileSync(join(this.data, 'tokens', role), 'utf8').trim();
  }

  stop(): Promise<void> {
    return stopped(this.#child);
  }
}

async function untilAnswering(child: ChildProcess, path: string) {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline && child.exitCode === null) {
    if (existsSync(path)) {
      const text = readFileSync(path, 'utf8');
      if (text.endsWith('\n')) {
        const running = JSON.parse(text) as { readonly server: string; readonly proxy?: string };
        const answer = await fetch(`${running.server}/readyz`);
        await answer.arrayBuffer();
        if (answer.ok) return running;
      }
    }
    await delay(5);
  }
  throw new Error('it never answered');
}

/** Asks a child of ours to end, and ends it if it does not. */
async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  if (child.connected) child.disconnect();
  child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await exit;
  clearTimeout(kill);
}

/** Runs a command to its end: its output, its exit status, and how long it took. */
export async function runCommand(args: readonly string[], env: Readonly<Record<string, string>>) {
  const begun = performance.now();
  const child = spawn(process.execPath, [STELE, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  let output = '';
  child.stdout.on('data', (part: Buffer) => {
    output += part.toString();
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, output, seconds: (performance.now() - begun) / 1_000 };
}
