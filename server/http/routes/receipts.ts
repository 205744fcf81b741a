/**
 * GET LOG/v1/receipts/{index, leaf_hash or record_id}: a receipt under the best head there is.
 *
 * With `wait=N` the request is held until the entry is logged, and with `require=quorum` until its head is cosigned
 * by enough: one bounded number of waiters for the
 * whole process, each woken only when its log has grown.
 */
import { parseHex } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { hasCode, malformed, SteleError, shown } from '../../core/errors.ts';
import type { JsonObject } from '../../core/json.ts';
import { parseReceipt, RECEIPT_TYPE } from '../../core/receipt.ts';
import { formatTlogProof } from '../../core/tlog-proof.ts';
import { HASH_BYTES, hash, type LeafIndex, leafIndex, treeSize } from '../../core/units.ts';
import type { KeptAnchor } from '../../log/receipts.ts';
import type { AnchorRows } from '../../storage/anchors.ts';
import { sendFresh, TEXT_TYPE } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';
import { hold } from '../hold.ts';
import { WAIT_S_MAX } from '../settings.ts';
import { isRecordId } from './entries.ts';

/** What a receipt may be required to carry. */
export const REQUIREMENTS = ['quorum', 'rekor', 'rfc3161'];

export function receiptRoutes(parts: Parts): readonly LogRoute[] {
  let waiters = 0;
  return [
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/receipts/{id}',
      access: 'entries',
      query: ['source', 'wait', 'require', 'format'],
      async handle(call, log) {
        const find = finder(log, param(call, 0), call.query.get('source'));
        const send = sender(call.query.get('format'));
        const seconds = parseWait(call.query.get('wait'));
        const required = parseRequirements(call.query.get('require'));
        const receipt = (index: LeafIndex) => {
          const anchors = anchorsOf(parts.instance.anchors, log, index);
          checkMet(required, anchors, isWitnessed(log, index));
          return log.receipt(index, { anchors });
        };
        if (seconds === 0) {
          send(call, await receipt(await find()));
          return;
        }
        // Half of the room is kept for those who hold a token.
        const share = call.token === undefined ? 0.5 : 1;
        if (waiters >= parts.settings.waitersMax * share) {
          throw new SteleError('pushback', `wait: ${waiters} requests wait already`);
        }
        waiters += 1;
        const begunMs = performance.now();
        try {
          const index = await whenLogged(call, log, find, seconds, parts.stopping);
          if (required.includes('quorum')) {
            const left = seconds - (performance.now() - begunMs) / 1_000;
            await whenWitnessed(call, log, index, left, parts.stopping);
          }
          parts.tokens.checkStill(call.token);
          send(call, await receipt(index));
        } finally {
          waiters -= 1;
        }
      },
    },
  ];
}

/** Our own form, or the one that other logs' tools read: the same facts about the entry [C2SP tlog-proof]. */
function sender(format: string | undefined): (call: Call, receipt: Uint8Array) => void {
  if (format === undefined || format === 'receipt') {
    return (call, receipt) => sendFresh(call, RECEIPT_TYPE, receipt);
  }
  if (format !== 'tlog-proof') {
    throw malformed('format', `${shown(format)} is neither receipt nor tlog-proof`);
  }
  return (call, receipt) => {
    const { index, proof, checkpoint, entry } = parseReceipt(receipt);
    sendFresh(call, TEXT_TYPE, formatTlogProof({ index, proof, checkpoint, extra: entry }));
  };
}

type Find = () => Promise<LeafIndex> | LeafIndex;

/** How to look for what the path names: the three forms cannot be confused. */
function finder(log: Log, id: string, source: string | undefined): Find {
  if (isRecordId(id)) return () => log.findRecord(id, source);
  if (source !== undefined) {
    throw malformed('source', `is for a record_id, and ${shown(id)} is not one`);
  }
  if (id.length === 2 * HASH_BYTES) {
    const leaf = hash(parseHex(id, 'leaf_hash', HASH_BYTES));
    return () => log.findLeaf(leaf);
  }
  if (!/^[0-9]+$/.test(id)) {
    throw malformed('id', `${shown(id)} is no index, record_id or leaf hash`);
  }
  const index = leafIndex(parseDecimal(id, 'index'));
  return () => {
    const { size } = log.head();
    if (index < size) return index;
    throw new SteleError('not_found', `leaf ${index} is not in a tree of ${size}`);
  };
}

