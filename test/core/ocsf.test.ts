/** OCSF events: one for each entry, with what the record says and nothing that it does not. */
import { describe, expect, test } from 'vitest';
import { toHex, utf8 } from '../../server/core/bytes.ts';
import { encodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { formatOcsf } from '../../server/core/ocsf.ts';
import { type Record as AuditRecord, formatRecord } from '../../server/core/record.ts';
import { heartbeatRecord, inferenceRecord } from '../verify/make.ts';

const ORIGIN = 'example.org/logs/a';

function entryOf(payloadType: string, payload: Uint8Array): Uint8Array {
  const signatures = [{ keyid: 'ab'.repeat(32), sig: new Uint8Array(64).fill(7) }];
  return encodeEntry({ payloadType, payload, signatures });
}

const recordEntry = (record: AuditRecord) => entryOf(RECORD_TYPE, formatRecord(record));

/** What every class needs [OCSF base event], and that types are made of class and activity. */
function checkBase(event: Record<string, unknown>): void {
  for (const name of [
    'category_uid',
    'class_uid',
    'activity_id',
    'type_uid',
    'time',
    'severity_id',
  ]) {
    expect(Number.isSafeInteger(event[name]), name).toBe(true);
  }
  expect(event.type_uid).toBe(Number(event.class_uid) * 100 + Number(event.activity_id));
  expect(event.metadata).toMatchObject({
    version: '1.8.0',
    product: { name: 'Stele', vendor_name: 'Stele' },
    log_name: ORIGIN,
  });
}

function eventOf(index: number, entry: Uint8Array): Record<string, unknown> {
  const line = formatOcsf(index, entry, ORIGIN);
  expect(line).not.toContain('\n');
  expect(line).not.toContain('null');
  const event = JSON.parse(line) as Record<string, unknown>;
  checkBase(event);
  expect(event.unmapped).toMatchObject({ index, leaf_hash: toHex(leafHash(entry)) });
  return event;
}

describe('the event of a call', () => {
  const plain = inferenceRecord(ORIGIN);

  test('says who called which model, when, and how it ended', () => {
    const record: AuditRecord = {
      ...plain,
      ids: { ...plain.ids, conversation: 'c-1' },
      auth: { ...plain.auth, principal_type: 'service', credential: 'k1' },
      model: { ...plain.model, requested: 'gpt-4o-mini', served: 'gpt-4o-mini-2024' },
      metrics: { ...plain.metrics, input_tokens: 11, output_tokens: 5 },
      outcome: { status: 'ok', http_status: 200 },
      output: { format: 'openai.chat', refused: false, finish_reasons: ['stop'] },
    };
    expect(eventOf(7, recordEntry(record))).toMatchObject({
      class_uid: 6003,
      activity_name: 'chat',
      time: Date.parse(record.time.received),
      duration: 1958,
      severity_id: 1,
      status_id: 1,
      status_code: '200',
      actor: { app_name: 'gateway-1', user: { type: 'service', credential_uid: 'k1' } },
      src_endpoint: { name: 'gateway-1' },
      api: { operation: 'chat', service: { name: 'openai' }, request: { uid: 'req-1' } },
      ai_model: { model_name: 'gpt-4o-mini-2024', ai_provider: 'openai' },
      message_context: { uid: 'c-1', prompt_tokens: 11, completion_tokens: 5, total_tokens: 16 },
      stop_reason: 'stop',
      metadata: { uid: record.record_id, sequence: 7, profiles: ['ai_operation'] },
      unmapped: { tenant: 'default', source_seq: 0 },
    });
  });

  test('leaves out what the record does not say', () => {
    const event = eventOf(7, recordEntry(plain));
    expect(event).toMatchObject({ severity_id: 2, status_id: 2, status: 'Failure' });
    expect(event).not.toHaveProperty('status_code');
    expect(event).not.toHaveProperty('stop_reason');
    expect(event.message_context).toEqual({ service: { name: 'openai' }, ai_role_id: 2 });
  });

  test('of which a rule found something is graver than one that failed', () => {
    const event = { stage: 'input', verdict: 'violation', action: 'redact', id: 'pii' };
    const flagged = eventOf(7, recordEntry({ ...plain, policy: { events: [event] } }));
    expect(flagged).toMatchObject({ severity_id: 3, unmapped: { policy_events: [event] } });
  });
});

test('the event of any other record has its kind and what it says', () => {
  expect(eventOf(3, recordEntry(heartbeatRecord(ORIGIN, 4)))).toMatchObject({
    class_uid: 0,
    activity_name: 'heartbeat',
    severity_id: 1,
    unmapped: { kind: 'heartbeat', heartbeat: { seq: 4 }, source: 'gateway-1', source_seq: 4 },
  });
  const { heartbeat: _, ...common } = heartbeatRecord(ORIGIN, 9);
  const gap = { reason: 'crash', source: 'gateway-1', seq_from: 5, seq_to: 8 };
  const record = { ...common, kind: 'gap', gap } as AuditRecord;
  expect(eventOf(3, recordEntry(record))).toMatchObject({ severity_id: 3, unmapped: { gap } });
});

test('the event of a statement that is no record has no time and none of its payload', () => {
  const event = eventOf(9, entryOf('text/plain', utf8('the secret plan')));
  expect(event).toMatchObject({ time: 0, unmapped: { payload_type: 'text/plain' } });
  expect(JSON.stringify(event)).not.toContain('secret');
});
