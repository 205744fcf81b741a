/**
 * Logs that are rolled over by a schedule: the newest of each series that is named ends, and the one that
 * follows it begins.
 */
import type { Journal } from '../admin/journal.ts';
import type { Config } from '../config.ts';
import { SteleError } from '../core/errors.ts';
import type { Logs } from '../log/logs.ts';
import { type Scheduling, scheduled } from './scheduled.ts';

/** Begins; returns how to stop it. */
export function rolling(
  { schedule, logs: series }: Config['roll'],
  logs: Logs,
  scheduling: Scheduling,
  journal: Journal,
): () => Promise<void> {
  if (schedule === undefined) return async () => undefined;
  const roll = async () => {
    for (const name of series) await rollOne(logs, name, scheduling, journal);
  };
  return scheduled(schedule, 'rolling logs over', roll, scheduling);
}

/** One series that cannot be rolled over keeps no other from it. */
async function rollOne(
  logs: Logs,
  name: string,
  { logger }: Scheduling,
  journal: Journal,
): Promise<void> {
  try {
    const newest = logs.newest(name);
    const deed = { act: 'log.roll', holder: 'schedule', log: newest };
    const next = await journal.around(deed, {}, () => logs.roll(newest));
    logger.info({ log: newest, next }, 'the log ended, and another follows it');
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    logger.error({ err: error, log: name }, 'the log could not be rolled over');
  }
}
