/** The official OpenTelemetry exporters against a server: both signals, both encodings, gzip, and what they do when told to wait. */
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPLogExporter as LogsInJson } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as LogsInProtobuf } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPTraceExporter as TracesInJson } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as TracesInProtobuf } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { LoggerProvider, SimpleLogRecordProcessor } from '@opentelemetry/sdk-logs';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';

let world: World;
let log: Log;
let refusing = false;

beforeEach(async () => {
  refusing = false;
  world = await World.start({
    joinMs: 60_000,
    checkSpace: () => {
      if (refusing) throw new SteleError('storage', 'the disk is full', { retryAfterS: 1 });
    },
  });
  ({ log } = await world.log('team-a'));
});
afterEach(() => world.stop());

async function records() {
  const entries = await log.entries(leafIndex(0), treeSize(log.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter(({ source }) => source.id === 'ingest');
}

const ways = {
  JSON: { traces: TracesInJson, logs: LogsInJson },
  protobuf: { traces: TracesInProtobuf, logs: LogsInProtobuf },
} as const;

function providers(way: keyof typeof ways, compression: 'gzip' | 'none') {
  const token = world.token({ roles: ['submit'], logs: ['team-a'] });
  const to = (signal: string) => ({
    url: `${world.server.url}/ingest/team-a/otlp/v1/${signal}`,
    headers: { authorization: `Bearer ${token}` },
    compression: compression as never,
    timeoutMillis: 60_000,
  });
  const resource = resourceFromAttributes({ 'service.name': 'shop' });
  const { traces, logs } = ways[way];
  const spans = new BatchSpanProcessor(new traces(to('traces')), { exportTimeoutMillis: 60_000 });
  const tracing = new NodeTracerProvider({ resource, spanProcessors: [spans] });
  const logging = new LoggerProvider({
    resource,
    processors: [new SimpleLogRecordProcessor({ exporter: new logs(to('logs')) })],
  });
  return { tracing, logging };
}

/** A call as an instrumentation of today tells it: the span without words, the event with them. */
function call({ tracing, logging }: ReturnType<typeof providers>): string {
  const span = tracing.getTracer('test').startSpan('chat gpt-4o-mini', {
    kind: SpanKind.CLIENT,
    attributes: {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o-mini',
      'gen_ai.usage.input_tokens': 14,
      'gen_ai.request.temperature': 0.25,
      'gen_ai.response.finish_reasons': ['stop'],
    },
  });
  span.setStatus({ code: SpanStatusCode.OK });
  span.end();
  const words = (role: string, content: string) => [{ role, parts: [{ type: 'text', content }] }];
  logging.getLogger('test').emit({
    eventName: 'gen_ai.client.inference.operation.details',
    attributes: {
      'gen_ai.input.messages': words('user', 'What is the capital of France?'),
      'gen_ai.output.messages': words('assistant', 'Paris.'),
    } as never,
    context: trace.setSpan(ROOT_CONTEXT, span),
  });
  return span.spanContext().spanId;
}

describe.each([
  ['JSON', 'none'],
  ['JSON', 'gzip'],
  ['protobuf', 'none'],
  ['protobuf', 'gzip'],
] as const)('in %s, packed by %s', (way, compression) => {
  test('a span and its event become one record', async () => {
    const both = providers(way, compression);
    const span = call(both);
    await Promise.all([both.tracing.forceFlush(), both.logging.forceFlush()]);
    const [record, ...more] = await records();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      kind: 'inference',
      ids: { span },
      source: { provenance: 'reported', completeness: 'full', software: 'shop test by stele/test' },
      model: { requested: 'gpt-4o-mini', params: { temperature: '0.25' } },
      output: { finish_reasons: ['stop'] },
      metrics: { input_tokens: 14 },
    });
    await Promise.all([both.tracing.shutdown(), both.logging.shutdown()]);
  });
});

test('what is refused for now is sent again by the exporter, and is one record', async () => {
  const token = world.token({ roles: ['submit'], logs: ['team-a'] });
  const exporter = new TracesInProtobuf({
    url: `${world.server.url}/ingest/team-a/otlp/v1/traces`,
    headers: { authorization: `Bearer ${token}` },
    timeoutMillis: 60_000,
  });
  const tracing = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
  tracing
    .getTracer('test')
    .startSpan('chat', {
      attributes: {
        'gen_ai.operation.name': 'chat',
        'gen_ai.input.messages': '[{"role":"user","content":"hi"}]',
      },
    })
    .end();
  refusing = true;
  const flushed = tracing.forceFlush();
  await new Promise<void>((resolve) => {
    const seen = () => {
      if (!world.lines.some((line) => line.includes('503'))) return setImmediate(seen);
      refusing = false;
      return resolve();
    };
    seen();
  });
  await flushed;
  expect(await records()).toHaveLength(1);
  await tracing.shutdown();
});
