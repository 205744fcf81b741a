/**
 * What outside a data folder remembers how far a log had got? (P2)
 *
 * A data folder cannot tell that it is old. So before a log signs, whatever else may know a newer head is
 * asked: the high-water file (`high-water.ts`), the signer where one holds the keys, and in the same form
 * what it showed to targets outside, and the witnesses that are shown its heads. One list of memories serves all logs of an instance; `doctor` and `restore`
 * ask the same list.
 *
 * What a memory knows was signed once, so it may know too little, which is safe, and never too much. A
 * memory that cannot be asked keeps nobody from signing unless `guard.require` names it; of witnesses one has
 * to answer then. Only where the
 * fault lies on this machine, as with a file that is there and cannot be read, it always does.
 */

import { equalBytes } from '../core/bytes.ts';
import type { Checkpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';
import { type Hash, type TreeSize, treeSize } from '../core/units.ts';
import { isAdminLog } from './names.ts';

export const MEMORY_KINDS = ['high-water', 'signer', 'anchors', 'witness'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** A head that a memory knows. */
export interface Known extends Checkpoint {
  /** The note that it was signed in, where the memory has it. It is believed by nobody who has not opened it. */
  readonly note?: string | undefined;
}

/** Thrown by a memory that knows how large a log was, and not which head it had. */
export class KnowsSize extends Error {
  readonly size: TreeSize;

  constructor(size: number) {
    super(`a head of ${size} was signed`);
    this.name = 'KnowsSize';
    this.size = treeSize(size);
  }
}

export interface Memory {
  readonly kind: MemoryKind;
  /** Whether it may know of `origin`; where absent, it may know of any. */
  concerns?(origin: string): boolean;
  /** Where it keeps what it knows of `origin`, for people: a path, an address. */
  placeOf(origin: string): string;
  /**
   * The largest head of `origin` that it knows; nothing where it knows none. Rejects with `storage`, and
   * within a time of its own, where it cannot be asked, or where what it says cannot be read; with
   * `split_view` where it has another history; with `KnowsSize` where that is all it knows.
   */
  recall(origin: string): Promise<Known | undefined>;
  /** What it is known to have said, without asking it. Absent where nothing of that is kept. */
  last?(origin: string): Known | undefined;
  /** Notes a head that is committed and about to be answered with. Absent where it learns of heads by itself. */
  remember?(head: Known): void;
  /** Lets go of what it holds open for `origin`. */
  release?(origin: string): void;
  /** Whether it lies on this machine, so that a failure to ask it is a fault to be seen to first. */
  readonly isLocal: boolean;
}

/** What became of asking one memory. */
export interface Recollection {
  readonly kind: MemoryKind;
  readonly place: string;
  readonly known: Known | undefined;
  /** A size that the log had, where the head is not known. */
  readonly atLeast?: TreeSize;
  /** Why it could not be asked, if so. */
  readonly failure: SteleError | undefined;
  /** A log may not sign without it: see `guard.require`. */
  readonly isRequired: boolean;
  readonly isLocal: boolean;
}

export class Memories {
  readonly #all: readonly Memory[];
  readonly #required: ReadonlySet<MemoryKind>;

  constructor(all: readonly Memory[], required: readonly MemoryKind[] = []) {
    this.#all = all;
    this.#required = new Set(required);
  }

  /** Asks every memory at once. Never rejects for what one of them answers. */
  ask(origin: string): Promise<Recollection[]> {
    const asked = this.#all.filter((memory) => memory.concerns?.(origin) !== false);
    return Promise.all(asked.map((memory) => this.#askOne(memory, origin)));
  }

  /** Tells those that have to be told. Throws `storage` where one of them cannot note it. */
  remember(head: Known): void {
    for (const memory of this.#all) memory.remember?.(head);
  }

  release(origin: string): void {
    for (const memory of this.#all) memory.release?.(origin);
  }

  async #askOne(memory: Memory, origin: string): Promise<Recollection> {
    const { kind, isLocal } = memory;
    const about = {
      kind,
      isLocal,
      place: memory.placeOf(origin),
      isRequired: this.#required.has(kind),
    };
    try {
      const known = await memory.recall(origin);
      const last = memory.last?.(origin);
      const isLarger = last !== undefined && last.size > (known?.size ?? 0);
      return { ...about, known: isLarger ? last : known, failure: undefined };
    } catch (error) {
      const nothing = { ...about, known: memory.last?.(origin) };
      if (error instanceof KnowsSize) {
        return { ...nothing, atLeast: error.size, failure: undefined };
      }
      if (!(error instanceof SteleError)) throw error;
      return { ...nothing, failure: error };
    }
  }
}

/** The largest head that any of them knows. */
export function largestKnown(recollections: readonly Recollection[]): Known | undefined {
  return recollections.reduce<Known | undefined>(
    (largest, { known }) =>
      known === undefined || (largest !== undefined && largest.size >= known.size)
        ? largest
        : known,
    undefined,
  );
}

/** Whether a memory said what it has to: a witness may know nothing of a log that it was not shown yet. */
export function hasAnswered({ kind, known, atLeast, failure }: Recollection): boolean {
  if (kind === 'witness') return failure === undefined;
  return known !== undefined || atLeast !== undefined;
}

/** A log that is held to what is remembered of it. */
export interface Remembering {
  readonly name: string;
  /** Of its newest head. */
  readonly size: TreeSize;
  /** Its own root at a size that it has. */
  readonly rootOf: (size: TreeSize) => Promise<Hash>;
}

/** In words, why a log may not sign; nothing if it may. */
export async function contradiction(
  log: Remembering,
  recollections: readonly Recollection[],
): Promise<string | undefined> {
  const hasWitness = recollections.some((one) => one.kind === 'witness' && hasAnswered(one));
  for (const recollection of recollections) {
    const { kind, place, known, atLeast, failure, isLocal } = recollection;
    const isRequired = recollection.isRequired && !(kind === 'witness' && hasWitness);
    if (failure?.code === 'split_view')
      return `is not what was signed before (${kind}: ${failure.message})`;
    if (failure !== undefined && (isRequired || isLocal)) {
      return `cannot ask what was signed before (${kind}): ${failure.message}`;
    }
    if (atLeast !== undefined && atLeast > log.size) {
      return older(
        log,
        `has ${log.size} entries, but a head of ${atLeast} was signed before`,
        recollection,
      );
    }
    if (known === undefined) {
      if (!isRequired || atLeast !== undefined) continue;
      return (
        `has no ${kind} memory (${place}), and guard.require asks for it. Make sure that no newer data ` +
        'exists, then start once without that setting'
      );
    }
    const what = await difference(log, known);
    if (what !== undefined) return older(log, what, recollection);
  }
  return undefined;
}

function older(
  { name }: Remembering,
  what: string,
  { kind, place }: Pick<Recollection, 'kind' | 'place'>,
): string {
  const forward = isAdminLog(name)
    ? 'what is administered next begins a log that names this one'
    : `begin a new log that names this one: stele log create NEW --previous ${name}`;
  return (
    `${what} (${kind}: ${place}). Its data is older than what it has promised: bring back the newer ` +
    `data, or ${forward}`
  );
}

async function difference(
  { size, rootOf }: Remembering,
  known: Known,
): Promise<string | undefined> {
  if (known.size > size) {
    return `has ${size} entries, but a head of ${known.size} was signed before`;
  }
  if (equalBytes(await rootOf(known.size), known.root)) return undefined;
  return `has another root at size ${known.size} than the one that was signed before`;
}
