/**
 * Does a witness have another history of this log?
 *
 * It says so by a size that the log never had, by a root that is not the log's, and beyond doubt by a checkpoint
 * with the log's own signature that the log's tree does not lead to. What it only says may be false, and stops the
 * log all the same: where the log cannot know, it does not sign (P2). It counts for as long as the policy names
 * the witness; what carries the log's own signature counts for good.
 */
import { equalBytes, toBase64, utf8 } from '../core/bytes.ts';
import { openCheckpoint } from '../core/checkpoint.ts';
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import type { SignatureCheck } from '../core/signature.ts';
import type { Hash, TreeSize } from '../core/units.ts';
import type { VerifierKey } from '../core/verifier-key.ts';
import type { ServedHead } from './served.ts';

/** A log as far as a witness' word is held to it. */
export interface JudgedLog {
  readonly origin: string;
  head(): { readonly size: TreeSize };
  headAt(size: TreeSize): Promise<{ readonly root: Hash }>;
  /** Every key that it ever had. */
  ownKeys(): readonly { readonly key: VerifierKey }[];
}

/** A witness has another history of the log; what it is held against is in `evidence`. */
export class Disputed extends Error {
  readonly evidence: JsonObject;

  constructor(message: string, evidence: JsonObject) {
    super(message);
    this.name = 'Disputed';
    this.evidence = evidence;
  }
}

/** What was asked of a witness, and what it said to that. */
export interface Claim {
  readonly witness: string;
  /** In words, for people. */
  readonly said: string;
  readonly atMs: number;
  readonly old: TreeSize;
  readonly size: number;
  /** As it was shown. */
  readonly note: string;
  readonly status: number;
  readonly answer: Uint8Array;
}

/**
 *     agrees     the log signed it, and its tree leads to it
 *     other      the log's own signature is on it, and its tree does not lead to it
 *     unsigned   no key of the log's signed it, so it proves nothing
 */
export type Standing = 'agrees' | 'other' | 'unsigned';

/** How a head that a witness serves stands to the log. */
export async function standingOf(
  { note, size, root }: ServedHead,
  log: JudgedLog,
  check?: SignatureCheck,
): Promise<Standing> {
  const keys = log.ownKeys().map(({ key }) => key);
  try {
    openCheckpoint(utf8(note), log.origin, keys, {
      extensions: true,
      ...(check === undefined ? {} : { check }),
    });
  } catch (error) {
    if (error instanceof SteleError) return 'unsigned';
    throw error;
  }
  if (size > log.head().size) return 'other';
  return equalBytes((await log.headAt(size)).root, root) ? 'agrees' : 'other';
}

/** What is kept, for the operator and for whoever judges it. */
export function evidenceOf(claim: Claim, served: string | undefined): JsonObject {
  return {
    witness: claim.witness,
    said: claim.said,
    time: new Date(claim.atMs).toISOString(),
    proven: served !== undefined,
    asked: { old: claim.old, size: claim.size, checkpoint: claim.note },
    answered: { status: claim.status, body: toBase64(claim.answer) },
    ...(served === undefined ? {} : { checkpoint: served }),
  };
}

/** Why a log signs nothing more. */
export function disputeError(log: string, witness: string, said: string): SteleError {
  return new SteleError(
    'split_view',
    `log ${log} signs nothing more: witness ${witness} ${said}. Another copy of the log may be signing: ` +
      `"stele witness list --log ${log}" shows what is known`,
  );
}