/** Seconds that a request may be held. */
export function parseWait(text: string | undefined): number {
  const seconds = parseDecimal(text ?? '0', 'wait');
  if (seconds > WAIT_S_MAX) {
    throw malformed('wait', `${seconds} s is more than the ${WAIT_S_MAX} s a request may wait`);
  }
  return seconds;
}

function parseRequirements(text: string | undefined): readonly string[] {
  const names = text?.split(',') ?? [];
  const unknown = names.find((name) => !REQUIREMENTS.includes(name));
  if (unknown === undefined) return names;
  throw malformed('require', `${shown(unknown)} is none of ${REQUIREMENTS.join(', ')}`);
}

/** Of each target the earliest of its anchors that covers the entry; one that has two histories gives none. */
function anchorsOf(rows: AnchorRows, log: Log, index: LeafIndex): readonly KeptAnchor[] {
  return (
    rows
      .covering(log.name, index)
      // A log whose data is older than what was said of it has them without their proofs.
      .filter(({ size }) => size <= log.head().size)
      .filter(({ target }) => (rows.target(target)?.evidence ?? null) === null)
      .map(({ size, root, anchor }) => ({
        size: treeSize(size),
        root: hash(root),
        anchor: JSON.parse(anchor ?? '{}') as JsonObject,
      }))
  );
}

/** Whether a head that covers the entry is cosigned as the log's policy asks. */
function isWitnessed(log: Log, index: LeafIndex): boolean {
  return (log.witnessed?.size ?? 0) > index;
}

function checkMet(
  required: readonly string[],
  anchors: readonly KeptAnchor[],
  hasQuorum: boolean,
): void {
  const missing = required.filter((name) =>
    name === 'quorum' ? !hasQuorum : !anchors.some(({ anchor }) => anchor.type === name),
  );
  if (missing.length === 0) return;
  throw new SteleError(
    'not_yet',
    `require: there is no ${missing.join(' and no ')} for this entry yet`,
    { retryAfterS: 60 },
  );
}

/** Looks again each time the log has grown, until the time is up, the client has gone, or we stop. */
async function whenLogged(
  call: Call,
  log: Log,
  find: Find,
  seconds: number,
  stopping: AbortSignal,
): Promise<LeafIndex> {
  const { over, release } = hold(call, seconds * 1000, stopping);
  try {
    for (;;) {
      // Read before looking: what is logged after the look wakes the wait.
      const { size } = log.head();
      const index = await findNow(find);
      if (index !== undefined) return index;
      if (over.aborted) {
        throw new SteleError('not_yet', `receipt: not logged within ${seconds} s`);
      }
      await grownOrOver(log, size, over);
    }
  } finally {
    release();
  }
}

/** Until its head is cosigned by enough, the time is up, the client has gone, or we stop. */
async function whenWitnessed(
  call: Call,
  log: Log,
  index: LeafIndex,
  seconds: number,
  stopping: AbortSignal,
): Promise<void> {
  if (seconds <= 0 || isWitnessed(log, index)) return;
  const { over, release } = hold(call, seconds * 1000, stopping);
  try {
    await log.whenWitnessed(index, over);
  } catch (error) {
    if (!over.aborted) throw error;
  } finally {
    release();
  }
}

async function findNow(find: Find): Promise<LeafIndex | undefined> {
  try {
    return await find();
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
}

async function grownOrOver(
  log: Log,
  beyond: Parameters<Log['grown']>[0],
  signal: AbortSignal,
): Promise<void> {
  try {
    await log.grown(beyond, signal);
  } catch (error) {
    // The wait was called off by us; the loop sees it.
    if (!signal.aborted) throw error;
  }
}
