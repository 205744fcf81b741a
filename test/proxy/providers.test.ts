import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import type { ResponseFacts } from '../../server/proxy/providers/provider.ts';
import { ownBytes } from '../replay/exchanges.ts';
import { feed, PIECES, piecesOf, readerFor, STREAMS, textsOf } from './reading.ts';

function readOwn(name: string, size = 4096): ResponseFacts {
  return feed(readerFor(name), piecesOf(ownBytes(name), size)).facts;
}

describe('a stream', () => {
  test.each(STREAMS)('%s says the same in pieces of any size, and at every split', (name) => {
    const bytes = ownBytes(name);
    const whole = feed(readerFor(name), [bytes]);
    expect(whole.facts.parsed).toBe(true);
    expect(whole.cuts).toHaveLength(1);
    for (const size of PIECES) expect(feed(readerFor(name), piecesOf(bytes, size))).toEqual(whole);
    for (let at = 1; at < bytes.length; at++) {
      const halves = [bytes.subarray(0, at), bytes.subarray(at)];
      const { cuts, facts } = feed(readerFor(name), halves);
      expect(cuts).toEqual(whole.cuts);
      expect(facts.finishReasons).toEqual(whole.facts.finishReasons);
    }
  });

  test.each(['openai-chat.sse', 'openai-chat-crlf.sse', 'openai-chat-cr.sse'])(
    'is cut at the line end of [DONE] (%s)',
    (name) => {
      const bytes = Buffer.from(ownBytes(name));
      expect(feed(readerFor(name), [bytes]).cuts).toEqual([bytes.indexOf('[DONE]') + 6]);
    },
  );

  test.each([
    ['message_stop by its type', 'data: {"type":"message_stop"}', 1],
    ['message_stop by its name', 'event: message_stop\ndata: {}', 1],
    ['a name behind its data', 'data: {"x":1}\nevent: message_stop', 1],
    ['a terminal event over several lines', 'data: {"type":\ndata: "response.failed"}', 1],
    ['a bracket inside a text', 'data: {"a":"}\\"}",\ndata: "type": "error"\ndata: }', 1],
    ['an error without a type', 'data: {"error":{"message":"x"}}', 1],
    ['response.incomplete', 'data: {"type":"response.incomplete","response":{}}', 1],
    ['[DONE] with spaces', 'data:  [DONE] ', 1],
    ['an error of null', 'data: {"error":null}', 0],
    ['a comment', ': [DONE]', 0],
    ['a text that speaks of it', 'data: {"a":"[DONE]","b":"message_stop"}', 0],
  ])('is cut for %s as often as it should', (_, text, count) => {
    const bytes = Buffer.from(`${text}\n\n`);
    for (const name of ['openai-chat.sse', 'anthropic-x.sse', 'responses-x.sse']) {
      const { cuts } = feed(readerFor(name), piecesOf(bytes, 1));
      expect(cuts).toEqual(count === 0 ? [] : [text.length]);
    }
  });

  test('is cut for a terminal event that is too large to be read', () => {
    const text = `data: {"type":"response.completed","x":"${'y'.repeat(17_000_000)}"}`;
    const { cuts, facts } = feed(readerFor('responses.sse'), [Buffer.from(`${text}\n\n`)]);
    expect(cuts).toEqual([text.length]);
    expect(facts).toMatchObject({ complete: true, flags: ['event-too-large'], toolCalls: [] });
    expect(facts.normalized).toBeUndefined();
  });

  test('reads an event of very many lines in time that grows with its length', () => {
    const text = `data: {"a":[\n${'data: {},\n'.repeat(100_000)}data: 1]}\n\ndata: [DONE]\n\n`;
    const { facts } = feed(readerFor('openai-chat.sse'), [Buffer.from(text)]);
    expect(facts.stream).toEqual({ events: 2, terminated: 'done' });
  });

  test('says when it was compressed that nothing can be cut, and is read all the same', () => {
    const bytes = gzipSync(ownBytes('openai-chat.sse'));
    const reader = readerFor('openai-chat.sse', 200, { 'content-encoding': 'gzip' });
    expect(reader.isStream).toBe(false);
    const { facts, cuts } = feed(reader, piecesOf(bytes, 7));
    expect(cuts).toEqual([]);
    expect(facts).toEqual(readOwn('openai-chat.sse'));
  });

  test.each(STREAMS)('%s says the same where its type is another or missing', (name) => {
    const bytes = ownBytes(name);
    const whole = feed(readerFor(name), [bytes]);
    for (const type of ['application/json', 'application/problem+json; charset=utf-8', '']) {
      for (const size of PIECES) {
        const reader = readerFor(name, 200, { 'content-type': type });
        expect(feed(reader, piecesOf(bytes, size))).toEqual(whole);
        expect(reader.isStream).toBe(true);
      }
    }
  });

  test.each([
    ['data: [DONE]', 'text/plain', true, true],
    ['\ufeff \r\n: ping\r\n\r\ndata: [DONE]', 'application/json', false, true],
    ['{"choices":[]}', 'application/json; charset=utf-8', true, false],
    ['\n\n {"choices":[]}', '', true, false],
    ['{"choices":[]}', 'text/plain', true, false],
    ['data of an unknown kind', 'text/html', false, false],
  ])('%j of type "%s" is one as its first byte says (asked for: %s)', (text, type, asked, is) => {
    const provider = providerFor('openai', 'POST', '/v1/chat/completions');
    const request = provider.request(Buffer.from(`{"stream":${asked}}`));
    for (const size of PIECES) {
      const reader = provider.response({ status: 200, headers: { 'content-type': type }, request });
      const { facts, cuts } = feed(reader, piecesOf(Buffer.from(`${text}\n\n`), size));
      expect(reader.isStream).toBe(is);
      expect(facts.stream).toEqual(is ? { events: 1, terminated: 'done' } : undefined);
      expect(cuts).toEqual(is ? [Buffer.byteLength(text)] : []);
      expect(facts.parsed).toBe(text.endsWith('}'));
    }
  });

  test('that was compressed without being called one waits with every piece, if it was asked for', () => {
    const provider = providerFor('openai', 'POST', '/v1/chat/completions');
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    for (const name of ['openai-chat.sse', 'openai-chat.json']) {
      const request = provider.request(Buffer.from('{"stream":true}'));
      const reader = provider.response({ status: 200, headers, request });
      expect([reader.isStream, reader.hasHiddenEnds]).toEqual([false, true]);
      const { facts } = feed(reader, piecesOf(gzipSync(ownBytes(name)), 37));
      expect(facts).toEqual(readOwn(name));
    }
    const request = provider.request(Buffer.from('{}'));
    expect(provider.response({ status: 200, headers, request }).hasHiddenEnds).toBe(false);
  });
});

