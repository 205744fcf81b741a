/**
 * What is cleared away by and by: content whose entry never came, and logs whose cooling period is over.
 */
import { hasCode } from '../core/errors.ts';
import { systemClock } from '../log/clock.ts';
import type { Log } from '../log/log.ts';
import type { Logs } from '../log/logs.ts';
import { FsyncFailed } from '../storage/sqlite/database.ts';
import type { RecordKey, Vault } from '../vault/vault.ts';
import type { Vaults } from '../vault/vaults.ts';
import { type Scheduling, scheduled } from './scheduled.ts';

/** Every ten minutes: what is swept is at least an hour old. */
const SCHEDULE = '*/10 * * * *';
const ORPHAN_AGE_MS = 3_600_000;

/** Logs of which the vault is opened in one turn, one after the other: all have their turn within hours. */
const SWEPT_AT_ONCE = 64;

/** Begins; returns how to stop it. */
export function tidying(vaults: Vaults, logs: Logs, scheduling: Scheduling): () => Promise<void> {
  let next = 0;
  const tidy = async () => {
    await logs.removeDue();
    next = await sweepSome(vaults, logs, next, (name, error) => {
      if (error instanceof FsyncFailed) scheduling.fatal(error);
      scheduling.logger.warn(
        { err: error, log: name },
        'orphaned content was not swept; it is tried again',
      );
    });
  };
  return scheduled(SCHEDULE, 'tidying up', tidy, scheduling);
}

/** Sweeps some vaults from the log at `begin` on; one that cannot be swept now keeps no other from it. */
async function sweepSome(
  vaults: Vaults,
  logs: Logs,
  begin: number,
  failed: (name: string, error: unknown) => void,
): Promise<number> {
  const all = logs.list();
  const some = all.slice(begin, begin + SWEPT_AT_ONCE);
  for (const { name } of some) {
    try {
      await logs.use(name, async (log) => sweep(await vaults.get(name), log));
    } catch (error) {
      failed(name, error);
    }
  }
  return begin + some.length >= all.length ? 0 : begin + some.length;
}

async function sweep(vault: Vault, log: Log): Promise<void> {
  const isLogged = async ({ recordId, source }: RecordKey) => {
    if (log.isStaged(recordId, source)) return true;
    try {
      await log.findRecord(recordId, source);
      return true;
    } catch (error) {
      if (hasCode(error, 'not_found')) return false;
      throw error;
    }
  };
  await vault.sweep(isLogged, ORPHAN_AGE_MS, systemClock.now());
}
