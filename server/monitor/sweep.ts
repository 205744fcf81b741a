/**
 * Did anybody have a head of this log taken up by Rekor that the log does not have? (P2)
 *
 *     Rekor's entries, read on from where the last look ended
 *        └─ those that the log's anchor key signed ─▶ SHA-256 of a head's text
 *                                                       └─ of which size of the tree that was shown?
 *
 * A head's text follows from origin, size and root, so the digest of every size can be made again: first of the
 * sizes that the log lists, then, where that is not enough, of all of them. What is of none was signed over
 * another history, or with a stolen key.
 *
 * Rekor is read before the log: a head is published before it is shown outside, so what Rekor has by now is in
 * the tree that is shown after it. Of Rekor v1 nothing can be read like this.
 *
 * A key that was not known before may have signed what was read already, so for a new one reading begins again.
 */

import type { FoundHead } from '../anchor/rekor-search.ts';
import { type Search, TargetError } from '../anchor/target.ts';
import { toBase64, toHex, utf8 } from '../core/bytes.ts';
import { canonicalize } from '../core/canonical.ts';
import { SteleError } from '../core/errors.ts';
import type { PublicKey } from '../core/keys.ts';
import { digestOfHead, strikeOut } from '../core/own-heads.ts';
import { HASH_BYTES, type TreeSize, treeSize } from '../core/units.ts';
import type { TileReader } from '../log/audit/reader.ts';
import type { Words } from './alarms.ts';
import type { SeenHead } from './heads.ts';
import { isAbsence, type LogPlace } from './places.ts';
import { prefixOf } from './prefix.ts';
import { REKOR_KEYS_MAX } from './state.ts';

/** A Rekor log whose entries can be read. */
export interface RekorPlace {
  readonly url: string;
  readonly search: Search;
}

/** Where the reading of each Rekor log is, by its address: base64. */
export type Marks = { readonly [url: string]: string };

export interface Sweep {
  readonly found: readonly FoundHead[];
  readonly marks: Marks;
  /** Key IDs that were searched for, up to those marks. */
  readonly keys: readonly string[];
}

/** Searches in one look, each of 16,384 entries. */
const SEARCHES_MAX = 16;
/** Pages of the log's own list of anchors whose sizes are tried first. */
const PAGES_MAX = 5;
/** Heads found in one look: a year of them. */
const FOUND_MAX = 50_000;

/** An entry of no log is where reading begins: at the first. */
const FROM_THE_FIRST = utf8(
  canonicalize({ v: 1, key_id: toBase64(new Uint8Array(HASH_BYTES)), size: 0 }),
);

/** Reads on in each Rekor log. What cannot be read is said, and is read in the next look. */
export async function searchRekors(
  rekors: readonly RekorPlace[],
  keys: readonly PublicKey[],
  before: Partial<Pick<Sweep, 'marks' | 'keys'>>,
  words: Words,
  signal: AbortSignal,
): Promise<Sweep> {
  const found: FoundHead[] = [];
  const keyids = keys.map(({ keyid }) => keyid).slice(-REKOR_KEYS_MAX);
  const isKnown = keyids.every((keyid) => before.keys?.includes(keyid) === true);
  const marks: Record<string, string> = isKnown ? { ...before.marks } : {};
  for (const { url, search } of rekors) {
    if (keys.length === 0) {
      words.add('left_out', `${url}: no anchor key of this log is known yet to look for`);
      continue;
    }
    try {
      for (let turn = 1; ; turn++) {
        const known = marks[url];
        const mark = known === undefined ? FROM_THE_FIRST : utf8(known);
        const searched = await search(keys, mark, signal);
        found.push(...searched.found);
        marks[url] = Buffer.from(searched.mark).toString('utf8');
        if (searched.unread === 0) break;
        if (turn < SEARCHES_MAX && found.length < FOUND_MAX) continue;
        words.add('left_out', `${url}: ${searched.unread} entries are searched in later looks`);
        break;
      }
    } catch (error) {
      if (!(error instanceof SteleError) && !(error instanceof TargetError)) throw error;
      words.add('unreachable', `${url}: it could not be searched: ${error.message}`);
    }
  }
  return { found, marks, keys: keyids };
}

/** Says of each head that was found whether the log has it; whether it has all of them. */
export async function judgeFound(
  found: readonly FoundHead[],
  log: {
    readonly origin: string;
    readonly head: SeenHead;
    readonly place: LogPlace;
    readonly signal: AbortSignal;
  },
  words: Words,
): Promise<boolean> {
  if (found.length === 0) return true;
  const { head, place, signal } = log;
  const wanted = new Set(found.map(({ digest }) => toHex(digest)));
  const tiles = place.tiles(signal);
  try {
    for (const size of place.isStele ? await listedSizes(place, head.size) : []) {
      if (wanted.size === 0) break;
      wanted.delete(digestOfHead(log.origin, size, (await prefixOf(tiles, size, head)).root));
    }
    if (wanted.size > 0) await strikeOutAll(wanted, log, place.reader(signal));
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    const kind = isAbsence(error) ? 'unreachable' : 'tiles';
    words.add(kind, `${place.url}: ${error.message}`);
    return false;
  }
  for (const { where, digest, key } of found.filter((one) => wanted.has(toHex(one.digest)))) {
    words.add(
      'anchor',
      `${where} is a head (SHA-256 ${toHex(digest)}) that anchor key ${key.keyid} signed and that is of no size of ` +
        `this log up to ${head.size}: another history, or a stolen key`,
    );
  }
  return wanted.size === 0;
}

async function listedSizes(place: LogPlace, newest: TreeSize): Promise<readonly TreeSize[]> {
  const sizes = new Set<number>();
  let before: TreeSize | undefined;
  for (let page = 0; page < PAGES_MAX; page++) {
    const rows = await place.client.anchors(before === undefined ? {} : { before });
    for (const { size } of rows) if (typeof size === 'number' && size >= 1) sizes.add(size);
    const last = rows.at(-1)?.size;
    if (typeof last !== 'number' || (before !== undefined && last >= before)) break;
    before = treeSize(last);
  }
  return [...sizes].filter((size) => size <= newest).map(treeSize);
}

/** Takes out the digests of every size of the tree. */
async function strikeOutAll(
  wanted: Set<string>,
  {
    origin,
    head,
    signal,
  }: { readonly origin: string; readonly head: SeenHead; readonly signal: AbortSignal },
  reader: TileReader,
): Promise<void> {
  const tree = await strikeOut(wanted, {
    origin,
    size: head.size,
    tile: async (index, width) => {
      signal.throwIfAborted();
      const [bytes] = await reader.tiles([{ level: 0, index, width }]);
      return bytes;
    },
  });
  // Tiles that do not lead to the head say nothing of what is not among them.
  if (tree.size === head.size && toHex(tree.root()) !== toHex(head.root)) {
    throw new SteleError(
      'unverified',
      `its ${head.size} leaf hashes do not lead to the signed root`,
    );
  }
}