describe('an answer by OpenAI', () => {
  test('streamed', () => {
    const facts = readOwn('openai-chat.sse');
    expect(facts).toMatchObject({
      parsed: true,
      id: 'chatcmpl-own1',
      served: 'own-model-2026-01-01',
      systemFingerprint: 'fp_own',
      choices: 1,
      finishReasons: ['stop'],
      refused: false,
      usage: { inputTokens: 9, outputTokens: 4, cacheReadInputTokens: 2, reasoningOutputTokens: 1 },
      stream: { events: 6, terminated: 'done' },
      complete: true,
      flags: [],
    });
    expect(facts.normalized).toEqual({
      messages: [
        { role: 'assistant', parts: [{ type: 'text', text: 'Héllo →' }], finish_reason: 'stop' },
      ],
    });
  });

  test('in one piece', () => {
    const facts = readOwn('openai-chat.json');
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts).toMatchObject({
      complete: true,
      serviceTier: 'default',
      finishReasons: ['stop'],
    });
    expect(facts.stream).toBeUndefined();
  });

  test('with two tool calls whose fragments interleave and whose index starts at 1', () => {
    expect(readOwn('openai-chat-tools.sse').toolCalls).toEqual([
      { id: 'call_a', name: 'f', arguments: '{"x": 1.0}' },
      { id: 'call_b', name: 'g', arguments: '{"y":2}' },
    ]);
  });

  test.each(['eof', 'cut'] as const)('that broke off (%s) is not complete', (how) => {
    const bytes = ownBytes('openai-chat-truncated.sse');
    const { facts } = feed(readerFor('openai-chat.sse'), [bytes], how);
    expect(facts.stream).toEqual({
      events: 2,
      terminated: how === 'eof' ? 'eof-clean' : 'eof-cut',
    });
    expect(facts.complete).toBe(false);
    expect(textsOf(facts.normalized)).toEqual(['Hel']);
  });

  test('with an error in mid-stream', () => {
    const facts = readOwn('openai-chat-error.sse');
    expect(facts).toMatchObject({
      complete: false,
      stream: { events: 2, terminated: 'error-event' },
      error: { type: 'server_error', message: 'The server had an error' },
    });
  });

  test('by Responses', () => {
    const facts = readOwn('responses.sse');
    expect(facts).toMatchObject({
      id: 'resp_own1',
      finishReasons: ['completed'],
      usage: { inputTokens: 10, outputTokens: 1 },
      stream: { events: 5, terminated: 'response.completed' },
      flags: [],
    });
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
  });

  test('by Responses whose pieces do not add up: the final event counts, and it is said', () => {
    const text = Buffer.from(ownBytes('responses.sse'))
      .toString()
      .replace('"delta":"Hel"', '"delta":"Hal"');
    const { facts } = feed(readerFor('responses.sse'), [Buffer.from(text)]);
    expect(facts.flags).toEqual(['deltas-mismatch']);
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
  });

  test('by Responses that broke off is put together from its pieces', () => {
    const bytes = Buffer.from(ownBytes('responses.sse'));
    const end = bytes.indexOf('event: response.completed');
    const { facts } = feed(readerFor('responses.sse'), [bytes.subarray(0, end)], 'cut');
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts).toMatchObject({ complete: false, finishReasons: [] });
  });

  test('with a total that is not the sum', () => {
    const text =
      '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":9}}';
    expect(feed(readerFor('x.json'), [Buffer.from(text)]).facts.flags).toEqual(['usage-mismatch']);
  });

  test('with the gravest verdict of each of Azure’s filters', () => {
    const result = (filtered: boolean, severity: string) => ({ hate: { filtered, severity } });
    const chunks = [
      {
        choices: [],
        prompt_filter_results: [
          { content_filter_results: { jailbreak: { filtered: false, detected: false } } },
        ],
      },
      { choices: [{ index: 0, delta: {}, content_filter_results: result(false, 'safe') }] },
      { choices: [{ index: 0, delta: {}, content_filter_results: result(true, 'high') }] },
      { choices: [{ index: 0, delta: {}, content_filter_results: result(false, 'low') }] },
    ];
    const text = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('');
    const rule = 'azure.content_filter';
    expect(feed(readerFor('openai-chat.sse'), [Buffer.from(text)]).facts.policyEvents).toEqual([
      { rule, stage: 'input', verdict: 'clear', action: 'allow', category: 'jailbreak' },
      { rule, stage: 'output', verdict: 'high', action: 'block', category: 'hate' },
    ]);
  });
});

