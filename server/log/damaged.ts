/**
 * What if a stored entry cannot be read as what was once admitted? Then the disk is at fault, and not
 * whoever submits or asks: what has to be compared with the entry is refused for now, and nothing else.
 */
import { hasCode, SteleError } from '../core/errors.ts';
import type { LeafIndex } from '../core/units.ts';

export class Damaged extends SteleError {
  constructor(index: LeafIndex, cause: SteleError) {
    super('storage', `entry ${index} is damaged on disk: run stele audit`, { cause });
    this.name = 'Damaged';
  }
}

/** Why a log signs nothing: a check found that its tree is not what is stored. */
export class FoundDamaged extends SteleError {
  constructor(name: string, found: string) {
    super(
      'storage',
      `a check found log ${name} damaged (${found}): it is read, and signs nothing until ` +
        `"stele log check ${name}" finds it whole`,
    );
    this.name = 'FoundDamaged';
  }
}

/** Reads the stored entry at `index` by `read`; throws `Damaged` where that refuses it. */
export function readStored<T>(index: LeafIndex, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof SteleError ? new Damaged(index, error) : error;
  }
}

/** The error of a log that could not be opened: what its own files say wrongly is no stranger's mistake. */
export function openingError(name: string, error: unknown): unknown {
  if (!hasCode(error, 'malformed') && !hasCode(error, 'unverified')) return error;
  return new SteleError('storage', `log ${name} cannot be opened: ${error.message}`, {
    cause: error,
  });
}
