/** One call as OTLP tells it, in both of its forms: a span, and the event beside it. */
import { gzipSync } from 'node:zlib';
import protobuf from 'protobufjs';

const TRACE = '5b8efff798038103d269b633813fc60c';
const SPAN = 'eee19b7ec3c1b174';
const BEGIN = '1800000000123456789';
const END = '1800000001623456789';

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
const int = (key: string, intValue: string) => ({ key, value: { intValue } });

const RESOURCE = { attributes: [text('service.name', 'shop')] };
const SCOPE = { name: 'test.instrumentation', version: '1.2.3' };

export const SPANS = {
  resourceSpans: [
    {
      resource: RESOURCE,
      scopeSpans: [
        {
          scope: SCOPE,
          spans: [
            {
              traceId: TRACE,
              spanId: SPAN,
              name: 'chat gpt-4o-mini',
              kind: 3,
              startTimeUnixNano: BEGIN,
              endTimeUnixNano: END,
              attributes: [
                text('gen_ai.operation.name', 'chat'),
                text('gen_ai.provider.name', 'openai'),
                text('gen_ai.request.model', 'gpt-4o-mini'),
                text('gen_ai.response.model', 'gpt-4o-mini-2024-07-18'),
                int('gen_ai.usage.input_tokens', '14'),
                int('gen_ai.usage.output_tokens', '7'),
              ],
            },
          ],
        },
      ],
    },
  ],
};

export const EVENTS = {
  resourceLogs: [
    {
      resource: RESOURCE,
      scopeLogs: [
        {
          scope: SCOPE,
          logRecords: [
            {
              timeUnixNano: END,
              eventName: 'gen_ai.client.inference.operation.details',
              traceId: TRACE,
              spanId: SPAN,
              attributes: [
                text('gen_ai.operation.name', 'chat'),
                text(
                  'gen_ai.input.messages',
                  '[{"role":"user","parts":[{"type":"text","content":"What is the capital of France?"}]}]',
                ),
                text(
                  'gen_ai.output.messages',
                  '[{"role":"assistant","parts":[{"type":"text","content":"Paris."}],"finish_reason":"stop"}]',
                ),
              ],
            },
          ],
        },
      ],
    },
  ],
};

/** A call as LiteLLM's webhook reports it, of its many members those that say something. */
export const PAYLOAD = {
  id: 'chatcmpl-72633cf0',
  litellm_call_id: '540f48ae-e098-4f5b-97a5-7516e4b136b8',
  trace_id: '6757234a-2b30-4eb6-be3c-5fa480e34d93',
  session_id: 'conv-7',
  call_type: 'acompletion',
  stream: null,
  status: 'success',
  custom_llm_provider: 'openai',
  startTime: 1800000000.123456,
  endTime: 1800000001.623456,
  completionStartTime: 1800000001.623456,
  model: 'gpt-4o-mini',
  api_base: 'https://api.openai.com/v1?key=secret',
  metadata: { user_api_key_user_id: 'alice', user_api_key_hash: null },
  end_user: 'customer-9',
  response_cost: 0.0000135,
  prompt_tokens: 14,
  completion_tokens: 7,
  total_tokens: 21,
  messages: [{ role: 'user', content: 'What is the capital of France?' }],
  model_parameters: { temperature: 0.2 },
  response: {
    id: 'chatcmpl-72633cf0',
    model: 'gpt-4o-mini-2024-07-18',
    object: 'chat.completion',
    choices: [
      { index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Paris.' } },
    ],
    usage: { prompt_tokens: 14, completion_tokens: 7, total_tokens: 21 },
  },
};

/** The messages of OTLP as far as the examples need them, by the numbers of its own files. */
const root = protobuf.parse(
  `syntax = "proto3";
  message AnyValue { oneof value { string stringValue = 1; bool boolValue = 2; int64 intValue = 3;
    double doubleValue = 4; ArrayValue arrayValue = 5; KeyValueList kvlistValue = 6; bytes bytesValue = 7; } }
  message ArrayValue { repeated AnyValue values = 1; }
  message KeyValueList { repeated KeyValue values = 1; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message Scope { string name = 1; string version = 2; }
  message Resource { repeated KeyValue attributes = 1; uint32 droppedAttributesCount = 2; }
  message Event { fixed64 timeUnixNano = 1; string name = 2; repeated KeyValue attributes = 3;
    uint32 droppedAttributesCount = 4; }
  message Link { bytes traceId = 1; bytes spanId = 2; }
  message Status { string message = 2; int32 code = 3; }
  message Span { bytes traceId = 1; bytes spanId = 2; string traceState = 3; bytes parentSpanId = 4;
    string name = 5; int32 kind = 6; fixed64 startTimeUnixNano = 7; fixed64 endTimeUnixNano = 8;
    repeated KeyValue attributes = 9; uint32 droppedAttributesCount = 10; repeated Event events = 11;
    uint32 droppedEventsCount = 12; repeated Link links = 13; uint32 droppedLinksCount = 14; Status status = 15;
    fixed32 flags = 16; }
  message ScopeSpans { Scope scope = 1; repeated Span spans = 2; string schemaUrl = 3; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scopeSpans = 2; string schemaUrl = 3; }
  message Traces { repeated ResourceSpans resourceSpans = 1; }
  message LogRecord { fixed64 timeUnixNano = 1; int32 severityNumber = 2; string severityText = 3; AnyValue body = 5;
    repeated KeyValue attributes = 6; uint32 droppedAttributesCount = 7; fixed32 flags = 8; bytes traceId = 9;
    bytes spanId = 10; fixed64 observedTimeUnixNano = 11; string eventName = 12; }
  message ScopeLogs { Scope scope = 1; repeated LogRecord logRecords = 2; string schemaUrl = 3; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scopeLogs = 2; string schemaUrl = 3; }
  message Logs { repeated ResourceLogs resourceLogs = 1; }`,
  { keepCase: true },
).root;

/** The same request in protobuf, as an exporter writes it. */
export function inProtobuf(request: object): Uint8Array {
  const type = root.lookupType('resourceSpans' in request ? 'Traces' : 'Logs');
  return type.encode(type.fromObject(withBytes(request) as object)).finish();
}

export function zipped(bytes: Uint8Array | string): Uint8Array {
  return gzipSync(bytes);
}

/** Ids are bytes there, and hex in JSON. */
function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      /^(?:trace|span|parentSpan)Id$/.test(name)
        ? Buffer.from(String(member), 'hex')
        : withBytes(member),
    ]),
  );
}

const base64 = (request: object) => Buffer.from(inProtobuf(request)).toString('base64');

export const OTLP_PROTOBUF = { spans: base64(SPANS), events: base64(EVENTS) };
