/** Routes of a log's heads: `checkpoint`, `v1/tree-head`. */
import { toBase64 } from '../../core/bytes.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { type Hash, type TreeSize, treeSize } from '../../core/units.ts';
import { timestamp } from '../../log/clock.ts';
import type { Head } from '../../storage/store.ts';
import { JSON_TYPE, sendHead, type TaggedBody, TEXT_TYPE, tagged } from '../answer.ts';
import { type Call, type Log, type LogRoute, param } from '../call.ts';

/** A head's body is made once: many more ask than heads are signed. */
const checkpoints = new WeakMap<Head, TaggedBody>();
const treeHeads = new WeakMap<Head, TaggedBody>();

export const headRoutes: readonly LogRoute[] = [
  { on: 'log', method: 'GET', pattern: '/checkpoint', access: 'heads', handle: getCheckpoint },
  { on: 'log', method: 'GET', pattern: '/v1/tree-head', access: 'heads', handle: getHead },
  { on: 'log', method: 'GET', pattern: '/v1/tree-head/{size}', access: 'heads', handle: getHeadAt },
];

function getCheckpoint(call: Call, log: Log): void {
  const head = log.published();
  let body = checkpoints.get(head);
  if (body === undefined) checkpoints.set(head, (body = tagged(head.checkpoint)));
  sendHead(call, TEXT_TYPE, body);
}

function getHead(call: Call, log: Log): void {
  const head = log.head();
  let body = treeHeads.get(head);
  if (body === undefined) treeHeads.set(head, (body = tagged(formatHead(log.origin, head))));
  sendHead(call, JSON_TYPE, body);
}

/** Any integrated size has a root; only some sizes had a head that was kept. */
async function getHeadAt(call: Call, log: Log): Promise<void> {
  const size = treeSize(parseDecimal(param(call, 0), 'size'));
  sendHead(call, JSON_TYPE, tagged(formatHead(log.origin, await log.headAt(size))));
}

interface AnyHead {
  readonly size: TreeSize;
  readonly root: Hash;
  readonly timeMs?: number | undefined;
  readonly checkpoint?: string | undefined;
}

function formatHead(origin: string, { size, root, timeMs, checkpoint }: AnyHead): string {
  return JSON.stringify({
    origin,
    size,
    root: toBase64(root),
    ...(timeMs === undefined ? {} : { time: timestamp(timeMs) }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    cosignatures: [],
    anchors: [],
  });
}
