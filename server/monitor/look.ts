/**
 * One look at one log: what is asked, in which order, and what is on disk after it.
 *
 *     search    what did Rekor take up by this log's key?
 *     compare   who shows which head; is there one history?         then `seen` is written
 *     contents  read from where the last look ended                 `contents` after each step
 *     keys      did the keys sign that the log's own records name?
 *     outside   what targets said, and how far behind they are
 *     fresh     when was the log last seen alive, and by whom
 *     the end   every check passed                                  `head` is written, with the rest
 *
 * Each write is of a whole state that is true. A process that dies anywhere goes on from the last one; it says
 * again what it had found, since what it finds is not written down but by what it has not yet passed.
 */

import { utf8 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import { parseNote } from '../core/note.ts';
import { leafIndex } from '../core/units.ts';
import { Findings } from '../log/audit/findings.ts';
import { judgeHead } from '../log/audit/heads.ts';
import { type Word, Words } from './alarms.ts';
import { type Compared, compareHeads, type SplitView } from './compare.ts';
import { Contents } from './contents.ts';
import { controlWords } from './control.ts';
import { keepEvidence } from './evidence.ts';
import { type Fresh, freshnessOf } from './fresh.ts';
import { claimOf, isSameHead, type SeenHead } from './heads.ts';
import { anchorKeys, judgeAnchors, judgeLag, type OutsideContext } from './outside.ts';
import { isAbsence, type LogPlace } from './places.ts';
import { judgeSeam } from './seam.ts';
import { reportFindings, standingOf } from './standing.ts';
import {
  ACKNOWLEDGED_MAX,
  DEPTHS,
  DETAIL_MAX,
  type Depth,
  PLACES_MAX,
  type State,
  type StateFile,
} from './state.ts';
import { judgeFound, type Sweep, searchRekors } from './sweep.ts';
import type { Means, Watched } from './watched.ts';

export interface Look {
  readonly words: readonly Word[];
  /** The newest head that is the log's; nothing where none is. */
  readonly head: SeenHead | undefined;
  /** What was read of its contents; nothing for heads alone. */
  readonly depth: Depth | undefined;
  /** Entries, sources and control records that were checked, in all looks together. */
  readonly checked: {
    readonly entries: number;
    readonly sources: number;
    readonly control: number;
  };
  readonly fresh: Fresh | undefined;
  /** What the log says of itself as its end. */
  readonly isEnded: boolean;
  readonly acknowledged: number;
}

export class Watch {
  #watched: Watched;
  readonly #file: StateFile;
  readonly #means: Means;
  #state: State;
  /** The contents as the last good look left them; nothing where they have to be made from the state again. */
  #contents: Contents | undefined;

  constructor(watched: Watched, file: StateFile, means: Means) {
    this.#watched = watched;
    this.#file = file;
    this.#means = means;
    this.#state = file.read();
    this.#remind(watched.places);
  }

  get origin(): string {
    return this.#watched.keys.origin;
  }

  get places(): Watched['places'] {
    return this.#watched.places;
  }

  /** More addresses that serve this log, from the next look on. */
  join(places: readonly LogPlace[]): void {
    const [first, ...others] = this.#watched.places;
    this.#watched = { ...this.#watched, places: [first, ...others, ...places] };
    this.#remind(places);
  }

  #remind(places: readonly LogPlace[]): void {
    for (const place of places) {
      if (this.#state.stele_at?.includes(place.url) === true) place.expectStele();
    }
  }

  /** What is wrong and is there for good is told as a notice from now on. */
  acknowledge(): number {
    const standing = standingOf(this.#contents ?? this.#restored());
    const known = new Set(this.#state.acknowledged ?? []);
    for (const { detail } of standing) known.add(detail);
    this.#save({ acknowledged: [...known].slice(-ACKNOWLEDGED_MAX) });
    return standing.length;
  }

  /** Throws only for what is a mistake of ours, or where the disk fails. */
  async look(): Promise<Look> {
    const words = new Words();
    const sweep = await this.#search(words);
    const compared = await compareHeads(
      this.#watched,
      this.#state.seen?.note,
      words,
      this.#means.signal,
    );
    this.#evidence(compared.split, words);
    const { newest, reading } = compared;
    if (newest === undefined || reading === undefined || !compared.isProven || words.isBroken) {
      return this.#end(words, undefined, compared);
    }
    if (this.#state.seen === undefined && this.#watched.known.length === 0) {
      words.add(
        'first_seen',
        `nothing was known of this log: its head of ${newest.size} is taken for its own word`,
      );
    }
    this.#seen(newest);
    this.#noteKinds();
    const contents = await this.#read(reading, words);
    if (contents !== undefined) {
      this.#judgeKeys(compared, contents, words);
      judgeSeam(contents.registry.previous, (origin) => this.#file.peek(origin), words);
      const known = new Set(this.#state.acknowledged);
      for (const { kind, detail, index } of standingOf(contents)) {
        const isKnown = known.has(detail);
        words.add(isKnown ? 'acknowledged' : kind, detail, index === undefined ? {} : { index });
      }
    }
    if (!words.isBroken) await this.#outside(compared, reading, contents, words);
    if (!words.isBroken) await this.#judgeSweep(sweep, reading, words);
    return this.#end(words, contents, compared);
  }

  #end(words: Words, contents: Contents | undefined, compared: Compared): Look {
    const head = compared.reading?.head;
    const nowMs = this.#means.now();
    const end = contents?.registry.end;
    const fresh = freshnessOf(this.#state, compared, nowMs, this.#watched.limits.staleMs);
    for (const { kind, detail } of fresh.words) {
      if (kind !== 'stale' || end === undefined) words.add(kind, detail);
    }
    if (end !== undefined) {
      const goesOn = end.next === undefined ? '' : `; it goes on as ${end.next}`;
      words.add('ended', `entry ${end.index} ended the log${goesOn}`);
    }
    if (head !== undefined && !words.hold) this.#save({ head: head.note });
    return {
      words: words.list(),
      head,
      depth: contents?.depth,
      checked: {
        entries: contents?.size ?? this.#state.contents?.size ?? 0,
        sources: contents?.sources ?? 0,
        control: contents?.controlFrom(0).length ?? 0,
      },
      fresh: fresh.fresh,
      isEnded: end !== undefined,
      acknowledged: this.#state.acknowledged?.length ?? 0,
    };
  }

  /** A second history is told in every look from the one that found it on; one proof of it is enough. */
  #evidence(split: SplitView | undefined, words: Words): void {
    if (split !== undefined && this.#state.evidence === undefined) {
      const files = keepEvidence(this.#file.folder, this.origin, split);
      const found_ms = this.#means.now();
      const heads = split.heads.map(({ note }) => note);
      const detail = split.detail.slice(0, DETAIL_MAX);
      this.#save({ evidence: { found_ms, detail, heads, files } });
    }
    const { evidence } = this.#state;
    if (evidence === undefined) return;
    const when = new Date(evidence.found_ms).toISOString();
    const { heads, files } = evidence;
    words.add('split_view', `${evidence.detail} (found ${when})`, { heads, files });
  }

  #seen(newest: SeenHead): void {
    const { seen } = this.#state;
    if (seen?.note === newest.note) return;
    // The same head with more lines on it is not a newer one.
    const isSame = seen !== undefined && isSameHead(headOf(seen.note), newest);
    const first_ms = isSame ? seen.first_ms : this.#means.now();
    this.#save({ seen: { note: newest.note, first_ms } });
  }

  #noteKinds(): void {
    const known = this.#state.stele_at ?? [];
    const ours = this.places.filter(({ isStele }) => isStele).map(({ url }) => url);
    const fresh = ours.filter((url) => !known.includes(url));
    if (fresh.length > 0) this.#save({ stele_at: [...known, ...fresh].slice(-PLACES_MAX) });
  }

  async #read({ head, place }: Reading, words: Words): Promise<Contents | undefined> {
    const depth = await this.#depth(place, words);
    if (depth === undefined || head.size === 0) return undefined;
    const known = this.#state.contents?.depth ?? depth;
    if (this.#watched.limits.depth === undefined && isDeeper(known, depth)) {
      words.add(
        'unreachable',
        `${place.url}: it was read as ${known} before, and shows no more than ${depth} now`,
      );
      return undefined;
    }
    let contents: Contents | undefined;
    try {
      contents = this.#contents?.depth === depth ? this.#contents : this.#restored(depth);
      // Until it has all passed there is nothing to go back to but the state.
      this.#contents = undefined;
      const findings = await contents.advance({
        reader: place.reader(this.#means.signal),
        head,
        checker: this.#means.checker,
        save: (stored) => this.#save({ contents: stored }),
        progress: (done, size) => this.#means.progress(`${place.url}: ${done} of ${size} entries`),
        signal: this.#means.signal,
      });
      reportFindings(findings, words);
      if (findings.count('fail') > 0) return undefined;
      this.#contents = contents;
      // From the last look that passed: whoever died in between has told nobody.
      const from = this.#state.head === undefined ? undefined : headOf(this.#state.head).size;
      controlWords(contents, { from, gateways: this.#watched.gateways }, words);
      return contents;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      const kind = isAbsence(error) ? 'unreachable' : 'entries';
      words.add(kind, `${place.url}: ${error.message}`);
      return undefined;
    } finally {
      this.#means.progress('');
    }
  }

  /** How much of this log is read; what is not is said. */
  async #depth(place: LogPlace, words: Words): Promise<Depth | undefined> {
    const { depth } = this.#watched.limits;
    if (depth === 'heads') {
      words.add(
        'left_out',
        'entries and tiles, but those that proofs need: heads alone are wanted',
      );
      return undefined;
    }
    if (!place.isStele) {
      if (depth === 'entries' || depth === 'records') return 'entries';
      words.add('left_out', 'what the entries say: their hashes alone are read');
      return 'tiles';
    }
    if (depth === 'tiles') {
      words.add('left_out', 'what the entries say: their hashes alone are wanted');
      return 'tiles';
    }
    try {
      await place.client.entry(leafIndex(0));
      return 'records';
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      const isClosed = error.code === 'unauthenticated' || error.code === 'forbidden';
      const wasOpen = this.#state.contents?.depth === 'records';
      if (!isClosed || place.hasToken || wasOpen || depth !== undefined) {
        words.add('unreachable', `${place.url}: its entries cannot be read: ${error.message}`);
        return undefined;
      }
      words.add('left_out', 'what the entries say: that needs a token which may read them');
      return 'tiles';
    }
  }

  /** What is on disk, as far as it was read as deep as is wanted now. */
  #restored(wanted?: Depth): Contents {
    const { origin } = this.#watched.keys;
    const { contents } = this.#state;
    const depth = wanted ?? contents?.depth ?? 'tiles';
    if (contents === undefined) return new Contents(origin, depth);
    if (isDeeper(depth, contents.depth)) return new Contents(origin, depth);
    const bare = { control: [], sources: [], flaws: [], more_flaws: 0 };
    return new Contents(origin, depth, {
      ...contents,
      ...(depth === contents.depth ? {} : bare),
      depth,
    });
  }

  /** Each line on each head that was shown is by a key that had to sign it, and none is missing. */
  #judgeKeys({ shown, reading }: Compared, contents: Contents, words: Words): void {
    const { history } = contents;
    if (history === undefined) return;
    const { origin, keys } = this.#watched.keys;
    const findings = new Findings();
    for (const head of shown.filter(({ size }) => size <= contents.size)) {
      const isPublished = head.from === reading?.place.url;
      const claim = { ...head, note: parseNote(utf8(head.note)), isPublished };
      judgeHead(claim, { origin, history, trusted: keys, genesis: [] }, findings);
    }
    for (const { what } of findings.list()) words.add('keys', what);
  }

  async #outside(
    compared: Compared,
    { head, place }: Reading,
    contents: Contents | undefined,
    words: Words,
  ): Promise<void> {
    const { signal, now } = this.#means;
    const context: OutsideContext = {
      ...{ watched: this.#watched, head, place, words, signal },
      tiles: place.tiles(signal),
      history: contents?.history,
      nowMs: now(),
    };
    const before = this.#state.targets ?? {};
    const judged = place.isStele ? await judgeAnchors(context, before) : before;
    const { targets, quorum } = judgeLag(context, compared, {
      targets: judged,
      quorum: quorumOf(this.#state.quorum, compared, now()),
    });
    this.#save({ targets, ...(quorum === undefined ? {} : { quorum }) });
  }

  #search(words: Words): Promise<Sweep> {
    const { rekors } = this.#watched;
    if (rekors.length === 0) return Promise.resolve({ found: [], marks: {}, keys: [] });
    const history = (this.#contents ?? this.#restored()).history;
    const keys = anchorKeys(this.#watched, history, 0);
    const { rekor: marks = {}, rekor_keys: searched = [] } = this.#state;
    return searchRekors(rekors, keys, { marks, keys: searched }, words, this.#means.signal);
  }

  /** What was read of Rekor is passed once the log has every head that was found there. */
  async #judgeSweep(
    { found, marks, keys }: Sweep,
    { head, place }: Reading,
    words: Words,
  ): Promise<void> {
    if (this.#watched.rekors.length === 0) return;
    const log = { origin: this.origin, head, place, signal: this.#means.signal };
    if (await judgeFound(found, log, words)) {
      this.#save({ rekor: marks, rekor_keys: [...keys] });
    }
  }

  #save(change: Partial<State>): void {
    const isNew = Object.entries(change).some(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(this.#state[name as keyof State]),
    );
    // Nothing happened in most looks, and a disk is not asked to sync that.
    if (!isNew) return;
    const next = { ...this.#state, ...change };
    this.#file.write(next);
    this.#state = next;
  }
}

type Reading = NonNullable<Compared['reading']>;

function isDeeper(a: Depth, b: Depth): boolean {
  return DEPTHS.indexOf(a) > DEPTHS.indexOf(b);
}

/** The newest head with a quorum that anybody showed. */
function quorumOf(
  before: State['quorum'],
  { shown, witnessed }: Compared,
  nowMs: number,
): State['quorum'] {
  const [best] = [...shown, ...witnessed]
    .filter(({ hasQuorum }) => hasQuorum === true)
    .sort((a, b) => b.size - a.size);
  if (best === undefined || best.size <= (before?.size ?? 0)) return before;
  return { size: best.size, ms: best.witnessed?.ms ?? nowMs };
}

function headOf(note: string) {
  return claimOf(utf8(note));
}
