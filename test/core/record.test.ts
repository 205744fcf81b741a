import { describe, expect, it } from 'vitest';
import { parseUtf8, sha256, toBase64, toBase64url, toHex, utf8 } from '../../server/core/bytes.ts';
import { canonicalize } from '../../server/core/canonical.ts';
import { type Json, parseJson } from '../../server/core/json.ts';
import { ed25519Spki } from '../../server/core/keys.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { COMMITMENT_NAMES } from '../../server/core/record/names.ts';
import {
  type Record as AuditRecord,
  commitmentsOf,
  formatRecord,
  isCommitmentName,
  isControlKind,
  KINDS,
  parseRecord,
} from '../../server/core/record.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { commonMembers, heartbeatRecord, inferenceRecord } from '../verify/make.ts';
import { expectOneSpelling } from './near-miss.ts';

const LOG = 'example.org/logs/a';
const DIG = 'uHXUXHdA6ir1xwl2O1x9K-GGVDfIlQ8I-YMCUejBthk';
const ID = '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f';
const TS = '2026-09-01T10:15:30.123456Z';
const spki = toBase64(ed25519Spki(new Uint8Array(32).fill(9)));
const vkey = `${LOG}+01020304+${toBase64(new Uint8Array(33).fill(1))}`;
const rules = { payload_types: ['text/plain'], continuity: 'flag' } as const;

/** One record of each kind, with every optional member of its own. */
const examples = {
  inference: {
    ...inferenceRecord(LOG, { 'request.body': DIG, 'policy.0.reason': DIG }),
    output: {
      format: 'openai.chat',
      refused: false,
      finish_reasons: ['stop'],
      choices: 1,
      bytes_class: 11,
      stream: { terminated: 'done', events: 3 },
      tool_calls: [{ id: 'call_1', name: 'f', args_commit: DIG }, {}],
    },
    effects: [{ type: 'email', target_commit: DIG, ok: true }],
    policy: {
      version: 'v1',
      digest: 'sha256:00',
      events: [
        {
          id: '1',
          rule: 'pii',
          stage: 'input',
          verdict: 'flag',
          action: 'redact',
          category: 'pii',
          score_milli: 900,
          modified: true,
          reason_commit: DIG,
        },
      ],
    },
  },
  intent: (() => {
    const { metrics, outcome, policy, retention, model, time, ...rest } = inferenceRecord(LOG);
    const { received, clock } = time;
    return { ...rest, kind: 'intent', time: { received, clock }, model };
  })(),
  genesis: {
    ...commonMembers(LOG, { id: '_log' }),
    kind: 'genesis',
    genesis: {
      origin: LOG,
      log_keys: [vkey],
      operator: { alg: 'ed25519', spki },
      rules,
      previous: { origin: 'example.org/logs/a-2025', size: 7, root: toBase64(sha256(utf8('x'))) },
    },
  },
  key: {
    ...commonMembers(LOG, { id: '_log', seq: 1, prev: DIG }),
    kind: 'key',
    key: {
      action: 'register',
      purpose: 'gateway',
      alg: 'ed25519',
      spki,
      keyid: 'a'.repeat(64),
      not_before: TS,
      not_after: TS,
      source: 'gateway-1',
    },
  },
  policy: {
    ...commonMembers(LOG, { id: '_log', seq: 2, prev: DIG }),
    kind: 'policy',
    policy: { rules, retention: [{ class: 'default', content: 'P6M' }], reviewed: TS },
  },
  gap: {
    ...commonMembers(LOG, { id: 'gateway-2' }),
    kind: 'gap',
    gap: {
      reason: 'journal-lost',
      source: 'gateway-1',
      seq_from: 3,
      seq_to: 9,
      time_from: TS,
      time_to: TS,
      count: 7,
    },
  },
  heartbeat: heartbeatRecord(LOG, 3),
  access: {
    ...commonMembers(LOG, { id: 'access' }),
    kind: 'access',
    access: {
      log: LOG,
      record_id: ID,
      fields: ['request.body'],
      reason: 'ticket 7',
      holder: 'ann',
      source: 'gateway-1',
    },
  },
  erasure: {
    ...commonMembers(LOG, { id: 'server' }),
    kind: 'erasure',
    erasure: {
      records: [ID],
      fields: ['request.body', 'principal.id'],
      ground: 'GDPR Art. 17(1)(a)',
      requested: TS,
      executed: TS,
      approver: 'bob',
      role: 'admin',
      backups_until: TS,
    },
  },
  hold: {
    ...commonMembers(LOG, { id: 'server' }),
    kind: 'hold',
    hold: {
      action: 'place',
      id: 'case-1',
      reason: 'litigation',
      holder: 'ann',
      role: 'admin',
      records: [ID],
    },
  },
  annotation: {
    ...commonMembers(LOG, { id: 'review' }),
    kind: 'annotation',
    annotation: {
      records: [ID],
      type: 'human-review',
      role: 'reviewer',
      verdict: 'upheld',
      reviewer_commit: DIG,
      reason_commit: DIG,
      effect: { type: 'payment', ok: false, id: 'p1' },
    },
  },
  report: {
    ...commonMembers(LOG, { id: 'server' }),
    kind: 'report',
    report: { type: 'evidence', digest: DIG, role: 'auditor', records: [ID], from: TS, to: TS },
  },
  admin: {
    ...commonMembers(LOG, { id: 'admin' }),
    kind: 'admin',
    admin: {
      act: 'gateway.register',
      state: 'begun',
      holder: 'alice',
      token: '0123456789abcdef',
      approver: 'bob',
      request: 'fedcba9876543210',
      log: 'team-a',
      details: { keyid: 'ab', source: 'gateway-1' },
    },
  },
} as unknown as { readonly [K in AuditRecord['kind']]: Extract<AuditRecord, { kind: K }> };

