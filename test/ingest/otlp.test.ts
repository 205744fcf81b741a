/** What OTLP tells becomes records: in both encodings, by every convention, joined, once, and as it was told. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { type InferenceRecord, parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';
import { EVENTS, inProtobuf, SPANS, zipped } from './examples.ts';
import { opened } from './opened.ts';
import { event, log as logOf, span, spans, text } from './spans.ts';

const JSON_TYPE = 'application/json';
const PROTOBUF = 'application/x-protobuf';

let world: World;
let log: Log;
let token: string;

async function start(joinMs = 0) {
  world = await World.start({ joinMs });
  ({ log } = await world.log('team-a'));
  token = world.token({ roles: ['submit'], logs: ['team-a'] });
}

beforeEach(() => start());
afterEach(() => world.stop());

type Sent = Parameters<World['ask']>[2];

function tell(signal: 'traces' | 'logs', body: object, more: Partial<NonNullable<Sent>> = {}) {
  return world.ask('POST', `/ingest/team-a/otlp/v1/${signal}`, {
    token,
    type: JSON_TYPE,
    body: JSON.stringify(body),
    ...more,
  });
}

/** Every record that the server's own gateway wrote, in order. */
async function records(of = log) {
  const entries = await of.entries(leafIndex(0), treeSize(of.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter(({ source }) => source.id.startsWith('ingest'));
}

async function calls(): Promise<InferenceRecord[]> {
  return (await records()).filter((record) => record.kind === 'inference');
}

const PROMPT = 'What is the capital of France?';

describe('a span with everything on it', () => {
  const whole = spans(
    span({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o-mini',
      'gen_ai.response.model': 'gpt-4o-mini-2024-07-18',
      'gen_ai.response.id': 'chatcmpl-1',
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.max_tokens': 100,
      'gen_ai.usage.input_tokens': 14,
      'gen_ai.usage.output_tokens': 7,
      'gen_ai.usage.cache_read.input_tokens': 3,
      'gen_ai.conversation.id': 'conv-7',
      'server.address': 'api.openai.com',
      'server.port': 443,
      'enduser.id': 'alice@example.com',
      'gen_ai.system_instructions': [{ type: 'text', content: 'Be brief.' }],
      'gen_ai.input.messages': [{ role: 'user', parts: [{ type: 'text', content: PROMPT }] }],
      'gen_ai.output.messages': [
        {
          role: 'assistant',
          parts: [
            { type: 'reasoning', content: 'France, so Paris.' },
            { type: 'text', content: 'Paris.' },
            { type: 'tool_call', id: 'call-1', name: 'map', arguments: { city: 'Paris' } },
          ],
          finish_reason: 'stop',
        },
      ],
    }),
  );

  test.each([
    ['JSON', JSON_TYPE, (body: object) => JSON.stringify(body), {}],
    ['protobuf', PROTOBUF, inProtobuf, {}],
    ['JSON in gzip', JSON_TYPE, (body: object) => zipped(JSON.stringify(body)), 'gzip'],
    ['protobuf in gzip', PROTOBUF, (body: object) => zipped(inProtobuf(body)), 'gzip'],
  ])('is one record, from %s', async (_, type, encode, encoding) => {
    const headers = typeof encoding === 'string' ? { 'content-encoding': encoding } : {};
    const answer = await tell('traces', whole, { type, body: encode(whole), headers });
    expect([answer.status, answer.headers['content-type']]).toEqual([200, type]);
    expect(answer.text).toBe(type === PROTOBUF ? '' : '{}');
    const [record, ...more] = await calls();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      log: log.origin,
      source: { id: 'ingest', seq: 0, prev: null, provenance: 'reported', completeness: 'full' },
      ids: { attempt: 1, conversation: 'conv-7', response: 'chatcmpl-1' },
      time: {
        received: '2027-01-15T08:00:00.123456Z',
        completed: '2027-01-15T08:00:01.623456Z',
        clock: { source: 'reported' },
      },
      auth: { method: 'reported', principal_type: 'user' },
      input: { format: 'otel.messages', messages: 1, context: 'unknown' },
      model: {
        provider: 'openai',
        operation: 'chat',
        requested: 'gpt-4o-mini',
        served: 'gpt-4o-mini-2024-07-18',
        endpoint: 'api.openai.com:443',
        params: { temperature: '0.2', max_output_tokens: 100 },
      },
      output: {
        finish_reasons: ['stop'],
        refused: false,
        choices: 1,
        tool_calls: [{ id: 'call-1', name: 'map' }],
      },
      metrics: {
        duration_us: 1_500_000,
        usage_source: 'provider',
        input_tokens: 14,
        output_tokens: 7,
        cache_read_input_tokens: 3,
      },
      outcome: { status: 'ok' },
    });
    expect(await opened(world, record!, 'request.messages')).toEqual({
      messages: [
        { role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] },
        { role: 'user', parts: [{ type: 'text', text: PROMPT }] },
      ],
    });
    expect(await opened(world, record!, 'response.messages')).toEqual({
      messages: [
        {
          role: 'assistant',
          parts: [
            { type: 'text', text: 'Paris.' },
            { type: 'tool_call', id: 'call-1', name: 'map', arguments: '{"city":"Paris"}' },
          ],
          finish_reason: 'stop',
        },
      ],
    });
    expect(await opened(world, record!, 'response.reasoning')).toMatchObject({
      messages: [{ parts: [{ type: 'reasoning', text: 'France, so Paris.' }] }],
    });
    expect(await opened(world, record!, 'principal.id')).toBe('alice@example.com');
    // Nothing of it stands in the entry itself.
    expect(JSON.stringify(record)).not.toMatch(/Paris|alice/);
    const report = await opened(world, record!, 'report.body');
    expect(report).toMatchObject({ resourceSpans: [{ scopeSpans: [{ spans: [{}] }] }] });
    expect(JSON.stringify(report)).toContain('gen_ai.usage.cache_read.input_tokens');
  });

  test('is the same record when it is told again, in the same request or another', async () => {
    await tell('traces', whole);
    expect((await tell('traces', whole)).status).toBe(200);
    const { resourceSpans } = whole;
    const twice = { resourceSpans: [...resourceSpans, ...resourceSpans] };
    expect((await tell('traces', twice)).status).toBe(200);
    expect(await records()).toHaveLength(1);
  });

  test('is answered only once it is in the log', async () => {
    const before = log.head().size;
    const answered = tell('traces', whole).then(() => log.head().size);
    // The key with its source, and the record.
    expect(await answered).toBe(before + 2);
  });
});

