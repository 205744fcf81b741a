/**
 * The same record, made anew for another log, or under another number: what changes, and what keeps its place?
 *
 * A record names its log, its number and the record before it, so one that was not logged before its log
 * ended has to be made again for the next one. Everything else stays, the id too: whoever was told it finds
 * the record in whichever log of the series it is. Commitments are to content and not to a log, so
 * disclosures and bodies stay as well.
 *
 *     numbers   … 4 │ 5  6  7  8         5 had not been logged, and 6 had; 7 and 8 had not
 *     old log   … 4 │    6               the chain ends with 8: 7 and 8 keep their numbers
 *     next log      │       7' 8' 9 10   9 is a gap that names 5, and 10 is what was 5
 */
import { parseRecord, type Record } from '../core/record.ts';

/** Where a record stands: its log, its number, and the hash of the record before it. */
export interface Standing {
  readonly log: string;
  readonly seq: number;
  readonly prev: string | null;
}

/** The record of these bytes, made for another place. */
export function remade(payload: Uint8Array, standing: Standing): Record {
  const record = parseRecord(payload);
  const { log, seq, prev } = standing;
  const own = record.source.seq;
  const at = { log, source: { ...record.source, seq, prev } };
  if (record.kind === 'heartbeat') return { ...record, ...at, heartbeat: { seq } };
  if (record.kind === 'gap') {
    const { source, seq_from, seq_to } = record.gap;
    // A gap that misses no number names its own.
    const isOwn = source === record.source.id && seq_from === own && seq_to === own;
    const gap = isOwn ? { ...record.gap, seq_from: seq, seq_to: seq } : record.gap;
    return { ...record, ...at, gap };
  }
  return { ...record, ...at } as Record;
}

/**
 * Which of these numbers, in order, end a chain whose next number is `next`, without one between them that
 * is not among them: from there on nothing behind them is taken, and they can be kept.
 */
export function keptFrom(seqs: readonly number[], next: number): number {
  let from = seqs.length;
  for (let due = next - 1; from > 0 && seqs[from - 1] === due; due--) from--;
  return from;
}
