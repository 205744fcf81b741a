/**
 * Sources' chains as an audit sees them: every record of the log once, in the order of the log, and no
 * way back to read an earlier one.
 *
 * A source's records lie in runs without a hole. Of a run only its two ends can still meet something, so
 * only their hashes are kept:
 *
 *     seq      4    5    6         9   10
 *            ┌──────────────┐    ┌────────┐
 *     prev ──┤ run          ├── digest of 6: record 7 must name it
 *            └──────────────┘    └────────┘
 */
import { shown } from '../../core/errors.ts';
import type { Findings } from './findings.ts';

/** The part of a record that its chain is about. */
export interface ChainLink {
  readonly source: string;
  readonly keyid: string;
  readonly seq: number;
  readonly prev: string | null;
  /** SHA-256 of its payload, base64url. */
  readonly digest: string;
}

interface Run {
  begin: number;
  end: number;
  /** What the first record names as the one before it. */
  firstPrev: string | null;
  /** The last record's hash. */
  lastDigest: string;
}

interface Source {
  keyid: string;
  readonly runs: Run[];
  /** What gap records declare lost: [begin, end). */
  readonly lost: (readonly [begin: number, end: number])[];
}

/** Sequence numbers of which the log has no record: [begin, end). */
export interface Hole {
  readonly source: string;
  readonly begin: number;
  readonly end: number;
  /** A gap record says that they are lost. */
  readonly isDeclared: boolean;
}

/** A source as it is written down, for who goes on another day. */
export interface StoredSource {
  readonly id: string;
  readonly keyid: string;
  readonly runs: readonly StoredRun[];
  readonly lost: readonly (readonly [begin: number, end: number])[];
}

export interface StoredRun {
  readonly begin: number;
  readonly end: number;
  readonly prev: string | null;
  readonly digest: string;
}

/** Runs of all sources together: some 200 bytes each. Past it chains are no longer followed. */
const RUNS_MAX = 1_000_000;

/** Ranges that gap records of one source declare lost. Past it a hole counts as one that nobody declared. */
const LOST_MAX = 10_000;

export class Chains {
  readonly #findings: Findings;
  readonly #sources = new Map<string, Source>();
  #runs = 0;

  constructor(findings: Findings, stored: readonly StoredSource[] = []) {
    this.#findings = findings;
    for (const { id, keyid, runs, lost } of stored) {
      this.#runs += runs.length;
      this.#sources.set(id, {
        keyid,
        lost: [...lost],
        runs: runs.map(({ begin, end, prev, digest }) => ({
          ...{ begin, end, firstPrev: prev, lastDigest: digest },
        })),
      });
    }
  }

  get count(): number {
    return this.#sources.size;
  }

  /** All that is known of the sources, as the constructor takes it. */
  stored(): StoredSource[] {
    return [...this.#sources].map(([id, { keyid, runs, lost }]) => ({
      id,
      keyid,
      lost: [...lost],
      runs: runs.map(({ begin, end, firstPrev, lastDigest }) => ({
        ...{ begin, end, prev: firstPrev, digest: lastDigest },
      })),
    }));
  }

  /** Takes the record at `index`. `owner` is the key that a hand-over names for its source. */
  add(link: ChainLink, index: number, owner: string | undefined): void {
    if (this.#runs > RUNS_MAX) return;
    const { source: name, keyid } = link;
    let source = this.#sources.get(name);
    if (source === undefined) {
      source = { keyid, runs: [], lost: [] };
      this.#sources.set(name, source);
    }
    const holder = owner ?? source.keyid;
    if (holder !== keyid) {
      this.#findings.add(
        'fail',
        `source ${shown(name)} belongs to key ${holder}, and key ${keyid} signed for it`,
        index,
      );
    }
    source.keyid = holder;
    const wrong = this.#place(source.runs, link);
    if (wrong !== undefined) {
      this.#findings.add('note', `source ${shown(name)}, seq ${link.seq}: ${wrong}`, index);
    }
    if (this.#runs > RUNS_MAX) {
      this.#findings.add(
        'unknown',
        `over ${RUNS_MAX} runs of sequence numbers: chains are not followed from entry ${index} on`,
      );
    }
  }

  /** A gap record by the source's own key declares these of its numbers lost. */
  declare(name: string, keyid: string, begin: number, end: number): void {
    const source = this.#sources.get(name);
    if (source?.keyid === keyid && source.lost.length < LOST_MAX) source.lost.push([begin, end]);
  }

  /**
   * The holes that are left of what was seen so far. In a log that `follows` another a chain begins with its
   * first record there.
   */
  *holes(follows = false): Generator<Hole> {
    for (const [source, { runs, lost }] of this.#sources) {
      let at = follows ? (runs[0]?.begin ?? 0) : 0;
      for (const { begin, end } of runs) {
        const isDeclared = lost.some((range) => range[0] <= at && range[1] >= begin);
        if (begin > at) yield { source, begin: at, end: begin, isDeclared };
        at = end;
      }
    }
  }

  /** Names the holes that are left, once every entry was seen. */
  finish(follows = false): void {
    for (const hole of this.holes(follows)) this.#findings.add('note', describeHole(hole));
  }

  /** Puts a record into its run. In words, what does not fit; nothing if all does. */
  #place(runs: Run[], { seq, prev, digest }: ChainLink): string | undefined {
    const at = upperBound(runs, seq);
    const left = runs[at - 1];
    const right = runs[at];
    if (left !== undefined && seq < left.end) return 'another record has this number already';
    let wrong: string | undefined;
    if (seq === 0 && prev !== null) wrong = 'the first record names one before it';
    const joinsLeft = left?.end === seq ? left : undefined;
    const joinsRight = right?.begin === seq + 1 ? right : undefined;
    if (joinsLeft !== undefined && joinsLeft.lastDigest !== prev) {
      wrong = 'it does not name the record before it';
    }
    if (joinsRight !== undefined && joinsRight.firstPrev !== digest) {
      wrong = 'the record after it names another';
    }
    if (joinsLeft !== undefined) {
      joinsLeft.end = joinsRight?.end ?? seq + 1;
      joinsLeft.lastDigest = joinsRight?.lastDigest ?? digest;
      if (joinsRight !== undefined) {
        runs.splice(at, 1);
        this.#runs--;
      }
    } else if (joinsRight !== undefined) {
      joinsRight.begin = seq;
      joinsRight.firstPrev = prev;
    } else {
      runs.splice(at, 0, { begin: seq, end: seq + 1, firstPrev: prev, lastDigest: digest });
      this.#runs++;
    }
    return wrong;
  }
}

/** A hole in words. */
export function describeHole({ source, begin, end, isDeclared }: Hole): string {
  const numbers = end - begin === 1 ? `seq ${begin} is` : `seq ${begin} to ${end - 1} are`;
  const declared = isDeclared ? ', as a gap record says' : '';
  return `source ${shown(source)}: ${numbers} not in the log${declared}`;
}

/** How many runs begin at or before `seq`. */
function upperBound(runs: readonly Run[], seq: number): number {
  // A steady source appends: look at the end first.
  if ((runs.at(-1)?.begin ?? -1) <= seq) return runs.length;
  let low = 0;
  let high = runs.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((runs[middle]?.begin ?? 0) <= seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