describe('older conventions', () => {
  const base = {
    'gen_ai.system': 'anthropic',
    'gen_ai.request.model': 'claude-3-5-haiku',
    'gen_ai.usage.prompt_tokens': 20,
    'gen_ai.usage.completion_tokens': 5,
  };
  const question = { messages: [{ role: 'user', parts: [{ type: 'text', text: PROMPT }] }] };
  const answered = (text: string) => ({ role: 'assistant', parts: [{ type: 'text', text }] });

  test('of messages in numbered attributes', async () => {
    await tell(
      'traces',
      spans(
        span({
          ...base,
          'llm.request.type': 'chat',
          'gen_ai.prompt.0.role': 'user',
          'gen_ai.prompt.0.content': PROMPT,
          'gen_ai.completion.0.role': 'assistant',
          'gen_ai.completion.0.content': 'Paris.',
          'gen_ai.completion.0.finish_reason': 'end_turn',
          'gen_ai.completion.0.tool_calls.0.name': 'map',
          'gen_ai.completion.0.tool_calls.0.arguments': '{"a":1}',
        }),
      ),
    );
    const [record] = await calls();
    expect(record).toMatchObject({
      model: { provider: 'anthropic', requested: 'claude-3-5-haiku', operation: 'chat' },
      metrics: { input_tokens: 20, output_tokens: 5 },
      output: { finish_reasons: ['end_turn'], tool_calls: [{ name: 'map' }] },
      source: { completeness: 'full' },
    });
    expect(await opened(world, record!, 'request.messages')).toEqual(question);
    expect(await opened(world, record!, 'response.messages')).toMatchObject({
      messages: [{ parts: [{ text: 'Paris.' }, { type: 'tool_call', arguments: '{"a":1}' }] }],
    });
  });

  test('of content in span events', async () => {
    const events = [
      event('gen_ai.content.prompt', {
        'gen_ai.prompt': JSON.stringify([{ role: 'user', content: PROMPT }]),
      }),
      event('gen_ai.content.completion', {
        'gen_ai.completion': JSON.stringify([{ role: 'assistant', content: 'Paris.' }]),
      }),
    ];
    await tell('traces', spans(span(base, { events })));
    const [record] = await calls();
    expect(await opened(world, record!, 'request.messages')).toEqual(question);
    expect(await opened(world, record!, 'response.messages')).toEqual({
      messages: [answered('Paris.')],
    });
  });

  test('of one event for each message, on the span', async () => {
    const events = [
      event('gen_ai.system.message', { content: 'Be brief.' }),
      event('gen_ai.user.message', { content: PROMPT }),
      event('gen_ai.choice', { finish_reason: 'stop', message: '{"content":"Paris."}' }),
    ];
    await tell('traces', spans(span(base, { events })));
    const [record] = await calls();
    expect(record?.output).toMatchObject({ finish_reasons: ['stop'] });
    expect(await opened(world, record!, 'request.system')).toMatchObject({
      messages: [{ role: 'system', parts: [{ text: 'Be brief.' }] }],
    });
    expect(await opened(world, record!, 'response.messages')).toMatchObject({
      messages: [answered('Paris.')],
    });
  });

  test('of OpenInference', async () => {
    await tell(
      'traces',
      spans(
        span({
          'openinference.span.kind': 'LLM',
          'llm.system': 'openai',
          'llm.model_name': 'gpt-4o',
          'llm.invocation_parameters': '{"temperature":0.5,"max_tokens":9}',
          'llm.input_messages.0.message.role': 'user',
          'llm.input_messages.0.message.content': PROMPT,
          'llm.output_messages.0.message.role': 'assistant',
          'llm.output_messages.0.message.content': 'Paris.',
          'llm.output_messages.0.message.tool_calls.0.tool_call.function.name': 'map',
          'llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments': '{}',
          'llm.token_count.prompt': 8,
          'llm.token_count.completion': 2,
          'input.value': '{"not":"this"}',
        }),
        span({ 'openinference.span.kind': 'CHAIN', 'input.value': 'x' }),
      ),
    );
    const [record, ...more] = await calls();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      model: { provider: 'openai', requested: 'gpt-4o', params: { temperature: '0.5' } },
      metrics: { input_tokens: 8, output_tokens: 2 },
      output: { tool_calls: [{ name: 'map' }] },
    });
    expect(await opened(world, record!, 'request.messages')).toEqual(question);
  });

  test('of OpenInference with nothing but one text each way', async () => {
    const kind = { 'openinference.span.kind': 'LLM' };
    await tell('traces', spans(span({ ...kind, 'input.value': PROMPT, 'output.value': 'Paris.' })));
    const [record] = await calls();
    expect(await opened(world, record!, 'request.messages')).toEqual(question);
    expect(await opened(world, record!, 'response.messages')).toEqual({
      messages: [answered('Paris.')],
    });
  });
});

