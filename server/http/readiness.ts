/**
 * Could this server take an entry right now? What is looked at, and what of it is everybody's business.
 *
 * Unready is a server that would refuse every entry: it is stopping, its disk has no room, whoever holds
 * its keys is away, or none of its logs takes anything. One log that has stopped, a full queue, a head that
 * waits to be published, a clock that was set are told of, and no reason to send gateways elsewhere: a
 * server that one old log took out of service for ever would help nobody. A log that has ended is as it
 * should be.
 *
 * Only logs that are open are looked at; one that is not is opened when an entry comes, and then it shows.
 */
import { isBound } from '../admin/actor.ts';
import { SteleError } from '../core/errors.ts';
import type { Log } from '../log/log.ts';
import { MEMORY_KINDS, type MemoryKind } from '../log/memories.ts';
import { boundName, isAdminLog } from '../log/names.ts';
import type { TokenRow } from '../storage/instance.ts';
import type { Parts } from './app.ts';
import { Refusal } from './errors.ts';

/** How far a clock may be behind a head that it was signed by. */
const BEHIND_MS = 60_000;
/** How long growth may wait to be published, which takes a second. */
const UNPUBLISHED_MS = 60_000;
/** Logs that are named to one caller. */
export const NAMED_MAX = 1_000;

/** What can fail of one log. */
export const LOG_CHECKS = ['logs', 'queue', 'heads', 'clock', 'memories'] as const;
type LogCheck = (typeof LOG_CHECKS)[number];

export const CHECKS = ['disk', 'signer', ...LOG_CHECKS] as const;
type Check = (typeof CHECKS)[number];

export const READINESS = ['ready', 'degraded', 'unready'] as const;

export interface Readiness {
  readonly status: (typeof READINESS)[number];
  readonly checks: { readonly [check in Check]: boolean };
  readonly logs: {
    readonly open: number;
    readonly accepting: number;
    readonly stopped: number;
    readonly ended: number;
  };
  /** How many answers were asked of memories outside the data folder, and how many they had (P2). */
  readonly guard: {
    readonly asked: number;
    readonly answered: number;
    /** The same by kinds of memory. */
    readonly memories: readonly {
      readonly kind: MemoryKind;
      readonly asked: number;
      readonly answered: number;
    }[];
  };
  /** Logs that the caller's token is bound to, and what fails of each. */
  readonly failing?: readonly { readonly log: string; readonly checks: readonly LogCheck[] }[];
}

interface Seen {
  readonly log: Log;
  readonly isAccepting: boolean;
  readonly failing: readonly LogCheck[];
}

/** Throws why no entry could be taken, with the same said of it. */
export async function readinessOf(
  parts: Pick<Parts, 'logs' | 'instance' | 'clock' | 'clockWatch' | 'stopping'>,
  token: TokenRow | undefined,
): Promise<Readiness> {
  const followed = parts.instance.followed();
  const opened = await parts.logs.opened();
  // One that stopped and that another follows has been seen to.
  const minded = opened.filter((log) => log.stopped === undefined || !followed.has(log.origin));
  const seen = minded.map((log) => look(log, parts.clock.now()));
  const isSteady = parts.clockWatch.isSteady();
  const why =
    stopReason(parts) ?? spaceReason(parts) ?? awayReason(seen) ?? noLogReason(parts, seen);
  const fails = (check: LogCheck) => seen.some(({ failing }) => failing.includes(check));
  const checks = {
    disk: spaceReason(parts) === undefined,
    signer: awayReason(seen) === undefined,
    logs: !fails('logs'),
    queue: !fails('queue'),
    heads: !fails('heads'),
    clock: isSteady && !fails('clock'),
    memories: !fails('memories'),
  };
  const isWhole = Object.values(checks).every(Boolean);
  const readiness: Readiness = {
    status: why !== undefined ? 'unready' : isWhole ? 'ready' : 'degraded',
    checks,
    logs: {
      open: seen.length,
      accepting: seen.filter(({ isAccepting }) => isAccepting).length,
      stopped: seen.filter(({ log }) => log.stopped !== undefined).length,
      ended: seen.filter(({ log }) => log.end !== undefined).length,
    },
    guard: guardOf(seen),
    ...(token === undefined ? {} : { failing: namedTo(token, seen) }),
  };
  if (why === undefined) return readiness;
  const { code, message, retryAfterS } = why;
  const again = retryAfterS === undefined ? {} : { retryAfterS };
  throw new Refusal(code, message, { status: 503, members: { readiness }, cause: why, ...again });
}

