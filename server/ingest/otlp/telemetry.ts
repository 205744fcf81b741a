/**
 * Which spans and log records are in an export request? Each by itself, with what was said of its resource
 * and scope, and its attributes as plain values.
 *
 * Everything here came from strangers. The lists that spans and log records are in must be lists, or calls would be
 * passed over in silence; what is in those is read without ever failing, and what is not there is absent. Of two
 * attributes with one key the last counts.
 */
import { malformed, SteleError } from '../../core/errors.ts';
import { isObject, items, type Members, members, textOf } from '../../proxy/providers/values.ts';
import { JsonRoom } from '../json.ts';

export type Attributes = Readonly<Record<string, unknown>>;

export interface Event {
  readonly name: string;
  readonly timeUs: number | undefined;
  readonly attributes: Attributes;
}

interface Origin {
  /** What the resource says of itself: `service.name` and the like. */
  readonly resource: Attributes;
  /** Name and version of the instrumentation. */
  readonly scope: { readonly name?: string | undefined; readonly version?: string | undefined };
  /** Lower-case hex; nothing where it is missing or all zero, which is no id. */
  readonly trace: string | undefined;
  readonly span: string | undefined;
  readonly attributes: Attributes;
  /** What the sender says was left out. */
  readonly dropped: readonly string[];
  /** The request with this alone in it, in OTLP's JSON form. */
  readonly report: Members;
  /** What JSON in its texts is read into. */
  readonly room: JsonRoom;
}

export interface SpanData extends Origin {
  readonly signal: 'traces';
  readonly name: string;
  readonly beginUs: number | undefined;
  readonly endUs: number | undefined;
  readonly events: readonly Event[];
  /** 2 is an error. */
  readonly status: { readonly code: number; readonly message: string | undefined };
  readonly isSampled: boolean;
}

export interface LogData extends Origin {
  readonly signal: 'logs';
  readonly name: string;
  readonly timeUs: number | undefined;
  /** What an event says beside its attributes, or in their place. */
  readonly body: unknown;
}

/** A report as the text that it is kept as. */
export type ReportText = (report: Members) => string;

/**
 * Each report says again what its resource and scope say, and is kept by itself: a megabyte of resource over ten
 * thousand spans would be ten gigabytes. As much as two requests may have, for all reports of one.
 */
const REPORTS_CHARS_MAX = 134_217_728;

/** Of one request or line, one report after the other. */
export function reportTexts(what: string): ReportText {
  let chars = 0;
  return (report) => {
    const text = JSON.stringify(report);
    chars += text.length;
    if (chars <= REPORTS_CHARS_MAX) return text;
    const rule = 'each of its calls, with its resource and scope said again';
    throw new SteleError('too_large', `${what}: over ${REPORTS_CHARS_MAX} characters, ${rule}`);
  };
}

export function* spansOf(request: unknown, room = new JsonRoom()): Generator<SpanData> {
  for (const group of messages(requestOf(request), 'resourceSpans')) {
    const resource = attributesOf(members(group.resource).attributes);
    for (const scoped of messages(group, 'scopeSpans')) {
      for (const span of messages(scoped, 'spans')) {
        const only = { ...group, scopeSpans: [{ ...scoped, spans: [span] }] };
        yield { ...spanOf(span, resource, scoped, { resourceSpans: [only] }), room };
      }
    }
  }
}

export function* logsOf(request: unknown, room = new JsonRoom()): Generator<LogData> {
  for (const group of messages(requestOf(request), 'resourceLogs')) {
    const resource = attributesOf(members(group.resource).attributes);
    for (const scoped of messages(group, 'scopeLogs')) {
      for (const log of messages(scoped, 'logRecords')) {
        const only = { ...group, scopeLogs: [{ ...scoped, logRecords: [log] }] };
        const common = commonOf('event', log, resource, scoped);
        yield {
          ...common,
          signal: 'logs',
          // [logs.proto, event_name] Before 1.5 it was an attribute.
          name: textOf(log.eventName) || textOf(common.attributes['event.name']) || '',
          timeUs: microseconds(log.timeUnixNano) ?? microseconds(log.observedTimeUnixNano),
          body: plainOf(log.body, 0),
          report: { resourceLogs: [only] },
          room,
        };
      }
    }
  }
}

function requestOf(value: unknown): Members {
  if (!isObject(value)) throw malformed('otlp', 'the request is no JSON object');
  return members(value);
}

/** [ProtoJSON] null is as if it were not there. */
function messages(holder: Members, name: string): Members[] {
  const list = holder[name] ?? [];
  if (!Array.isArray(list)) throw malformed('otlp', `${name} is no list`);
  return list.map(members);
}

