/** GET LOG/tile/{L}/{N}[.p/{W}] and LOG/tile/entries/{N}[.p/{W}] [C2SP tlog-tiles]. */
import { parseTilePath } from '../../core/tile.ts';
import { BYTES_TYPE, sendImmutable } from '../answer.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';

export const tileRoutes: readonly LogRoute[] = [
  { on: 'log', method: 'GET', pattern: '/tile/{path*}', access: 'heads', handle: getHashes },
  {
    on: 'log',
    method: 'GET',
    pattern: '/tile/entries/{path*}',
    access: 'entries',
    handle: getEntries,
  },
];

/** A tile of any width never changes: a wider one has another path. */
async function getHashes(call: Call, log: Log): Promise<void> {
  sendImmutable(call, BYTES_TYPE, await log.tile(parseTilePath(`tile/${param(call, 0)}`)));
}

async function getEntries(call: Call, log: Log): Promise<void> {
  sendImmutable(call, BYTES_TYPE, await log.tile(parseTilePath(`tile/entries/${param(call, 0)}`)));
}
