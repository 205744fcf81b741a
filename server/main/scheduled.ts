/**
 * Work that comes round by a schedule in cron's language. A turn that is due while the last one still runs
 * is left out; one that fails is said and tried again at the next turn; a failed fsync, or a broken promise
 * of our own, ends the process as it does everywhere (P9).
 */
import { schedule } from 'node-cron';
import type { Logger } from 'pino';
import { SteleError } from '../core/errors.ts';

export interface Scheduling {
  readonly logger: Logger;
  readonly fatal: (error: Error) => void;
  /** Milliseconds by which a turn may come later than the schedule says, at random. */
  readonly jitterMs?: number;
}

/** Begins. What it returns ends it, once the turn that is under way is over. */
export function scheduled(
  cron: string,
  what: string,
  work: () => Promise<void>,
  { logger, fatal, jitterMs }: Scheduling,
): () => Promise<void> {
  let running: Promise<void> | undefined;
  const turn = async (): Promise<void> => {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof SteleError)) fatal(error as Error);
      logger.error({ err: error }, `${what} failed; it is tried again at its next turn`);
    }
    running = undefined;
  };
  const begin = (): void => {
    if (running === undefined) running = turn();
    else logger.warn(`${what} takes longer than from one turn to the next; this one is left out`);
  };
  const task = schedule(cron, begin, {
    timezone: 'UTC',
    ...(jitterMs === undefined ? {} : { maxRandomDelay: jitterMs }),
  });
  return async () => {
    await task.destroy();
    await running;
  };
}
