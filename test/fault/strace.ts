/**
 * Faults below the process: strace makes a chosen system call of a running process fail, or kills the
 * process there. It needs no compiler and no change to what is tested.
 *
 * strace counts for each thread alone: "the second fdatasync" is the second of any thread.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Process } from './process.ts';

/** Why faults cannot be injected here; nothing where they can. */
export const straceMissing: string | undefined = whyMissing();

function whyMissing(): string | undefined {
  if (spawnSync('strace', ['-V']).status !== 0) return 'strace is not installed';
  // Whether a process that is not its own child may be traced is the system's choice.
  const { pid } = spawn('sleep', ['1'], { stdio: 'ignore' });
  const tried = spawnSync('strace', ['-e', 'inject=getppid:error=EIO', '-p', String(pid)]);
  return tried.status === 0 ? undefined : 'strace may not trace here';
}

/** What is to fail: "fsync:error=EIO:when=1", and which file it must be about. */
export interface Fault {
  readonly inject: string;
  readonly path?: string;
}

export class Tracer {
  readonly #process: Process;
  readonly #file: string;

  private constructor(process: Process, file: string) {
    this.#process = process;
    this.#file = file;
  }

  /** Resolves once every thread of `target` is traced. */
  static async attach(target: Process, folder: string, fault: Fault): Promise<Tracer> {
    const file = join(folder, `trace-${target.pid}`);
    const [name = ''] = fault.inject.split(':', 1);
    const only = fault.path === undefined ? [] : ['-P', fault.path];
    const what = [...only, '-e', `trace=${name}`, '-e', `inject=${fault.inject}`];
    const argv = ['-f', '-o', file, ...what, '-p', String(target.pid)];
    const tracer = new Process('strace', argv, { PATH: process.env.PATH ?? '' }, folder);
    for (let i = 0; !tracer.output.includes('attached'); i++) {
      if (!tracer.isRunning || i === 1_000) {
        throw new Error(`strace did not attach:\n${tracer.output}`);
      }
      await pause(10);
    }
    return new Tracer(tracer, file);
  }

  /** Lets go of the process. Returns whether the fault came about. */
  async end(): Promise<boolean> {
    if (this.#process.isRunning) await this.#process.kill('SIGINT');
    const lines = readFileSync(this.#file, 'utf8');
    return lines.includes('(INJECTED)') || lines.includes('+++ killed by SIGKILL +++');
  }
}