function spanOf(
  span: Members,
  resource: Attributes,
  scoped: Members,
  report: Members,
): Omit<SpanData, 'room'> {
  const events = items(span.events).map(members);
  const { code, message } = members(span.status);
  const common = commonOf('span', span, resource, scoped);
  return {
    ...common,
    signal: 'traces',
    name: textOf(span.name) ?? '',
    beginUs: microseconds(span.startTimeUnixNano),
    endUs: microseconds(span.endTimeUnixNano),
    events: events.map((event) => ({
      name: textOf(event.name) ?? '',
      timeUs: microseconds(event.timeUnixNano),
      attributes: attributesOf(event.attributes),
    })),
    dropped: [
      ...common.dropped,
      ...(count(span.droppedEventsCount) > 0 ? ['span.events'] : []),
      ...(events.some((event) => count(event.droppedAttributesCount) > 0)
        ? ['span.events.attributes']
        : []),
    ],
    status: { code: STATUS_CODES[String(code)] ?? count(code), message: textOf(message) },
    // [OpenTelemetry TraceState: probability sampling] Kept with a chance: others of its kind were not.
    isSampled: /(?:^|,)ot=(?:[^,]*;)?th:(?!0(?:[;,]|$))/.test(textOf(span.traceState) ?? ''),
    report,
  };
}

function commonOf(
  what: 'span' | 'event',
  item: Members,
  resource: Attributes,
  scoped: Members,
): Omit<Origin, 'report' | 'room'> {
  const { name, version } = members(scoped.scope);
  return {
    resource,
    scope: { name: textOf(name), version: textOf(version) },
    trace: idOf(item.traceId, 32),
    span: idOf(item.spanId, 16),
    attributes: attributesOf(item.attributes),
    dropped: count(item.droppedAttributesCount) > 0 ? [`${what}.attributes`] : [],
  };
}

/** What JSON of old exporters spells out. */
const STATUS_CODES: Readonly<Record<string, number>> = {
  STATUS_CODE_UNSET: 0,
  STATUS_CODE_OK: 1,
  STATUS_CODE_ERROR: 2,
};

function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

/** [W3C Trace Context §3.2.2] All zero is no id. */
function idOf(value: unknown, digits: 16 | 32): string | undefined {
  const id = textOf(value)?.toLowerCase() ?? '';
  return id.length === digits && /^[0-9a-f]+$/.test(id) && /[1-9a-f]/.test(id) ? id : undefined;
}

/** 2^63 nanoseconds are the year 2262: the last that has 19 digits in them. */
const NANOS = /^[0-9]{1,19}$/;

function microseconds(nanos: unknown): number | undefined {
  // A number of nanoseconds has been rounded by whoever wrote it so; a text has not.
  const text = typeof nanos === 'number' && nanos >= 0 ? BigInt(Math.floor(nanos)) : nanos;
  const digits = String(text ?? '');
  if (!NANOS.test(digits) || /^0+$/.test(digits)) return undefined;
  return Number(BigInt(digits) / 1_000n);
}

export function attributesOf(list: unknown): Attributes {
  const found: Record<string, unknown> = Object.create(null);
  for (const item of items(list).map(members)) {
    const key = textOf(item.key);
    if (key !== undefined) found[key] = plainOf(item.value, 0);
  }
  return found;
}

/** Values nest as deep as a committed value may; what is deeper is left out. */
const DEPTH_MAX = 28;

function plainOf(value: unknown, depth: number): unknown {
  const any = members(value);
  if (depth > DEPTH_MAX) return undefined;
  if (any.stringValue !== undefined) return textOf(any.stringValue);
  if (any.boolValue !== undefined) return any.boolValue === true;
  if (any.intValue !== undefined) return intOf(any.intValue);
  if (any.doubleValue !== undefined) return doubleOf(any.doubleValue);
  if (any.bytesValue !== undefined) return textOf(any.bytesValue);
  if (any.arrayValue !== undefined) {
    return items(members(any.arrayValue).values).map((item) => plainOf(item, depth + 1));
  }
  if (any.kvlistValue === undefined) return undefined;
  const found: Record<string, unknown> = Object.create(null);
  for (const item of items(members(any.kvlistValue).values).map(members)) {
    const key = textOf(item.key);
    if (key !== undefined) found[key] = plainOf(item.value, depth + 1);
  }
  return found;
}

/** A number where a double holds it, else the text. */
function intOf(value: unknown): unknown {
  if (typeof value === 'number') return value;
  const text = textOf(value);
  if (text === undefined || !/^-?[0-9]{1,19}$/.test(text)) return undefined;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : text;
}

/** [ProtoJSON] What is no number is a text. */
function doubleOf(value: unknown): unknown {
  return typeof value === 'number' ? value : undefined;
}
