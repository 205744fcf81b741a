/** What is told of an instance as a witness of other logs: who it is, whom it cosigned, what it refused. */
import { toBase64 } from '../core/bytes.ts';
import { SteleError } from '../core/errors.ts';
import type { JsonObject } from '../core/json.ts';
import { timestamp } from '../log/clock.ts';
import {
  type EvidenceRow,
  hashesOf,
  type WitnessedRow,
  type WitnessedRows,
} from '../storage/witnessed.ts';

/** Logs in one list: those that were cosigned last. */
export const WITNESSED_SHOWN_MAX = 1_000;

/** Refusals that were kept, in one answer: each with two notes. */
export const EVIDENCE_PAGE_MAX = 50;

export interface EvidencePage {
  readonly before?: number | undefined;
  readonly limit?: number;
}

/** Throws `not_found` where the instance never was one. */
export function describeWitness(rows: WitnessedRows): JsonObject {
  const witness = rows.witness();
  if (witness === undefined) throw noWitness();
  return {
    name: witness.name,
    keys: JSON.parse(witness.keys) as string[],
    witnessed: rows.count(),
    logs: rows.list(WITNESSED_SHOWN_MAX).map(describeWitnessed),
  };
}

export function describeEvidence(rows: WitnessedRows, page: EvidencePage): JsonObject[] {
  const { before, limit = EVIDENCE_PAGE_MAX } = page;
  return rows.evidence({ before, limit }).map(describeOne);
}

export function noWitness(): SteleError {
  return new SteleError('not_found', 'this instance is no witness (witness.name)');
}

function describeWitnessed({ origin, size, root, timeS, firstS, times }: WitnessedRow): JsonObject {
  return {
    origin,
    size,
    root: toBase64(root),
    time: timestamp(timeS * 1_000),
    first: timestamp(firstS * 1_000),
    times,
  };
}

function describeOne(row: EvidenceRow): JsonObject {
  const { id, origin, kind, seenS, size, note, held, old, proof } = row;
  return {
    id,
    origin,
    kind,
    seen: timestamp(seenS * 1_000),
    size,
    checkpoint: note,
    ...(held === null ? {} : { held }),
    old,
    proof: hashesOf(proof).map((one) => toBase64(one)),
  };
}
