/**
 * One question to one witness, and what its answer means. What it means for the log is in `asking.ts`.
 *
 *     200   lines                          it cosigned: nothing of it is verified here
 *     409   text/x.tlog.size               it has another size than `old`
 *     409   anything else, and 422         it has another root for a size than the proof begins with
 *     403, 404                             it does not know the log, or its key
 *     408, 429, 5xx, no answer             later
 *     anything else                        the request is wrong in its eyes
 *
 * [C2SP tlog-witness]
 */
import { parseUtf8 } from '../core/bytes.ts';
import { hasCode } from '../core/errors.ts';
import { COSIGNATURES_BYTES_MAX, parseTlogSize, TLOG_SIZE_TYPE } from '../core/tlog-witness.ts';
import type { TreeSize } from '../core/units.ts';
import type { Answered, Outbound } from '../outbound.ts';
import type { Witness } from './witness.ts';

export type Said =
  | { readonly kind: 'lines'; readonly bytes: Uint8Array }
  | { readonly kind: 'size'; readonly size: TreeSize }
  | { readonly kind: 'other root'; readonly status: number; readonly bytes: Uint8Array };

/**
 * Why a witness gave nothing.
 *
 *     retry     no answer, or not now: asked again, after `afterS` where it says so
 *     stranger  it does not know the log: somebody has to see to that first
 *     refused   no retry of this very request helps
 */
export class WitnessError extends Error {
  readonly kind: 'retry' | 'stranger' | 'refused';
  readonly afterS: number | undefined;

  constructor(kind: WitnessError['kind'], message: string, afterS?: number) {
    super(message);
    this.name = 'WitnessError';
    this.kind = kind;
    this.afterS = afterS;
  }
}

/** How witnesses are reached. */
export interface Reach {
  readonly outbound: Pick<Outbound, 'ask'>;
  /** Milliseconds for one whole exchange. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Rejects with `WitnessError`, or with `storage` where there is no whole answer. */
export async function askWitness(
  { url }: Witness,
  request: Uint8Array,
  { outbound, timeoutMs, signal }: Reach,
): Promise<Said> {
  const answered = await outbound.ask(`${url}/add-checkpoint`, {
    method: 'POST',
    body: request,
    headers: { 'content-type': 'application/octet-stream' },
    maxBytes: COSIGNATURES_BYTES_MAX,
    timeoutMs,
    signal,
  });
  const { status, bytes, retryAfterS } = answered;
  if (status === 200) return { kind: 'lines', bytes };
  if (status === 409 && typeOf(answered) === TLOG_SIZE_TYPE) {
    return { kind: 'size', size: sizeIn(bytes) };
  }
  if (status === 409 || status === 422) return { kind: 'other root', status, bytes };
  const why = `it answered ${status}${wordsOf(bytes)}`;
  if (status === 403 || status === 404) {
    throw new WitnessError('stranger', `it does not take heads of this log: ${why}`, retryAfterS);
  }
  const isLater = status === 408 || status === 429 || status >= 500;
  throw new WitnessError(isLater ? 'retry' : 'refused', why, retryAfterS);
}

/** The type alone: some servers add a charset. */
function typeOf({ header }: Answered): string | undefined {
  return header('content-type')?.split(';')[0]?.trim().toLowerCase();
}

function sizeIn(bytes: Uint8Array): TreeSize {
  try {
    return parseTlogSize(bytes);
  } catch (error) {
    if (!hasCode(error, 'malformed')) throw error;
    throw new WitnessError('retry', `it answered 409, and ${error.message}`);
  }
}

const WORDS_MAX = 200;

/** What it says about it, where that is text, cut and on one line. */
function wordsOf(bytes: Uint8Array): string {
  try {
    const words = parseUtf8(bytes.subarray(0, 4 * WORDS_MAX), 'answer')
      .replace(/[\s\p{C}]+/gu, ' ')
      .trim();
    return words === '' ? '' : `: ${words.slice(0, WORDS_MAX)}`;
  } catch (error) {
    if (hasCode(error, 'malformed')) return '';
    throw error;
  }
}