describe('an answer by Anthropic', () => {
  test('streamed, with thinking, text and a tool call that stops in mid-JSON', () => {
    const facts = readOwn('anthropic-messages.sse');
    expect(facts).toMatchObject({
      id: 'msg_own1',
      finishReasons: ['max_tokens'],
      // 11 of its own, 5 read from the cache, 3 written to it.
      usage: {
        inputTokens: 19,
        outputTokens: 57,
        cacheReadInputTokens: 5,
        cacheWriteInputTokens: 3,
      },
      stream: { events: 16, terminated: 'message_stop' },
      toolCalls: [{ id: 'toolu_own1', name: 'look', arguments: '{"id": 12' }],
      complete: true,
      flags: [],
    });
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts.reasoning).toEqual({
      messages: [
        { role: 'assistant', parts: [{ type: 'reasoning', text: 'Hm.', signature: 'c2ln' }] },
      ],
    });
  });

  test('in one piece', () => {
    const facts = readOwn('anthropic-messages.json');
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts).toMatchObject({ usage: { inputTokens: 11, outputTokens: 4 }, complete: true });
  });

  test('without the final blank line is read, and it is said', () => {
    const facts = readOwn('anthropic-messages-no-blank-line.sse');
    expect(facts).toEqual({
      ...readOwn('anthropic-messages.sse'),
      flags: ['final-event-without-blank-line'],
    });
  });

  test('overloaded in mid-stream', () => {
    expect(readOwn('anthropic-overloaded.sse')).toMatchObject({
      complete: false,
      stream: { terminated: 'error-event' },
      error: { type: 'overloaded_error', message: 'Overloaded' },
    });
  });
});

