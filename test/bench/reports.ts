/** What an exporter sends: spans of calls with the words of both sides, each of a trace of its own. */
import { randomBytes } from 'node:crypto';
import { inProtobuf } from '../ingest/examples.ts';

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } });
const int = (key: string, intValue: string) => ({ key, value: { intValue } });

/** 512 bytes of question and as many of answer. */
const said = (role: string) =>
  JSON.stringify([{ role, parts: [{ type: 'text', content: 'some words '.repeat(42) }] }]);

const ATTRIBUTES = [
  text('gen_ai.operation.name', 'chat'),
  text('gen_ai.provider.name', 'openai'),
  text('gen_ai.request.model', 'gpt-4o-mini'),
  text('gen_ai.response.model', 'gpt-4o-mini-2024-07-18'),
  int('gen_ai.usage.input_tokens', '114'),
  int('gen_ai.usage.output_tokens', '107'),
  text('gen_ai.input.messages', said('user')),
  text('gen_ai.output.messages', said('assistant')),
];

export function reportOf(spans: number): Uint8Array {
  const list = Array.from({ length: spans }, () => ({
    traceId: randomBytes(16).toString('hex'),
    spanId: randomBytes(8).toString('hex'),
    name: 'chat gpt-4o-mini',
    kind: 3,
    startTimeUnixNano: '1800000000123456789',
    endTimeUnixNano: '1800000001623456789',
    attributes: ATTRIBUTES,
  }));
  const resource = { attributes: [text('service.name', 'shop')] };
  return inProtobuf({ resourceSpans: [{ resource, scopeSpans: [{ spans: list }] }] });
}
