/**
 * Routes of a log's heads: `checkpoint`, `v1/tree-head`; and `v1/next`, where it goes on that has ended.
 *
 * `tree-head?wait=20&beyond=SIZE` is held until the log has more than SIZE entries. Whoever waits is one
 * of a bounded number, in the log's own list (`log/growth.ts`), and costs nothing until the log grows.
 */
import { unknownLog } from '../../admin/actor.ts';
import { anchoringOf, anchorsAt } from '../../admin/anchors.ts';
import { witnessingOf } from '../../admin/witnesses.ts';
import { toBase64 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import type { JsonObject } from '../../core/json.ts';
import { type Hash, leafIndex, type TreeSize, treeSize } from '../../core/units.ts';
import { timestamp } from '../../log/clock.ts';
import { cosignaturesOn } from '../../log/cosigned.ts';
import { nextOf, seamOf } from '../../log/goes-on.ts';
import type { InstanceStore } from '../../storage/instance.ts';
import type { Head } from '../../storage/store.ts';
import { JSON_TYPE, sendHead, sendJson, type TaggedBody, TEXT_TYPE, tagged } from '../answer.ts';
import type { Parts } from '../app.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';
import { hold } from '../hold.ts';
import { isVisible } from '../roles.ts';
import { parseWait } from './receipts.ts';

/** A head's body is made once: many more ask than heads are signed. */
const checkpoints = new WeakMap<Head, TaggedBody>();
const treeHeads = new WeakMap<Head, TaggedBody & { readonly version: string }>();

export function headRoutes(parts: Parts): readonly LogRoute[] {
  return [
    { on: 'log', method: 'GET', pattern: '/checkpoint', access: 'heads', handle: getCheckpoint },
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/tree-head',
      access: 'heads',
      query: ['wait', 'beyond'],
      handle: (call, log) => getHead(parts, call, log),
    },
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/tree-head/{size}',
      access: 'heads',
      handle: (call, log) => getHeadAt(parts, call, log),
    },
    {
      on: 'log',
      method: 'GET',
      pattern: '/v1/next',
      access: 'heads',
      handle: (call, log) => getNext(parts, call, log),
    },
  ];
}

function getCheckpoint(call: Call, log: Log): void {
  const head = log.checkpoint();
  let body = checkpoints.get(head);
  if (body === undefined) checkpoints.set(head, (body = tagged(head.checkpoint)));
  sendHead(call, TEXT_TYPE, body);
}

function getHead(parts: Parts, call: Call, log: Log): Promise<void> | void {
  // Nearly all ask without a query: they are answered in this turn.
  if (call.query.size === 0) sendNewest(parts, call, log);
  else return getHeadBeyond(parts, call, log);
}

/** The newest head as soon as it has more than `beyond` entries, or as it is after `wait` seconds. */
async function getHeadBeyond(parts: Parts, call: Call, log: Log): Promise<void> {
  const { query } = call;
  const seconds = parseWait(query.get('wait'));
  const beyond = treeSize(parseDecimal(query.get('beyond') ?? '0', 'beyond'));
  if (seconds > 0 && shownSize(log) <= beyond) {
    const leave = parts.headWaiters.take(call.token);
    try {
      await grownWithin(call, log, beyond, seconds, parts.stopping);
    } finally {
      leave();
    }
    parts.tokens.checkStill(call.token);
  }
  sendNewest(parts, call, log);
}

/** Resolves when the log has grown, or the request should be held no longer. */
async function grownWithin(
  call: Call,
  log: Log,
  beyond: TreeSize,
  seconds: number,
  stopping: AbortSignal,
): Promise<void> {
  const { over, release } = hold(call, seconds * 1000, stopping);
  try {
    if (log.waitsForQuorum) await log.whenWitnessed(leafIndex(beyond), over);
    else await log.grown(beyond, over);
  } catch (error) {
    if (!over.aborted) throw error;
  } finally {
    release();
  }
}

function sendNewest({ instance }: Parts, call: Call, log: Log): void {
  const head = newestOf(log);
  const version = `${instance.anchors.version} ${instance.witnesses.version}`;
  let body = treeHeads.get(head);
  if (body?.version !== version) {
    body = { ...tagged(formatHead(log, head, instance, { isNewest: true })), version };
    treeHeads.set(head, body);
  }
  sendHead(call, JSON_TYPE, body);
}

/** With the lines of its witnesses once it is published; where a quorum is waited for, no other is shown. */
function newestOf(log: Log): Head {
  if (log.waitsForQuorum) return log.checkpoint();
  const [newest, published] = [log.head(), log.published()];
  return published.size === newest.size ? published : newest;
}

function shownSize(log: Log): number {
  return log.isHeldBack ? 0 : newestOf(log).size;
}

/** Any integrated size has a root; only some sizes had a head that was kept. */
async function getHeadAt({ instance }: Parts, call: Call, log: Log): Promise<void> {
  const size = treeSize(parseDecimal(param(call, 0), 'size'));
  sendHead(call, JSON_TYPE, tagged(formatHead(log, await log.headAt(size), instance)));
}

/** Proven by receipts of control entries alone: whoever may see heads may see who signs the next ones. */
async function getNext({ logs }: Parts, call: Call, log: Log): Promise<void> {
  const { name, origin, visibility } = await nextOf(logs, log.name);
  // What its log says in its end is known; that it is served here is not for everybody.
  if (!isVisible(visibility, call.token, name)) throw unknownLog(name);
  const { last, genesis } = await seamOf(logs, log.name, name);
  sendJson(call, { name, origin, last: toBase64(last), genesis: toBase64(genesis) });
}

interface AnyHead {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly timeMs?: number | undefined;
  readonly checkpoint?: string | undefined;
}

function formatHead(
  log: Log,
  { size, root, timeMs, checkpoint }: AnyHead,
  { anchors, witnesses }: Pick<InstanceStore, 'anchors' | 'witnesses'>,
  { isNewest = false } = {},
): string {
  const { origin, end, name } = log;
  return JSON.stringify({
    origin,
    size,
    root: toBase64(root),
    ...(timeMs === undefined ? {} : { time: timestamp(timeMs) }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    // The entry that ends a log is its last.
    ...(end === undefined || size <= end.index ? {} : { final: true }),
    ...(end?.next === undefined || size <= end.index ? {} : { next: end.next }),
    cosignatures: cosignaturesIn(log, checkpoint),
    ...quorumOf(log, checkpoint),
    anchors: anchorsAt(anchors, name, size),
    ...(isNewest
      ? { anchoring: anchoringOf(anchors, name), witnessing: witnessingOf(witnesses, name) }
      : {}),
  });
}

function cosignaturesIn(log: Log, checkpoint: string | undefined): JsonObject[] {
  if (checkpoint === undefined) return [];
  const own = log.ownKeys().map(({ key }) => key);
  return cosignaturesOn(checkpoint, own).map(({ name, keyId, time }) => ({
    name,
    key_id: keyId,
    time: timestamp(time * 1_000),
  }));
}

/** Whether this head meets the quorum, and which one does; of a log that is shown to nobody nothing is said. */
function quorumOf(log: Log, checkpoint: string | undefined): JsonObject {
  const isMet = log.isQuorumMet(checkpoint);
  if (isMet === undefined) return {};
  const { witnessed, waitsForQuorum } = log;
  return {
    quorum: {
      met: isMet,
      fail: waitsForQuorum ? 'closed' : 'open',
      ...(witnessed === undefined ? {} : { newest: witnessed.size }),
    },
  };
}
