/**
 * What does an audit record say, and is it one?
 *
 * A record is one JSON object in JCS [RFC 8785], schema `stele.record/1`, closed: an unknown member is
 * refused, so that nothing is logged that no reader would look at. It names its log, so that a record
 * made for one log is not taken by another. The kinds are in `record/`; docs/formats.md lists every
 * member, value and commitment name.
 *
 *     inference intent              a model call, or the intent to make one        record/inference.ts
 *     genesis key policy            control: who may say what                      record/control.ts
 *     gap heartbeat access erasure
 *     hold annotation report admin  everything beside the calls                    record/companion.ts
 */
import { utf8 } from './bytes.ts';
import { canonicalize, parseCanonical } from './canonical.ts';
import { malformed, shown } from './errors.ts';
import { isJsonObject, type Json } from './json.ts';
import { contradiction } from './record/commitments.ts';
import {
  type AccessRecord,
  type AdminRecord,
  type AnnotationRecord,
  access,
  admin,
  annotation,
  type ErasureRecord,
  erasure,
  type GapRecord,
  gap,
  type HeartbeatRecord,
  type HoldRecord,
  heartbeat,
  hold,
  type ReportRecord,
  report,
} from './record/companion.ts';
import {
  type GenesisRecord,
  genesis,
  type KeyRecord,
  key,
  type PolicyRecord,
  policy,
} from './record/control.ts';
import { type InferenceRecord, type IntentRecord, inference, intent } from './record/inference.ts';
import { flawError, read, type Shape } from './schema.ts';

export { commitmentsOf } from './record/commitments.ts';
export type * from './record/companion.ts';
export type * from './record/control.ts';
export { CONTROL_SOURCE } from './record/fields.ts';
export type * from './record/inference.ts';
export { isCommitmentName } from './record/names.ts';
export { RECORD_TYPE } from './statement.ts';

export type Record =
  | InferenceRecord
  | IntentRecord
  | GenesisRecord
  | KeyRecord
  | PolicyRecord
  | GapRecord
  | HeartbeatRecord
  | AccessRecord
  | ErasureRecord
  | HoldRecord
  | AnnotationRecord
  | ReportRecord
  | AdminRecord;

export type Kind = Record['kind'];

const SHAPES: { readonly [K in Kind]: Shape<Extract<Record, { readonly kind: K }>> } = {
  inference,
  intent,
  genesis,
  key,
  policy,
  gap,
  heartbeat,
  access,
  erasure,
  hold,
  annotation,
  report,
  admin,
};

export const KINDS = Object.keys(SHAPES) as readonly Kind[];

const WHAT = 'record';

/**
 * Reads a record from a stranger's bytes; throws `malformed` with the place, the value and the rule.
 * With `log`, a record made for another log is refused.
 */
export function parseRecord(payload: Uint8Array, log?: string): Record {
  const record = checked(parseCanonical(payload, WHAT, { integersOnly: true }));
  if (log !== undefined && record.log !== log) {
    throw malformed(WHAT, `it was made for log ${shown(record.log)} and not for ${shown(log)}`);
  }
  return record;
}

/** The bytes of a record; throws `malformed` if it is none. */
export function formatRecord(record: Record): Uint8Array {
  // A record is JSON by its shape; only its type is not spelled so.
  return utf8(canonicalize(checked(record as unknown as Json) as unknown as Json));
}

/** Whether records of this kind come from the log's own control path only. */
export function isControlKind(kind: Kind): kind is 'genesis' | 'key' | 'policy' {
  return kind === 'genesis' || kind === 'key' || kind === 'policy';
}

function checked(json: Json): Record {
  const kind = isJsonObject(json) ? json.kind : undefined;
  const shape =
    typeof kind === 'string' && Object.hasOwn(SHAPES, kind) ? SHAPES[kind as Kind] : undefined;
  if (shape === undefined) {
    throw flawError({ path: 'kind', rule: `not one of ${KINDS.join(', ')}` }, WHAT);
  }
  const record = read(shape as Shape<Record>, json, WHAT);
  const flaw = contradiction(record);
  if (flaw !== undefined) throw flawError(flaw, WHAT);
  return record;
}
