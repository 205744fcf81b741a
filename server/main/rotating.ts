/**
 * The logs' own keys, changed and ended by schedules: an old key ends once its time has come, and where a
 * schedule says so, anchor keys are changed.
 */
import type { Journal } from '../admin/journal.ts';
import type { Config } from '../config.ts';
import { hasCode, SteleError } from '../core/errors.ts';
import type { KeyChanges } from '../log/key-changes.ts';
import type { Logs } from '../log/logs.ts';
import { keptFor } from '../log/names.ts';
import { OWN_PURPOSES, type OwnGateways, type OwnPurpose } from '../log/own-gateways.ts';
import { type Scheduling, scheduled } from './scheduled.ts';

/** When it is looked which old keys are to end. */
const EACH_HOUR = '17 * * * *';

export interface Rotating {
  readonly logs: Logs;
  readonly changes: KeyChanges;
  readonly ownGateways: OwnGateways;
  readonly journal: Journal;
}

/** Begins; returns how to stop it. */
export async function rotating(
  { anchor, gateways }: Config['rotation'],
  { logs, changes, ownGateways, journal }: Rotating,
  scheduling: Scheduling,
): Promise<() => Promise<void>> {
  const { logger } = scheduling;
  const finish = async () => {
    await changes.finishDue({
      recorded: (log, details, work) => journal.around(deed('key.retire', log), details, work),
      failed: (log, error) =>
        logger.error({ err: error, log }, 'an old key of the log could not be ended; it signs on'),
    });
    await ownGateways.handOver();
    await ownGateways.finishDue((log, details, work) =>
      journal.around(deed('gateway.revoke', log), details, work),
    );
  };
  // A process that ended between two steps of a change left the second one to be done.
  await finish();
  const stops = [scheduled(EACH_HOUR, 'ending old keys', finish, scheduling)];
  if (anchor !== undefined) {
    const rotate = async () => {
      for (const name of active(logs)) await rotateAnchor({ changes, journal }, name, scheduling);
    };
    stops.push(scheduled(anchor, 'changing anchor keys', rotate, scheduling));
  }
  if (gateways !== undefined) {
    const rotate = async () => {
      for (const purpose of OWN_PURPOSES) {
        if (!(await ownGateways.has(purpose))) continue;
        await rotateOwn({ ownGateways, journal }, purpose, scheduling);
      }
    };
    stops.push(scheduled(gateways, 'changing the server’s own keys', rotate, scheduling));
  }
  return async () => {
    for (const stop of stops) await stop();
  };
}

function deed(act: string, log?: string) {
  return { act, holder: 'schedule', ...(log === undefined ? {} : { log }) };
}

/** Each log that still takes entries, and its access log. */
function active(logs: Logs): readonly string[] {
  const rows = logs.list().filter(({ state }) => state === 'active');
  return rows.flatMap((row) => keptFor(row.name).map(({ name }) => name));
}

/** One log whose key cannot be changed keeps no other from it. */
async function rotateAnchor(
  { changes, journal }: Pick<Rotating, 'changes' | 'journal'>,
  name: string,
  { logger }: Scheduling,
): Promise<void> {
  try {
    const wanted = { purpose: 'anchor' } as const;
    const rotate = () => changes.rotate(name, wanted);
    const { vkey, registered } = await journal.around(deed('key.rotate', name), wanted, rotate);
    logger.info({ log: name, vkey, entry: registered }, 'the log has another anchor key');
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    // The last change is not over: a schedule that is more often than a day, or one by hand.
    const level = hasCode(error, 'conflict') ? 'warn' : 'error';
    logger[level]({ err: error, log: name }, 'the anchor key of the log could not be changed');
  }
}

/** One key that cannot be changed keeps no other from it. */
async function rotateOwn(
  { ownGateways, journal }: Pick<Rotating, 'ownGateways' | 'journal'>,
  purpose: OwnPurpose,
  { logger }: Scheduling,
): Promise<void> {
  try {
    const rotate = () => ownGateways.rotate({ purpose });
    const { keyid } = await journal.around(deed('gateway.rotate'), { purpose }, rotate);
    logger.info({ purpose, keyid }, 'the server has another key of its own');
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    logger.error({ err: error, purpose }, 'a key of the server’s own could not be changed');
  }
}
