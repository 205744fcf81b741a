/** Under which source does the server write what others reported? */
import { SteleError } from '../core/errors.ts';
import type { NumberedKeys } from '../keys/gateway-keys.ts';
import type { Log } from '../log/log.ts';

const BASE = 'ingest';
const TRIED_MAX = 16;

/** The first of `ingest`, `ingest-2` … that is nobody else's. A source is never taken from a gateway. */
export async function ownSourceOf(log: Log, keys: NumberedKeys): Promise<string> {
  for (let i = 1; i <= TRIED_MAX; i++) {
    const source = i === 1 ? BASE : `${BASE}-${i}`;
    const owner = await log.ownerOf(source);
    if (owner === undefined || keys.find(owner) !== undefined) return source;
  }
  throw new SteleError(
    'conflict',
    `log ${log.name}: sources ${BASE} to ${BASE}-${TRIED_MAX} belong to other gateways`,
  );
}
