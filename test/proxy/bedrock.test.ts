import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { bedrockEvent, bedrockException, bedrockStream, frame } from '../replay/eventstream.ts';
import { ownBytes, wireOf } from '../replay/exchanges.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { feed, PIECES, piecesOf, readerFor, textsOf } from './reading.ts';

const OWN = 'bedrock-converse.jsonl';
const LINES = Buffer.from(ownBytes(OWN)).toString();

const readLines = (lines: string, how: 'eof' | 'cut' = 'eof') =>
  feed(readerFor(OWN), [bedrockStream(lines)], how);

describe('an answer by Converse', () => {
  test('streamed, with reasoning, text and a tool call that stops in mid-JSON', () => {
    const bytes = wireOf(OWN, ownBytes(OWN));
    const { facts } = feed(readerFor(OWN), [bytes]);
    expect(facts).toMatchObject({
      parsed: true,
      finishReasons: ['max_tokens'],
      // 11 of its own, 5 read from the cache, 3 written to it.
      usage: {
        inputTokens: 19,
        outputTokens: 57,
        cacheReadInputTokens: 5,
        cacheWriteInputTokens: 3,
      },
      stream: { events: 13, terminated: 'message_stop' },
      toolCalls: [{ id: 'tool_1', name: 'look', arguments: '{"id": 12' }],
      complete: true,
      flags: [],
    });
    expect(textsOf(facts.normalized)).toEqual(['Héllo →']);
    expect(facts.reasoning).toEqual({
      messages: [
        { role: 'assistant', parts: [{ type: 'reasoning', text: 'Hm.', signature: 'c2ln' }] },
      ],
    });
    for (const size of PIECES) {
      expect(feed(readerFor(OWN), piecesOf(bytes, size)).facts).toEqual(facts);
    }
  });

  test('waits at the last byte of messageStop, wherever the stream is cut into pieces', () => {
    const lines = LINES.trim().split('\n');
    const at = lines.findIndex((line) => line.includes('messageStop'));
    const end = bedrockStream(lines.slice(0, at + 1).join('\n')).length - 1;
    const bytes = bedrockStream(LINES);
    for (let size = 1; size < 200; size++) {
      expect(feed(readerFor(OWN), piecesOf(bytes, size)).cuts).toEqual([end]);
    }
  });

  test('says the same where the counts come before messageStop', () => {
    const lines = LINES.trim().split('\n');
    const swapped = [...lines.slice(0, -2), lines.at(-1), lines.at(-2)].join('\n');
    expect(readLines(swapped).facts).toEqual(readLines(LINES).facts);
  });

  test.each(['eof', 'cut'] as const)('that broke off (%s) is not whole', (how) => {
    const half = LINES.slice(0, LINES.indexOf('{"messageStop"'));
    const terminated = how === 'eof' ? 'eof-clean' : 'eof-cut';
    expect(readLines(half, how).facts).toMatchObject({ complete: false, stream: { terminated } });
    const bytes = bedrockStream(half);
    const { facts } = feed(readerFor(OWN), [bytes.subarray(0, -3)], how);
    expect(facts).toMatchObject({ complete: false, flags: ['invalid-event'] });
  });

  test('with an exception in the middle', () => {
    const bytes = Buffer.concat([
      bedrockEvent('{"contentBlockDelta":{"contentBlockIndex":0,"delta":{"text":"Hel"}}}'),
      bedrockException('modelStreamErrorException', 'It broke'),
    ]);
    const { facts, cuts } = feed(readerFor(OWN), [bytes]);
    expect(facts).toMatchObject({
      complete: false,
      stream: { events: 2, terminated: 'error-event' },
      error: { type: 'modelStreamErrorException', message: 'It broke' },
    });
    expect(cuts).toEqual([bytes.length - 1]);
  });

  test('refused under a status of its own', () => {
    const headers = { 'x-amzn-errortype': 'ThrottlingException:http://internal.example/' };
    const body = Buffer.from('{"message":"Too many requests"}');
    const { facts } = feed(readerFor('bedrock.json', 429, headers), [body]);
    expect(facts.error).toEqual({ type: 'ThrottlingException', message: 'Too many requests' });
  });

  test('that a guardrail stopped', () => {
    const finding = (type: string, action: string) => ({ type, action, confidence: 'HIGH' });
    const guardrail = {
      inputAssessment: { g1: { contentPolicy: { filters: [finding('VIOLENCE', 'NONE')] } } },
      outputAssessments: {
        g1: [
          { sensitiveInformationPolicy: { piiEntities: [{ type: 'EMAIL', action: 'BLOCKED' }] } },
        ],
      },
    };
    const body = { output: {}, stopReason: 'guardrail_intervened', trace: { guardrail } };
    const { facts } = feed(readerFor('bedrock.json'), [Buffer.from(JSON.stringify(body))]);
    const rule = 'bedrock.guardrail';
    expect(facts).toMatchObject({ refused: true, finishReasons: ['guardrail_intervened'] });
    expect(facts.policyEvents).toEqual([
      {
        rule: 'bedrock.stop',
        stage: 'output',
        verdict: 'detected',
        action: 'block',
        category: 'guardrail_intervened',
      },
      { rule, stage: 'input', verdict: 'high', action: 'allow', category: 'violence' },
      { rule, stage: 'output', verdict: 'detected', action: 'block', category: 'email' },
    ]);
  });
});