/** The example of a kind with the member at `path` set, or taken out where `value` is missing. */
function changed(kind: AuditRecord['kind'], path: string, value?: unknown): Uint8Array {
  const json = structuredClone(examples[kind]) as unknown as { [name: string]: unknown };
  const names = path.split('.');
  const last = names.pop() ?? '';
  let at = json;
  for (const name of names) at = at[name] as typeof at;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return utf8(canonicalize(json as unknown as Json));
}

describe('a record', () => {
  it.each(KINDS)('of kind %s is read back as it was printed', (kind) => {
    const bytes = formatRecord(examples[kind]);
    expect(formatRecord(parseRecord(bytes, LOG))).toEqual(bytes);
    expect(parseRecord(bytes)).toEqual(examples[kind]);
  });

  it('has one spelling', () => {
    const samples = KINDS.map((kind) => formatRecord(examples[kind]));
    expectOneSpelling(samples, (bytes) => formatRecord(parseRecord(bytes, LOG)), { runs: 5_000 });
  });

  it.each(KINDS)('of kind %s takes no unknown member, at any place', (kind) => {
    const paths = [
      'extra',
      'source.extra',
      'time.extra',
      `${kind}.extra`,
      'ids.extra',
      'input.extra',
    ];
    for (const path of paths) {
      const [group = ''] = path.split('.');
      if (path !== 'extra' && !(group in examples[kind])) continue;
      expect(() => parseRecord(changed(kind, path, 1))).toThrow(
        `record: ${path}: no such member is known`,
      );
    }
  });

  it.each(KINDS)('of kind %s takes no null in place of a member, but for prev and cost', (kind) => {
    const check = (value: object, path: string) => {
      for (const [name, member] of Object.entries(value)) {
        const at = path === '' ? name : `${path}.${name}`;
        // What an act wants is the act's own.
        if (['source.prev', 'admin.details'].includes(at) || name.includes('.')) continue;
        expect(() => parseRecord(changed(kind, at, null)), at).toThrow(/^record: /);
        if (typeof member === 'object' && member !== null && !Array.isArray(member))
          check(member, at);
      }
    };
    check(examples[kind], '');
  });

  it('refuses a record that was made for another log', () => {
    const bytes = formatRecord(examples.heartbeat);
    expect(() => parseRecord(bytes, 'example.org/logs/b')).toThrow(
      'record: it was made for log "example.org/logs/a" and not for "example.org/logs/b"',
    );
  });

  it.each<[AuditRecord['kind'], string, unknown, string]>([
    ['heartbeat', 'schema', 'stele.record/2', 'schema: "stele.record/2" is not "stele.record/1"'],
    ['heartbeat', 'kind', 'other', 'kind: not one of inference, intent'],
    ['heartbeat', 'log', undefined, 'log: it is required'],
    ['heartbeat', 'log', 'a b', 'log: "a b" is not an origin'],
    ['heartbeat', 'record_id', '0197f1c2-5a3b-4c4d-8e5f-0a1b2c3d4e5f', 'is not a UUIDv7'],
    ['heartbeat', 'record_id', ID.toUpperCase(), 'is not a UUIDv7 in lower case'],
    ['heartbeat', 'record_id', '0197f1c2-5a3b-7c4d-ce5f-0a1b2c3d4e5f', 'is not a UUIDv7'],
    ['heartbeat', 'source.id', '', 'source.id: "" is not 1 to 128 visible ASCII characters'],
    ['heartbeat', 'source.id', 'a b', 'source.id: "a b" is not'],
    ['heartbeat', 'source.seq', -1, 'source.seq: -1 is not a whole number from 0 to 2^53 - 1'],
    ['heartbeat', 'source.prev', `${DIG}A`, 'source.prev: '],
    ['heartbeat', 'source.prev', DIG.replace(/.$/, 'l'), 'is not 32 bytes in unpadded base64url'],
    ['heartbeat', 'source.truncated_fields', ['response.body'], 'completeness is full'],
    ['heartbeat', 'source.provenance', 'guessed', 'is not one of observed, reported, imported'],
    ['heartbeat', 'heartbeat.seq', '3', 'heartbeat.seq: "3" is not a whole number'],
    [
      'inference',
      'metrics.input_tokens',
      -1,
      'metrics.input_tokens: -1 is not a whole number from 0',
    ],
    ['inference', 'ids.attempt', 0, 'ids.attempt: 0 is not a whole number from 1'],
    ['inference', 'ids.trace', 'F'.repeat(32), 'ids.trace: '],
    ['inference', 'time.clock', undefined, 'time.clock: it is required'],
    ['inference', 'time.completed', undefined, 'time.completed: it is required'],
    [
      'inference',
      'output.stream.terminated',
      'end',
      'output.stream.terminated: "end" is not one of done',
    ],
    [
      'inference',
      'output.tool_calls',
      [{ args_commit: 'x' }],
      'output.tool_calls[0].args_commit: "x"',
    ],
    ['inference', 'output.finish_reasons', new Array(65).fill('x'), '65 items where 0 to 64 are'],
    [
      'inference',
      'output.finish_reasons',
      { count: 3, commit: DIG },
      'count: 3 is not a whole number from 65',
    ],
    ['inference', 'outcome.http_status', 99, 'outcome.http_status: 99 is not'],
    ['inference', 'commitments.alg', 'sha-1', 'commitments.alg: "sha-1" is not "sha-256"'],
    [
      'inference',
      'commitments.fields',
      { hiv_status: DIG },
      '"hiv_status": it is not a commitment name',
    ],
    ['inference', 'commitments.fields', { 'policy.64.reason': DIG }, 'it is not a commitment name'],
    [
      'inference',
      'commitments.fields',
      { 'policy.0.reason': DIG.replace('u', 'v') },
      'has another digest',
    ],
    [
      'inference',
      'model.params',
      { temperature: 1 },
      'model.params.temperature: 1 is not a decimal',
    ],
    ['inference', 'ids.response', 'x'.repeat(1_025), 'is not text of 1 to 1024 characters'],
    ['intent', 'time.completed', TS, 'time.completed: no such member is known'],
    ['intent', 'commitments', undefined, 'commitments: it is required'],
    ['genesis', 'genesis.origin', 'example.org/logs/b', 'genesis.origin: it is not the record'],
    ['genesis', 'genesis.log_keys', [], 'genesis.log_keys: 0 items where 1 to 8 are allowed'],
    ['genesis', 'genesis.log_keys', [`b+01020304+${'A'.repeat(44)}`], 'its name is not the origin'],
    ['genesis', 'genesis.log_keys', [vkey, vkey], 'genesis.log_keys[1]: it occurs twice'],
    ['genesis', 'genesis.operator.spki', 'AAA', 'genesis.operator.spki: "AAA" is not'],
    ['genesis', 'genesis.rules.continuity', 'maybe', 'is not one of flag, require'],
    ['key', 'key.action', 'rotate', 'key.action: a gateway key is not rotated'],
    ['key', 'key.action', 'revoke', 'key.not_before: only a registration has a period'],
    ['key', 'key.not_after', '2026-01-01T00:00:00.000000Z', 'key.not_after: it is before not_bef'],
    ['key', 'key.purpose', 'identity', 'key.source: a key for identity has no source'],
    ['key', 'key.last_size', 7, 'key.last_size: only keys of the log itself end at a size'],
    ['policy', 'policy', {}, 'policy: neither rules nor retention nor a review'],
    ['gap', 'gap.seq_to', 2, 'gap.seq_to: 2 is before 3'],
    ['gap', 'gap.time_to', '2026-08-01T10:15:30.123456Z', 'is before 2026-09-01'],
    ['access', 'access.fields', [], 'access.fields: 0 items'],
    [
      'access',
      'access.fields',
      ['anything'],
      'access.fields[0]: "anything" is not a commitment name',
    ],
    ['access', 'access.reason', 'x'.repeat(501), 'is not text of 1 to 500 characters'],
    ['erasure', 'erasure.records', [ID, ID], 'erasure.records[1]: it occurs twice'],
    ['erasure', 'erasure.approver', undefined, 'erasure.approver: it is required'],
    ['hold', 'hold.action', 'keep', 'is not one of place, release'],
    ['annotation', 'annotation.type', 'Human Review', 'is not lower-case words'],
    ['report', 'report.digest', undefined, 'report.digest: it is required'],
  ])('of kind %s says what is wrong with %s', (kind, path, value, message) => {
    expect(() => parseRecord(changed(kind, path, value))).toThrow(
      expect.objectContaining({ code: 'malformed', message: expect.stringContaining(message) }),
    );
  });

  it.each([
    '2026-02-29T00:00:00.000000Z',
    '2026-13-01T00:00:00.000000Z',
    '2026-00-01T00:00:00.000000Z',
    '2026-04-31T00:00:00.000000Z',
    '2100-02-29T00:00:00.000000Z',
    '2026-01-01T24:00:00.000000Z',
    '2026-01-01T00:60:00.000000Z',
    '2026-12-31T23:59:60.000000Z',
    '2026-01-01T00:00:00.000Z',
    '2026-01-01T00:00:00.0000000Z',
    '2026-01-01T00:00:00.000000+00:00',
    '2026-01-01 00:00:00.000000Z',
    '2026-01-01T00:00:00.000000z',
  ])('refuses the time %s', (time) => {
    expect(() => parseRecord(changed('heartbeat', 'time.received', time))).toThrow(/is not a time/);
  });

  it.each([
    '2024-02-29T00:00:00.000000Z',
    '2000-02-29T23:59:59.999999Z',
    '2026-12-31T00:00:00.000000Z',
  ])('takes the time %s', (time) => {
    expect(parseRecord(changed('heartbeat', 'time.received', time)).time.received).toBe(time);
  });

  it.each(['0', '1', '0.7', '-0.5', '10', '-2', '0.10000000000000001'])(
    'takes the decimal %s',
    (dec) => {
      const record = parseRecord(changed('inference', 'model.params', { temperature: dec }));
      expect(record).toMatchObject({ model: { params: { temperature: dec } } });
    },
  );

  it.each(['', '-0', '00', '1.0', '.5', '5.', '1e3', '+1', '-0.0', '0.70', ' 1', '1,5'])(
    'refuses the decimal "%s"',
    (dec) => {
      expect(() => parseRecord(changed('inference', 'model.params', { top_p: dec }))).toThrow(
        /is not a decimal number in its shortest spelling/,
      );
    },
  );

  it('refuses fractions, big numbers and other spellings of its bytes', () => {
    const text = parseUtf8(formatRecord(examples.heartbeat), 'record');
    for (const spoiled of [
      text.replace('"seq":3', '"seq":3.0'),
      text.replace('"seq":3', '"seq":3e0'),
      text.replace('"seq":3', '"seq":9007199254740993'),
      text.replace('"seq":3', '"seq":-0'),
      ` ${text}`,
      `${text}\n`,
      text.replace('"kind":"heartbeat",', '').replace('{', '{"kind":"heartbeat",'),
      text.replace('"kind":"heartbeat"', '"kind":"heartbeat","kind":"heartbeat"'),
      text.replace('stele-test', '\\u0073tele-test'),
      text.replace('stele-test', '\\ud83d'),
    ]) {
      expect(spoiled).not.toBe(text);
      expect(() => parseRecord(utf8(spoiled))).toThrow(
        expect.objectContaining({ code: 'malformed' }),
      );
    }
  });

  it('has no member that an object would bring along', () => {
    const json = `{"__proto__":{},${parseUtf8(formatRecord(examples.heartbeat), 'record').slice(1)}`;
    expect(() => parseRecord(utf8(json))).toThrow(/__proto__: no such member is known/);
    const fields = parseJson(utf8(`{"constructor":"${DIG}"}`), 'test');
    expect(() => parseRecord(changed('inference', 'commitments.fields', fields))).toThrow(
      /"constructor": it is not a commitment name/,
    );
  });

  it('names every digest that it carries', () => {
    expect([...commitmentsOf(examples.inference).keys()].sort()).toEqual([
      'effects.0.target',
      'policy.0.reason',
      'request.body',
      'tool_calls.0.args',
    ]);
    expect([...commitmentsOf(examples.annotation).keys()]).toEqual([
      'annotation.reviewer',
      'annotation.reason',
    ]);
    expect(commitmentsOf(examples.heartbeat).size).toBe(0);
    const long = changed('inference', 'output.tool_calls', { count: 80, commit: DIG });
    expect(commitmentsOf(parseRecord(long)).get('output.tool_calls')).toBe(DIG);
  });

  it('knows its control kinds and its names', () => {
    expect(KINDS.filter((kind) => isControlKind(kind))).toEqual(['genesis', 'key', 'policy']);
    expect(COMMITMENT_NAMES.every((name) => isCommitmentName(name))).toBe(true);
    expect(['policy.0.reason', 'annotation.reviewer'].every(isCommitmentName)).toBe(true);
    expect(['policy.00.reason', 'policy.64.reason', 'x', 'toString'].some(isCommitmentName)).toBe(
      false,
    );
  });
});

