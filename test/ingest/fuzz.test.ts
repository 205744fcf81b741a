/** Near misses of spans: each call is on record, or was named as one that never can be, and no answer is an error. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { World } from '../http/world.ts';
import { inProtobuf, PAYLOAD, SPANS } from './examples.ts';

const KEYS = [
  ...['gen_ai.system', 'gen_ai.provider.name', 'gen_ai.request.model', 'gen_ai.response.model'],
  ...['gen_ai.conversation.id', 'gen_ai.response.id', 'gen_ai.request.temperature'],
  ...['gen_ai.request.max_tokens', 'gen_ai.request.stop_sequences', 'gen_ai.request.seed'],
  ...['gen_ai.usage.input_tokens', 'gen_ai.usage.output_tokens', 'gen_ai.input.messages'],
  ...['gen_ai.output.messages', 'gen_ai.tool.definitions', 'gen_ai.system_instructions'],
  ...['llm.invocation_parameters', 'llm.tools', 'llm.input_messages.0.message.content'],
  ...['openinference.span.kind', 'input.value', 'gen_ai.prompt.0.content', 'gen_ai.prompt.0.role'],
  ...['gen_ai.response.finish_reasons', 'gen_ai.cost.total_cost', 'gen_ai.output.type'],
  ...['gen_ai.response.time_to_first_chunk', 'server.address', 'server.port', 'error.type'],
  ...['http.response.status_code', 'enduser.id', 'openai.request.service_tier'],
];

const text = fc.oneof(
  fc.constantFrom(
    ...['\ud800', 'a\ud800b', '\u0000', '', ' ', '\u202e', 'é'.repeat(300), '9'.repeat(400)],
    ...['-0', '1e400', 'NaN', 'null', '[]', '[{}]', '[null]', '{"role":5}', '["stop","\\ud800"]'],
    '[{"role":"user","content":"\\ud800"}]',
    '{"temperature":1e999,"n":-1,"stop":["\\ud800"]}',
    '[{"parts":[{"type":"tool_call","name":"\\ud800","arguments":{"a":1e400,"b":9007199254740993}}]}]',
  ),
  fc.string({ unit: 'binary' }),
);

const value = fc.oneof(
  text.map((stringValue) => ({ stringValue })),
  fc
    .constantFrom('9223372036854775807', '-1', '0', 'x', 5, -5, 1e300)
    .map((intValue) => ({ intValue })),
  fc
    .constantFrom(0.1, -1, 1e308, 1e-320, 'NaN', 'Infinity', 5)
    .map((doubleValue) => ({ doubleValue })),
  fc.boolean().map((boolValue) => ({ boolValue })),
  text.map((stringValue) => {
    const item = { kvlistValue: { values: [{ key: 'content', value: { stringValue } }] } };
    return { arrayValue: { values: [{ stringValue }, item] } };
  }),
);

const time = fc.constantFrom(
  ...['1800000000123456789', '0', '-1', '9223372036854775807', '99999999999999999999', 'x'],
  ...[1.8e18, undefined, '253402300800000000000'],
);

const CALL = { key: 'gen_ai.operation.name', value: { stringValue: 'chat' } };

const span = fc
  .record({
    traceId: fc.constantFrom('5b8efff798038103d269b633813fc60c', 'x', '0'.repeat(32)),
    name: text,
    startTimeUnixNano: time,
    endTimeUnixNano: time,
    status: fc.constantFrom(
      undefined,
      { code: 2, message: '\ud800' },
      { code: 'STATUS_CODE_ERROR' },
    ),
    attributes: fc.array(fc.record({ key: fc.constantFrom(...KEYS), value }), { maxLength: 12 }),
  })
  .map((one) => ({ ...one, attributes: [CALL, ...one.attributes] }));

async function start() {
  const world = await World.start();
  onTestFinished(() => world.stop());
  const { log } = await world.log('team-a');
  const token = world.token({ roles: ['submit'], logs: ['team-a'] });
  const tell = (body: string | Uint8Array, type: string) =>
    world.ask('POST', '/ingest/team-a/otlp/v1/traces', { token, type, body });
  // The log registers the server's key with the first.
  expect((await tell(JSON.stringify(SPANS), 'application/json')).status).toBe(200);
  const tellLitellm = (body: string) =>
    world.ask('POST', '/ingest/team-a/litellm', { token, type: 'application/json', body });
  return { log, tell, tellLitellm };
}

test('whatever spans say in JSON, each is on record if it has ids', async () => {
  const { log, tell } = await start();
  await fc.assert(
    fc.asyncProperty(fc.array(span, { minLength: 1, maxLength: 4 }), async (said) => {
      // Another call each time: what is told again is no record again.
      const spans = said.map((one) => ({ ...one, spanId: randomBytes(8).toString('hex') }));
      const { size } = log.head();
      const request = { resourceSpans: [{ scopeSpans: [{ spans }] }] };
      const answer = await tell(JSON.stringify(request), 'application/json');
      expect(answer.status, answer.text).toBe(200);
      const homeless = spans.filter(({ traceId }) => !traceId.startsWith('5')).length;
      const { partialSuccess } = answer.json() as { partialSuccess?: { rejectedSpans: string } };
      const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
      expect([rejected, log.head().size - size]).toEqual([homeless, spans.length - homeless]);
    }),
    { numRuns: 150 },
  );
  const entries = await log.entries(leafIndex(0), treeSize(Math.min(1_024, log.head().size)));
  for (const entry of entries) parseRecord(decodeEntry(entry).payload);
}, 120_000);

test('whatever a payload of LiteLLM says, it is on record or was named', async () => {
  const { log, tellLitellm } = await start();
  const odd = fc.oneof(
    text,
    fc.constantFrom<unknown[]>(null, [], {}, [null], { a: [{}] }, true, -1, 1e300, 1.5, 0, 1e12),
  );
  const change = fc.record({ name: fc.constantFrom(...Object.keys(PAYLOAD)), to: odd });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 5 }), async (changes) => {
      const payload: Record<string, unknown> = { ...PAYLOAD, id: randomBytes(8).toString('hex') };
      payload.litellm_call_id = payload.id;
      for (const { name, to } of changes) payload[name] = to;
      // What has no id of its own is known again.
      if (changes.some(({ name }) => /id$/.test(name)))
        payload.trace_id = randomBytes(8).toString('hex');
      const { size } = log.head();
      const answer = await tellLitellm(JSON.stringify(payload));
      expect([200, 400], answer.text).toContain(answer.status);
      expect(log.head().size - size, answer.text).toBe(answer.status === 200 ? 1 : 0);
    }),
    { numRuns: 150 },
  );
}, 120_000);

test('whatever byte of protobuf is another, the answer is a record or a refusal of the request', async () => {
  const { tell } = await start();
  const bytes = inProtobuf(SPANS);
  await fc.assert(
    fc.asyncProperty(
      fc.nat({ max: bytes.length - 1 }),
      fc.nat({ max: 255 }),
      fc.boolean(),
      async (at, byte, isCut) => {
        const changed = isCut ? bytes.slice(0, at) : bytes.with(at, byte);
        const answer = await tell(changed, 'application/x-protobuf');
        expect([200, 400]).toContain(answer.status);
      },
    ),
    { numRuns: 150 },
  );
}, 120_000);
