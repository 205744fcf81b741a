/**
 * Where does a log go on that has ended, and what proves it?
 *
 * The log's last entry names the next log, and that one's genesis the last head of this one. The receipts of
 * the two are all that a stranger who trusts this log's keys needs (`verify/seam.ts`).
 */
import { SteleError } from '../core/errors.ts';
import { leafIndex } from '../core/units.ts';
import type { ListedLog, Logs } from './logs.ts';

export interface Seam {
  /** Of the last entry of the log that ended. */
  readonly last: Uint8Array;
  /** Of the first entry of the log that goes on. */
  readonly genesis: Uint8Array;
}

/**
 * The log that goes on where `name` ended. `not_yet` while that one takes entries itself, or while the next
 * one is still being made; `not_found` if none follows, or none that is here.
 */
export async function nextOf(logs: Logs, name: string): Promise<ListedLog> {
  const { origin, end } = await logs.use(name, (log) => ({ origin: log.origin, end: log.end }));
  if (end === undefined) throw new SteleError('not_yet', `log ${origin} has not ended`);
  if (end.next === undefined) {
    throw new SteleError('not_found', `log ${origin} ended with entry ${end.index}, for good`);
  }
  const next = logs.ofOrigin(end.next);
  if (next?.state === 'creating') {
    throw new SteleError('not_yet', `log ${end.next}, which goes on, is being made`);
  }
  if (next === undefined || next.state === 'retired') {
    throw new SteleError('not_found', `log ${origin} goes on as ${end.next}, which is not here`);
  }
  return next;
}

/** What proves that `next` goes on where `name` ended. */
export async function seamOf(logs: Logs, name: string, next: string): Promise<Seam> {
  const last = await logs.use(name, (log) => log.receipt(leafIndex(log.head().size - 1)));
  const genesis = await logs.use(next, (log) => log.genesisReceipt());
  return { last, genesis };
}
