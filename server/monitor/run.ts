/**
 * Watching several logs: which addresses are of one log, how often each is looked at, and until when.
 *
 * Addresses that show checkpoints of one origin are one log, and are held to each other. Until it is known
 * which log an address is of, nothing is known: that is said, and asked again.
 */
import { sleep } from '../client/retrying.ts';
import { SteleError, shown } from '../core/errors.ts';
import type { Trust, TrustedKey } from '../core/trust.ts';
import type { VerifierKey } from '../core/verifier-key.ts';
import { KINDS, type Severity } from './alarms.ts';
import { type Event, Events } from './events.ts';
import { claimOf } from './heads.ts';
import { type Look, Watch } from './look.ts';
import { isAbsence, type LogPlace, type WitnessPlace } from './places.ts';
import { StateFile } from './state.ts';
import type { RekorPlace } from './sweep.ts';
import type { KnownNote, Limits, Means, Watched } from './watched.ts';

export interface RunOptions {
  readonly places: readonly LogPlace[];
  readonly witnesses: readonly WitnessPlace[];
  readonly rekors: readonly RekorPlace[];
  readonly known: readonly KnownNote[];
  readonly trust: Trust;
  /** Keys that were given one by one: each is of the log that has its name. */
  readonly keys: readonly VerifierKey[];
  readonly limits: Limits;
  /** Where what is remembered lies. */
  readonly folder: string;
  readonly means: Means;
  readonly tell: (event: Event) => void;
  /** One look at each and no more. */
  readonly once: boolean;
  readonly acknowledge: boolean;
  readonly intervalMs: number;
  /** Between two looks at least, however fast a log grows. */
  readonly pauseMs: number;
}

/** How the looks ended: the worst that was found in the last look at each log. */
export type Outcome = Exclude<Severity, 'notice'> | 'ok';

export async function run(given: RunOptions): Promise<Outcome> {
  const stop = new AbortController();
  const signal = AbortSignal.any([given.means.signal, stop.signal]);
  const options = { ...given, means: { ...given.means, signal } };
  const watches = new Map<string, Watch>();
  const outcomes: Promise<Outcome>[] = [];
  const lost = new Map<LogPlace, Unreached>(options.places.map((p) => [p, new Unreached(p.url)]));
  const files: StateFile[] = [];
  try {
    for (;;) {
      for (const watched of await findLogs(options, lost)) {
        const { origin } = watched.keys;
        const known = watches.get(origin);
        if (known !== undefined) {
          known.join(watched.places);
          continue;
        }
        const file = StateFile.open(options.folder, origin);
        files.push(file);
        const watch = new Watch(watched, file, options.means);
        watches.set(origin, watch);
        outcomes.push(watchOne(options, watch));
      }
      if (options.once || lost.size === 0 || signal.aborted) break;
      // Whoever fails ends the others as well: a monitor that watches half of what it should says so.
      await Promise.race([sleep(options.intervalMs, signal), ...outcomes.map(failureOf)]);
    }
    const all = await Promise.all(outcomes);
    return worstOf([...all, ...[...lost.values()].map(({ outcome }) => outcome)]);
  } finally {
    stop.abort();
    await Promise.allSettled(outcomes);
    for (const file of files) file.close();
  }
}

/** Rejects when it does, and else never settles. */
function failureOf(work: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => void work.catch(reject));
}

/** An address of which it is not known what log it is of. */
class Unreached {
  readonly url: string;
  outcome: Outcome = 'unknown';
  #said = '';

  constructor(url: string) {
    this.url = url;
  }

  /** Said once, and again when the reason is another. */
  event(kind: 'unreachable' | 'unknown_log' | 'signature', detail: string, nowMs: number): Event[] {
    const event = KINDS[kind].severity;
    this.outcome = event;
    if (this.#said === detail) return [];
    this.#said = detail;
    return [
      { time: new Date(nowMs).toISOString(), event, log: this.url, origin: '', kind, detail },
    ];
  }
}

/** Logs whose addresses are known now; they are no longer among the lost. */
async function findLogs(
  options: RunOptions,
  lost: Map<LogPlace, Unreached>,
): Promise<readonly Watched[]> {
  const { means, tell } = options;
  const groups = new Map<string, LogPlace[]>();
  await Promise.all(
    [...lost].map(async ([place, unreached]) => {
      try {
        const { origin } = claimOf(await place.checkpoint(means.signal));
        const keys = keysOf(options, origin);
        if (keys.length === 0) {
          const rule = 'no trust file and no --vkey has a key of it';
          const detail = `${place.url} serves the log ${shown(origin, 255)}, and ${rule}`;
          for (const event of unreached.event('unknown_log', detail, means.now())) tell(event);
          return;
        }
        groups.set(origin, [...(groups.get(origin) ?? []), place]);
      } catch (error) {
        if (!(error instanceof SteleError)) throw error;
        const kind = isAbsence(error) ? 'unreachable' : 'signature';
        const detail = `${place.url}: ${error.message}`;
        for (const event of unreached.event(kind, detail, means.now())) tell(event);
      }
    }),
  );
  // In the order of the command line: the first address of a log is its own.
  const order = [...lost.keys()];
  return [...groups].flatMap(([origin, found]) => {
    const places = found.toSorted((a, b) => order.indexOf(a) - order.indexOf(b));
    for (const place of places) lost.delete(place);
    const [first, ...others] = places;
    if (first === undefined) return [];
    return [watchedOf(options, origin, [first, ...others])];
  });
}

function watchedOf(
  options: RunOptions,
  origin: string,
  places: readonly [LogPlace, ...LogPlace[]],
): Watched {
  const { trust, witnesses, rekors, known, limits } = options;
  return {
    keys: { origin, keys: keysOf(options, origin), policy: trust.policy?.parsed },
    gateways: trust.logs.find((log) => log.origin === origin)?.gateways ?? [],
    places,
    witnesses,
    rekors,
    known: known.filter(({ bytes }) => claimOf(bytes).origin === origin),
    trust,
    limits,
  };
}

function keysOf({ trust, keys }: RunOptions, origin: string): readonly TrustedKey[] {
  const trusted = trust.logs.find((log) => log.origin === origin)?.keys ?? [];
  return [...trusted, ...keys.filter(({ name }) => name === origin).map((key) => ({ key }))];
}

async function watchOne(options: RunOptions, watch: Watch): Promise<Outcome> {
  const { means, tell, once, acknowledge, intervalMs } = options;
  const { signal } = means;
  const [first] = watch.places;
  const events = new Events(first.url, watch.origin);
  if (acknowledge) watch.acknowledge();
  const pauseMs = Math.min(options.pauseMs, intervalMs);
  let outcome: Outcome = 'unknown';
  for (;;) {
    const look = await watch.look().catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    // What was broken off says nothing of the log.
    if (look === undefined || signal.aborted) return outcome;
    for (const event of events.after(look, means.now())) tell(event);
    outcome = outcomeOf(look);
    if (once) return outcome;
    await sleep(pauseMs, signal);
    const restMs = intervalMs - pauseMs;
    if (restMs > 0 && look.head !== undefined) await first.grown(look.head.size, restMs, signal);
    else if (restMs > 0) await sleep(restMs, signal);
    if (signal.aborted) return outcome;
  }
}

function outcomeOf({ words }: Look): Outcome {
  return worstOf(words.map(({ kind }) => KINDS[kind].severity));
}

function worstOf(all: readonly (Severity | Outcome)[]): Outcome {
  if (all.includes('alarm')) return 'alarm';
  return all.includes('unknown') ? 'unknown' : 'ok';
}