describe('an error', () => {
  test.each([
    [
      'openai-error-429.json',
      429,
      { type: 'requests', code: 'rate_limit_exceeded', message: 'Rate limit reached' },
    ],
    ['anthropic-error-529.json', 529, { type: 'overloaded_error', message: 'Overloaded' }],
  ])('%s is read', (name, status, error) => {
    const { facts } = feed(readerFor(name, status), [ownBytes(name)]);
    expect(facts).toMatchObject({ parsed: true, complete: true, error, finishReasons: [] });
  });

  test('page by somebody in between is whole and says nothing', () => {
    const reader = readerFor('openai-chat.sse', 502, { 'content-type': 'text/html' });
    const { facts } = feed(reader, [ownBytes('bad-gateway.html')]);
    expect(facts).toMatchObject({ parsed: false, complete: true, error: {} });
    expect(facts.normalized).toBeUndefined();
  });

  test('by Azure names what its filter found in the prompt', () => {
    const body = {
      error: {
        code: 'content_filter',
        message: 'filtered',
        innererror: { content_filter_result: { violence: { filtered: true, severity: 'medium' } } },
      },
    };
    const { facts } = feed(readerFor('x.json', 400), [Buffer.from(JSON.stringify(body))]);
    expect(facts.policyEvents).toMatchObject([
      { stage: 'input', verdict: 'medium', action: 'block' },
    ]);
  });
});

describe('what has no normalized form', () => {
  test('is text with a lone surrogate', () => {
    const text = '{"choices":[{"message":{"content":"\\ud800"},"finish_reason":"stop"}]}';
    const { facts } = feed(readerFor('x.json'), [Buffer.from(text)]);
    expect(facts).toMatchObject({ parsed: true, flags: ['not-normalizable'] });
    expect(facts.normalized).toBeUndefined();
  });

  test('is text that is no UTF-8', () => {
    const head = Buffer.from('{"choices":[{"message":{"content":"');
    const bytes = Buffer.concat([head, Buffer.of(0xff), Buffer.from('"}}]}')]);
    const { facts } = feed(readerFor('x.json'), [bytes]);
    expect(facts.flags).toEqual(['invalid-utf8']);
    expect(facts.normalized).toBeUndefined();
  });

  test('is more text than is kept', () => {
    const chunk = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(1_000_000)}"}}]}\n\n`;
    const pieces = Array.from({ length: 18 }, () => Buffer.from(chunk));
    const { facts } = feed(readerFor('openai-chat.sse'), pieces);
    expect(facts).toMatchObject({ flags: ['normalized-too-large'], stream: { events: 18 } });
    expect(facts.normalized).toBeUndefined();
  });
});

