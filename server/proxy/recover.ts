/**
 * What was the source doing when it stopped?
 *
 * One pass over the journal gives the chain (next seq, last digest), the records that are not in the log
 * yet, the calls that have no record yet, and the damage. It is the normal way to start; an empty
 * journal is one without frames.
 *
 * Whether the chain is *certain*: a record frame may have been destroyed together with its seq, and then
 * the next record would take a number that is already taken. So after damage the chain counts only once
 * a later frame states it; otherwise a new source begins.
 */
import { parseUtf8 } from '../core/bytes.ts';
import type { Backlog, Waiting } from './backlog.ts';
import type { SpoolDisk } from './journal/disk.ts';
import { FRAME, type Frame, NO_CALL } from './journal/frame.ts';
import type { Journal } from './journal/journal.ts';
import { type Damage, type ScanResult, scanJournal } from './journal/scan.ts';
import { decodeRecordFrame } from './record-frame.ts';
import type { RolledFrame, Rolling } from './rolling.ts';

/** Where a source's chain stands. */
export interface Chain {
  readonly source: string;
  /** The origin of the log that its records are made for now. */
  readonly log: string;
  /** The seq of the next record. */
  readonly next: number;
  /** SHA-256 of the last record's payload, base64url; null before the first. */
  readonly prev: string | null;
}

/** What a `refused` frame says: the record, and the seqs that no gap explains because of it. */
export interface RefusedFrame {
  readonly record: number;
  readonly seqs: readonly number[];
}

/** A call that has frames in the journal and no record. */
export interface OpenCall {
  readonly recordId: string;
  readonly begin: number;
  readonly request: number[];
  readonly response: number[];
  requested?: number;
  judged?: number;
  head?: number;
  /** The last end frame. */
  end?: number;
}

export interface Recovered {
  readonly scan: ScanResult;
  readonly chain: Chain | undefined;
  readonly isCertain: boolean;
  readonly openCalls: readonly OpenCall[];
  /** Damage that no gap record names yet. */
  readonly damage: readonly Damage[];
  /** Calls with frames whose begin is gone. */
  readonly headless: number;
  /** Numbers that no record has in any log and no gap record explains yet. */
  readonly unexplained: Unexplained;
  /** Batches of missed calls that have a gap. */
  readonly missed: ReadonlySet<string>;
}

/** Why a number has no record. */
export type Reason = 'refused' | 'rolled-over';

/** Numbers without a record, each with the reason that a gap record will give. */
export type Unexplained = ReadonlyMap<number, Reason>;

/** Reads the journal. Records that wait go into `backlog`, those that are to be made anew into `rolling`. */
export async function recover(
  disk: SpoolDisk,
  backlog: Backlog,
  rolling: Rolling,
): Promise<Recovered> {
  const state = new Replay(backlog, rolling);
  const scan = await scanJournal(
    disk,
    (frame, position) => state.frame(frame, position),
    (damage) => state.damaged(damage),
  );
  return { scan, ...state.result() };
}

/** The record frames from position `first` to `last`, both included: a backlog's forgotten block. */
export async function findRecords(
  journal: Journal,
  first: number,
  last: number,
): Promise<Waiting[]> {
  const records: Waiting[] = [];
  for await (const { frame, position } of journal.frames(first, last + 1)) {
    if (frame.type !== FRAME.record) continue;
    const { meta } = decodeRecordFrame(frame.payload);
    records.push({ position, begin: meta.begin ?? position });
  }
  return records;
}

/** Runs of whole numbers without a hole, in order: [3, 1, 2, 7] is 1 to 3 and 7 to 7. */
export function runsOf(
  numbers: readonly number[],
): { readonly from: number; readonly to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && n <= last.to + 1) last.to = n;
    else runs.push({ from: n, to: n });
  }
  return runs;
}

class Replay {
  readonly #backlog: Backlog;
  readonly #rolling: Rolling;
  readonly #calls = new Map<string, OpenCall>();
  readonly #headless = new Set<string>();
  readonly #damage: Damage[] = [];
  readonly #unexplained = new Map<number, Reason>();
  readonly #missed = new Set<string>();
  #chain: Chain | undefined;
  #isCertain = true;
  #isDamaged = false;