test('a request to Converse', () => {
  const body = {
    system: [{ text: 'Be brief.' }, { cachePoint: { type: 'default' } }],
    messages: [
      {
        role: 'user',
        content: [{ text: 'Look' }, { image: { format: 'png', source: { bytes: 'AA==' } } }],
      },
      {
        role: 'assistant',
        content: [{ toolUse: { toolUseId: 't1', name: 'f', input: { x: 1 } } }],
      },
      {
        role: 'user',
        content: [
          { toolResult: { toolUseId: 't1', content: [{ json: { y: 2 } }], status: 'error' } },
        ],
      },
    ],
    inferenceConfig: { maxTokens: 100, temperature: 0.5, topP: 0.9, stopSequences: ['END'] },
    toolConfig: { tools: [{ toolSpec: { name: 'f' } }], toolChoice: { any: {} } },
    additionalModelRequestFields: { top_k: 40 },
  };
  const path = '/model/us.amazon.nova-lite-v1%3A0/converse-stream';
  const request = (value: object) =>
    providerFor('b', 'POST', path).request(Buffer.from(JSON.stringify(value)));
  const facts = request(body);
  expect(facts).toMatchObject({
    parsed: true,
    model: 'us.amazon.nova-lite-v1:0',
    stream: true,
    messages: 3,
    tools: 1,
    attachments: 1,
    context: 'complete',
    params: {
      max_output_tokens: 100,
      temperature: '0.5',
      top_p: '0.9',
      top_k: 40,
      stop_count: 1,
      tool_choice: 'any',
    },
    stop: ['END'],
  });
  expect(facts.normalized).toMatchObject({
    messages: [
      { role: 'user', parts: [{ type: 'text', text: 'Look' }, { type: 'image' }] },
      { role: 'assistant', parts: [{ type: 'tool_call', id: 't1', arguments: '{"x":1}' }] },
      { role: 'user', parts: [{ type: 'tool_result', id: 't1', is_error: true }] },
    ],
  });
  const elsewhere = { video: { format: 'mp4', source: { s3Location: { uri: 's3://b/k' } } } };
  const messages = [{ role: 'user', content: [elsewhere] }];
  expect(request({ messages })).toMatchObject({ context: 'external-state', attachments: 1 });
});

