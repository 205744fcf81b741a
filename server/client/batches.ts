/**
 * Sending many entries: in as few requests as their number and bytes allow, and again, alone, what a full
 * queue or a full disk kept out.
 */
import { equalBytes } from '../core/bytes.ts';
import { invariant, malformed, SteleError } from '../core/errors.ts';
import { ENTRY_BYTES_MAX } from '../core/limits.ts';
import { leafHash } from '../core/merkle.ts';
import { parseReceipt } from '../core/receipt.ts';
import {
  answerBytesMax,
  type BatchResult,
  encodeBatch,
  openBatchAnswer,
  type Proven,
  partsOf,
} from './batch.ts';
import { isPassing, type RetryOptions, retrying } from './retrying.ts';
import type { Transport } from './transport.ts';

/** What became of an entry: its proven place, or the error that keeps it out. */
export type Outcome = Proven | SteleError;

/** Milliseconds for a batch: ten thousand signatures to be checked, perhaps by a machine that is busy. */
const TIMEOUT_MS = 60_000;

/** Receipts that are asked for at once, of repeats that were signed otherwise. */
const RECEIPTS_AT_ONCE = 16;

export interface BatchPorts {
  readonly http: Transport;
  /** Submits one alone, and gives its receipt. */
  readonly submit: (
    entry: Uint8Array,
    signal: AbortSignal | undefined,
  ) => Promise<{ readonly receipt: Uint8Array }>;
}

/** One outcome for each entry, in order. Rejects only where somebody broke a promise of ours. */
export async function submitMany(
  ports: BatchPorts,
  entries: readonly Uint8Array[],
  retry: RetryOptions,
): Promise<Outcome[]> {
  const outcomes: (Outcome | undefined)[] = entries.map(unfit);
  const attempt = async () => {
    const waiting = entries.flatMap((entry, i) =>
      outcomes[i] === undefined || isPassing(outcomes[i]) ? [{ entry, i }] : [],
    );
    for (const part of partsOf(waiting, ({ entry }) => entry.length)) {
      const sent = part.map(({ entry }) => entry);
      const answered = await submitPart(ports, sent, retry.signal);
      for (const [at, { i }] of part.entries()) outcomes[i] = answered[at];
    }
    const passing = longestWait(outcomes.filter(isPassing));
    if (passing !== undefined) throw passing;
  };
  await retrying(attempt, retry).catch((error: unknown) => {
    if (!isPassing(error)) throw error;
  });
  return outcomes.map((outcome) => {
    invariant(outcome !== undefined, 'every entry was sent');
    return outcome;
  });
}

/** What no request could carry is not sent. */
function unfit({ length }: Uint8Array): SteleError | undefined {
  if (length === 0) return malformed('entry', 'it is empty');
  if (length <= ENTRY_BYTES_MAX) return undefined;
  return new SteleError(
    'too_large',
    `entry: ${length} bytes where at most ${ENTRY_BYTES_MAX} are taken`,
  );
}

function longestWait(errors: readonly SteleError[]): SteleError | undefined {
  return errors.toSorted((a, b) => (b.retryAfterS ?? 0) - (a.retryAfterS ?? 0))[0];
}

/** One request. Where it fails as a whole, each entry has its error. */
async function submitPart(
  { http, submit }: BatchPorts,
  entries: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<Outcome[]> {
  try {
    const { bytes } = await http.ask('/v1/entries/batch', {
      method: 'POST',
      headers: { 'content-type': 'application/protobuf' },
      body: encodeBatch(entries),
      maxBytes: answerBytesMax(entries.length),
      timeoutMs: TIMEOUT_MS,
      signal,
    });
    const results = openBatchAnswer(bytes, entries);
    const outcomes: Outcome[] = [];
    for (let at = 0; at < results.length; at += RECEIPTS_AT_ONCE) {
      const some = results.slice(at, at + RECEIPTS_AT_ONCE).map((result, i) => {
        const entry = entries[at + i] as Uint8Array;
        return result instanceof SteleError ? result : provenAs(entry, result, submit, signal);
      });
      outcomes.push(...(await Promise.all(some)));
    }
    return outcomes;
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    return entries.map(() => error);
  }
}

/**
 * A proof leads from a leaf. Of a repeat that may be another one than that of the entry which was sent, and
 * whether its statement is the same can only be seen in its receipt.
 */
async function provenAs(
  entry: Uint8Array,
  { leafHash: leaf, ...result }: BatchResult,
  submit: BatchPorts['submit'],
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  if (equalBytes(leaf, leafHash(entry))) return { ...result, entry };
  try {
    const { receipt } = await submit(entry, signal);
    const { entry: first, index, proof, checkpoint } = parseReceipt(receipt);
    return { entry: first, index, proof, checkpoint, repeat: true };
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}
