import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { ownBytes } from '../replay/exchanges.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { feed, PIECES, piecesOf, readerFor, textsOf } from './reading.ts';

const MODEL = '/v1beta/models/gemini-test';

const readOwn = (name: string, size = 4_096, how: 'eof' | 'cut' = 'eof') =>
  feed(readerFor(name), piecesOf(ownBytes(name), size), how);

function readText(name: string, values: readonly object[], how: 'eof' | 'cut' = 'eof') {
  const text = name.endsWith('.sse')
    ? values.map((value) => `data: ${JSON.stringify(value)}\n\n`).join('')
    : JSON.stringify(name.includes('array') ? values : values[0]);
  return feed(readerFor(name), [Buffer.from(text)], how);
}

describe('an answer by Gemini', () => {
  const expected = {
    parsed: true,
    id: 'resp-own',
    served: 'gemini-own-1',
    choices: 1,
    finishReasons: ['STOP'],
    refused: false,
    // The candidate's 5 and 3 of thought.
    usage: { inputTokens: 7, outputTokens: 8, cacheReadInputTokens: 2, reasoningOutputTokens: 3 },
    toolCalls: [{ id: 'fc_1', name: 'look', arguments: '{"id":12,"deep":{"x":1.5}}' }],
    complete: true,
    flags: [],
  };

  test.each([
    ['gemini.sse', 'eof-clean'],
    ['gemini-array.json', 'done'],
  ])('streamed as %s', (name, terminated) => {
    const { facts } = readOwn(name);
    expect(facts).toMatchObject({ ...expected, stream: { events: 4, terminated } });
    expect(textsOf(facts.normalized)).toEqual(['Héllo →']);
    expect(textsOf(facts.reasoning)).toEqual(['Hm, yes.']);
    const rule = 'gemini.safety';
    expect(facts.policyEvents).toEqual([
      { rule, stage: 'output', verdict: 'low', action: 'allow', category: 'harassment' },
    ]);
    for (const size of PIECES) expect(readOwn(name, size).facts).toEqual(facts);
  });

  test('as events waits at the line end of the chunk with the reason, and at no other', () => {
    const bytes = Buffer.from(ownBytes('gemini.sse'));
    for (const size of PIECES) {
      expect(readOwn('gemini.sse', size).cuts).toEqual([bytes.length - 2]);
    }
  });

  test('as an array waits at the bracket that closes it, and at the chunk with the reason', () => {
    const bytes = Buffer.from(ownBytes('gemini-array.json'));
    const end = bytes.lastIndexOf(']');
    const last = bytes.lastIndexOf('}');
    for (const size of PIECES) expect(readOwn('gemini-array.json', size).cuts).toEqual([last, end]);
  });

  const text = (text: string, rest: object = {}) => ({
    candidates: [{ content: { role: 'model', parts: [{ text }] }, index: 0, ...rest }],
  });

  test.each([
    ['gemini.sse', [text('a')], 'eof', false],
    ['gemini.sse', [text('a'), text('', { finishReason: 'STOP' })], 'eof', true],
    ['gemini.sse', [text('a', { finishReason: 'MAX_TOKENS' })], 'cut', true],
    ['gemini-array.json', [text('a')], 'eof', false],
    ['gemini-array.json', [text('a', { finishReason: 'STOP' })], 'eof', true],
    ['gemini-array.json', [], 'eof', false],
  ] as const)('is whole by its reasons (%s, %j, %s)', (name, values, how, complete) => {
    expect(readText(name, values, how).facts.complete).toBe(complete);
  });

  test('is not whole while one of its candidates goes on', () => {
    const both = [
      {
        candidates: [
          { index: 0, finishReason: 'STOP' },
          { index: 1, content: {} },
        ],
      },
      { candidates: [{ index: 1, finishReason: 'STOP' }] },
    ];
    expect(readText('gemini.sse', both.slice(0, 1)).facts.complete).toBe(false);
    expect(readText('gemini.sse', both).facts).toMatchObject({ complete: true, choices: 2 });
  });

  test('of an array that broke off behind its last chunk is not whole', () => {
    const bytes = Buffer.from(ownBytes('gemini-array.json'));
    const cut = bytes.subarray(0, bytes.lastIndexOf(']'));
    for (const how of ['eof', 'cut'] as const) {
      const { facts } = feed(readerFor('gemini-array.json'), [cut], how);
      expect(facts).toMatchObject({
        complete: false,
        stream: { terminated: `eof-${how === 'eof' ? 'clean' : 'cut'}` },
      });
    }
  });

  test.each(['gemini.sse', 'gemini-array.json'])('with an error in the middle (%s)', (name) => {
    const error = { code: 503, message: 'overloaded', status: 'UNAVAILABLE' };
    const { facts, cuts } = readText(name, [text('a'), { error }]);
    expect(facts).toMatchObject({
      complete: false,
      stream: { terminated: 'error-event' },
      error: { type: 'UNAVAILABLE', code: '503', message: 'overloaded' },
    });
    expect(cuts.length).toBeGreaterThan(0);
  });

  test('that is refused says by whom', () => {
    const blocked = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } };
    const { facts, cuts } = readText('gemini.sse', [blocked]);
    expect(facts).toMatchObject({ refused: true, complete: true });
    expect(cuts).toHaveLength(1);
    expect(facts.policyEvents).toMatchObject([
      { rule: 'gemini.block', stage: 'input', action: 'block', category: 'prohibited_content' },
    ]);
    const rating = { category: 'HARM_CATEGORY_HATE_SPEECH', probability: 'HIGH', blocked: true };
    const safety = text('a', { finishReason: 'SAFETY', safetyRatings: [rating] });
    expect(readText('gemini.json', [safety]).facts).toMatchObject({
      refused: true,
      policyEvents: [
        {
          rule: 'gemini.safety',
          stage: 'output',
          verdict: 'high',
          action: 'block',
          category: 'hate_speech',
        },
        { rule: 'gemini.finish', stage: 'output', action: 'block', category: 'safety' },
      ],
    });
  });

  test('keeps what has no name here', () => {
    const parts = [
      { executableCode: { language: 'PYTHON', code: '1' } },
      { inlineData: { mimeType: 'image/png', data: 'AA==' } },
    ];
    const { facts } = readText('gemini.json', [{ candidates: [{ content: { parts } }] }]);
    expect(facts.normalized).toMatchObject({
      messages: [
        { parts: [{ type: 'other', raw_type: 'executableCode' }, { raw_type: 'inlineData' }] },
      ],
    });
  });
});

