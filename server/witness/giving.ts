/**
 * A witness for other people's logs: what happens to a checkpoint that somebody sends?
 *
 *     read ── 400 ─► log known? ── 404 ─► signed by it? ── 403 ─► its share? ── 429
 *          ─► judged and written, one transaction for many (`giving-queue.ts`) ── 409, 422
 *          ─► on disk ─► cosigned ─► 200
 *
 * The row is on disk before the cosignature is made. A crash before the commit changes nothing; one after it
 * loses the answer alone: whoever asks again with the old size is told the new one, and gets the cosignature of
 * that. So no two checkpoints that this witness cosigned ever contradict one another (P2).
 *
 * Only lines that were verified are kept and shown: a line in the witness' own name, as anybody may send
 * one, goes no further.
 *
 * [C2SP tlog-witness]
 */
import { utf8 } from '../core/bytes.ts';
import { parseCheckpoint } from '../core/checkpoint.ts';
import { malformed, SteleError, shown } from '../core/errors.ts';
import { formatNote, openParsedNote, parseNote, type VerifierKey } from '../core/note.ts';
import { formatCosignatures, parseAddCheckpoint } from '../core/tlog-witness.ts';
import type { TreeSize } from '../core/units.ts';
import { EVIDENCE_KINDS, type EvidenceKind } from '../core/witness-judge.ts';
import { checkSignatureNative } from '../keys/engine.ts';
import type { WitnessedRow, WitnessedRows } from '../storage/witnessed.ts';
import type { Cosigner } from './giving-keys.ts';
import type { Origins, WitnessedOrigin } from './giving-origins.ts';
import type { JudgeQueue } from './giving-queue.ts';

/** Cosigned notes that are kept to be shown again, of 4 to 8 kB each. */
const SHOWN_MAX = 1_024;

/** What came of requests, for figures. */
export const RESULTS = [
  'cosigned',
  'malformed',
  'unknown_log',
  'unverified',
  'rate',
  'conflict',
  'refused',
  'failed',
] as const;
export type Result = (typeof RESULTS)[number];

export type Answer =
  | { readonly kind: 'cosigned'; readonly lines: string }
  | { readonly kind: 'conflict'; readonly size: TreeSize };

export interface WitnessOptions {
  readonly cosigner: Cosigner;
  readonly origins: Origins;
  readonly queue: JudgeQueue;
  readonly rows: WitnessedRows;
  readonly nowMs: () => number;
  /** Notes outside the database how far it is, before a cosignature of what it has leaves. May throw `storage`. */
  readonly remember: () => void;
  /** Why nothing is cosigned, if nothing is. */
  readonly stopped?: SteleError | undefined;
}

export class Witness {
  readonly #options: WitnessOptions;
  readonly #results = new Map<Result, number>(RESULTS.map((result) => [result, 0]));
  /** By the log's id, the least recently made first. */
  readonly #shown = new Map<string, { readonly row: WitnessedRow; readonly note: string }>();

  constructor(options: WitnessOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.cosigner.name;
  }

  get keys(): readonly VerifierKey[] {
    return this.#options.cosigner.keys;
  }

  get origins(): readonly WitnessedOrigin[] {
    return this.#options.origins.all();
  }

  get stopped(): SteleError | undefined {
    return this.#options.stopped;
  }

  get results(): ReadonlyMap<Result, number> {
    return this.#results;
  }

  /** Rows of evidence by kind. */
  evidenceCounts(): ReadonlyMap<EvidenceKind, number> {
    const counts = new Map<EvidenceKind, number>(EVIDENCE_KINDS.map((kind) => [kind, 0]));
    for (const { kind, rows } of this.#options.rows.evidenceCounts()) {
      counts.set(kind, (counts.get(kind) ?? 0) + rows);
    }
    return counts;
  }

