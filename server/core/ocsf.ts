/**
 * How does one entry look to a SIEM that speaks OCSF?
 *
 *     inference   API Activity [6003], profile ai_operation: the call, who made it, which model, how it ended
 *     all else    Base Event [0]: what kind of record it is, and the record itself under `unmapped`
 *
 * An event is a view for searching and alarms, and proves nothing: it has the entry's index and leaf hash,
 * under which the log has the rest. It follows from the index, the entry and the origin alone, so an
 * entry has one event. What a record does not say is left out, never made up.
 *
 * [OCSF 1.8] https://schema.ocsf.io/1.8.0
 */
import { toHex } from './bytes.ts';
import { decodeEntry, type Entry, RECORD_TYPE } from './entry.ts';
import type { Json, JsonObject } from './json.ts';
import { leafHash } from './merkle.ts';
import { type Record as AuditRecord, type InferenceRecord, parseRecord } from './record.ts';

const VERSION = '1.8.0';

/** The event of the entry at `index` of the log `origin`, as one line of JSON without its end. */
export function formatOcsf(index: number, bytes: Uint8Array, origin: string): string {
  const entry = decodeEntry(bytes);
  const record = entry.payloadType === RECORD_TYPE ? parseRecord(entry.payload) : undefined;
  const place = { index, leaf_hash: toHex(leafHash(bytes)) };
  const event =
    record === undefined
      ? opaqueEvent(entry)
      : record.kind === 'inference'
        ? callEvent(record)
        : recordEvent(record);
  const { unmapped, ...members } = event;
  return JSON.stringify({
    ...members,
    metadata: metadataOf(index, origin, record),
    unmapped: { ...place, ...unmapped },
  });
}

type Event = JsonObject & { readonly unmapped: JsonObject };

function metadataOf(index: number, origin: string, record: AuditRecord | undefined): JsonObject {
  return {
    version: VERSION,
    product: {
      name: 'Stele',
      vendor_name: 'Stele',
      ...(record === undefined ? {} : { feature: { name: record.source.software } }),
    },
    log_name: origin,
    sequence: index,
    ...(record === undefined ? {} : { uid: record.record_id, original_time: record.time.received }),
    ...(record?.kind === 'inference' ? { profiles: ['ai_operation'] } : {}),
  };
}

/** Informational, low, medium: what nobody has to look at, what did not go well, what a rule found. */
const SEVERITY = { info: 1, low: 2, medium: 3 } as const;

function callEvent(record: InferenceRecord): Event {
  const { source, time, auth, model, policy, metrics, outcome, ids } = record;
  const isGood = outcome.status === 'ok';
  const isFlagged = Array.isArray(policy.events)
    ? policy.events.some(({ verdict }) => verdict === 'violation' || verdict === 'flag')
    : true;
  return {
    category_uid: 6,
    category_name: 'Application Activity',
    class_uid: 6_003,
    class_name: 'API Activity',
    activity_id: 99,
    activity_name: model.operation,
    type_uid: 600_399,
    time: Date.parse(time.received),
    start_time: Date.parse(time.received),
    end_time: Date.parse(time.completed),
    duration: Math.round(metrics.duration_us / 1_000),
    severity_id: isFlagged ? SEVERITY.medium : isGood ? SEVERITY.info : SEVERITY.low,
    status_id: isGood ? 1 : 2,
    status: isGood ? 'Success' : 'Failure',
    status_detail: outcome.status,
    ...(outcome.http_status === undefined ? {} : { status_code: String(outcome.http_status) }),
    actor: {
      app_name: source.id,
      user: {
        type: auth.principal_type,
        ...(auth.credential === undefined ? {} : { credential_uid: auth.credential }),
      },
    },
    src_endpoint: { name: source.id, instance_uid: source.instance },
    api: {
      operation: model.operation,
      service: { name: model.provider },
      request: { uid: ids.gateway_request },
      response: responseOf(outcome),
    },
    ai_model: {
      model_name: model.served ?? model.requested ?? 'unknown',
      ai_provider: model.provider,
    },
    message_context: contextOf(record),
    ...stopOf(record),
    unmapped: {
      kind: record.kind,
      tenant: auth.tenant,
      source_seq: source.seq,
      completeness: source.completeness,
      ...(isFlagged ? { policy_events: policy.events as unknown as Json } : {}),
    },
  };
}

function responseOf({
  http_status,
  error_type,
  error_code,
}: InferenceRecord['outcome']): JsonObject {
  return {
    ...(http_status === undefined ? {} : { code: http_status }),
    ...(error_type === undefined ? {} : { error: error_type }),
    ...(error_code === undefined ? {} : { message: error_code }),
  };
}

function contextOf({ ids, model, metrics }: InferenceRecord): JsonObject {
  const { input_tokens: input, output_tokens: output } = metrics;
  return {
    service: { name: model.provider },
    ai_role_id: 2,
    ...(ids.conversation === undefined ? {} : { uid: ids.conversation }),
    ...(input === undefined ? {} : { prompt_tokens: input }),
    ...(output === undefined ? {} : { completion_tokens: output }),
    ...(input === undefined || output === undefined ? {} : { total_tokens: input + output }),
  };
}

function stopOf({ output }: InferenceRecord): JsonObject {
  const reasons = output?.finish_reasons;
  const [first] = Array.isArray(reasons) ? reasons : [];
  return first === undefined ? {} : { stop_reason: first };
}

function baseEvent(activity: string, message: string, time: number | undefined): JsonObject {
  return {
    category_uid: 0,
    category_name: 'Uncategorized',
    class_uid: 0,
    class_name: 'Base Event',
    activity_id: 99,
    activity_name: activity,
    type_uid: 99,
    // An event must have a time; where the entry has none, this says that it is not known.
    time: time ?? 0,
    message,
  };
}

/** Gaps are what somebody should look at. */
function recordEvent(record: AuditRecord): Event {
  const { kind, source, time } = record;
  const said = (record as unknown as JsonObject)[kind] ?? {};
  return {
    ...baseEvent(kind, `${kind} of ${source.id}`, Date.parse(time.received)),
    severity_id: kind === 'gap' ? SEVERITY.medium : SEVERITY.info,
    unmapped: { kind, source: source.id, source_seq: source.seq, [kind]: said },
  };
}

function opaqueEvent({ payloadType, signatures }: Entry): Event {
  return {
    ...baseEvent('statement', `statement of type ${payloadType}`, undefined),
    severity_id: SEVERITY.info,
    unmapped: { payload_type: payloadType, keyids: signatures.map(({ keyid }) => keyid) },
  };
}
