/**
 * Which heads may a log's keys sign for? (P2)
 *
 * For each origin the newest head that was taken is remembered, durably, before anything is signed for
 * it, and the next one is taken only with the proof that it continues that one: what a witness asks of
 * somebody else's log, whoever holds the keys asks of its own. So a server that was put back from a backup,
 * one on a copy of its folder, and one that somebody else took over, all are refused the moment they leave
 * the history that was signed.
 *
 *     remembered    7 entries, root R
 *     extend        (7, R)                     fine: an answer was lost
 *                   (9, S) and a proof 7 → 9   taken
 *                   (9, S) and a proof 6 → 9   not taken: asked for a proof from 7
 *                   (7, S)  (6, …)  (9, S) with a proof that does not hold        split_view
 *
 * Of an origin that nothing is known of only the first entry's head is taken. A signer whose memory was
 * lost does not begin a second history; `expect` tells it where the first one is.
 */
import { equalBytes, toBase64 } from '../../core/bytes.ts';
import { SteleError, shown } from '../../core/errors.ts';
import { checkConsistency } from '../../core/proof.ts';
import { type Hash, type TreeSize, treeSize } from '../../core/units.ts';
import type { HeadRoot } from '../log-keys.ts';

/** What is kept of one origin. */
export interface Remembered {
  readonly newest: HeadRoot;
  /** The time of the last RFC 6962 tree head that was signed: milliseconds since 1970, or 0. */
  readonly treeHeadMs: number;
}

export interface HeadStore {
  /** What was written last; nothing if there is nothing. Rejects with `storage` if it is damaged. */
  read(origin: string): Promise<Remembered | undefined>;
  /** Durable when it resolves. After `storage` it may be there or not. */
  write(origin: string, remembered: Remembered): Promise<void>;
}

/** A head that is to be taken, and the proof that it continues the one of `from` entries. */
export interface Extension {
  readonly head: HeadRoot;
  readonly from: TreeSize;
  readonly proof: readonly Hash[];
}

/** Older heads that may still be signed for, by an anchor key for one: what a busy log makes in a second. */
const RECENT_MAX = 256;

interface Page {
  remembered: Remembered | undefined;
  /** Taken since the start, oldest first; the newest among them. */
  recent: HeadRoot[];
}

export class HeadBook {
  readonly #store: HeadStore;
  readonly #pages = new Map<string, Promise<Page>>();
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(store: HeadStore) {
    this.#store = store;
  }

