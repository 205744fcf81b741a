/**
 * What do the bytes of an OTLP message say? The same as its JSON would: this reads the one into the other.
 *
 * Everything behind this file sees OTLP's JSON form alone [OTLP/JSON Protobuf Encoding]: ids in hex, enums as
 * numbers, 64-bit integers as decimal text, since nanoseconds of today do not fit a double. The messages are
 * tables of the fields that are of use here; all others are skipped, as OTLP demands of a receiver.
 *
 * Generated code is not used: without a library for 64-bit integers it would round them, and it takes a
 * message apart however many parts it has.
 */
import protobuf from 'protobufjs/minimal.js';
import { malformed, SteleError } from '../../core/errors.ts';

/** How a field is read: plain, an id in hex, a number of nanoseconds, or a message. */
type Kind = 'text' | 'bool' | 'double' | 'int' | 'count' | 'hex' | 'nanos' | 'bytes' | Message;

interface Field {
  readonly name: string;
  readonly kind: Kind;
  readonly isList?: boolean;
}

type Message = () => Readonly<Record<number, Field>>;

const one = (name: string, kind: Kind): Field => ({ name, kind });
const many = (name: string, kind: Kind): Field => ({ name, kind, isList: true });

// [opentelemetry-proto, common/v1/common.proto]
const anyValue: Message = () => ANY_VALUE;
const keyValue: Message = () => KEY_VALUE;
const ANY_VALUE = {
  1: one('stringValue', 'text'),
  2: one('boolValue', 'bool'),
  3: one('intValue', 'int'),
  4: one('doubleValue', 'double'),
  5: one('arrayValue', () => ({ 1: many('values', anyValue) })),
  6: one('kvlistValue', () => ({ 1: many('values', keyValue) })),
  7: one('bytesValue', 'bytes'),
} as const;
const KEY_VALUE = { 1: one('key', 'text'), 2: one('value', anyValue) } as const;

const SCOPE = {
  1: one('name', 'text'),
  2: one('version', 'text'),
  3: many('attributes', keyValue),
  4: one('droppedAttributesCount', 'count'),
} as const;

// [resource/v1/resource.proto]
const RESOURCE = {
  1: many('attributes', keyValue),
  2: one('droppedAttributesCount', 'count'),
} as const;

// [trace/v1/trace.proto]
const EVENT = {
  1: one('timeUnixNano', 'nanos'),
  2: one('name', 'text'),
  3: many('attributes', keyValue),
  4: one('droppedAttributesCount', 'count'),
} as const;
const STATUS = { 2: one('message', 'text'), 3: one('code', 'count') } as const;
const SPAN = {
  1: one('traceId', 'hex'),
  2: one('spanId', 'hex'),
  3: one('traceState', 'text'),
  4: one('parentSpanId', 'hex'),
  5: one('name', 'text'),
  6: one('kind', 'count'),
  7: one('startTimeUnixNano', 'nanos'),
  8: one('endTimeUnixNano', 'nanos'),
  9: many('attributes', keyValue),
  10: one('droppedAttributesCount', 'count'),
  11: many('events', () => EVENT),
  12: one('droppedEventsCount', 'count'),
  14: one('droppedLinksCount', 'count'),
  15: one('status', () => STATUS),
} as const;
const SCOPE_SPANS = {
  1: one('scope', () => SCOPE),
  2: many('spans', () => SPAN),
  3: one('schemaUrl', 'text'),
} as const;
const RESOURCE_SPANS = {
  1: one('resource', () => RESOURCE),
  2: many('scopeSpans', () => SCOPE_SPANS),
  3: one('schemaUrl', 'text'),
} as const;

// [logs/v1/logs.proto]
const LOG_RECORD = {
  1: one('timeUnixNano', 'nanos'),
  2: one('severityNumber', 'count'),
  3: one('severityText', 'text'),
  5: one('body', anyValue),
  6: many('attributes', keyValue),
  7: one('droppedAttributesCount', 'count'),
  9: one('traceId', 'hex'),
  10: one('spanId', 'hex'),
  11: one('observedTimeUnixNano', 'nanos'),
  12: one('eventName', 'text'),
} as const;
const SCOPE_LOGS = {
  1: one('scope', () => SCOPE),
  2: many('logRecords', () => LOG_RECORD),
  3: one('schemaUrl', 'text'),
} as const;
const RESOURCE_LOGS = {
  1: one('resource', () => RESOURCE),
  2: many('scopeLogs', () => SCOPE_LOGS),
  3: one('schemaUrl', 'text'),
} as const;

const REQUESTS = {
  traces: { 1: many('resourceSpans', () => RESOURCE_SPANS) },
  logs: { 1: many('resourceLogs', () => RESOURCE_LOGS) },
} as const;