  /** By origin, of those that have any, without proofs that lead nowhere. */
  evidenceByOrigin(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { origin, kind, rows } of this.#options.rows.evidenceCounts()) {
      if (kind !== 'bad_proof') counts.set(origin, (counts.get(origin) ?? 0) + rows);
    }
    return counts;
  }

  list(limit: number): WitnessedRow[] {
    return this.#options.rows.list(limit);
  }

  count(): number {
    return this.#options.rows.count();
  }

  /**
   * Bytes from strangers. Rejects with `malformed`, `not_found` for a log that is not witnessed, `forbidden` if
   * no line of the log holds, `unverified` if it does not continue what was cosigned, `pushback`, `storage`.
   */
  async add(bytes: Uint8Array): Promise<Answer> {
    let result: Result = 'failed';
    try {
      const answer = await this.#add(bytes, (known) => {
        result = known;
      });
      result = answer.kind;
      return answer;
    } finally {
      this.#results.set(result, (this.#results.get(result) ?? 0) + 1);
    }
  }

  async #add(bytes: Uint8Array, fails: (result: Result) => void): Promise<Answer> {
    const { origins, queue, cosigner, nowMs, stopped } = this.#options;
    fails('malformed');
    const { old, proof, checkpoint } = parseAddCheckpoint(bytes);
    const note = parseNote(checkpoint);
    const { text } = note;
    const { origin, size, root } = parseCheckpoint(text, { extensions: true });
    fails('unknown_log');
    const log = origins.get(origin);
    if (log === undefined) {
      throw new SteleError('not_found', `log ${shown(origin)} is not witnessed here`);
    }
    fails('unverified');
    const { signatures } = opened(() =>
      openParsedNote(note, log.keys, { check: checkSignatureNative }),
    );
    fails('malformed');
    if (old > size) throw malformed('add-checkpoint', `old size ${old} is larger than ${size}`);
    fails('failed');
    if (stopped !== undefined) throw stopped;
    fails('rate');
    const kind = old === size ? 'repeat' : 'growth';
    const waitS = log.take(nowMs(), kind);
    if (waitS !== undefined) {
      throw new SteleError(
        'pushback',
        `rate: ${log.perDay} cosignatures a day are made for this log, and more were asked for`,
        { retryAfterS: waitS },
      );
    }
    let isCosigned = false;
    try {
      fails('failed');
      const kept = formatNote({ text, signatures });
      const verdict = await queue.judge({ origin, size, root, old, proof, note: kept });
      if (verdict.kind === 'conflict') return { kind: 'conflict', size: verdict.size };
      fails('refused');
      if (verdict.kind === 'refuse') throw new SteleError('unverified', verdict.rule);
      fails('failed');
      isCosigned = true;
      const { timeS } = verdict;
      const lines = await cosigner.cosign({ text, origin, size, root, timeS });
      return { kind: 'cosigned', lines: formatCosignatures(lines) };
    } finally {
      // Only what was cosigned counts: else old checkpoints, which anybody can send, would use up a log's share.
      if (!isCosigned) log.giveBack(kind);
    }
  }

  /** The newest cosigned checkpoint of a log, by the SHA-256 of its origin; nothing where there is none. */
  async newest(id: Uint8Array, hex: string): Promise<string | undefined> {
    const { rows, cosigner, remember } = this.#options;
    const row = rows.get(id);
    if (row === undefined) return undefined;
    const known = this.#shown.get(hex);
    if (known?.row.timeS === row.timeS && known.row.note === row.note) return known.note;
    const { text, signatures } = parseNote(utf8(row.note));
    const { origin, size, root, timeS } = row;
    // A row can be there of which nobody was told: the process died, or could not note it outside.
    remember();
    // The same statement once more: what the row says is what was cosigned, or would have been but for a crash.
    const lines = await cosigner.cosign({ text, origin, size, root, timeS });
    const note = formatNote({ text, signatures: [...signatures, ...lines] });
    this.#shown.delete(hex);
    this.#shown.set(hex, { row, note });
    if (this.#shown.size > SHOWN_MAX) {
      const [oldest = ''] = this.#shown.keys();
      this.#shown.delete(oldest);
    }
    return note;
  }

  async close(): Promise<void> {
    await this.#options.queue.close();
    await this.#options.cosigner.close();
  }
}

/** SPEC: no line of a known key, or one that does not hold: 403, and not what other proofs get that fail. */
function opened<T>(open: () => T): T {
  try {
    return open();
  } catch (cause) {
    if (!(cause instanceof SteleError)) throw cause;
    throw new SteleError('forbidden', cause.message, { cause });
  }
}