  async newest(origin: string): Promise<HeadRoot | undefined> {
    return (await this.#page(origin)).remembered?.newest;
  }

  /**
   * Takes a head, durably. Answers with the size that a proof is asked for from, if another one was given:
   * then nothing was taken. Rejects with `split_view` if the head contradicts what is remembered.
   */
  extend(origin: string, { head, from, proof }: Extension): Promise<TreeSize | undefined> {
    return this.#inTurn(origin, async () => {
      const page = await this.#page(origin);
      const newest = page.remembered?.newest;
      if (newest === undefined) checkFirst(origin, head);
      else if (isSame(newest, head)) return undefined;
      else if (head.size <= newest.size) throw contradiction(origin, head, newest);
      else if (from !== newest.size) return newest.size;
      else checkContinues(origin, { head, from, proof }, newest);
      await this.#write(origin, page, { newest: head, treeHeadMs: 0, ...timeOf(page) });
      page.recent = [...page.recent, head].slice(-RECENT_MAX);
      return undefined;
    });
  }

  /** Rejects with `conflict` unless this head was taken, and not long ago. */
  async checkTaken(origin: string, head: HeadRoot): Promise<void> {
    const { recent, remembered } = await this.#page(origin);
    if (recent.some((taken) => isSame(taken, head))) return;
    throw new SteleError(
      'conflict',
      `a head of ${head.size} entries of ${shown(origin)} is not among those that were taken lately; the newest ` +
        `has ${remembered?.newest.size ?? 0}`,
    );
  }

  /** Notes the time of an RFC 6962 tree head, durably; rejects with `conflict` if it is not later than the last. */
  takeTime(origin: string, timeMs: number): Promise<void> {
    return this.#inTurn(origin, async () => {
      const page = await this.#page(origin);
      const { remembered } = page;
      if (remembered === undefined) throw nothingKnown(origin);
      if (timeMs <= remembered.treeHeadMs) {
        throw new SteleError(
          'conflict',
          `a tree head of ${shown(origin)} at ${timeMs} ms, and one at ${remembered.treeHeadMs} was signed`,
        );
      }
      await this.#write(origin, page, { ...remembered, treeHeadMs: timeMs });
    });
  }

  /**
   * An operator's word, from a head that the log's own key signed, that the log has got at least this far.
   * Rejects with `split_view` if another head of its size is remembered.
   */
  expect(origin: string, head: HeadRoot): Promise<'known' | 'noted'> {
    return this.#inTurn(origin, async () => {
      const page = await this.#page(origin);
      const newest = page.remembered?.newest;
      if (newest !== undefined && newest.size >= head.size) {
        if (newest.size === head.size && !isSame(newest, head)) {
          throw contradiction(origin, head, newest);
        }
        return 'known';
      }
      await this.#write(origin, page, { newest: head, treeHeadMs: 0, ...timeOf(page) });
      page.recent = [head];
      return 'noted';
    });
  }

  async #write(origin: string, page: Page, remembered: Remembered): Promise<void> {
    // A crash before this leaves what was, and after it what was not signed yet: whoever asked asks again.
    await this.#store.write(origin, remembered);
    page.remembered = remembered;
  }

  #page(origin: string): Promise<Page> {
    const known = this.#pages.get(origin);
    if (known !== undefined) return known;
    const page = this.#store.read(origin).then((remembered) => ({
      remembered,
      recent: remembered === undefined ? [] : [remembered.newest],
    }));
    this.#pages.set(origin, page);
    // What cannot be read now may be readable later, once somebody has seen to it.
    page.catch(() => this.#pages.delete(origin));
    return page;
  }

  /** One after the other for each origin. */
  #inTurn<T>(origin: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(origin) ?? Promise.resolve();
    const turn = before.then(work, work);
    const settled = turn.catch(() => undefined);
    this.#turns.set(origin, settled);
    void settled.then(() => {
      if (this.#turns.get(origin) === settled) this.#turns.delete(origin);
    });
    return turn;
  }
}

function timeOf({ remembered }: Page): { readonly treeHeadMs?: number } {
  return remembered === undefined ? {} : { treeHeadMs: remembered.treeHeadMs };
}

function isSame(a: HeadRoot, b: HeadRoot): boolean {
  return a.size === b.size && equalBytes(a.root, b.root);
}

function checkFirst(origin: string, { size }: HeadRoot): void {
  if (size !== treeSize(1)) throw nothingKnown(origin, size);
}

function nothingKnown(origin: string, size?: TreeSize): SteleError {
  const asked = size === undefined ? '' : `, and is to sign for ${size} entries`;
  return new SteleError(
    'conflict',
    `the signer remembers no head of ${shown(origin)}${asked}: if its state folder is lost or another one, ` +
      'bring it back; if the log is new to it, start it once with --expect and the newest checkpoint',
  );
}

function checkContinues(origin: string, { head, from, proof }: Extension, newest: HeadRoot): void {
  try {
    const { root: fromRoot } = newest;
    checkConsistency({ from, to: head.size, fromRoot, toRoot: head.root, proof });
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw contradiction(origin, head, newest, cause);
  }
}

function contradiction(
  origin: string,
  head: HeadRoot,
  newest: HeadRoot,
  cause?: SteleError,
): SteleError {
  return new SteleError(
    'split_view',
    `${shown(origin)}: a head of ${head.size} entries with root ${toBase64(head.root)} does not continue the one ` +
      `that was signed, of ${newest.size} entries with root ${toBase64(newest.root)}`,
    cause === undefined ? {} : { cause },
  );
}
