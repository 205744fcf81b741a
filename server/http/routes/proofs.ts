/** GET LOG/v1/proofs/inclusion/{index}/{size} and LOG/v1/proofs/consistency/{from}/{to}. */
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { leafIndex, treeSize } from '../../core/units.ts';
import { formatProof, JSON_TYPE, sendImmutable } from '../answer.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';

export const proofRoutes: readonly LogRoute[] = [
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/proofs/inclusion/{index}/{size}',
    access: 'heads',
    handle: getInclusion,
  },
  {
    on: 'log',
    method: 'GET',
    pattern: '/v1/proofs/consistency/{from}/{to}',
    access: 'heads',
    handle: getConsistency,
  },
];

async function getInclusion(call: Call, log: Log): Promise<void> {
  const index = leafIndex(parseDecimal(param(call, 0), 'index'));
  const size = treeSize(parseDecimal(param(call, 1), 'size'));
  if (index >= size) throw new SteleError('not_found', `leaf ${index} is not in a tree of ${size}`);
  const proof = formatProof(await log.inclusion(index, size));
  sendImmutable(call, JSON_TYPE, `{"index":${index},"size":${size},"proof":${proof}}`);
}

async function getConsistency(call: Call, log: Log): Promise<void> {
  const from = treeSize(parseDecimal(param(call, 0), 'from'));
  const to = treeSize(parseDecimal(param(call, 1), 'to'));
  if (from < 1 || from > to) {
    throw malformed('consistency', `from ${from} to ${to} is not 0 < from <= to`);
  }
  const proof = formatProof(await log.consistency(from, to));
  sendImmutable(call, JSON_TYPE, `{"from":${from},"to":${to},"proof":${proof}}`);
}
