import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { ownBytes } from '../replay/exchanges.ts';
import { sharedBytes, sharedMissing } from '../shared.ts';
import { feed, PIECES, piecesOf, readerFor, textsOf } from './reading.ts';

const readOwn = (name: string, size = 4_096) =>
  feed(readerFor(name), piecesOf(ownBytes(name), size));

describe('an answer by Ollama', () => {
  test('streamed, with thoughts, text and a tool call', () => {
    const { facts } = readOwn('ollama-chat.ndjson');
    expect(facts).toMatchObject({
      parsed: true,
      served: 'own:1b',
      finishReasons: ['stop'],
      usage: { inputTokens: 8, outputTokens: 2 },
      toolCalls: [{ name: 'look', arguments: '{"id":12}' }],
      stream: { events: 4, terminated: 'done' },
      complete: true,
      flags: [],
    });
    expect(textsOf(facts.normalized)).toEqual(['Héllo →']);
    expect(textsOf(facts.reasoning)).toEqual(['Hm.']);
    for (const size of PIECES) expect(readOwn('ollama-chat.ndjson', size).facts).toEqual(facts);
  });

  test('waits at the bracket behind "done", since some do not wait for the line end', () => {
    const { length } = ownBytes('ollama-chat.ndjson');
    for (const size of PIECES) {
      const reader = readerFor('ollama-chat.ndjson');
      feed(reader, piecesOf(ownBytes('ollama-chat.ndjson').subarray(0, -2), size), 'cut');
      expect(reader.hasEnd).toBe(false);
      expect(readOwn('ollama-chat.ndjson', size).cuts).toEqual([length - 2]);
    }
  });

  test('is read as lines where it says that it is JSON, since they were asked for', () => {
    const provider = providerFor('ollama', 'POST', '/api/chat');
    const request = provider.request(Buffer.from('{"model":"own:1b"}'));
    const headers = { 'content-type': 'application/json' };
    const bytes = ownBytes('ollama-chat.ndjson');
    const typed = feed(provider.response({ status: 200, headers, request }), piecesOf(bytes, 7));
    expect(typed).toEqual(feed(readerFor('ollama-chat.ndjson'), [bytes]));
    // A server that does not stream answers with one value, over as many lines as it likes.
    const body = JSON.stringify(
      { model: 'own:1b', message: { content: 'Hi' }, done: true },
      null,
      2,
    );
    const one = feed(provider.response({ status: 200, headers, request }), [Buffer.from(body)]);
    expect(textsOf(one.facts.normalized)).toEqual(['Hi']);
    expect(one.facts).toMatchObject({ complete: true, flags: [] });
    expect(one.cuts).toEqual([body.length - 1]);
  });

  test('to one prompt', () => {
    const { facts } = readOwn('ollama-generate.ndjson');
    expect(facts).toMatchObject({ finishReasons: ['length'], usage: { outputTokens: 2 } });
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
  });

  test('in one piece', () => {
    const body = {
      model: 'own:1b',
      message: { role: 'assistant', content: 'Hello' },
      done: true,
      done_reason: 'stop',
      prompt_eval_count: 8,
      eval_count: 2,
    };
    const reader = providerFor('ollama', 'POST', '/api/chat').response({
      status: 200,
      headers: { 'content-type': 'application/json; charset=utf-8' },
    });
    const { facts } = feed(reader, [Buffer.from(JSON.stringify(body))]);
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts).toMatchObject({ complete: true, usage: { inputTokens: 8, outputTokens: 2 } });
    expect(facts.stream).toBeUndefined();
  });

  test('with an error as its last line, under status 200', () => {
    const { facts, cuts } = readOwn('ollama-error.ndjson');
    expect(facts).toMatchObject({
      complete: false,
      stream: { events: 2, terminated: 'error-event' },
      error: { message: 'an error was encountered while running the model' },
    });
    expect(cuts).toEqual([ownBytes('ollama-error.ndjson').length - 2]);
    expect(textsOf(facts.normalized)).toEqual(['Hel']);
  });

  test('that broke off is not whole', () => {
    const bytes = ownBytes('ollama-chat.ndjson');
    const { facts } = feed(readerFor('ollama-chat.ndjson'), [bytes.subarray(0, -30)], 'cut');
    expect(facts).toMatchObject({ complete: false, stream: { events: 3, terminated: 'eof-cut' } });
  });

  test('in a line too large to be read waits there, since it may be the last', () => {
    const line = `{"x":"${'y'.repeat(17_000_000)}","done":true}`;
    const reader = readerFor('ollama-chat.ndjson');
    const { facts, cuts } = feed(reader, [Buffer.from(`${line}\n`)]);
    expect(reader.hasEnd).toBe(false);
    expect(cuts).toEqual([line.length - 1]);
    // Nobody here knows whether it was.
    expect(facts).toMatchObject({
      complete: false,
      stream: { events: 1, terminated: 'eof-clean' },
      flags: ['event-too-large'],
    });
  });

  test.skipIf(sharedMissing)('what is published', () => {
    const name = 'synthetic/ollama-chat.ndjson';
    const { facts } = feed(readerFor(name), piecesOf(sharedBytes('fixtures', 'llm', name), 7));
    expect(textsOf(facts.normalized)).toEqual(['Hello']);
    expect(facts).toMatchObject({
      complete: true,
      finishReasons: ['stop'],
      usage: { inputTokens: 8, outputTokens: 2 },
    });
  });
});

