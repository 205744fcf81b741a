/** Checks one log in a thread of its own. */
import { Worker } from 'node:worker_threads';
import { SteleError } from '../../core/errors.ts';
import type { Checked, CheckTask } from './task.ts';

/** Rejects with `storage` where `signal` is aborted, or the thread ends without an answer. */
export function checkInThread(task: CheckTask, signal: AbortSignal): Promise<Checked> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: task,
      // What the program was started with is not for its threads.
      execArgv: [],
    });
    const stop = () => void worker.terminate();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    let failure: Error | undefined;
    worker.on('message', (checked: Checked) => resolve(checked));
    worker.on('error', (error: Error) => {
      failure = error;
    });
    worker.on('exit', (code) => {
      signal.removeEventListener('abort', stop);
      // Of no effect once there was an answer.
      const why = signal.aborted ? 'it was stopped' : (failure?.message ?? `exit code ${code}`);
      reject(new SteleError('storage', `the check of log ${task.name} ended: ${why}`));
    });
  });
}
