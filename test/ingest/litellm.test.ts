/** What LiteLLM's webhook sends becomes records: in its three forms, by kind of call, with what it left out said. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { type InferenceRecord, parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';
import { PAYLOAD, zipped } from './examples.ts';
import { opened } from './opened.ts';

let world: World;
let log: Log;
let token: string;

beforeEach(async () => {
  world = await World.start();
  ({ log } = await world.log('team-a'));
  token = world.token({ roles: ['submit'], logs: ['team-a'] });
});
afterEach(() => world.stop());

function send(body: unknown, headers: Record<string, string> = {}) {
  const bytes =
    typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  return world.ask('POST', '/ingest/team-a/litellm', {
    token,
    type: 'application/json',
    body: bytes,
    headers,
  });
}

async function calls(): Promise<InferenceRecord[]> {
  const entries = await log.entries(leafIndex(0), treeSize(log.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter((record) => record.kind === 'inference');
}

const another = (id: string, more: object = {}) => ({ ...PAYLOAD, id, ...more });

describe('a call', () => {
  test('has its record, with what it cost and who called as it was reported', async () => {
    const answer = await send(PAYLOAD);
    expect([answer.status, answer.json()]).toEqual([200, { accepted: 1, rejected: [] }]);
    const [record] = await calls();
    expect(record).toMatchObject({
      source: { id: 'ingest', provenance: 'reported', completeness: 'full' },
      ids: {
        gateway_request: '540f48ae-e098-4f5b-97a5-7516e4b136b8',
        conversation: 'conv-7',
        response: 'chatcmpl-72633cf0',
      },
      time: { received: '2027-01-15T08:00:00.123456Z', completed: '2027-01-15T08:00:01.623456Z' },
      auth: { method: 'reported', principal_type: 'user' },
      input: { format: 'openai.chat', messages: 1 },
      model: {
        provider: 'openai',
        operation: 'chat',
        requested: 'gpt-4o-mini',
        served: 'gpt-4o-mini-2024-07-18',
        // Never the path or the query, which may hold what is secret.
        endpoint: 'api.openai.com',
        params: { temperature: '0.2' },
      },
      output: { finish_reasons: ['stop'], choices: 1 },
      metrics: {
        input_tokens: 14,
        output_tokens: 7,
        cost_nano_usd: 13_500,
        duration_us: 1_500_000,
      },
      outcome: { status: 'ok' },
    });
    expect(await opened(world, record!, 'request.messages')).toEqual({
      messages: [
        { role: 'user', parts: [{ type: 'text', text: 'What is the capital of France?' }] },
      ],
    });
    expect(await opened(world, record!, 'response.messages')).toMatchObject({
      messages: [{ role: 'assistant', parts: [{ text: 'Paris.' }], finish_reason: 'stop' }],
    });
    expect(await opened(world, record!, 'principal.id')).toBe('alice');
    expect(await opened(world, record!, 'on_behalf_of')).toBe('customer-9');
    expect(await opened(world, record!, 'report.body')).toEqual(PAYLOAD);
  });

  test('is one record, however often and in whichever form it is sent', async () => {
    const lines = [PAYLOAD, another('b')].map((one) => JSON.stringify(one)).join('\n');
    for (const body of [PAYLOAD, [PAYLOAD, another('b')], lines, `${lines}\n`]) {
      expect((await send(body)).status).toBe(200);
    }
    const packed = await send(zipped(lines), { 'content-encoding': 'gzip' });
    expect(packed.json()).toEqual({ accepted: 2, rejected: [] });
    expect(await calls()).toHaveLength(2);
  });

  test('that failed has its error, whose words are content', async () => {
    await send(
      another('c', {
        status: 'failure',
        response: {},
        error_information: {
          error_code: '429',
          error_class: 'RateLimitError',
          error_message: 'slow down',
        },
      }),
    );
    const [record] = await calls();
    expect(record?.outcome).toEqual({
      status: 'upstream-error',
      http_status: 429,
      error_type: 'RateLimitError',
    });
    expect(record).not.toHaveProperty('output');
    expect(await opened(world, record!, 'response.error')).toBe('slow down');
  });

  test.each([
    [
      'an embedding',
      { call_type: 'aembedding', messages: ['a text'], response: { data: [] } },
      'openai.embeddings',
      'embeddings',
    ],
    [
      'of the Responses API',
      { call_type: 'aresponses', messages: 'hi' },
      'openai.responses',
      'chat',
    ],
    [
      'of Anthropic’s messages',
      { call_type: 'anthropic_messages', custom_llm_provider: 'anthropic' },
      'anthropic.messages',
      'chat',
    ],
    ['of a kind that nobody knows', { call_type: 'a_new_one' }, 'opaque', 'a_new_one'],
  ])('%s is read as what it is', async (_, more, format, operation) => {
    expect((await send(another('d', more))).json()).toMatchObject({ accepted: 1 });
    const [record] = await calls();
    expect(record).toMatchObject({ input: { format }, model: { operation } });
  });
});

describe('what LiteLLM left out', () => {
  test('is said, and what stands in its place is not taken for words', async () => {
    await send(
      another('e', {
        messages: [{ role: 'user', content: 'redacted-by-litellm' }],
        response: {
          ...PAYLOAD.response,
          choices: [{ message: { content: 'redacted-by-litellm' } }],
        },
      }),
    );
    const [record] = await calls();
    expect(record?.source.completeness).toBe('metadata-only');
    expect(record?.commitments.fields).not.toHaveProperty('request.messages');
    expect(record?.commitments.fields).not.toHaveProperty('response.messages');
    expect(record?.metrics.input_tokens).toBe(14);
  });

  test('is said of a file in the prompt, whose messages are there otherwise', async () => {
    const url = 'data:image/png;base64,[base64_data truncated: 12.3KB]';
    const content = [{ type: 'image_url', image_url: { url } }];
    await send(another('f', { messages: [{ role: 'user', content }] }));
    const [record] = await calls();
    expect(record?.source).toMatchObject({
      completeness: 'truncated',
      truncated_fields: ['request.attachments'],
    });
    expect(record?.commitments.fields).toHaveProperty('request.messages');
  });
});

describe('what is wrong', () => {
  test('with one call keeps out no other, and is said by its number', async () => {
    const answer = await send([{ id: 'x' }, PAYLOAD, 7, another('', { litellm_call_id: '' })]);
    expect(answer.json()).toEqual({
      accepted: 1,
      rejected: [
        'call 1: startTime and endTime are not seconds since 1970',
        'call 3: it is no StandardLoggingPayload',
        'call 4: it has no id',
      ],
    });
    expect(await calls()).toHaveLength(1);
  });

  test('with one line keeps out no other', async () => {
    const answer = await send(
      `${JSON.stringify(PAYLOAD)}\n{"id":\n${JSON.stringify(another('b'))}\n`,
    );
    expect(answer.json()).toEqual({ accepted: 2, rejected: ['call 2: litellm: it is not JSON'] });
  });

  test.each([
    ['no JSON', 'hello', 400],
    ['nothing', '[]', 400],
    ['only what is none', '[{}]', 400],
    ['deeper than is taken', `${'['.repeat(300)}${']'.repeat(300)}`, 400],
  ])('is a refusal where there is %s', async (_, body, status) => {
    const answer = await send(body);
    expect([answer.status, answer.json().code]).toEqual([status, 'malformed']);
    expect(await calls()).toEqual([]);
  });

  test('is a log that ended for good', async () => {
    await world.logs.freeze('team-a', { reason: 'over' });
    expect((await send(PAYLOAD)).status).toBe(423);
  });
});
