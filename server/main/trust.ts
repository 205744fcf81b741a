/**
 * `trust.json` in the data folder: what a verifier needs to know of the first log and those that follow it, for
 * the operator to hand out. The logs' own keys in it follow the logs; whatever somebody added to it stays.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { formatTrust, parseTrust, type TrustedKey, type TrustedLog } from '../core/trust.ts';
import type { Log } from '../log/log.ts';
import { writeWhole } from './files.ts';

/** The keys of a log itself, those that ended with the size at which they did. */
function keysOf(log: Log): readonly TrustedKey[] {
  return log
    .ownKeys()
    .map(({ key, ended }) => (ended === undefined ? { key } : { key, untilSize: ended.lastSize }));
}

/** The text of a trust file that knows one log, by the word of the log itself. */
export function trustOf(log: Log, gateways: readonly PublicKey[]): string {
  return formatTrust({ logs: [{ origin: log.origin, keys: keysOf(log), gateways }] });
}

/** Writes the file where there is none. */
export function writeTrust(data: string, log: Log, gateways: readonly PublicKey[]): void {
  writeWhole(pathOf(data), trustOf(log, gateways), 0o644);
}

/**
 * Puts the keys that the log has now into the file, and `gateways`, where it speaks of the log; a policy in
 * its place is left alone.
 */
export function keepTrust(
  data: string,
  log: Log,
  logger: Logger,
  gateways: readonly PublicKey[] = [],
): void {
  change(data, log, logger, (logs) =>
    logs.map((known) => {
      if (known.origin !== log.origin) return known;
      const pinned = new Set(known.gateways.map(({ keyid }) => keyid));
      const added = gateways.filter(({ keyid }) => !pinned.has(keyid));
      return { ...known, keys: keysOf(log), gateways: [...known.gateways, ...added] };
    }),
  );
}

/**
 * Puts a log into the file that begins where one ends which the file knows. Of the gateways that were pinned
 * there it has those that it takes entries of.
 */
export function followTrust(
  data: string,
  log: Log,
  { previous, logger }: { readonly previous: string; readonly logger: Logger },
): void {
  change(data, log, logger, (logs) => {
    const ended = logs.find(({ origin }) => origin === previous);
    if (ended === undefined || logs.some(({ origin }) => origin === log.origin)) return logs;
    const good = new Set(
      log.keys().flatMap(({ keyid, revoked }) => (revoked === undefined ? [keyid] : [])),
    );
    const gateways = ended.gateways.filter(({ keyid }) => good.has(keyid));
    return [...logs, { origin: log.origin, keys: keysOf(log), gateways }];
  });
}

/** The file is for people, and nothing waits for it: what goes wrong is said. */
function change(
  data: string,
  log: Log,
  logger: Logger,
  changed: (logs: readonly TrustedLog[]) => readonly TrustedLog[],
): void {
  try {
    rewrite(data, changed);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!(error instanceof SteleError) && code === undefined) throw error;
    logger.error({ err: error, log: log.name }, 'trust.json may not have the keys of the log');
  }
}

function rewrite(
  data: string,
  changed: (logs: readonly TrustedLog[]) => readonly TrustedLog[],
): void {
  if (!hasTrust(data)) return;
  const bytes = readFileSync(pathOf(data));
  if (!bytes.toString('latin1').startsWith('{')) return;
  const trust = parseTrust(bytes);
  const logs = changed(trust.logs);
  const isSame =
    logs.length === trust.logs.length &&
    logs.every(
      ({ keys, gateways: pinned }, i) =>
        isSameKeys(keys, trust.logs[i]?.keys) && pinned.length === trust.logs[i]?.gateways.length,
    );
  if (!isSame) writeWhole(pathOf(data), formatTrust({ ...trust, logs }), 0o644);
}

export function hasTrust(data: string): boolean {
  return existsSync(pathOf(data));
}

function pathOf(data: string): string {
  return join(data, 'trust.json');
}

function isSameKeys(some: readonly TrustedKey[], others: readonly TrustedKey[] = []): boolean {
  const text = (keys: readonly TrustedKey[]) =>
    JSON.stringify(keys.map(({ key, untilSize = null }) => [key.text, untilSize]));
  return text(some) === text(others);
}
