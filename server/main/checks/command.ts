/** Checks for a command: in its own process, and beside a server if there is one. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CheckRequest } from '../../cli/program.ts';
import type { Config } from '../../config.ts';
import { SteleError, shown } from '../../core/errors.ts';
import { boundName, keptFor } from '../../log/names.ts';
import { type CheckRow, noteChecks } from '../../storage/checks.ts';
import { listLogs } from '../../storage/instance.ts';
import { openKek } from '../../vault/keyring.ts';
import { checkOne } from './task.ts';

/** Checks the logs that are named, or all, and notes each result for the server. */
export async function checkLogs(
  config: Config,
  { name, bytesPerSecond, progress, signal }: CheckRequest,
): Promise<readonly CheckRow[]> {
  const { data } = config;
  const path = join(data, 'stele.db');
  if (!existsSync(path)) throw new SteleError('not_found', `${data} is no data folder`);
  const kekPath = join(data, 'keys', 'vault.kek');
  const kek = existsSync(kekPath) ? await openKek(kekPath) : undefined;
  const rows: CheckRow[] = [];
  for (const log of wanted(path, name)) {
    const beganMs = Date.now();
    const task = { data, kek, bytesPerSecond: bytesPerSecond ?? config.check.bytesPerSecond };
    const checked = await checkOne({ ...task, ...log }, (line) => {
      signal.throwIfAborted();
      progress(line);
    });
    const row = { log: log.name, beganMs, endedMs: Date.now(), ...checked };
    noteChecks(path, [row]);
    rows.push(row);
  }
  return rows;
}

/** NAME stands for its access log as well; NAME.access for that one alone. */
function wanted(path: string, name: string | undefined) {
  const all = listLogs(path).flatMap((log) =>
    keptFor(log.name, log.isGone).map((kept) => ({
      name: kept.name,
      origin: log.origin + kept.suffix,
    })),
  );
  if (name === undefined) return all;
  const found = all.filter((log) => log.name === name || boundName(log.name) === name);
  if (found.length === 0) throw new SteleError('not_found', `there is no log ${shown(name)}`);
  return found;
}
