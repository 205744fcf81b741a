/**
 * Whose head is this, and when was it the newest? A note as somebody shows it, held to the keys that the
 * reader brought: the log's own have to be among its lines, and those of witnesses say when they saw it.
 */
import { equalBytes, utf8 } from '../core/bytes.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '../core/checkpoint.ts';
import { cosignatureTime } from '../core/cosignature.ts';
import { unverified } from '../core/errors.ts';
import { formatNote, NOTE_COSIGNATURE, NOTE_MLDSA, parseNote } from '../core/note.ts';
import { isQuorumMet, type Policy } from '../core/policy.ts';
import { keysGoodAt, type TrustedKey } from '../core/trust.ts';
import type { VerifierKey } from '../core/verifier-key.ts';

/** The keys of one log, and the witnesses whose word counts for it. */
export interface Keys {
  readonly origin: string;
  readonly keys: readonly TrustedKey[];
  readonly policy: Policy | undefined;
}

export interface SeenHead extends Checkpoint {
  /** Who showed it. */
  readonly from: string;
  /** The note whole. */
  readonly note: string;
  /** The newest time at which a known witness signed that it had seen it. */
  readonly witnessed: { readonly by: string; readonly ms: number } | undefined;
  /** Whether the cosignatures on it are those that the policy asks for; nothing where there is no policy. */
  readonly hasQuorum: boolean | undefined;
}

/** The last moment that a date can be of [ECMA-262 §21.4.1.1]. */
const TIME_MAX_MS = 8.64e15;

/** What a note claims, with nothing verified. */
export function claimOf(bytes: Uint8Array): Checkpoint {
  return parseCheckpoint(parseNote(bytes).text, { extensions: true });
}

/** Throws `malformed` or `unverified`. */
export function openSeen(
  bytes: Uint8Array,
  from: string,
  { origin, keys, policy }: Keys,
): SeenHead {
  const { size } = claimOf(bytes);
  const good = keysGoodAt(keys, size);
  if (good.length === 0)
    throw unverified('checkpoint', `no key that is known is good for size ${size}`);
  const witnesses = policy?.witnesses.map(({ key }) => key) ?? [];
  const { checkpoint, note, verified, signatures } = openCheckpoint(
    bytes,
    origin,
    [...good, ...witnesses],
    { extensions: true },
  );
  const times = verified.flatMap((key, i) => {
    const line = signatures[i];
    if (line === undefined || !isWitness(key, witnesses)) return [];
    const seconds = cosignatureTime(line.signature);
    // SPEC: a time of 0 says nothing about when.
    const ms = Math.min(seconds * 1_000, TIME_MAX_MS);
    return seconds === 0 ? [] : [{ by: `witness ${key.name}`, ms }];
  });
  times.sort((a, b) => b.ms - a.ms);
  return {
    ...checkpoint,
    from,
    note: formatNote(note),
    witnessed: times[0],
    hasQuorum:
      policy?.quorum === undefined
        ? undefined
        : isQuorumMet(
            policy,
            verified.filter((key) => isWitness(key, witnesses)),
          ),
  };
}

/** A head from the monitor's own state: it was held to the keys of its day. */
export function remembered(note: string): SeenHead {
  const from = 'this monitor, earlier';
  return { ...claimOf(utf8(note)), from, note, witnessed: undefined, hasQuorum: undefined };
}

function isWitness({ type, text }: VerifierKey, witnesses: readonly VerifierKey[]): boolean {
  if (type !== NOTE_COSIGNATURE && type !== NOTE_MLDSA) return false;
  return witnesses.some((one) => one.text === text);
}

export function isSameHead(a: Checkpoint, b: Checkpoint): boolean {
  return a.size === b.size && equalBytes(a.root, b.root);
}