function guardOf(seen: readonly Seen[]): Readiness['guard'] {
  const all = seen.flatMap(({ log }) => log.memories);
  const answered = (some: typeof all) => some.filter((one) => one.answered).length;
  const memories = MEMORY_KINDS.map((kind) => {
    const some = all.filter((one) => one.kind === kind);
    return { kind, asked: some.length, answered: answered(some) };
  });
  return {
    asked: all.length,
    answered: answered(all),
    memories: memories.filter(({ asked }) => asked > 0),
  };
}

function look(log: Log, now: number): Seen {
  const refusal = refusalOf(() => log.checkRoom());
  const failing: LogCheck[] = [];
  if (log.stopped !== undefined) failing.push('logs');
  else if (refusal?.code === 'pushback') failing.push('queue');
  if (log.unpublishedMs > UNPUBLISHED_MS) failing.push('heads');
  if (log.head().timeMs > now + BEHIND_MS) failing.push('clock');
  if (log.memories.some(({ answered }) => !answered)) failing.push('memories');
  return { log, isAccepting: refusal === undefined && log.end === undefined, failing };
}

function refusalOf(check: () => void): SteleError | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}

/** Messages name no log: those that are private do not exist for strangers. */
function stopReason({ stopping }: Pick<Parts, 'stopping'>): SteleError | undefined {
  if (!stopping.aborted) return undefined;
  return new SteleError('pushback', 'the server is stopping', { retryAfterS: 5 });
}

function spaceReason({ logs }: Pick<Parts, 'logs'>): SteleError | undefined {
  const cause = refusalOf(() => logs.checkSpace());
  if (cause === undefined) return undefined;
  const again = cause.retryAfterS === undefined ? {} : { retryAfterS: cause.retryAfterS };
  const what = 'the disk has too little room: nothing is accepted until there is more';
  return new SteleError(cause.code, what, { cause, ...again });
}

function awayReason(seen: readonly Seen[]): SteleError | undefined {
  if (!seen.some(({ log }) => log.isSignerAway)) return undefined;
  const what = 'the signer that holds the keys is away: nothing is accepted until it is back';
  return new SteleError('storage', what, { retryAfterS: 5 });
}

/** None of the logs takes anything, and there is no other that might; the instance's own is nobody's to write to. */
function noLogReason({ logs }: Pick<Parts, 'logs'>, seen: readonly Seen[]): SteleError | undefined {
  const active = logs.list().filter(({ name, state }) => state === 'active' && !isAdminLog(name));
  const open = new Map(seen.map((one) => [one.log.name, one]));
  const all = active.map(({ name }) => open.get(name));
  if (all.length === 0 || all.some((one) => one === undefined || one.isAccepting)) return undefined;
  const isFull = all.every((one) => one?.failing.includes('queue'));
  return isFull
    ? new SteleError('pushback', 'the queue of every log is full', { retryAfterS: 1 })
    : new SteleError(
        'split_view',
        'no log accepts entries: each has stopped, or its queue is full',
      );
}

function namedTo(token: TokenRow, seen: readonly Seen[]) {
  return seen
    .filter(({ log, failing }) => failing.length > 0 && isBound(token, boundName(log.name)))
    .slice(0, NAMED_MAX)
    .map(({ log, failing }) => ({ log: log.name, checks: failing }));
}
