/**
 * What does a log say beside its head of those outside: whom it asks, and what it did not get?
 *
 *     {"target":"own","type":"rekor","missed":0,…}    {"witness":"w.example/1","missed":0,"disputes":"…",…}
 *
 * A log has no reason to say that it is worse than it is, so what it admits is told. What it claims to have is
 * worth nothing here: that is looked up.
 */
import { count, type JsonObject, type ServedHead, text } from '../client/client.ts';
import { SteleError, shown } from '../core/errors.ts';
import type { Words } from './alarms.ts';

/** Characters of a target's name, and of its type. */
const NAME_MAX = 64;
/** Characters of a key's name, and of what a witness says. */
const SAID_MAX = 500;

export interface Claim {
  readonly target: string;
  readonly type: string;
}

/** A short name that a log gives; throws `malformed`. */
export function nameIn(row: JsonObject, member: string, max = NAME_MAX): string {
  const name = text(row, member);
  if (name.length >= 1 && name.length <= max) return name;
  throw new SteleError('malformed', `${member}: ${shown(name)} has not 1 to ${max} characters`);
}

/** Tells what the log admits. The targets that it asks. */
export function judgeClaims(served: ServedHead | undefined, words: Words): readonly Claim[] {
  const { anchoring = [], witnessing = [] } = served ?? {};
  try {
    for (const claim of witnessing) judgeWitness(claim, words);
    return anchoring.map((claim) => {
      const target = nameIn(claim, 'target');
      const missed = count(claim, 'missed');
      if (missed > 0) {
        words.add(
          'anchoring',
          `target ${target} was not shown ${missed} heads since its last word`,
        );
      }
      return { target, type: nameIn(claim, 'type') };
    });
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    words.add('anchor', `beside the head: ${error.message}`);
    return [];
  }
}

function judgeWitness(claim: JsonObject, words: Words): void {
  const name = nameIn(claim, 'witness', SAID_MAX);
  const missed = count(claim, 'missed');
  if (missed > 0) {
    words.add('witnessing', `witness ${name} did not cosign ${missed} heads since its last one`);
  }
  if (claim.disputes === undefined) return;
  const said = text(claim, 'disputes').slice(0, SAID_MAX);
  words.add('witnessing', `witness ${name} holds another history against this log: ${said}`);
}
