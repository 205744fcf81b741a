/**
 * What was the last head of a log that signs nothing more? It goes into the genesis of the log that follows.
 *
 * Where data was lost it is not the stored one: heads beyond it were answered with, and a follower that named
 * an older one would disown them. So it is the newest head that the log itself is known to have signed: the
 * stored one, or one that a memory has with the log's own line on it. A head that a memory only claims is
 * not named, since nobody could ever check it [decision 0081].
 */
import { equalBytes, toBase64, utf8 } from '../core/bytes.ts';
import { openCheckpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';
import type { VerifierKey } from '../core/note.ts';
import type { GenesisRecord } from '../core/record.ts';
import type { Log } from './log.ts';
import type { Known, Recollection } from './memories.ts';

export type Previous = NonNullable<GenesisRecord['genesis']['previous']>;

/** The largest head beyond `size` that a memory has with a line of one of the keys on it. */
export function largestProven(
  recollections: readonly Recollection[],
  size: number,
  keys: readonly VerifierKey[],
): Known | undefined {
  let largest: Known | undefined;
  for (const { known } of recollections) {
    if (known === undefined || known.size <= (largest?.size ?? size)) continue;
    if (isProven(known, keys)) largest = known;
  }
  return largest;
}

function isProven({ origin, size, root, note }: Known, keys: readonly VerifierKey[]): boolean {
  if (note === undefined) return false;
  try {
    const { checkpoint } = openCheckpoint(utf8(note), origin, keys);
    return checkpoint.size === size && equalBytes(checkpoint.root, root);
  } catch (error) {
    if (error instanceof SteleError) return false;
    throw error;
  }
}

/** The last head of a log that has ended or stopped; `conflict` of one that goes on, or is followed already. */
export async function lastHeadOf(
  log: Log,
  recollections: readonly Recollection[],
): Promise<Previous> {
  const { name, origin, stopped, end, ahead } = log;
  if (end?.next !== undefined) {
    throw new SteleError('conflict', `log ${name} is followed by ${end.next} already`);
  }
  if (stopped === undefined && end === undefined) {
    throw new SteleError(
      'conflict',
      `log ${name} takes entries: stele log roll ${name} ends it and begins the one that follows`,
    );
  }
  for (const { known } of recollections) {
    if (known === undefined || known.size > log.head().size) continue;
    const { root } = await log.headAt(known.size);
    if (equalBytes(root, known.root)) continue;
    throw new SteleError(
      'split_view',
      `log ${name} signed two heads of size ${known.size}: no log can follow both`,
    );
  }
  return previousOf({ ...log.head(), ...ahead, origin });
}

export function previousOf({ origin, size, root }: Omit<Known, 'note'>): Previous {
  return { origin, size, root: toBase64(root) };
}