  constructor(backlog: Backlog, rolling: Rolling) {
    this.#backlog = backlog;
    this.#rolling = rolling;
  }

  damaged(damage: Damage): void {
    this.#damage.push(damage);
    this.#isDamaged = true;
    this.#isCertain = false;
  }

  frame(frame: Frame, position: number): void {
    switch (frame.type) {
      case FRAME.chain:
        this.#goOn(parseFrameJson(frame) as Chain);
        this.#isCertain = true;
        return;
      case FRAME.begin: {
        const call = { recordId: frame.call, begin: position, request: [], response: [] };
        this.#calls.set(frame.call, call);
        return;
      }
      case FRAME.record:
        this.#record(frame, position);
        return;
      case FRAME.logged: {
        const { record } = parseFrameJson(frame) as { record: number };
        this.#backlog.done(record);
        return;
      }
      case FRAME.refused: {
        const { record, seqs } = parseFrameJson(frame) as RefusedFrame;
        this.#backlog.done(record);
        for (const seq of seqs) this.#unexplained.set(seq, 'refused');
        return;
      }
      case FRAME.rolled: {
        const { lost, late, log, next, prev } = parseFrameJson(frame) as RolledFrame;
        this.#rolling.begin(this.#backlog, late);
        for (const seq of lost) this.#unexplained.set(seq, 'rolled-over');
        if (this.#chain !== undefined) this.#chain = { ...this.#chain, log, next, prev };
        return;
      }
      case FRAME.dropped:
        this.#calls.delete(frame.call);
        return;
      default:
        this.#part(frame, position);
    }
  }

  result(): Omit<Recovered, 'scan'> {
    return {
      chain: this.#chain,
      isCertain: this.#isCertain,
      openCalls: [...this.#calls.values()],
      damage: this.#damage,
      headless: this.#headless.size,
      unexplained: this.#unexplained,
      missed: this.#missed,
    };
  }

  /** Where the frame is lost that says that the log ended, every later one says it too. */
  #goOn(chain: Chain): void {
    const hasRolled = this.#chain !== undefined && this.#chain.log !== chain.log;
    if (hasRolled) this.#rolling.begin(this.#backlog, []);
    this.#chain = chain;
  }

  #record(frame: Frame, position: number): void {
    const { meta } = decodeRecordFrame(frame.payload);
    const { source, log, seq, digest, instead_of } = meta;
    this.#goOn({ source, log, next: seq + 1, prev: digest });
    if (instead_of !== undefined) this.#rolling.done(instead_of, { inOrder: !this.#isDamaged });
    // The record names its predecessor, so it also says where the chain stands.
    this.#isCertain = true;
    this.#backlog.push({ position, begin: meta.begin ?? position });
    if (frame.call !== NO_CALL) this.#calls.delete(frame.call);
    for (const { begin, end } of meta.damage ?? []) {
      const at = this.#damage.findIndex((d) => d.begin === begin && d.end === end);
      if (at >= 0) this.#damage.splice(at, 1);
    }
    if (meta.missed !== undefined) this.#missed.add(meta.missed);
    if (meta.explains !== undefined) {
      const { from, to } = meta.explains;
      for (const seq of this.#unexplained.keys()) {
        if (seq >= from && seq < to) this.#unexplained.delete(seq);
      }
    }
  }

  #part(frame: Frame, position: number): void {
    const call = this.#calls.get(frame.call);
    if (call === undefined) {
      // A late content frame of a call that has its record is nothing to report.
      if (this.#damage.length > 0) this.#headless.add(frame.call);
      return;
    }
    if (frame.type === FRAME.request) call.request.push(position);
    else if (frame.type === FRAME.response) call.response.push(position);
    else if (frame.type === FRAME.requested) call.requested = position;
    else if (frame.type === FRAME.judged) call.judged = position;
    else if (frame.type === FRAME.head) call.head = position;
    else if (frame.type === FRAME.end) call.end = position;
  }
}

/** Frames are written by this program and covered by their checksum. */
function parseFrameJson(frame: Frame): unknown {
  return JSON.parse(parseUtf8(frame.payload, 'journal frame'));
}
