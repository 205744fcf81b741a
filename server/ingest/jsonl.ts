/**
 * Calls out of a file, one a line: what was written down before anybody thought of a log.
 *
 *     {"resourceSpans": …}             OTLP's JSON, as a collector's file exporter writes it
 *     {"resourceLogs": …}
 *     {"startTime": …, "endTime": …}   LiteLLM's StandardLoggingPayload
 *     {"id": …, "started": …, "request": …, "response": …}    the bodies as they went over the wire
 *
 * The record has provenance `imported`, and the line itself, byte for byte, as its report: the disclosure of
 * `report.body` has the line's SHA-256. A collector's line may have thousands of calls; each of those has its own part of it.
 */
import { createHash } from 'node:crypto';
import { utf8 } from '../core/bytes.ts';
import { malformed, SteleError } from '../core/errors.ts';
import type { Json } from '../core/json.ts';
import { providerFor } from '../proxy/providers/index.ts';
import {
  countOf,
  isObject,
  labelOf,
  type Members,
  members,
  textOf,
} from '../proxy/providers/values.ts';
import { JsonRoom } from './json.ts';
import { callIn } from './litellm.ts';
import { callOf, isCall } from './otlp/call.ts';
import { type LogData, logsOf, reportTexts, type SpanData, spansOf } from './otlp/telemetry.ts';
import type { Format, Outcome, Piece, Reported } from './reported.ts';
import { inTurns } from './turns.ts';
import type { CallReport } from './writer.ts';

/** Lines in one request: as many as entries in a batch. */
const LINES_MAX = 10_000;

export type Line =
  | { readonly kind: 'calls'; readonly calls: readonly CallReport[] }
  | { readonly kind: 'wrong'; readonly error: SteleError };

const LINE_FEED = 0x0a;

/** Each line by itself; an empty one is none, and counts. */
export async function linesOf(body: Uint8Array): Promise<Line[]> {
  const lines: Uint8Array[] = [];
  for (let at = 0; at < body.length; ) {
    const found = body.indexOf(LINE_FEED, at);
    const end = found < 0 ? body.length : found;
    lines.push(body.subarray(at, end));
    if (lines.length > LINES_MAX) {
      throw new SteleError('too_large', `jsonl: more than ${LINES_MAX} lines in one request`);
    }
    at = end + 1;
  }
  if (lines.length === 0) throw malformed('jsonl', 'there is no line in it');
  const room = new JsonRoom();
  return inTurns(lines, (line) => lineOf(line, room));
}

function lineOf(bytes: Uint8Array, room: JsonRoom): Line {
  const line = readLine(bytes, room);
  room.checkAll('jsonl');
  return line;
}

function readLine(bytes: Uint8Array, room: JsonRoom): Line {
  if (bytes.every((byte) => byte <= 0x20)) return { kind: 'calls', calls: [] };
  try {
    const value = room.parse(bytes, 'call');
    if (!isObject(value)) throw malformed('call', 'it is no JSON object');
    const provenance = 'imported' as const;
    const calls = callsIn(bytes, members(value), room).map((call) => ({ ...call, provenance }));
    return { kind: 'calls', calls };
  } catch (error) {
    if (error instanceof SteleError) return { kind: 'wrong', error };
    throw error;
  }
}

type Call = Pick<CallReport, 'call' | 'reported' | 'pieces'>;

function callsIn(bytes: Uint8Array, line: Members, room: JsonRoom): Call[] {
  if (line.resourceSpans !== undefined || line.resourceLogs !== undefined) {
    return inTelemetry(bytes, line, room);
  }
  return [wholeLine(bytes, line.startTime === undefined ? callAsSent(line) : callIn(line))];
}

/** The text is the same whenever the line is. */
function wholeLine(bytes: Uint8Array, reported: Reported): Call {
  const identity = `line 0 ${Buffer.from(bytes).toString('latin1')}`;
  return { call: undefined, reported, pieces: [{ identity, report: undefined, bytes }] };
}

type Part = SpanData | LogData;

function nameOf({ trace, span }: Part): string | undefined {
  return trace === undefined || span === undefined ? undefined : `${trace} ${span}`;
}