describe('an answer by InvokeModel', () => {
  const chunk = (value: object) =>
    frame(
      { ':event-type': 'chunk', ':message-type': 'event' },
      JSON.stringify({ bytes: Buffer.from(JSON.stringify(value)).toString('base64') }),
    );
  const reader = (model: string) =>
    providerFor('b', 'POST', `/model/${model}/invoke-with-response-stream`).response({
      status: 200,
      headers: { 'content-type': 'application/vnd.amazon.eventstream' },
    });
  const metrics = { 'amazon-bedrock-invocationMetrics': { outputTokenCount: 3 } };

  test('of Anthropic’s models is read as Anthropic’s', () => {
    const bytes = Buffer.concat([
      chunk({ type: 'message_start', message: { id: 'm', usage: { input_tokens: 3 } } }),
      chunk({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
      chunk({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hi' } }),
      chunk({
        type: 'message_delta',
        delta: { stop_reason: 'end_turn' },
        usage: { output_tokens: 1 },
      }),
      chunk({ type: 'message_stop', ...metrics }),
    ]);
    const { facts, cuts } = feed(reader('us.anthropic.claude-test-v1%3A0'), piecesOf(bytes, 7));
    expect(textsOf(facts.normalized)).toEqual(['Hi']);
    expect(facts).toMatchObject({
      id: 'm',
      complete: true,
      stream: { terminated: 'message_stop' },
    });
    expect(cuts).toEqual([bytes.length - 1]);
  });

  test('of any other model is opaque, and ends with its counts', () => {
    const bytes = Buffer.concat([
      chunk({ generation: 'Hi' }),
      chunk({ generation: '', ...metrics }),
    ]);
    const { facts, cuts } = feed(reader('meta.llama'), piecesOf(bytes, 7));
    expect(facts).toMatchObject({ complete: true, stream: { events: 2, terminated: 'done' } });
    expect(cuts).toEqual([bytes.length - 1]);
  });

  test.each([
    ['meta.llama', true],
    ['us.anthropic.claude-test-v1%3A0', false],
  ])('of %s waits at a frame too large to be read, since it may be the last', (model, complete) => {
    const large = chunk({ x: 'y'.repeat(13_000_000), type: 'message_stop', ...metrics });
    const { facts, cuts } = feed(reader(model), [large]);
    expect(cuts).toEqual([large.length - 1]);
    // Of what is not known the connection tells whether it was whole.
    expect(facts).toMatchObject({
      complete,
      stream: { events: 1, terminated: 'eof-clean' },
      flags: ['event-too-large'],
    });
  });
});

test('where a checksum fails the ends of the stream are hidden, to whoever does not check it', () => {
  const bytes = Buffer.from(wireOf(OWN, ownBytes(OWN)));
  const reader = readerFor(OWN);
  const half = Math.floor(bytes.length / 2);
  reader.push(bytes.subarray(0, half));
  expect(reader.hasHiddenEnds).toBe(false);
  bytes[half] = (bytes[half] as number) ^ 0xff;
  reader.push(bytes.subarray(half));
  expect(reader.hasHiddenEnds).toBe(true);
});

test.each([
  ['/model/amazon.nova-lite-v1%3A0/converse', 'bedrock.converse', 'aws.bedrock', 'chat'],
  [
    '/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse',
    'bedrock.converse',
    'aws.bedrock',
    'chat',
  ],
  ['/model/anthropic.claude-test/invoke', 'anthropic.messages', 'aws.bedrock', 'chat'],
  ['/model/meta.llama/invoke', 'opaque', 'b', 'unknown'],
  ['/model/%zz/converse', 'bedrock.converse', 'aws.bedrock', 'chat'],
  ['/openai/v1/chat/completions', 'openai.chat', 'azure.ai.openai', 'chat'],
])('%s is %s', (path, format, provider, operation) => {
  expect(providerFor('b', 'POST', path)).toMatchObject({ format, provider, operation });
});

test.skipIf(sharedMissing)('what is published says the same streamed and in one piece', () => {
  const folder = 'bedrock-converse';
  const bytes = wireOf(`${folder}/x`, sharedBytes('fixtures', 'llm', folder, 'text.chunks.txt'));
  const streamed = feed(readerFor(OWN), piecesOf(bytes, 37)).facts;
  expect(streamed).toMatchObject({
    complete: true,
    finishReasons: ['end_turn'],
    usage: { inputTokens: 22, outputTokens: 55 },
    flags: [],
  });
  const body = sharedJson('fixtures', 'llm', folder, 'text.json') as {
    readonly output: { readonly message: { readonly content: readonly { text: string }[] } };
  };
  const whole = feed(readerFor('bedrock.json'), [
    sharedBytes('fixtures', 'llm', folder, 'text.json'),
  ]).facts;
  expect(whole).toMatchObject({ complete: true, usage: { inputTokens: 22, outputTokens: 57 } });
  expect(textsOf(whole.normalized)).toEqual(body.output.message.content.map(({ text }) => text));
  // The model said it once in two ways.
  expect(textsOf(streamed.normalized)[0]).toContain('There are **3** r');
});
