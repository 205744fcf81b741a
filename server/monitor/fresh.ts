/**
 * When was this log last alive, and who says so?
 *
 *     a witness     signed that it saw a head then            somebody else's word, verified
 *     an anchor     Rekor or an authority had a head then     somebody else's word, verified with the trust file
 *     the log       says when it signed its newest head       its own word
 *     this monitor  saw the head change                       only that it was not before
 *
 * The first of these that is not too long ago counts, and it is said which. A log that stands still is told
 * from one that lives by nothing else.
 */
import type { Kind } from './alarms.ts';
import type { Compared } from './compare.ts';
import type { State } from './state.ts';

export interface Fresh {
  readonly by: string;
  readonly ms: number;
}

/** By how much a clock may be ahead of ours. */
const AHEAD_MAX_MS = 600_000;

export function freshnessOf(
  state: State,
  { shown, witnessed, served }: Compared,
  nowMs: number,
  staleMs: number,
): {
  readonly fresh: Fresh | undefined;
  readonly words: readonly { readonly kind: Kind; readonly detail: string }[];
} {
  const words: { kind: Kind; detail: string }[] = [];
  const times = [
    newest([...shown, ...witnessed].flatMap((head) => head.witnessed ?? [])),
    newest(
      Object.entries(state.targets ?? {}).flatMap(([name, { type, ms }]) =>
        ms === undefined ? [] : [{ by: `${type} target ${name}`, ms }],
      ),
    ),
    ownWord(served?.time),
    state.seen && { by: 'this monitor, which saw it first', ms: state.seen.first_ms },
  ].filter((time) => time !== undefined);
  for (const { by, ms } of times) {
    if (ms > nowMs + AHEAD_MAX_MS) {
      words.push({ kind: 'clock', detail: `${by}: ${isoOf(ms)} is still to come` });
    }
  }
  const fresh = times.find(({ ms }) => staleMs === 0 || nowMs - ms <= staleMs);
  const best = fresh ?? newest(times);
  if (fresh === undefined && best !== undefined) {
    const detail = `no newer word of this log than of ${isoOf(best.ms)}, by ${best.by}`;
    words.push({ kind: 'stale', detail });
  }
  return { fresh: best, words };
}

function newest(times: readonly Fresh[]): Fresh | undefined {
  return times.toSorted((a, b) => b.ms - a.ms)[0];
}

function ownWord(time: string | undefined): Fresh | undefined {
  const ms = time === undefined ? Number.NaN : Date.parse(time);
  return Number.isFinite(ms) ? { by: 'the log itself', ms } : undefined;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
