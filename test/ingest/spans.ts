/** Spans and log records for tests, in OTLP's JSON form, each with ids of its own. */
import { randomBytes } from 'node:crypto';

type Values = Readonly<Record<string, unknown>>;

export const BEGIN = '1800000000123456789';
export const END = '1800000001623456789';

export function text(key: string, stringValue: string) {
  return { key, value: { stringValue } };
}

export function span(attributes: Values, more: object = {}): object {
  return {
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    name: 'a call',
    kind: 3,
    startTimeUnixNano: BEGIN,
    endTimeUnixNano: END,
    attributes: attributesOf(attributes),
    ...more,
  };
}

export function spans(...list: readonly object[]) {
  return { resourceSpans: [{ resource: RESOURCE, scopeSpans: [{ scope: SCOPE, spans: list }] }] };
}

export function event(name: string, attributes: Values) {
  return { timeUnixNano: END, name, attributes: attributesOf(attributes) };
}

export function log(...logRecords: readonly object[]) {
  return { resourceLogs: [{ resource: RESOURCE, scopeLogs: [{ scope: SCOPE, logRecords }] }] };
}

const RESOURCE = { attributes: [text('service.name', 'shop')] };
const SCOPE = { name: 'test.instrumentation', version: '1.2.3' };

function attributesOf(values: Values): object[] {
  return Object.entries(values).map(([key, value]) => ({ key, value: anyValue(value) }));
}

function anyValue(value: unknown): object {
  switch (typeof value) {
    case 'string':
      return { stringValue: value };
    case 'boolean':
      return { boolValue: value };
    case 'number':
      return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
    default:
      return Array.isArray(value)
        ? { arrayValue: { values: value.map(anyValue) } }
        : { kvlistValue: { values: attributesOf(value as Values) } };
  }
}