describe('what is missing', () => {
  const bare = { 'gen_ai.operation.name': 'chat', 'gen_ai.provider.name': 'openai' };

  test('is said: without content it is metadata only', async () => {
    await tell('traces', spans(span(bare)));
    const [record] = await calls();
    expect(record?.source.completeness).toBe('metadata-only');
    expect(record?.source).not.toHaveProperty('truncated_fields');
    expect(record?.input.format).toBe('opaque');
  });

  test.each([
    ['attributes', { droppedAttributesCount: 2 }, 'span.attributes'],
    ['events', { droppedEventsCount: 1 }, 'span.events'],
    [
      'attributes of events',
      { events: [{ ...event('x', {}), droppedAttributesCount: 1 }] },
      'span.events.attributes',
    ],
  ])('is said: with dropped %s it is truncated', async (_, more, field) => {
    for (const type of [JSON_TYPE, PROTOBUF]) {
      const body = spans(span(bare, more));
      await tell('traces', body, {
        type,
        body: type === PROTOBUF ? inProtobuf(body) : JSON.stringify(body),
      });
    }
    for (const record of await calls()) {
      expect(record.source.completeness).toBe('truncated');
      expect(record.source.truncated_fields).toContain(field);
    }
  });

  test('is not taken for a fault of ours: an error has its type, and its words are content', async () => {
    const failed = spans(
      span(
        { ...bare, 'error.type': 'RateLimitError' },
        { status: { code: 2, message: 'slow down' } },
      ),
      span({ ...bare, 'error.type': 'TimeoutError' }, { status: { code: 2 } }),
    );
    await tell('traces', failed);
    const [limited, late] = await calls();
    expect(limited?.outcome).toEqual({ status: 'upstream-error', error_type: 'RateLimitError' });
    expect(limited).not.toHaveProperty('output');
    expect(await opened(world, limited!, 'response.error')).toBe('slow down');
    expect(late?.outcome.status).toBe('timeout');
  });
});

describe('what is no call', () => {
  test('is passed over, without a word to whoever sends it', async () => {
    const answer = await tell(
      'traces',
      spans(
        span({ 'http.request.method': 'GET' }),
        span({ 'gen_ai.operation.name': 'execute_tool', 'gen_ai.tool.name': 'x' }),
        span({ 'gen_ai.operation.name': 'invoke_agent' }),
      ),
    );
    expect([answer.status, answer.text]).toEqual([200, '{}']);
    expect((await tell('logs', logOf(text('app.started', 'hello')))).text).toBe('{}');
    expect(await records()).toEqual([]);
  });

  test('is named if it says that it is one: it can never be accepted', async () => {
    const call = { 'gen_ai.operation.name': 'chat' };
    const wrong = spans(
      span(call, { traceId: '00000000000000000000000000000000' }),
      span(call, { spanId: 'abc' }),
      span(call),
    );
    expect((await tell('traces', wrong)).json()).toEqual({
      partialSuccess: { rejectedSpans: '2', errorMessage: 'a call has no trace or span id' },
    });
    expect(await calls()).toHaveLength(1);
    const message = { eventName: 'gen_ai.user.message', spanId: '', traceId: '' };
    expect((await tell('logs', logOf(message))).json()).toMatchObject({
      partialSuccess: { rejectedLogRecords: '1' },
    });
  });
});