describe('a request to Gemini', () => {
  const camel = {
    systemInstruction: { parts: [{ text: 'Be brief.' }] },
    contents: [
      {
        role: 'user',
        parts: [{ text: 'Look' }, { inlineData: { mimeType: 'image/png', data: 'AA==' } }],
      },
      { role: 'model', parts: [{ functionCall: { name: 'f', args: { x: 1.5 } } }] },
      { role: 'user', parts: [{ functionResponse: { name: 'f', response: { y: 2 } } }] },
    ],
    tools: [{ functionDeclarations: [{ name: 'f' }, { name: 'g' }] }],
    toolConfig: { functionCallingConfig: { mode: 'ANY' } },
    generationConfig: {
      temperature: 0.5,
      topP: 0.25,
      topK: 40,
      candidateCount: 2,
      maxOutputTokens: 100,
      stopSequences: ['END'],
      responseMimeType: 'application/json',
      thinkingConfig: { thinkingBudget: 64, thinkingLevel: 'HIGH' },
    },
  };

  /** The same with names in snake_case, but for what is content. */
  const snake = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(snake);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [
        name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
        snake(member),
      ]),
    );
  };

  test.each([
    ['camelCase', camel],
    ['snake_case', snake(camel)],
  ])('in %s', (_, body) => {
    const provider = providerFor('g', 'POST', `${MODEL}:generateContent?key=k`);
    const facts = provider.request(Buffer.from(JSON.stringify(body)));
    expect(facts).toMatchObject({
      parsed: true,
      model: 'gemini-test',
      stream: false,
      messages: 3,
      tools: 2,
      attachments: 1,
      context: 'complete',
      params: {
        temperature: '0.5',
        top_p: '0.25',
        top_k: 40,
        n: 2,
        max_output_tokens: 100,
        stop_count: 1,
        response_format: 'json_object',
        reasoning_budget_tokens: 64,
        reasoning_effort: 'high',
        tool_choice: 'any',
      },
      stop: ['END'],
      system: { messages: [{ role: 'system', parts: [{ type: 'text', text: 'Be brief.' }] }] },
    });
    expect(facts.normalized).toMatchObject({
      messages: [
        { role: 'user', parts: [{ type: 'text', text: 'Look' }, { type: 'image' }] },
        { role: 'model', parts: [{ type: 'tool_call', name: 'f', arguments: '{"x":1.5}' }] },
        { role: 'user', parts: [{ type: 'tool_result', id: 'f' }] },
      ],
    });
  });

  test.each([
    { contents: [], cachedContent: 'cachedContents/1' },
    { contents: [], tools: [{ googleSearch: {} }] },
    { contents: [{ parts: [{ fileData: { fileUri: 'https://x' } }] }] },
    { contents: [{ parts: [{ file_data: { file_uri: 'https://x' } }] }] },
  ])('whose input lies elsewhere too says so (%j)', (body) => {
    const provider = providerFor('g', 'POST', `${MODEL}:streamGenerateContent`);
    const facts = provider.request(Buffer.from(JSON.stringify(body)));
    expect(facts).toMatchObject({ context: 'external-state', stream: true });
  });
});

