/**
 * `ct/v1`: what clients of RFC 6962 ask a log for. A leaf's input is the entry, byte for byte.
 *
 * Parameters are in the query string, as that standard has them; so no cache keeps an answer but the tree
 * head's. Proofs and heads are open like all others, entries are read by those who may read entries.
 *
 * [RFC 6962 §4.3 to §4.6, §4.8] There are no certificates here, so nothing is submitted this way.
 */
import { parseBase64, toBase64 } from '../../core/bytes.ts';
import type { SignedTreeHead } from '../../core/ct.ts';
import { parseDecimal } from '../../core/decimal.ts';
import { malformed, SteleError } from '../../core/errors.ts';
import { hash, leafIndex, treeSize } from '../../core/units.ts';
import {
  formatProof,
  JSON_TYPE,
  sendFresh,
  sendHead,
  sendJson,
  type TaggedBody,
  tagged,
} from '../answer.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { PAGE_ENTRIES_MAX } from '../settings.ts';
import { readPage } from './entries.ts';

const common = { on: 'log', method: 'GET', rules: 'rfc6962' } as const;

export const ctRoutes: readonly LogRoute[] = [
  { ...common, pattern: '/ct/v1/get-sth', access: 'heads', handle: getTreeHead },
  {
    ...common,
    pattern: '/ct/v1/get-sth-consistency',
    access: 'heads',
    query: ['first', 'second'],
    handle: getConsistency,
  },
  {
    ...common,
    pattern: '/ct/v1/get-proof-by-hash',
    access: 'heads',
    query: ['hash', 'tree_size'],
    handle: getProofByHash,
  },
  {
    ...common,
    pattern: '/ct/v1/get-entries',
    access: 'entries',
    query: ['start', 'end'],
    handle: getEntries,
  },
  {
    ...common,
    pattern: '/ct/v1/get-entry-and-proof',
    access: 'entries',
    query: ['leaf_index', 'tree_size'],
    handle: getEntryAndProof,
  },
];

/** A tree head's body is made once: many more ask than are signed. */
const bodies = new WeakMap<SignedTreeHead, TaggedBody>();

async function getTreeHead(call: Call, log: Log): Promise<void> {
  const head = await log.treeHead();
  let body = bodies.get(head);
  if (body === undefined) bodies.set(head, (body = tagged(formatTreeHead(head))));
  sendHead(call, JSON_TYPE, body);
}

function formatTreeHead({ size, timeMs, root, signature }: SignedTreeHead): string {
  return JSON.stringify({
    tree_size: size,
    timestamp: timeMs,
    sha256_root_hash: toBase64(root),
    tree_head_signature: toBase64(signature),
  });
}

async function getConsistency(call: Call, log: Log): Promise<void> {
  const first = treeSize(decimal(call, 'first'));
  const second = treeSize(decimal(call, 'second'));
  if (first > second) throw malformed('first', `${first} is larger than second, ${second}`);
  const { size } = log.head();
  if (second > size) {
    throw new SteleError('not_found', `size ${second} is beyond the log's ${size} entries`);
  }
  // Everything begins with the empty tree. The RFC has no proof of that; logs answer with an empty one.
  const proof = first === 0 ? [] : await log.consistency(first, second);
  sendFresh(call, JSON_TYPE, `{"consistency":${formatProof(proof)}}`);
}

async function getProofByHash(call: Call, log: Log): Promise<void> {
  const wanted = hash(parseBase64(text(call, 'hash'), 'hash'));
  const size = treeSize(decimal(call, 'tree_size'));
  const index = await log.findLeaf(wanted);
  const proof = formatProof(await log.inclusion(index, size));
  sendFresh(call, JSON_TYPE, `{"leaf_index":${index},"audit_path":${proof}}`);
}

/** From `start` to `end`, both of them included, or as many of these as fit one page. */
async function getEntries(call: Call, log: Log): Promise<void> {
  const start = decimal(call, 'start');
  const end = decimal(call, 'end');
  if (start > end) throw malformed('start', `${start} is larger than end, ${end}`);
  const { size } = log.head();
  if (start >= size) throw new SteleError('not_found', `leaf ${start} is not in a tree of ${size}`);
  const stop = Math.min(size, end + 1, start + PAGE_ENTRIES_MAX);
  const entries = await readPage(call, log, { start, end: stop });
  sendJson(call, { entries: entries.map(leafOf) });
}

async function getEntryAndProof(call: Call, log: Log): Promise<void> {
  const index = leafIndex(decimal(call, 'leaf_index'));
  const size = treeSize(decimal(call, 'tree_size'));
  const path = await log.inclusion(index, size);
  sendJson(call, { ...leafOf(await log.entry(index)), audit_path: path.map(toBase64) });
}

/** What RFC 6962 keeps of a certificate's chain beside its leaf has nothing here that it could be of. */
function leafOf(entry: Uint8Array) {
  return { leaf_input: toBase64(entry), extra_data: '' };
}

function text(call: Call, name: string): string {
  const value = call.query.get(name);
  if (value === undefined) throw malformed('query', `there is no ${name}`);
  return value;
}

function decimal(call: Call, name: string): number {
  return parseDecimal(text(call, name), name);
}