describe.skipIf(sharedMissing)('the published example', () => {
  const fixture = (name: string) => sharedBytes('fixtures', 'record', name);

  it('has the published canonical bytes and leaf hash', () => {
    const meta = sharedJson('fixtures', 'record', 'example-inference.meta.json') as {
      bytes: number;
      sha256_hex: string;
      rfc6962_leaf_hash_hex: string;
    };
    const printed = utf8(canonicalize(parseJson(fixture('example-inference.json'), 'example')));
    expect(Buffer.from(printed)).toEqual(Buffer.from(fixture('example-inference.jcs')));
    expect(printed).toHaveLength(meta.bytes);
    expect(toHex(sha256(printed))).toBe(meta.sha256_hex);
    expect(toHex(leafHash(printed))).toBe(meta.rfc6962_leaf_hash_hex);
  });

  it('is a record once it names its log', () => {
    const json = parseJson(fixture('example-inference.jcs'), 'example') as { [name: string]: Json };
    expect(() => parseRecord(fixture('example-inference.jcs'))).toThrow(
      'record: log: it is required',
    );
    const bytes = utf8(canonicalize({ ...json, log: LOG }));
    const record = parseRecord(bytes, LOG);
    expect(formatRecord(record)).toEqual(bytes);
    const disclosures = sharedJson('fixtures', 'record', 'example-inference.disclosures.json');
    for (const [name, disclosure] of Object.entries(disclosures as { [name: string]: string })) {
      expect(commitmentsOf(record).get(name)).toBe(toBase64url(sha256(utf8(disclosure))));
    }
  });
});