const VERTEX = '/v1/projects/p/locations/l/publishers';

test.each([
  [`${MODEL}:generateContent`, 'gemini', 'gcp.gemini', 'generate_content'],
  [`${MODEL}:streamGenerateContent?alt=sse`, 'gemini', 'gcp.gemini', 'generate_content'],
  [`${VERTEX}/google/models/m:generateContent`, 'gemini', 'gcp.vertex_ai', 'generate_content'],
  [`${VERTEX}/anthropic/models/m:streamRawPredict`, 'anthropic.messages', 'gcp.vertex_ai', 'chat'],
  ['/v1beta/openai/chat/completions', 'openai.chat', 'g', 'chat'],
  [`${MODEL}:embedContent`, 'opaque', 'g', 'unknown'],
  [`${MODEL}:countTokens`, 'opaque', 'g', 'unknown'],
  ['/v1beta/:generateContent', 'gemini', 'gcp.gemini', 'generate_content'],
])('%s is %s', (path, format, provider, operation) => {
  expect(providerFor('g', 'POST', path)).toMatchObject({ format, provider, operation });
});

describe.skipIf(sharedMissing)('what is published', () => {
  test.each(['text', 'tool-call'])(
    'of %s says the same streamed as array and as events',
    (name) => {
      const bytes = sharedBytes('fixtures', 'llm', `gemini/${name}.sse`);
      const { facts } = feed(readerFor('gemini/x.sse'), [bytes]);
      const lines = Buffer.from(sharedBytes('fixtures', 'llm', `gemini/${name}.chunks.txt`));
      const array = Buffer.from(`[${lines.toString().trim().split('\n').join(',\n')}]`);
      for (const size of PIECES) {
        expect(feed(readerFor('gemini/x.sse'), piecesOf(bytes, size)).facts).toEqual(facts);
        const { stream: _, ...asArray } = feed(
          readerFor('gemini-array.json'),
          piecesOf(array, size),
        ).facts;
        expect(facts).toMatchObject(asArray);
      }
      expect(facts).toMatchObject({ complete: true, finishReasons: ['STOP'], flags: [] });
    },
  );

  interface Body {
    readonly candidates: readonly {
      readonly content: { readonly parts: readonly { text?: string; functionCall?: object }[] };
    }[];
    readonly usageMetadata: Readonly<Record<string, number>>;
    readonly responseId: string;
  }

  test.each(['text', 'tool-call'])('of %s in one piece is what it says', (name) => {
    const body = sharedJson('fixtures', 'llm', `gemini/${name}.json`) as Body;
    const { facts } = feed(readerFor('gemini/x.json'), [
      sharedBytes('fixtures', 'llm', `gemini/${name}.json`),
    ]);
    const { parts } = body.candidates[0]?.content ?? { parts: [] };
    const { usageMetadata } = body;
    expect(textsOf(facts.normalized)).toEqual([parts.map(({ text = '' }) => text).join('')]);
    const calls = parts.flatMap(({ functionCall }) => functionCall ?? []) as {
      name: string;
      args: unknown;
    }[];
    expect(facts.toolCalls.map((call) => [call.name, JSON.parse(call.arguments)])).toEqual(
      calls.map((call) => [call.name, call.args]),
    );
    expect(facts).toMatchObject({
      id: body.responseId,
      complete: true,
      usage: {
        inputTokens: usageMetadata.promptTokenCount,
        outputTokens:
          (usageMetadata.candidatesTokenCount ?? 0) + (usageMetadata.thoughtsTokenCount ?? 0),
      },
      flags: [],
    });
  });

  test('of a quota that is used up names it', () => {
    const { facts } = feed(readerFor('gemini/x.json', 429), [
      sharedBytes('fixtures', 'llm', 'gemini/error-429.json'),
    ]);
    expect(facts.error).toMatchObject({ type: 'RESOURCE_EXHAUSTED', code: '429' });
  });
});

test.each([
  ['alt=sse', 'data: ', '\n\n'],
  ['', '[', '\n,'],
])(
  'an event that is too large to be read may be the last, so it waits: %s',
  (query, before, after) => {
    const body = JSON.stringify({
      candidates: [
        { content: { parts: [{ text: 'x'.repeat(16_777_300) }] }, finishReason: 'STOP' },
      ],
    });
    const reader = providerFor('g', 'POST', `${MODEL}:streamGenerateContent?${query}`).response({
      status: 200,
      headers: {},
    });
    const cuts = reader.push(Buffer.from(`${before}${body}${after}`));
    expect(cuts).toEqual([before.length + body.length - (query === '' ? 1 : 0)]);
  },
);
