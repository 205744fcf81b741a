/** Servers that speak OpenAI's format in ways of their own. */
import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { feed, piecesOf, readerFor, textsOf } from './reading.ts';

const sse = (...events: readonly (object | string)[]) =>
  Buffer.from(
    events
      .map((event) => (typeof event === 'string' ? event : `data: ${JSON.stringify(event)}`))
      .map((event) => `${event}\n\n`)
      .join(''),
  );

const chunk = (delta: object, rest: object = {}) => ({
  id: 'c1',
  model: 'm',
  choices: [{ index: 0, delta, finish_reason: null, ...rest }],
});

const DONE = 'data: [DONE]';

const read = (bytes: Uint8Array) => feed(readerFor('openai-chat.sse'), piecesOf(bytes, 37));

describe('a stream', () => {
  test('of Groq has its usage in a member of its own', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 };
    const end = { ...chunk({}, { finish_reason: 'stop' }), x_groq: { id: 'r1', usage } };
    const { facts } = read(sse(chunk({ content: 'Hi' }), end, DONE));
    expect(facts).toMatchObject({ complete: true, usage: { inputTokens: 5, outputTokens: 2 } });
  });

  test('of Groq that failed says so in a chunk like any other', () => {
    const failed = { ...chunk({}), x_groq: { id: 'r1', error: 'over capacity' } };
    const { facts, cuts } = read(sse(chunk({ content: 'H' }), failed));
    expect(facts).toMatchObject({
      complete: false,
      error: { message: 'over capacity' },
      stream: { terminated: 'error-event' },
    });
    expect(cuts).toHaveLength(1);
  });

  test('of Mistral has thoughts and text as typed pieces', () => {
    const thinking = { type: 'thinking', thinking: [{ type: 'text', text: 'Hm.' }] };
    const { facts } = read(
      sse(
        chunk({ content: [thinking] }),
        chunk({ content: [{ type: 'text', text: 'Hel' }] }),
        chunk({ content: 'lo' }, { finish_reason: 'stop' }),
        DONE,
      ),
    );
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(textsOf(facts.reasoning)).toEqual(['Hm.']);
  });

  test.each(['reasoning_content', 'reasoning'])('has thoughts in %s', (name) => {
    const { facts } = read(
      sse(chunk({ [name]: 'Hm.' }), chunk({ content: 'Hi' }, { finish_reason: 'stop' }), DONE),
    );
    expect(textsOf(facts.normalized)).toEqual(['Hi']);
    expect(textsOf(facts.reasoning)).toEqual(['Hm.']);
  });

  test('of OpenRouter has comments as signs of life, and errors inside a choice', () => {
    const comment = ': OPENROUTER PROCESSING';
    const error = { code: 502, message: 'upstream broke' };
    const bytes = sse(comment, chunk({ content: 'H' }), comment, chunk({}, { error }), DONE);
    const { facts } = read(bytes);
    expect(facts).toMatchObject({
      complete: false,
      error: { code: '502', message: 'upstream broke' },
      stream: { terminated: 'error-event' },
    });
  });

  test('of an older vLLM has an error that is no member', () => {
    const error = { object: 'error', message: 'too long', type: 'BadRequestError', code: 400 };
    const { facts } = read(sse(chunk({ content: 'H' }), error));
    expect(facts).toMatchObject({
      complete: false,
      error: { type: 'BadRequestError', code: '400', message: 'too long' },
    });
  });

  test('of vLLM has running totals, of which the last counts', () => {
    const usage = (n: number) => ({
      usage: { prompt_tokens: 9, completion_tokens: n, total_tokens: 9 + n },
    });
    const { facts } = read(
      sse(
        { ...chunk({ content: 'H' }), ...usage(1) },
        { ...chunk({ content: 'i' }, { finish_reason: 'stop' }), ...usage(2) },
        DONE,
      ),
    );
    expect(facts).toMatchObject({ usage: { inputTokens: 9, outputTokens: 2 }, flags: [] });
  });

  test('of xAI counts reasoning apart from the output', () => {
    const usage = {
      prompt_tokens: 9,
      completion_tokens: 2,
      total_tokens: 111,
      completion_tokens_details: { reasoning_tokens: 100 },
    };
    const { facts } = read(sse({ ...chunk({}, { finish_reason: 'stop' }), usage }, DONE));
    expect(facts.usage).toMatchObject({ outputTokens: 102, reasoningOutputTokens: 100 });
    expect(facts.flags).toEqual([]);
  });

  test('of DeepSeek says which of the input was cached', () => {
    const usage = {
      prompt_tokens: 9,
      completion_tokens: 2,
      total_tokens: 11,
      prompt_cache_hit_tokens: 6,
      prompt_cache_miss_tokens: 3,
    };
    const { facts } = read(sse({ ...chunk({}, { finish_reason: 'stop' }), usage }, DONE));
    expect(facts.usage).toEqual({ inputTokens: 9, outputTokens: 2, cacheReadInputTokens: 6 });
  });

  test('that a filter stopped is refused', () => {
    const { facts } = read(sse(chunk({ content: 'H' }, { finish_reason: 'content_filter' }), DONE));
    expect(facts).toMatchObject({ refused: true, complete: true });
  });
});

describe('Azure', () => {
  const BASE = '/openai/deployments/my%20gpt';

  test('has the deployment where the body names no model', () => {
    const request = (target: string, body: object) =>
      providerFor('az', 'POST', target).request(Buffer.from(JSON.stringify(body)));
    const messages = [{ role: 'user', content: 'Hi' }];
    const target = `${BASE}/chat/completions?api-version=2025-01-01`;
    expect(request(target, { messages }).model).toBe('my gpt');
    expect(request(target, { messages, model: 'gpt' }).model).toBe('gpt');
    expect(request('/openai/v1/chat/completions', { messages }).model).toBeUndefined();
    const data_sources = [{ type: 'azure_search' }];
    expect(request(target, { messages, data_sources }).context).toBe('external-state');
  });

  test.each([
    [`${BASE}/chat/completions?api-version=x`, 'openai.chat'],
    [`${BASE}/completions`, 'openai.completions'],
    [`${BASE}/embeddings`, 'openai.embeddings'],
    ['/openai/responses?api-version=preview', 'openai.responses'],
    ['/openai/v1/responses', 'openai.responses'],
    [`${BASE}/images/generations`, 'opaque'],
    [`${BASE}/audio/transcriptions`, 'opaque'],
  ])('%s is %s', (target, format) => {
    const provider = providerFor('az', 'POST', target);
    expect(provider.format).toBe(format);
    expect(provider.provider).toBe('azure.ai.openai');
  });
});
