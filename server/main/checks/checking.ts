/**
 * Checks by a schedule: all logs, one after the other, each in a thread of its own and at a pace that disturbs
 * nobody. What is found is noted, said, and heeded: a log whose tree is damaged signs nothing more.
 *
 * A check that a stop cuts short is not gone on with: the next one begins anew. A cursor would save hours at
 * most, and would trust what was hashed by a process that is gone.
 */
import type { Config } from '../../config.ts';
import { sha256, utf8 } from '../../core/bytes.ts';
import type { Logs } from '../../log/logs.ts';
import { keptFor } from '../../log/names.ts';
import type { CheckRow } from '../../storage/checks.ts';
import type { InstanceStore } from '../../storage/instance.ts';
import { type Scheduling, scheduled } from '../scheduled.ts';
import { checkInThread } from './thread.ts';

export interface CheckingOptions extends Scheduling {
  readonly config: Config;
  readonly store: InstanceStore;
  readonly logs: Logs;
  readonly kek: Uint8Array;
}

/** Commands beside this process note what they find as well: this is how soon it is heeded. */
const HEED_SCHEDULE = '* * * * *';

/** Begins; returns how to stop it. */
export function checking(options: CheckingOptions): () => Promise<void> {
  const { config, store, logs } = options;
  const stopping = new AbortController();
  const heed = scheduled(HEED_SCHEDULE, 'heeding checks', () => logs.heedChecks(), options);
  const { schedule } = config.check;
  const cron = schedule === 'weekly' ? weeklyAt(store.identity()?.originBase ?? '') : schedule;
  const check = () => checkAll(options, stopping.signal);
  const checks =
    cron === undefined
      ? async () => undefined
      : scheduled(cron, 'checking what is stored', check, options);
  return async () => {
    stopping.abort();
    await heed();
    await checks();
  };
}

/** A minute of the week that is this instance's own: a fleet does not check all at once. */
export function weeklyAt(originBase: string): string {
  const [minute = 0, hour = 0, day = 0] = sha256(utf8(`stele check ${originBase}`));
  return `${minute % 60} ${hour % 24} * * ${day % 7}`;
}

async function checkAll(options: CheckingOptions, signal: AbortSignal): Promise<void> {
  for (const log of options.logs.list()) {
    for (const { name, suffix } of keptFor(log.name)) {
      if (signal.aborted) return;
      await checkOne(options, name, log.origin + suffix, signal);
    }
  }
}

async function checkOne(
  { config, store, logs, kek, logger }: CheckingOptions,
  name: string,
  origin: string,
  signal: AbortSignal,
): Promise<void> {
  const { data, check } = config;
  const beganMs = Date.now();
  const task = { data, name, origin, kek, bytesPerSecond: check.bytesPerSecond };
  const checked = await checkInThread(task, signal);
  // Retired meanwhile, its files go away under the check.
  if (logs.visibilityOf(name) === undefined) return;
  const row: CheckRow = { log: name, beganMs, endedMs: Date.now(), ...checked };
  store.putCheck(row);
  say(row, logger);
  await logs.heedChecks();
}

/** How much of what was found goes into a line; all of it is noted. */
const SAID_MAX = 10;

function say({ log, size, files, tree, content, found }: CheckRow, logger: Scheduling['logger']) {
  const what = { log, entries: size, content_files: files, found: found.slice(0, SAID_MAX) };
  if (tree === 'damaged') logger.error(what, 'the log is damaged: it signs nothing more');
  if (content === 'damaged') logger.error(what, 'content of the log is damaged');
  if (tree === 'unknown' || content === 'unknown') {
    logger.error(what, 'the log could not be checked');
  } else logger.info({ log, entries: size, content_files: files }, 'the log was checked');
}
