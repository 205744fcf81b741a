/**
 * What a log does when it is opened: it believes nothing that it has not hashed.
 *
 * The right edge is rebuilt from stored tiles and entries, the root is derived from it and compared with
 * the signed head, and the head's own signature is checked. A crash is the normal case: whatever was
 * committed is under the head, and nothing else is there.
 */
import { equalBytes, utf8 } from '../core/bytes.ts';
import { openCheckpoint } from '../core/checkpoint.ts';
import { decodeEntry, RECORD_TYPE, statementDigest } from '../core/entry.ts';
import { invariant, SteleError } from '../core/errors.ts';
import { leafHash } from '../core/merkle.ts';
import type { Policy } from '../core/policy.ts';
import { checkInclusion } from '../core/proof.ts';
import { parseRecord } from '../core/record.ts';
import { ExpandedTile } from '../core/tile.ts';
import { edgeTiles, Tree } from '../core/tree.ts';
import { type Hash, leafIndex, type TreeSize, treeSize } from '../core/units.ts';
import type { Head, LogStore } from '../storage/store.ts';
import type { KeyHistory } from '../verify/key-history.ts';
import { checkCosigned, isWitnessed } from './cosigned.ts';
import { readStored } from './damaged.ts';
import { Lookups } from './lookups.ts';
import type { Restored } from './publish.ts';
import { PAGE_ENTRIES_MAX, Reader } from './reader.ts';
import { Registry } from './registry.ts';

/** Checks that every key that had to sign the stored head did, and that it is what it says. */
export function checkHead(head: Head, origin: string, history: KeyHistory): void {
  const keys = history.signing('identity', head.size).map(({ key }) => key);
  const { checkpoint, verified } = openCheckpoint(utf8(head.checkpoint), origin, keys);
  const missing = keys.find((key) => !verified.includes(key));
  if (missing !== undefined) {
    throw new SteleError(
      'storage',
      `the stored head of ${origin} has no line of key ${missing.name}+${missing.keyId}, which the log announced`,
    );
  }
  if (checkpoint.size !== head.size || !equalBytes(checkpoint.root, head.root)) {
    throw new SteleError(
      'storage',
      `the stored head of ${origin} says size ${head.size}, its checkpoint says ${checkpoint.size}`,
    );
  }
}

/** Rebuilds the right edge and compares its root with the head's. */
export async function restoreTree(store: LogStore, head: Head): Promise<Tree> {
  const edge: Hash[][] = [];
  for (const { level, first, count } of edgeTiles(head.size)) {
    edge[level] =
      level === 0
        ? (await store.readEntries(leafIndex(first), head.size)).map(leafHash)
        : await tileRoots(store, level - 1, first, count);
  }
  const tree = Tree.restore(head.size, edge);
  if (!equalBytes(tree.root(), head.root)) {
    throw new SteleError(
      'storage',
      `what is stored does not hash to the signed root of size ${head.size}: run stele audit`,
    );
  }
  return tree;
}

/** Kept heads that are looked at, from the newest, for one that is witnessed as the policy asks. */
const KEPT_LOOKED_AT = 64;

/** Whose heads they are, and who may have cosigned them. */
export interface HeadOwner {
  readonly origin: string;
  readonly history: KeyHistory;
  readonly policy: Policy | undefined;
  readonly warn: (message: string, error: unknown) => void;
}

/**
 * The head that was published last, and the newest that is witnessed. One that is none of this log's must never
 * be served: it is told of, and there is none.
 */
export async function restorePublished(
  store: LogStore,
  tree: Tree,
  owner: HeadOwner,
): Promise<Restored> {
  const { policy } = owner;
  const last = await store.readPublished();
  const published = last && (await whole(store, tree, last, owner));
  if (policy === undefined) return { published };
  const kept = await store.readKept(tree.size + 1, KEPT_LOOKED_AT);
  const isEnough = ({ checkpoint }: Head) => isWitnessed(checkpoint, policy);
  for (const head of kept) {
    const witnessed = await whole(store, tree, head, owner, isEnough);
    if (witnessed !== undefined) return { published, witnessed };
  }
  return { published };
}

/** The head as it was kept, unless it is damaged, or not one that is looked for. */
async function whole(
  store: LogStore,
  tree: Tree,
  head: Head,
  { origin, history, policy, warn }: HeadOwner,
  isWanted: (head: Head) => boolean = () => true,
): Promise<Head | undefined> {
  try {
    if (!isWanted(head)) return undefined;
    checkHead(head, origin, history);
    const own = history.signing('identity', head.size).map(({ key }) => key);
    checkCosigned(head, origin, own, policy);
    const root = await new Reader(store, () => tree).root(head.size);
    if (equalBytes(root, head.root)) return head;
    throw new SteleError('storage', `the log has another root at size ${head.size}`);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    warn(`${origin}: its published head is damaged and is not served`, error);
    return undefined;
  }
}

async function tileRoots(
  store: LogStore,
  level: number,
  first: number,
  count: number,
): Promise<Hash[]> {
  const wanted = Array.from({ length: count }, (_, i) => ({ level, index: first + i }));
  const tiles = await store.readTiles(wanted);
  return tiles.map((bytes) => ExpandedTile.of(bytes).root());
}

/** Replays the control records, so that the registry says what the log says. */
export async function replayControl(
  store: LogStore,
  registry: Registry,
  tree: Tree,
): Promise<void> {
  const reader = new Reader(store, () => tree);
  const { size } = tree;
  const root = tree.root();
  for (const index of await store.readControl()) {
    const bytes = await reader.entry(index);
    // Most of them lie in full tiles, which nobody has hashed yet.
    checkInclusion({
      index,
      size,
      root,
      leafHash: leafHash(bytes),
      proof: await reader.inclusion(index, size),
    });
    registry.replay(bytes, index);
  }
}

/** What the stored control records say, of which nobody has shown that they are in the tree. */
export async function replayListed(store: LogStore, origin: string): Promise<Registry> {
  const registry = new Registry(origin);
  for (const index of await store.readControl()) {
    const [bytes] = await store.readEntries(index, treeSize(index + 1));
    invariant(bytes !== undefined, 'a store never gives a short answer');
    readStored(index, () => registry.replay(bytes, index));
  }
  return registry;
}

/** The look-ups, with those of the newest entries made again: they are written behind. */
export async function restoreLookups(store: LogStore, size: TreeSize): Promise<Lookups> {
  const indexed = await store.readIndexed();
  const lookups = new Lookups(store, indexed);
  for (let begin: number = indexed; begin < size; begin += PAGE_ENTRIES_MAX) {
    const end = treeSize(Math.min(size, begin + PAGE_ENTRIES_MAX));
    const page = await store.readEntries(leafIndex(begin), end);
    for (const [i, bytes] of page.entries()) {
      const entry = decodeEntry(bytes);
      const record = entry.payloadType === RECORD_TYPE ? parseRecord(entry.payload) : undefined;
      lookups.add(
        {
          leafHash: leafHash(bytes),
          statement: statementDigest(entry),
          recordId: record?.record_id,
        },
        leafIndex(begin + i),
      );
    }
  }
  return lookups;
}
