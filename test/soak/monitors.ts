/** Those who watch a log: each waits for it to grow, and holds every head it gets to the one before. */
import type { LogClient } from '../../server/client/client.ts';
import type { Checkpoint } from '../../server/core/checkpoint.ts';
import { checkConsistency } from '../../server/core/proof.ts';
import { treeSize } from '../../server/core/units.ts';
import type { Ledger } from '../fault/ledger.ts';
import type { Random } from '../fault/random.ts';

export interface Watch {
  readonly log: LogClient;
  readonly ledger: Ledger;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** A log may grow by so many entries before a monitor looks again. */
const ENTRIES_SKIPPED_MAX = 64;

/** Watches until it is told to stop. Returns how many heads it held to the one before. */
export async function watch({ log, ledger, random, signal }: Watch): Promise<number> {
  let seen: Checkpoint | undefined;
  let checked = 0;
  while (!signal.aborted) {
    try {
      const size = seen === undefined ? 0 : seen.size + random.int(0, ENTRIES_SKIPPED_MAX);
      const { checkpoint: note } = await log.headBeyond(treeSize(size), signal);
      if (note === undefined) throw new Error('the newest head has a checkpoint');
      const checkpoint = ledger.head(note);
      if (seen !== undefined && seen.size > 0) await checkExtends(log, seen, checkpoint);
      if (seen === undefined || checkpoint.size > seen.size) checked++;
      seen = checkpoint;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
  return checked;
}

async function checkExtends(log: LogClient, from: Checkpoint, to: Checkpoint): Promise<void> {
  if (to.size < from.size) throw new Error(`a head of ${to.size} after one of ${from.size}`);
  const proof = to.size === from.size ? [] : await log.consistency(from.size, to.size);
  checkConsistency({
    from: from.size,
    to: to.size,
    fromRoot: from.root,
    toRoot: to.root,
    proof,
  });
}