/** A span and its events that stand in one line are one call; a file has no time to wait for others. */
function inTelemetry(bytes: Uint8Array, line: Members, room: JsonRoom): Call[] {
  const events = Map.groupBy(logsOf(line, room), nameOf);
  const calls: { readonly reported: Reported; readonly parts: readonly Part[] }[] = [];
  const placed = new Set<string | undefined>();
  for (const span of spansOf(line, room)) {
    if (!isCall(span)) continue;
    const name = nameOf(span);
    const own = (name === undefined ? undefined : events.get(name)) ?? [];
    calls.push({ reported: callOf(span, own), parts: [span, ...own] });
    if (name !== undefined) placed.add(name);
  }
  const rest = [...events].flatMap(([name, some]) => (placed.has(name) ? [] : some));
  for (const event of rest) {
    if (!event.name.startsWith('gen_ai.client')) continue;
    calls.push({ reported: callOf(undefined, [event]), parts: [event] });
  }
  const [first] = calls;
  if (first !== undefined && calls.length === 1) return [wholeLine(bytes, first.reported)];
  const hash = createHash('sha256').update(bytes).digest('hex');
  const textOf = reportTexts('call');
  const pieceOf = ({ report }: Part, call: number, part: number): Piece => {
    // It is written from the report later; here it is only measured.
    textOf(report);
    return { identity: `line ${call}.${part} ${hash}`, report: report as Json };
  };
  return calls.map(({ reported, parts }, i) => ({
    call: undefined,
    reported,
    pieces: parts.map((part, j) => pieceOf(part, i, j)),
  }));
}

/** Bodies as a provider's own format has them, and what is known beside. */
function callAsSent(line: Members): Reported {
  const id = labelOf(line.id);
  if (id === undefined) throw malformed('id', 'it is missing, or no short text');
  const begin = timeOf(line.started);
  if (begin === undefined) throw noTime('started', line.started);
  const end = line.ended === undefined ? begin : timeOf(line.ended);
  if (end === undefined) throw noTime('ended', line.ended);
  const path = textOf(line.path) ?? '/v1/chat/completions';
  const provider = providerFor(labelOf(line.provider) ?? 'unknown', 'POST', path);
  const request = provider.request(utf8(JSON.stringify(line.request ?? null)));
  const status = countOf(line.status);
  const http = status !== undefined && status >= 100 && status <= 599 ? status : undefined;
  const reader = provider.response({
    status: http ?? 200,
    headers: { 'content-type': 'application/json' },
    // Whatever was asked for: here it is in one piece.
    request: { ...request, stream: false },
  });
  if (line.response !== undefined) reader.push(utf8(JSON.stringify(line.response)));
  const answer = line.response === undefined ? undefined : reader.end('eof');
  const failed = (http !== undefined && http >= 400) || answer?.error !== undefined;
  const outcome: Outcome = {
    status: failed ? 'upstream-error' : answer?.refused ? 'refused' : 'ok',
    ...(http !== undefined && { http_status: http }),
    ...(answer?.error?.type !== undefined && { error_type: answer.error.type }),
  };
  return {
    format: provider.format === 'openai.completions' ? 'opaque' : (provider.format as Format),
    provider: provider.provider,
    operation: provider.operation,
    ids: { gatewayRequest: id, conversation: labelOf(line.conversation) },
    beginUs: begin,
    endUs: Math.max(begin, end),
    request,
    answer: failed ? undefined : answer,
    outcome,
    error: answer?.error?.message,
    principal: textOf(line.user),
    reporter: labelOf(line.reporter) ?? 'jsonl',
    truncated: [],
  };
}

/** RFC 3339, or seconds since 1970. */
function timeOf(value: unknown): number | undefined {
  if (typeof value === 'number') {
    return value > 0 && value < 253_402_300_800 ? Math.round(value * 1e6) : undefined;
  }
  const text = textOf(value) ?? '';
  if (!/^\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})$/.test(text)) return undefined;
  const ms = Date.parse(text);
  const more = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? '';
  return Number.isNaN(ms) ? undefined : ms * 1_000 + Number(more.padEnd(3, '0') || 0);
}

function noTime(name: string, value: unknown): SteleError {
  if (value === undefined) return malformed(name, 'it is missing');
  return malformed(name, `${JSON.stringify(value).slice(0, 80)} is no time`);
}
