/** OTLP in: which halves of calls are in an export request, and the answer to it. */
import { createHash } from 'node:crypto';
import type { Json } from '../../core/json.ts';
import type { Half } from '../join.ts';
import { JsonRoom } from '../json.ts';
import { inTurns } from '../turns.ts';
import type { CallReport } from '../writer.ts';
import { callOf, hasContent, isCall, roleOfEvent } from './call.ts';
import {
  type LogData,
  logsOf,
  type ReportText,
  reportTexts,
  type SpanData,
  spansOf,
} from './telemetry.ts';
import { decodeRequest, type Signal } from './wire.ts';

/** What was reported, and what it is known by when it comes again. */
interface Part {
  readonly data: SpanData | LogData;
  readonly identity: string;
}

export type OtlpHalf = Half & Part;

/** What a request has of calls. */
export interface Found {
  /** Halves that may have another, by trace and span. */
  readonly halves: readonly OtlpHalf[];
  /** Events that belong to no span and say all by themselves. */
  readonly alone: readonly Part[];
  /** Spans and log records that are about no call. */
  readonly others: number;
  /** Messages of no call: they can never be placed. */
  readonly homeless: number;
  /** Calls whose trace was kept by chance: others of their kind were not. */
  readonly sampled: number;
}

export const PROTOBUF = 'application/x-protobuf';

export function findCalls(body: Uint8Array, type: string, signal: Signal): Promise<Found> {
  const room = new JsonRoom();
  const request = type === PROTOBUF ? decodeRequest(body, signal) : room.parse(body, 'otlp');
  return signal === 'traces' ? callsInSpans(request, room) : callsInLogs(request, room);
}

async function callsInSpans(request: unknown, room: JsonRoom): Promise<Found> {
  const halves: OtlpHalf[] = [];
  let [others, homeless, sampled] = [0, 0, 0];
  const textOf = reportTexts('otlp');
  await inTurns(spansOf(request, room), (span) => {
    if (!isCall(span)) others++;
    // [trace.proto] A span without its ids is invalid.
    else if (span.trace === undefined || span.span === undefined) homeless++;
    else {
      if (span.isSampled) sampled++;
      halves.push(halfOf(span, { part: 'span', isWhole: hasContent(span) }, textOf));
    }
  });
  return { halves, alone: [], others, homeless, sampled };
}

async function callsInLogs(request: unknown, room: JsonRoom): Promise<Found> {
  const halves: OtlpHalf[] = [];
  const alone: Part[] = [];
  let [others, homeless] = [0, 0];
  const textOf = reportTexts('otlp');
  await inTurns(logsOf(request, room), (log) => {
    const role = roleOfEvent(log.name);
    if (role === undefined) others++;
    else if (log.trace !== undefined && log.span !== undefined) {
      halves.push(halfOf(log, { part: role, isWhole: false }, textOf));
    } else if (role === 'details') alone.push({ data: log, identity: identityOf(log, textOf) });
    else homeless++;
  });
  return { halves, alone, others, homeless, sampled: 0 };
}

function halfOf(
  data: SpanData | LogData,
  half: Pick<Half, 'part' | 'isWhole'>,
  textOf: ReportText,
): OtlpHalf {
  return {
    data,
    ...half,
    call: `${data.trace} ${data.span}`,
    service: `${data.resource['service.name']} ${data.scope.name}`.slice(0, 512),
    identity: identityOf(data, textOf),
  };
}

/** The same for what is sent again: an exporter repeats the bytes. */
function identityOf({ signal, report }: SpanData | LogData, textOf: ReportText): string {
  return `${signal} ${createHash('sha256').update(textOf(report)).digest('hex')}`;
}

/** One call, of all that was reported of it at once. */
export function callReportOf(parts: readonly Part[]): CallReport {
  const all = parts.map(({ data }) => data);
  const span = all.find((data) => data.signal === 'traces');
  const events = all.filter((data) => data.signal === 'logs');
  const { trace, span: id } = span ?? events[0] ?? {};
  return {
    call: trace === undefined || id === undefined ? undefined : `${trace} ${id}`,
    reported: callOf(span, events),
    // What was decoded from JSON, or into it, is JSON.
    pieces: parts.map(({ data, identity }) => ({ identity, report: data.report as Json })),
  };
}
