/**
 * How does a log change its own keys? By two control records and nothing beside them.
 *
 *                 key file          entry r: rotate        entry v: revoke
 *     on disk     identity-2.pem    in the log             in the log
 *     heads       old               old and new            new, past size v+1
 *
 * A crash before the first record leaves a key file that nobody was told of, and the next attempt announces
 * that very key. After it both keys sign, whoever starts the log and whatever was answered. The second record
 * states the size that the old key ends at, which is that of the head that integrates this very record: it is
 * made when its index is known. A crash before it leaves both keys signing, and after it the new one alone.
 */
import { toBase64 } from '../core/bytes.ts';
import { invariant, SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import type { LogKeyPurpose } from '../core/log-key.ts';
import type { LogKey } from '../verify/key-history.ts';
import { type Clock, timestamp } from './clock.ts';
import type { OwnKeys } from './own-keys.ts';
import type { OwnBody, OwnRecords } from './own-records.ts';

/** What is rotated by a command. A reader of RFC 6962 knows a log by its sth key: another is another log. */
export const ROTATED = ['identity', 'anchor'] as const satisfies readonly LogKeyPurpose[];
export type Rotated = (typeof ROTATED)[number];

const DAY_MS = 86_400_000;

/** How long both keys sign at least, so that who reads now and then has heard of the new one. */
export const OVERLAP_MS_MIN = {
  identity: 30 * DAY_MS,
  anchor: DAY_MS,
} as const satisfies { readonly [purpose in Rotated]: number };

export interface RotationPorts {
  readonly origin: string;
  readonly records: OwnRecords;
  readonly keys: OwnKeys;
  readonly clock: Clock;
  /** Keeps a head for good that every key signs which signs now. */
  readonly keepHead: () => Promise<unknown>;
}

export interface Retirement {
  /** Which key ends; the oldest where none is named. */
  readonly keyid?: string | undefined;
  /** How long another key must have signed beside it. */
  readonly overlapMs: number;
  /** It ends now: others may have it. */
  readonly compromised?: boolean | undefined;
}

/** Announces the next key of a purpose. `conflict` while the last one has not ended, unless that is `compromised`. */
export function rotate(
  { origin, records, keys }: RotationPorts,
  purpose: Rotated,
  { compromised = false }: { readonly compromised?: boolean | undefined } = {},
): Promise<LogKey> {
  return records.inTurn(async (append) => {
    const live = keys.history.live(purpose);
    const newest = live.at(-1);
    if (live.length > 1 && newest !== undefined && !compromised) {
      throw new SteleError(
        'conflict',
        `${origin} changes its ${purpose} key already: ${newest.publicKey.keyid} was announced at entry ` +
          `${newest.announced}, ${timestamp(newest.announcedMs)}: end the one before it first`,
      );
    }
    const { publicKey } = await keys.next(purpose);
    // From here on there is a file with a key that nobody was told of.
    await append(() => keyBody('rotate', purpose, publicKey));
    return keyOf(keys, publicKey);
  });
}

/** Ends a key that another one follows. `conflict` while the other has not signed beside it for long enough. */
export function retire(
  { origin, records, keys, clock, keepHead }: RotationPorts,
  purpose: Rotated,
  { keyid, overlapMs, compromised = false }: Retirement,
): Promise<LogKey> {
  return records.inTurn(async (append) => {
    const live = keys.history.live(purpose);
    const ending = live.find(({ publicKey }) => publicKey.keyid === (keyid ?? publicKey.keyid));
    const ended = keys.history.all().find(({ publicKey }) => publicKey.keyid === keyid);
    if (ending === undefined) {
      // Asked for again, it was done once.
      if (ended?.ended !== undefined && ended.purpose === purpose) return ended;
      throw new SteleError('not_found', `${origin} has no ${purpose} key ${keyid}`);
    }
    const others = live.filter((key) => key !== ending);
    const [first] = others.toSorted((a, b) => a.announcedMs - b.announcedMs);
    if (first === undefined) {
      throw new SteleError(
        'conflict',
        `${origin} has no ${purpose} key but ${ending.publicKey.keyid}: announce another first`,
      );
    }
    const sinceMs = Math.max(first.announcedMs, ending.announcedMs);
    const untilMs = sinceMs + overlapMs;
    if (!compromised && clock.now() < untilMs) {
      throw new SteleError(
        'conflict',
        `key ${ending.publicKey.keyid} signs until ${timestamp(untilMs)}, so that readers hear of the one ` +
          `that follows it, announced at ${timestamp(sinceMs)}`,
      );
    }
    // Who knows this key alone has to be shown one of its heads for as long as the log is served.
    if (purpose === 'identity') await keepHead();
    await append((index) => keyBody('revoke', purpose, ending.publicKey, index + 1));
    return keyOf(keys, ending.publicKey);
  });
}

/** Announces a key that is there, unless it is announced. */
export function announce(
  { records, keys }: RotationPorts,
  purpose: LogKeyPurpose,
  publicKey: PublicKey,
): Promise<LogKey> {
  return records.inTurn(async (append) => {
    const isKnown = keys.history
      .live(purpose)
      .some((key) => key.publicKey.keyid === publicKey.keyid);
    if (!isKnown) await append(() => keyBody('rotate', purpose, publicKey));
    return keyOf(keys, publicKey);
  });
}

function keyBody(
  action: 'rotate' | 'revoke',
  purpose: LogKeyPurpose,
  { alg, spki, keyid }: PublicKey,
  lastSize?: number,
): OwnBody {
  const ends = lastSize === undefined ? {} : { last_size: lastSize };
  return { kind: 'key', key: { action, purpose, alg, spki: toBase64(spki), keyid, ...ends } };
}

function keyOf(keys: OwnKeys, { keyid }: PublicKey): LogKey {
  const key = keys.history.all().find(({ publicKey }) => publicKey.keyid === keyid);
  invariant(key !== undefined, 'a key that was announced is in the history');
  return key;
}