describe('a request to Ollama', () => {
  const request = (path: string, body: object) =>
    providerFor('ollama', 'POST', path).request(Buffer.from(JSON.stringify(body)));

  test('to chat, which is a stream unless it says otherwise', () => {
    const body = {
      model: 'own:1b',
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Look', images: ['AA=='] },
        {
          role: 'assistant',
          content: '',
          tool_calls: [{ function: { name: 'f', arguments: { x: 1 } } }],
        },
        { role: 'tool', tool_name: 'f', content: '42' },
      ],
      tools: [{ type: 'function', function: { name: 'f' } }],
      format: { type: 'object' },
      think: 'high',
      options: {
        temperature: 0.5,
        top_k: 40,
        num_predict: 7,
        seed: 3,
        stop: ['END'],
        repeat_penalty: 1.1,
      },
    };
    const facts = request('/api/chat', body);
    expect(facts).toMatchObject({
      parsed: true,
      model: 'own:1b',
      stream: true,
      messages: 4,
      tools: 1,
      attachments: 1,
      context: 'complete',
      params: {
        temperature: '0.5',
        top_k: 40,
        max_output_tokens: 7,
        seed: '3',
        stop_count: 1,
        repetition_penalty: '1.1',
        response_format: 'json_schema',
        reasoning_effort: 'high',
      },
      stop: ['END'],
    });
    expect(facts.normalized).toMatchObject({
      messages: [
        { role: 'system' },
        { role: 'user', parts: [{ type: 'text', text: 'Look' }, { type: 'image' }] },
        {
          role: 'assistant',
          parts: [{ type: 'text' }, { type: 'tool_call', arguments: '{"x":1}' }],
        },
        { role: 'tool', parts: [{ type: 'tool_result', id: 'f' }] },
      ],
    });
    expect(request('/api/chat', { ...body, stream: false }).stream).toBe(false);
  });

  test('with one prompt', () => {
    const facts = request('/api/generate', { model: 'm', prompt: 'Hi', system: 'S', context: [1] });
    expect(facts).toMatchObject({ messages: 1, context: 'complete', stream: true });
    expect(facts.normalized).toMatchObject({
      messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hi' }, { raw_type: 'context' }] }],
    });
  });
});

test.each([
  ['/api/chat', 'ollama.chat', 'chat'],
  ['/api/generate', 'ollama.generate', 'text_completion'],
  ['/v1/chat/completions', 'openai.chat', 'chat'],
  ['/v1/messages', 'anthropic.messages', 'chat'],
  ['/api/pull', 'opaque', 'unknown'],
])('%s is %s', (path, format, operation) => {
  expect(providerFor('ollama', 'POST', path)).toMatchObject({
    format,
    provider: 'ollama',
    operation,
  });
});

test('what is not known is whole where its connection ends, and an error in it is none', () => {
  const read = (text: string, how: 'eof' | 'cut') =>
    feed(
      providerFor('ollama', 'POST', '/api/pull').response({
        status: 200,
        headers: { 'content-type': 'application/x-ndjson' },
      }),
      [Buffer.from(text)],
      how,
    ).facts.complete;
  expect(read('{"status":"pulling"}\n{"status":"success"}\n', 'eof')).toBe(true);
  expect(read('{"status":"pulling"}\n', 'cut')).toBe(false);
  expect(read('{"error":"no such model"}\n', 'eof')).toBe(false);
});
