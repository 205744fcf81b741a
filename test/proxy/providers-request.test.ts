import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalize } from '../../server/core/canonical.ts';
import { providerFor } from '../../server/proxy/providers/index.ts';

const PATHS = [
  ...['chat/completions', 'completions', 'responses', 'embeddings', 'messages', 'other'],
  ...['models/m:generateContent', 'model/m/converse', 'api/chat', 'api/generate'],
];

function request(path: string, body: unknown) {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return providerFor('openai', 'POST', `/v1/${path}`).request(Buffer.from(text));
}

const user = (content: unknown) => ({ model: 'm', messages: [{ role: 'user', content }] });

describe('a request', () => {
  test('to Chat', () => {
    const facts = request('chat/completions', {
      ...user('Hi'),
      messages: [
        { role: 'system', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Look' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } },
          ],
        },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            { id: 'c1', type: 'function', function: { name: 'f', arguments: '{"x": 1.0}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'c1', content: '42' },
      ],
      tools: [{ type: 'function', function: { name: 'f', parameters: { minimum: 0.5 } } }],
      stream: true,
      stop: 'END',
    });
    expect(facts).toMatchObject({
      parsed: true,
      model: 'm',
      stream: true,
      messages: 4,
      tools: 1,
      attachments: 1,
      context: 'complete',
      params: { stream: true, stop_count: 1 },
      stop: 'END',
      system: { messages: [{ role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] }] },
    });
    expect(facts.normalized).toMatchObject({
      messages: [
        {},
        { role: 'user', parts: [{ type: 'text', text: 'Look' }, { type: 'image' }] },
        {
          role: 'assistant',
          parts: [{ type: 'tool_call', id: 'c1', name: 'f', arguments: '{"x": 1.0}' }],
        },
        {
          role: 'tool',
          parts: [{ type: 'tool_result', id: 'c1', parts: [{ type: 'text', text: '42' }] }],
        },
      ],
    });
    expect(canonicalize(facts.toolDefinitions ?? null)).toContain('"minimum":"0.5"');
  });

  test('to Anthropic', () => {
    const facts = request('messages', {
      model: 'c',
      max_tokens: 100,
      system: [{ type: 'text', text: 'Be brief.' }],
      messages: [
        { role: 'user', content: 'Hi' },
        {
          role: 'assistant',
          content: [{ type: 'tool_use', id: 't1', name: 'f', input: { a: 1 } }],
        },
        {
          role: 'user',
          content: [{ type: 'tool_result', tool_use_id: 't1', content: 'ok', is_error: true }],
        },
      ],
      thinking: { type: 'enabled', budget_tokens: 1024 },
    });
    expect(facts.params).toEqual({ max_output_tokens: 100, reasoning_budget_tokens: 1024 });
    expect(facts.normalized).toEqual({
      messages: [
        { role: 'user', parts: [{ type: 'text', text: 'Hi' }] },
        {
          role: 'assistant',
          parts: [{ type: 'tool_call', id: 't1', name: 'f', arguments: '{"a":1}' }],
        },
        {
          role: 'user',
          parts: [
            {
              type: 'tool_result',
              id: 't1',
              parts: [{ type: 'text', text: 'ok' }],
              is_error: true,
            },
          ],
        },
      ],
    });
  });

  test('to Responses', () => {
    const facts = request('responses', {
      model: 'm',
      instructions: 'Be brief.',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
        { type: 'function_call_output', call_id: 'c', output: '1' },
      ],
      previous_response_id: 'resp_1',
      conversation: { id: 'conv_1' },
    });
    expect(facts).toMatchObject({
      messages: 2,
      context: 'external-state',
      previousResponse: 'resp_1',
      conversation: 'conv_1',
    });
  });

  test.each([
    ['chat/completions', user([{ type: 'image_url', image_url: { url: 'https://x/y.png' } }])],
    ['chat/completions', user([{ type: 'file', file: { file_id: 'file_1' } }])],
    ['messages', user([{ type: 'document', source: { type: 'file', file_id: 'f' } }])],
    ['messages', { ...user('x'), tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
    ['messages', { ...user('x'), mcp_servers: [{ url: 'https://x' }] }],
    ['responses', { input: 'x', previous_response_id: 'r' }],
    ['responses', { input: 'x', prompt: { id: 'p' } }],
    ['responses', { input: 'x', tools: [{ type: 'file_search' }] }],
    ['responses', { input: [{ type: 'item_reference', id: 'i' }] }],
  ])('whose input lies elsewhere too says so (%s, %j)', (path, body) => {
    expect(request(path, body).context).toBe('external-state');
  });

  test('has its numbers as decimals in one spelling', () => {
    const body =
      '{"temperature":0.70,"top_p":1e-7,"presence_penalty":-0.0,"frequency_penalty":-1.5,"top_k":40,' +
      '"seed":9223372036854775807,"max_completion_tokens":5,"repetition_penalty":1.5e21}';
    expect(request('chat/completions', body).params).toEqual({
      temperature: '0.7',
      top_p: '0.0000001',
      presence_penalty: '0',
      frequency_penalty: '-1.5',
      top_k: 40,
      seed: '9223372036854775807',
      max_output_tokens: 5,
      repetition_penalty: '1500000000000000000000',
    });
  });

  test.each(['', '{', '[]', 'null', '"x"', '\u0000', '{"model":1}x'])(
    'that is no object (%j) is not parsed',
    (body) => {
      expect(request('chat/completions', body)).toEqual({
        parsed: false,
        stream: false,
        context: 'unknown',
        params: {},
      });
    },
  );

  test('with a lone surrogate or too much nesting keeps its facts and has no normalized form', () => {
    const surrogate = request(
      'chat/completions',
      '{"model":"m","messages":[{"role":"user","content":"\\ud800"}]}',
    );
    expect(surrogate).toMatchObject({ parsed: true, model: 'm', messages: 1 });
    expect(surrogate.normalized).toBeUndefined();
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const nested = request(
      'chat/completions',
      `{"model":"m","messages":[{"content":[{"x":${deep}}]}]}`,
    );
    expect(nested.normalized).toBeUndefined();
  });

  test('with names that objects have of their own is read as data', () => {
    const body =
      '{"__proto__":{"model":"evil"},"constructor":1,"messages":[{"role":"user","content":[{"type":"x","__proto__":1}]}]}';
    const facts = request('chat/completions', body);
    expect(facts.model).toBeUndefined();
    expect(canonicalize(facts.normalized ?? null)).toContain('"__proto__":1');
  });

  test('never makes it throw', () => {
    const names = [
      'model',
      'messages',
      'input',
      'system',
      'tools',
      'stop',
      'content',
      'role',
      'type',
      'tool_calls',
      'source',
      'prompt',
      ...['contents', 'parts', 'functionCall', 'functionResponse', 'inlineData', 'tool_config'],
      ...['generationConfig', 'systemInstruction', 'functionDeclarations', 'options', 'images'],
      ...[
        'toolUse',
        'toolResult',
        'inferenceConfig',
        'toolConfig',
        'toolChoice',
        'reasoningContent',
      ],
    ];
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('tool_result', 'text', 'image'),
        fc.double(),
        fc.constant(null),
        fc.boolean(),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...names), tie('value'), { maxKeys: 5 }),
      ),
    }));
    const body = fc.oneof(
      fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 8 }).map((v) => JSON.stringify(v)),
      fc.string(),
    );
    fc.assert(
      fc.property(body, fc.constantFrom(...PATHS), (text, path) => {
        const facts = request(path, text);
        for (const json of [facts.normalized, facts.system, facts.toolDefinitions, facts.stop]) {
          if (json !== undefined) canonicalize(json);
        }
      }),
      { numRuns: 500 },
    );
  });
});
