/**
 * A round goes to the log, and what comes back is held to what is trusted.
 *
 *     plain plain plain │ content │ content │ plain         one batch, or one request if it is only one;
 *     └── a batch ────┘   └─ one request each ─┘             what has content goes alone
 *
 * One request at a time, so that what a log has of a chain is always its beginning; where there is content,
 * a few at once, since a body may take long. The same statement may be sent as often as one likes.
 */
import { equalBytes } from '../../core/bytes.ts';
import { SteleError } from '../../core/errors.ts';
import type { LogClient } from '../client.ts';
import type { Proof } from './proof.ts';
import type { Item } from './round.ts';
import type { Heard } from './settle.ts';

/** A statement that is on record. */
export interface Logged {
  /** The log that has it: of a series, one of several. */
  readonly origin: string;
  readonly index: number;
  /** As it was logged. */
  readonly entry: Uint8Array;
  /** It was logged before, perhaps by an attempt whose answer was lost. */
  readonly repeat: boolean;
  /**
   * Its receipt. One that was logged in a batch is put together when it is asked for: two more requests for
   * the whole batch.
   */
  receipt(): Promise<Uint8Array>;
}

/** Requests with content at once. */
const CONTENT_AT_ONCE = 8;

export interface ExchangeOptions {
  readonly client: LogClient;
  readonly proof: Proof;
  /** Nothing is sent before what comes before it was answered. */
  readonly inOrder: boolean;
  readonly signal: AbortSignal;
}

type Outcome = Logged | SteleError;

/** What the log said of each, in order. Rejects only where a promise of ours is broken. */
export async function exchange(
  items: readonly Item[],
  options: ExchangeOptions,
): Promise<Pick<Heard<Logged>, 'outcome' | 'unsure'>[]> {
  const parts = partsOf(items);
  const hasContent = parts.some(([first]) => first?.told?.content !== undefined);
  const atOnce = hasContent && !options.inOrder ? CONTENT_AT_ONCE : 1;
  const answers: { readonly outcomes: readonly Outcome[]; readonly unsure: boolean }[] = [];
  let begun = 0;
  let done = 0;
  const work = async () => {
    for (let at = begun++; at < parts.length; at = begun++) {
      // Those before it are done exactly if as many are done as come before it.
      const unsure = done < at;
      answers[at] = { outcomes: await send(parts[at] as Item[], options), unsure };
      done++;
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, parts.length) }, work));
  return answers.flatMap(({ outcomes, unsure }) =>
    outcomes.map((outcome) => ({ outcome, unsure })),
  );
}

/** Runs of items that go in one request. */
function partsOf(items: readonly Item[]): Item[][] {
  const parts: Item[][] = [];
  let isOpen = false;
  for (const item of items) {
    const isPlain = item.told?.content === undefined;
    if (isPlain && isOpen) parts.at(-1)?.push(item);
    else parts.push([item]);
    isOpen = isPlain;
  }
  return parts;
}

async function send(part: readonly Item[], options: ExchangeOptions): Promise<Outcome[]> {
  const [first, second] = part;
  if (first !== undefined && second === undefined) return [await sendOne(first, options)];
  const { client, proof, signal } = options;
  const entries = part.map(({ entry }) => entry);
  const outcomes = await client.submitBatch(entries, { attempts: 1, signal });
  return Promise.all(
    outcomes.map(async (outcome, i): Promise<Outcome> => {
      if (outcome instanceof SteleError) return outcome;
      const item = part[i] as Item;
      // What was signed otherwise is judged by its whole receipt.
      if (!equalBytes(outcome.entry, item.entry)) return sendOne(item, options);
      return errorOf(() => proof.ofBatch(outcome));
    }),
  );
}

async function sendOne(item: Item, { client, proof, signal }: ExchangeOptions): Promise<Outcome> {
  const { entry, told } = item;
  try {
    const { receipt, repeat } = await client.submit(entry, told?.content, signal);
    return errorOf(() => proof.ofReceipt(receipt, entry, repeat));
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}

function errorOf<T>(work: () => T): T | SteleError {
  try {
    return work();
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
}
