/**
 * What is submitted: audit records of model calls, each source's in a chain. An entry has 1.1 KiB, and
 * 1.4 KiB with its path in a window of 256.
 *
 * A record is printed once through the real formatter; the others differ from it in their id, number
 * and predecessor, and are put together from its pieces, so that making entries takes little time.
 */
import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';
import { toBase64url } from '../../server/core/bytes.ts';
import { encodeEntry } from '../../server/core/entry.ts';
import { pae } from '../../server/core/pae.ts';
import {
  type Record as AuditRecord,
  formatRecord,
  parseRecord,
  RECORD_TYPE,
} from '../../server/core/record.ts';
import { uuidv7 } from '../../server/core/uuid.ts';
import { buildWindow } from '../../server/core/window.ts';

const ID = '00000000-0000-7000-8000-000000000000';
const PREV = 'A'.repeat(43);
const SEQ = 987_654_321;
const DIGEST = toBase64url(createHash('sha256').update('bench').digest());

/** Who signs: one gateway, with as many sources as there are clients. */
export interface Gateway {
  readonly keyid: string;
  readonly privateKey: KeyObject;
  readonly origin: string;
}

function recordOf(origin: string, source: string): AuditRecord {
  return {
    schema: 'stele.record/1',
    kind: 'inference',
    log: origin,
    record_id: ID,
    source: {
      id: source,
      instance: 'bench',
      seq: SEQ,
      prev: PREV,
      provenance: 'observed',
      completeness: 'metadata-only',
      software: 'bench/1',
    },
    time: {
      received: '2026-09-01T10:15:30.123456Z',
      completed: '2026-09-01T10:15:32.081020Z',
      clock: { source: 'ntp' },
    },
    ids: { gateway_request: 'request-1', attempt: 1 },
    auth: { tenant: 'bench', method: 'none', principal_type: 'service' },
    input: { format: 'openai.chat', context: 'complete', bytes_class: 12 },
    model: { provider: 'openai', operation: 'chat' },
    policy: { events: [] },
    metrics: { duration_us: 1_957_564, usage_source: 'none' },
    outcome: { status: 'ok' },
    commitments: {
      alg: 'sha-256',
      form: 'sd-disclosure/1',
      fields: { 'request.body': DIGEST },
    },
    retention: { class: 'a' },
  } as AuditRecord;
}

export interface Statement {
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/** A source that continues its chain with every record it makes. */
export class Source {
  readonly #pieces: readonly string[];
  #seq = 0;
  #prev = 'null';

  constructor(origin: string, source: string) {
    const text = Buffer.from(formatRecord(recordOf(origin, source))).toString();
    this.#pieces = split(text, [ID, `"${PREV}"`, String(SEQ)]);
  }

  next(): Statement {
    const [a, b, c, d] = this.#pieces;
    const id = uuidv7(Date.now(), randomBytes(10));
    const payload = Buffer.from(`${a}${id}${b}${this.#prev}${c}${this.#seq}${d}`);
    // The shape is that of the first; looking at one in a thousand guards the template.
    if (this.#seq % 1_000 === 0) parseRecord(payload);
    this.#prev = `"${createHash('sha256').update(payload).digest('base64url')}"`;
    this.#seq++;
    return { payloadType: RECORD_TYPE, payload };
  }
}

function split(text: string, marks: readonly string[]): string[] {
  const pieces: string[] = [];
  let rest = text;
  for (const mark of marks) {
    const at = rest.indexOf(mark);
    if (at < 0) throw new Error(`a record has ${mark}`);
    pieces.push(rest.slice(0, at));
    rest = rest.slice(at + mark.length);
  }
  return [...pieces, rest];
}

/** The entry of a statement with a signature of its own. */
export function alone(gateway: Gateway, statement: Statement): Uint8Array {
  const message = pae(statement.payloadType, statement.payload);
  const sig = sign(null, message, gateway.privateKey);
  return encodeEntry({ ...statement, signatures: [{ keyid: gateway.keyid, sig }] });
}

/** The entries of statements under one signature. */
export function inWindow(gateway: Gateway, statements: readonly Statement[]): Uint8Array[] {
  const { message, windows } = buildWindow(gateway.origin, statements);
  const sig = sign(null, message, gateway.privateKey);
  return statements.map((statement, i) => {
    const signature = { keyid: gateway.keyid, sig, window: windows[i]! };
    return encodeEntry({ ...statement, signatures: [signature] });
  });
}

/** A batch's body: each entry after its length. */
export function batchBody(entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    entries.flatMap((entry) => {
      const prefix: number[] = [];
      let left = entry.length;
      for (; left >= 0x80; left >>= 7) prefix.push((left & 0x7f) | 0x80);
      return [Uint8Array.of(...prefix, left), entry];
    }),
  );
}
