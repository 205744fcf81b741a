/**
 * `trust.json` in the data folder: what a verifier needs to know of the first log, for the operator to hand
 * out. The log's own keys in it follow the log; whatever somebody added to it stays.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { formatTrust, parseTrust, type TrustedKey } from '../core/trust.ts';
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
 * its place is left alone. The file is for people, and nothing waits for it: what goes wrong is said.
 */
export function keepTrust(
  data: string,
  log: Log,
  logger: Logger,
  gateways: readonly PublicKey[] = [],
): void {
  try {
    refresh(data, log, gateways);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!(error instanceof SteleError) && code === undefined) throw error;
    logger.error({ err: error, log: log.name }, 'trust.json may not have the keys of the log');
  }
}

function refresh(data: string, log: Log, gateways: readonly PublicKey[]): void {
  if (!hasTrust(data)) return;
  const bytes = readFileSync(pathOf(data));
  if (!bytes.toString('latin1').startsWith('{')) return;
  const trust = parseTrust(bytes);
  const logs = trust.logs.map((known) => {
    if (known.origin !== log.origin) return known;
    const pinned = new Set(known.gateways.map(({ keyid }) => keyid));
    const added = gateways.filter(({ keyid }) => !pinned.has(keyid));
    return { ...known, keys: keysOf(log), gateways: [...known.gateways, ...added] };
  });
  const isSame = logs.every(
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
