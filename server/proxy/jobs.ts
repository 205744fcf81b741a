/** What waits to become a record. */
import type { IntendedCall } from './intent.ts';
import type { Damage } from './journal/scan.ts';
import type { LiveFacts } from './record.ts';

/** A call whose end frame is on disk. */
export interface EndedCall {
  readonly recordId: string;
  readonly beginPosition: number;
  readonly endPosition: number;
  /** Bytes of its bodies, where they are known without reading. */
  readonly bytes?: number;
  /** What is still in memory; without it the call is read back. */
  live?: LiveFacts | undefined;
}

export interface GapFacts {
  readonly reason: string;
  readonly source?: string;
  /** First and last missing seq; the gap's own where no number is missing. */
  readonly seqs?: { readonly from: number; readonly to: number };
  readonly time?: { readonly fromUs: number; readonly toUs: number };
  readonly count?: number;
  readonly damage?: readonly Damage[];
  readonly replaces?: string;
  /** The batch of calls that it counts. */
  readonly missed?: string;
}

export type Job =
  | { readonly kind: 'call'; readonly call: EndedCall }
  | { readonly kind: 'intent'; readonly intent: IntendedCall }
  | { readonly kind: 'gap'; readonly gap: GapFacts }
  | { readonly kind: 'heartbeat' };

/** What has no content. */
export type PlainJob = Extract<Job, { kind: 'gap' | 'heartbeat' }>;

/** What a call of unknown size counts as. */
const UNKNOWN_BYTES = 8_388_608;

export function bytesOf({ bytes = UNKNOWN_BYTES }: EndedCall): number {
  return bytes;
}

/** The gap that stands for what cannot be read back. Its id says when it was. */
export function unreadable(recordId: string, reason: string): PlainJob {
  const made = Number.parseInt(recordId.replaceAll('-', '').slice(0, 12), 16) * 1_000;
  const time = { fromUs: made, toUs: made };
  return { kind: 'gap', gap: { reason, count: 1, time } };
}
