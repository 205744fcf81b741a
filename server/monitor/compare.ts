/**
 * Is there one history? Every head that somebody shows of this log is held to the largest of them.
 *
 *     earlier looks ─┐
 *     --known ───────┤
 *     witnesses ─────┼──▶ the first leaves of the largest tree, by the tiles of who shows it:
 *     mirrors ───────┤    the same root, or there are two histories
 *     the log ───────┘
 *
 * The log itself is asked last, so that nobody else can be ahead of it for good reasons.
 */

import type { ServedHead } from '../client/client.ts';
import { equalBytes, parseUtf8, toBase64, utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { EMPTY_ROOT } from '../core/merkle.ts';
import type { TileReader } from '../log/audit/reader.ts';
import type { Words } from './alarms.ts';
import { isFlaw } from './contents.ts';
import { openSeen, remembered, type SeenHead } from './heads.ts';
import { isAbsence, type LogPlace, type WitnessPlace } from './places.ts';
import { prefixOf } from './prefix.ts';
import type { Watched } from './watched.ts';

/** A head, and why it counts. */
type View = { readonly head: SeenHead; readonly by: 'earlier' | 'known' | 'witness' } | PlaceView;

interface PlaceView {
  readonly head: SeenHead;
  readonly by: 'place';
  readonly place: LogPlace;
}

/** Two signed heads of which at most one can be of the log. */
export interface SplitView {
  readonly detail: string;
  readonly heads: readonly [SeenHead, SeenHead];
  /** The first leaves of the second head's tree have this root, and the proof shows it. */
  readonly proof: { readonly root: string; readonly consistency: readonly string[] };
}

export interface Compared {
  /** The largest head; nothing where no place shows one that is signed. */
  readonly newest: SeenHead | undefined;
  /** The first of the log's addresses that shows a head, and that head: where the rest is read. */
  readonly reading: { readonly head: SeenHead; readonly place: LogPlace } | undefined;
  /** Every head that a place showed, the newest among them. */
  readonly shown: readonly SeenHead[];
  readonly witnessed: readonly SeenHead[];
  /** What a log of ours says beside its head. */
  readonly served: ServedHead | undefined;
  readonly split: SplitView | undefined;
  /** Whether the newest was held to all the others. */
  readonly isProven: boolean;
}

/** `seen` is the newest head of earlier looks. */
export async function compareHeads(
  watched: Watched,
  seen: string | undefined,
  words: Words,
  signal: AbortSignal,
): Promise<Compared> {
  const views: View[] = [];
  if (seen !== undefined) views.push({ head: remembered(seen), by: 'earlier' });
  const add = (bytes: Uint8Array, from: string, viewOf: (head: SeenHead) => View) => {
    try {
      views.push(viewOf(openSeen(bytes, from, watched.keys)));
    } catch (error) {
      if (!isFlaw(error)) throw error;
      words.add('signature', `${from}: ${error.message}`, { heads: [shownNote(bytes)] });
    }
  };
  for (const { from, bytes } of watched.known) add(bytes, from, (head) => ({ head, by: 'known' }));
  const askWitness = (witness: WitnessPlace) =>
    reaching(words, witness.url, async () => {
      const bytes = await witness.checkpoint(watched.keys.origin, signal);
      if (bytes !== undefined) add(bytes, witness.url, (head) => ({ head, by: 'witness' }));
      else words.add('left_out', `${witness.url}: it has no checkpoint of this log`);
    });
  let served: ServedHead | undefined;
  const askPlace = (place: LogPlace) =>
    reaching(words, place.url, async () => {
      const said = await place.head(signal);
      if (place === own) served = said;
      const viewOf = (head: SeenHead): View => ({ head, by: 'place', place });
      if (said?.checkpoint !== undefined) {
        add(utf8(said.checkpoint), `${place.url}/v1/tree-head`, viewOf);
      }
      add(await place.checkpoint(signal), place.url, viewOf);
    });
  const [own, ...mirrors] = watched.places;
  // One that does not answer keeps nobody else waiting.
  await Promise.all([...watched.witnesses.map(askWitness), ...mirrors.map(askPlace)]);
  await askPlace(own);
  const shown = views.filter((view) => view.by === 'place');
  const newest = largestOf(shown);
  const first = watched.places.find((place) => shown.some((view) => view.place === place));
  const held = newest && (await holdTogether(newest, views, words, signal));
  return {
    newest: newest?.head,
    reading: largestOf(shown.filter(({ place }) => place === first)),
    shown: shown.map(({ head }) => head),
    witnessed: views.filter(({ by }) => by === 'witness').map(({ head }) => head),
    served,
    split: held === 'unproven' ? undefined : held,
    isProven: newest !== undefined && held === undefined,
  };
}

function largestOf(views: readonly PlaceView[]): PlaceView | undefined {
  return views.reduce<PlaceView | undefined>(
    (best, view) => (view.head.size >= (best?.head.size ?? 0) ? view : best),
    undefined,
  );
}

/** Holds each head to the newest. What is found of two histories is the answer. */
async function holdTogether(
  newest: PlaceView,
  views: readonly View[],
  words: Words,
  signal: AbortSignal,
): Promise<SplitView | 'unproven' | undefined> {
  const { head } = newest;
  const tiles = newest.place.tiles(signal);
  const proven = new Set<string>();
  // Of notes of one head the one with the most lines says the most.
  const byLines = views.toSorted((a, b) => b.head.note.length - a.head.note.length);
  for (const { head: other, by } of byLines) {
    const name = `${other.size} ${toBase64(other.root)}`;
    if (other === head || proven.has(name)) continue;
    if (other.size === 0 && !equalBytes(other.root, EMPTY_ROOT)) {
      words.add('signature', `${other.from}: a head of size 0 with a root that no empty tree has`);
      continue;
    }
    if (other.size > head.size) {
      reportAhead(other, by, head, words);
      continue;
    }
    const split = await splitOf(other, newest, tiles, words);
    if (split !== undefined) return split;
    proven.add(name);
  }
  return undefined;
}

function reportAhead(other: SeenHead, by: View['by'], head: SeenHead, words: Words): void {
  const both = { heads: [other.note, head.note] };
  const sizes = `a head of ${other.size} entries, and ${head.from} shows one of ${head.size}`;
  if (by === 'witness') {
    words.add('withheld', `${other.from} cosigned ${sizes}`, both);
  } else {
    words.add('shrunk', `${other.from}: the log had signed ${sizes}`, both);
  }
}

async function splitOf(
  other: SeenHead,
  { head, place }: PlaceView,
  tiles: TileReader,
  words: Words,
): Promise<SplitView | 'unproven' | undefined> {
  try {
    const { root, proof } = await prefixOf(tiles, other.size, head);
    if (equalBytes(root, other.root)) return undefined;
    const detail =
      other.size === head.size
        ? `two roots of size ${head.size} are signed: ${other.from} has one, ${head.from} the other`
        : `the head of ${other.size} from ${other.from} is no part of the tree of ${head.size} from ${head.from}: two histories are signed`;
    const consistency = proof.map(toBase64);
    return { detail, heads: [other, head], proof: { root: toBase64(root), consistency } };
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    if (isAbsence(error)) words.add('unreachable', `${place.url}: ${error.message}`);
    else {
      const what = `that its head of ${head.size} continues the one of ${other.size} is not shown`;
      words.add('tiles', `${place.url}: ${what}: ${error.message}`, {
        heads: [other.note, head.note],
      });
    }
    return 'unproven';
  }
}

/** What cannot be had is said, and the others are asked all the same. */
async function reaching(words: Words, url: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    if (isAbsence(error)) words.add('unreachable', `${url}: ${error.message}`);
    else words.add('signature', `${url}: ${error.message}`);
  }
}

/** A note that is not good, for people: what is not even text is left out. */
function shownNote(bytes: Uint8Array): string {
  try {
    return parseUtf8(bytes, 'note');
  } catch (error) {
    if (error instanceof SteleError) return '';
    throw error;
  }
}
