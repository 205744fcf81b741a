/**
 * POST /ingest/{log}/…: what other gateways report of their calls. `server/ingest` reads it and has it logged; an
 * answer without an error comes when it is.
 */
import { sendFresh } from '../answer.ts';
import type { IngestPort, Parts } from '../app.ts';
import { judgeBodyHeaders, readBody } from '../body.ts';
import type { Call, Log, LogRoute } from '../call.ts';
import { inflate } from '../inflate.ts';
import { PROTOBUF_TYPE } from '../otlp-status.ts';
import { priceOfBatch } from '../rates.ts';
import { INGEST_BYTES_MAX } from '../settings.ts';
import { NDJSON_TYPE } from './batch.ts';

export const OTLP_TYPES = [PROTOBUF_TYPE, 'application/json'] as const;

export const LITELLM_TYPES = ['application/json', NDJSON_TYPE] as const;

export function ingestRoutes(parts: Parts): readonly LogRoute[] {
  const otlp = (signal: 'traces' | 'logs'): LogRoute => ({
    on: 'log',
    under: 'ingest',
    method: 'POST',
    pattern: `/otlp/v1/${signal}`,
    access: 'submit',
    rules: 'otlp',
    handle: (call, log) =>
      answer(parts, call, log, OTLP_TYPES, (ingest, request) => ingest.otlp(signal, request)),
  });
  const litellm: LogRoute = {
    on: 'log',
    under: 'ingest',
    method: 'POST',
    pattern: '/litellm',
    access: 'submit',
    handle: (call, log) =>
      answer(parts, call, log, LITELLM_TYPES, (ingest, request) => ingest.litellm(request)),
  };
  const jsonl: LogRoute = {
    on: 'log',
    under: 'ingest',
    method: 'POST',
    pattern: '/jsonl',
    access: 'submit',
    handle: (call, log) =>
      answer(parts, call, log, [NDJSON_TYPE], (ingest, request) => ingest.jsonl(request)),
  };
  return [otlp('traces'), otlp('logs'), litellm, jsonl];
}

type Take = (
  ingest: IngestPort,
  request: Parameters<IngestPort['otlp']>[1],
) => ReturnType<IngestPort['otlp']>;

async function answer(
  parts: Parts,
  call: Call,
  log: Log,
  types: readonly string[],
  take: Take,
): Promise<void> {
  const { req } = call.ctx;
  const type = judgeBodyHeaders(req, types, INGEST_BYTES_MAX, 'gzip');
  log.checkRoom();
  const { bodyTimeoutMs: timeoutMs } = parts.settings;
  const sent = await readBody(call, { bytesMax: INGEST_BYTES_MAX, timeoutMs }, parts);
  const isPacked = req.headers['content-encoding'] !== undefined;
  const body = isPacked ? await inflate(call, sent, INGEST_BYTES_MAX, parts.held) : sent;
  const charge = (calls: number) => call.charge.more(priceOfBatch(calls));
  const answered = await take(parts.ingest, { log: log.name, body, type, charge });
  sendFresh(call, answered.type, answered.body);
}