export type Signal = keyof typeof REQUESTS;

/** Fields of one request, read or skipped: memory grows with them, however few bytes each has. */
const FIELDS_MAX = 2_000_000;

/** Messages inside one another: six down to an attribute, and its value as deep as JSON of ours may be. */
const DEPTH_MAX = 76;

/** Reads an export request from a stranger's bytes. */
export function decodeRequest(bytes: Uint8Array, signal: Signal): unknown {
  try {
    return new Decoder(bytes).message(REQUESTS[signal], bytes.length, 0);
  } catch (error) {
    // What protobufjs throws for bytes that end early or are no protobuf.
    if (error instanceof SteleError || !(error instanceof Error)) throw error;
    throw malformed('otlp', `no ${signal} request in protobuf: ${error.message}`);
  }
}

class Decoder {
  readonly #reader: protobuf.Reader;
  #fields = 0;

  constructor(bytes: Uint8Array) {
    // Never of a Buffer: that reader's `bytes` are views that keep the whole request alive.
    this.#reader = new protobuf.Reader(
      new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    );
  }

  message(fields: Readonly<Record<number, Field>>, end: number, depth: number): object {
    if (depth > DEPTH_MAX) throw malformed('otlp', `nested deeper than ${DEPTH_MAX} messages`);
    const reader = this.#reader;
    const found: Record<string, unknown> = {};
    while (reader.pos < end) {
      if (++this.#fields > FIELDS_MAX) {
        throw new SteleError('too_large', `otlp: more than ${FIELDS_MAX} fields in one request`);
      }
      const tag = reader.uint32();
      const field = fields[tag >>> 3];
      const wire = tag & 7;
      if (field === undefined || wire !== wireOf(field.kind)) reader.skipType(wire);
      else this.#field(field, found, end, depth);
    }
    if (reader.pos !== end) throw malformed('otlp', 'a message runs past its end');
    return found;
  }

  #field(
    { name, kind, isList }: Field,
    found: Record<string, unknown>,
    end: number,
    depth: number,
  ) {
    const value = this.#value(kind, end, depth);
    if (isList !== true) found[name] = value;
    else if (Array.isArray(found[name])) found[name].push(value);
    else found[name] = [value];
  }

  #value(kind: Kind, end: number, depth: number): unknown {
    const reader = this.#reader;
    if (typeof kind === 'function') {
      const length = reader.uint32();
      if (length > end - reader.pos) throw malformed('otlp', 'a message runs past its end');
      return this.message(kind(), reader.pos + length, depth + 1);
    }
    switch (kind) {
      case 'text':
        return reader.string();
      case 'bool':
        return reader.bool();
      case 'double':
        return reader.double();
      case 'count':
        return reader.uint32();
      case 'int':
        return String(BigInt.asIntN(64, this.#varint()));
      case 'nanos':
        return String(BigInt(reader.fixed32()) + (BigInt(reader.fixed32()) << 32n));
      case 'hex':
        return Buffer.from(reader.bytes()).toString('hex');
      case 'bytes':
        return Buffer.from(reader.bytes()).toString('base64');
    }
  }

  /** Ten bytes at most, of which the first 64 bits count. */
  #varint(): bigint {
    const reader = this.#reader;
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = reader.buf[reader.pos];
      if (byte === undefined) throw malformed('otlp', 'a number is cut off');
      reader.pos++;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw malformed('otlp', 'a number of more than ten bytes');
  }
}

/** The wire type that a field of this kind comes in; what comes in another is skipped as unknown. */
function wireOf(kind: Kind): number {
  switch (kind) {
    case 'bool':
    case 'int':
    case 'count':
      return 0;
    case 'double':
    case 'nanos':
      return 1;
    default:
      return 2;
  }
}

/** The answer to an export request: how many of it can never be accepted, and why. */
export interface PartialSuccess {
  readonly rejected: number;
  readonly message: string;
}

/** [ExportTraceServiceResponse, ExportLogsServiceResponse] Both have the same fields. */
export function encodeAnswer(partial: PartialSuccess | undefined): Uint8Array {
  const writer = protobuf.Writer.create();
  if (partial === undefined) return writer.finish();
  writer.uint32(0x0a).fork().uint32(0x08).uint64(partial.rejected);
  return writer.uint32(0x12).string(partial.message).ldelim().finish();
}

export function formatAnswer(partial: PartialSuccess | undefined, signal: Signal): string {
  if (partial === undefined) return '{}';
  const counted = signal === 'traces' ? 'rejectedSpans' : 'rejectedLogRecords';
  const { rejected, message } = partial;
  return JSON.stringify({
    partialSuccess: { [counted]: String(rejected), errorMessage: message },
  });
}