describe('a span and its event', () => {
  beforeEach(async () => {
    await world.stop();
    await start(6_000);
  });

  test.each(['the span', 'the event'])('are one record, when %s comes first', async (first) => {
    const sends = [() => tell('traces', SPANS), () => tell('logs', EVENTS)];
    const [one, two] = first === 'the span' ? sends : sends.toReversed();
    const held = one!();
    await until(() => world.ingest.waiting === 1);
    expect(await records()).toEqual([]);
    expect((await two!()).status).toBe(200);
    expect((await held).status).toBe(200);
    const [record, ...more] = await records();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      kind: 'inference',
      ids: { trace: '5b8efff798038103d269b633813fc60c', span: 'eee19b7ec3c1b174' },
      metrics: { duration_us: 1_500_000, input_tokens: 14 },
      source: { completeness: 'full' },
    });
    expect(await opened(world, record as InferenceRecord, 'request.messages')).toMatchObject({
      messages: [{ parts: [{ text: PROMPT }] }],
    });
    const report = await opened(world, record as InferenceRecord, 'report.body');
    expect(JSON.stringify(report)).toMatch(
      /resourceSpans.*resourceLogs|resourceLogs.*resourceSpans/,
    );
    // Both halves are known when they are told again.
    expect((await tell('traces', SPANS)).status).toBe(200);
    expect((await tell('logs', EVENTS)).status).toBe(200);
    expect(await records()).toHaveLength(1);
  });

  test('that comes too late is a later word about the record, and told again it is known', async () => {
    const held = tell('traces', SPANS);
    await until(() => world.later.size === 1);
    for (const work of world.later) work();
    expect((await held).status).toBe(200);
    expect((await tell('logs', EVENTS)).status).toBe(200);
    expect((await tell('logs', EVENTS)).status).toBe(200);
    const [record, late, ...more] = await records();
    expect(more).toEqual([]);
    expect(record).toMatchObject({ kind: 'inference', source: { completeness: 'metadata-only' } });
    expect(late).toMatchObject({
      kind: 'annotation',
      source: { seq: 1 },
      annotation: { records: [record?.record_id], type: 'late-report', source: 'ingest' },
    });
  });

  test('wait for each other again after the process died between them', async () => {
    const broken = tell('traces', SPANS).catch(() => undefined);
    await until(() => world.ingest.waiting === 1);
    // Nothing was promised: nothing of it is anywhere.
    expect(await records()).toEqual([]);
    const again = tell('traces', SPANS);
    expect((await tell('logs', EVENTS)).status).toBe(200);
    expect((await again).status).toBe(200);
    await broken;
    expect(await records()).toHaveLength(1);
  });

  test('of several messages wait for the last of them', async () => {
    const ids = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16) };
    const said = (eventName: string, body: object) => ({
      ...ids,
      eventName,
      body: bodyOf(body),
    });
    const prompt = tell('logs', logOf(said('gen_ai.user.message', { content: PROMPT })));
    await until(() => world.ingest.waiting === 1);
    const call = tell(
      'traces',
      spans(span({ 'gen_ai.system': 'openai', 'gen_ai.request.model': 'm' }, ids)),
    );
    const choice = tell(
      'logs',
      logOf(
        said('gen_ai.choice', { index: 0, finish_reason: 'stop', message: { content: 'Paris.' } }),
      ),
    );
    for (const answer of await Promise.all([prompt, call, choice])) expect(answer.status).toBe(200);
    const [record, ...more] = await records();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      output: { finish_reasons: ['stop'] },
      source: { completeness: 'full' },
    });
  });
});

/** A body of an event as OTLP has it. */
function bodyOf(value: unknown): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'number') return { intValue: String(value) };
  const values = Object.entries(value as object).map(([key, member]) => ({
    key,
    value: bodyOf(member),
  }));
  return { kvlistValue: { values } };
}

/** Waits for what the server does by itself: each turn lets it go on. */
async function until(holds: () => boolean): Promise<void> {
  for (let turns = 0; !holds(); turns++) {
    if (turns > 20_000) throw new Error('it never came to hold');
    await new Promise((resolve) => setImmediate(resolve));
  }
}