test.each([
  ['openai', 'POST', '/v1/chat/completions', 'openai.chat', 'openai', 'chat'],
  [
    'openai',
    'POST',
    '/v1/completions?x=/messages',
    'openai.completions',
    'openai',
    'text_completion',
  ],
  ['openai', 'POST', '/v1/responses', 'openai.responses', 'openai', 'chat'],
  ['openai', 'POST', '/v1/embeddings/', 'openai.embeddings', 'openai', 'embeddings'],
  ['anthropic', 'POST', '/v1/messages', 'anthropic.messages', 'anthropic', 'chat'],
  ['anthropic', 'POST', '/v1/chat/completions', 'openai.chat', 'anthropic', 'chat'],
  [
    'az',
    'POST',
    '/openai/deployments/d/chat/completions?api-version=1',
    'openai.chat',
    'azure.ai.openai',
    'chat',
  ],
  ['vllm', 'POST', '/v1/%63hat/completions', 'openai.chat', 'vllm', 'chat'],
  ['vllm', 'POST', '/v1/chat%2fcompletions', 'openai.chat', 'vllm', 'chat'],
  ['vllm', 'POST', '/v1%2Fchat//completions//', 'openai.chat', 'vllm', 'chat'],
  ['vllm', 'POST', '/V1/Chat/Completions', 'openai.chat', 'vllm', 'chat'],
  ['ollama', 'POST', '/api%2fch%61t', 'ollama.chat', 'ollama', 'chat'],
  ['vllm', 'POST', '/v1/chat%252Fcompletions', 'opaque', 'vllm', 'unknown'],
  ['az', 'POST', '/OpenAI/v1/responses', 'openai.responses', 'azure.ai.openai', 'chat'],
  ['g', 'POST', '/v1/models/m%3AgenerateContent', 'gemini', 'gcp.gemini', 'generate_content'],
  ['openai', 'POST', '/v1/threads%2Ft1%2Fmessages', 'opaque', 'openai', 'unknown'],
  ['anthropic', 'POST', '/v1/messages/count_tokens', 'opaque', 'anthropic', 'unknown'],
  ['openai', 'POST', '/v1/threads/t1/messages', 'opaque', 'openai', 'unknown'],
  ['openai', 'GET', '/v1/responses', 'opaque', 'openai', 'unknown'],
])('%s %s %s is %s', (upstream, method, path, format, provider, operation) => {
  expect(providerFor(upstream, method, path)).toMatchObject({ format, provider, operation });
});

test.each([
  ['/serving-endpoints/my-llm/invocations', 'opaque', 'my-llm'],
  ['/serving-endpoints/my-llm/served-models/a/invocations', 'opaque', 'my-llm'],
  ['/serving-endpoints/chat/completions', 'openai.chat', undefined],
  ['/v1/projects/p/locations/l/endpoints/12/chat/completions', 'openai.chat', '12'],
  ['/v1/projects/p/locations/l/endpoints/openapi/chat/completions', 'openai.chat', undefined],
  ['/v1/projects/p/locations/l/endpoints/12:predict', 'opaque', '12'],
  ['/v1/projects/p/locations/l/endpoints/12:generateContent', 'gemini', '12'],
  ['/openai/deployments/d/images/generations', 'opaque', 'd'],
  ['/openai/Deployments/d%2D1/Chat/Completions', 'openai.chat', 'd-1'],
])('%s is %s of a model %s', (path, format, model) => {
  const provider = providerFor('any', 'POST', path);
  expect(provider.format).toBe(format);
  expect(provider.request(Buffer.from('{"messages":[]}')).model).toBe(model);
  // What cannot be read has the model of its path all the same.
  if (format !== 'gemini') expect(provider.request(Buffer.from('?')).model).toBe(model);
});
