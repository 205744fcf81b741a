import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { requestFacts } from '../../server/proxy/record.ts';
import { Rope } from '../../server/proxy/rope.ts';
import { Skimmer } from '../../server/proxy/skim.ts';
import { piecesOf } from './reading.ts';

function skim(text: string, size = 65_536, max?: number): string | undefined {
  const skimmer = new Skimmer(max);
  for (const piece of piecesOf(Buffer.from(text), size)) skimmer.push(piece);
  const kept = skimmer.end();
  return kept === undefined ? undefined : Buffer.from(kept).toString();
}

/** The value with its long texts cut to what they begin with. */
function isCut(short: unknown, long: unknown): boolean {
  if (typeof long === 'string') {
    return (
      typeof short === 'string' &&
      long.startsWith(short) &&
      short.length >= Math.min(long.length, 100)
    );
  }
  if (typeof long !== 'object' || long === null) return short === long;
  const names = Object.keys(long);
  if (JSON.stringify(Object.keys(short as object)) !== JSON.stringify(names)) return false;
  return names.every((name) => isCut((short as never)[name], (long as never)[name]));
}

describe('a body', () => {
  test('without long texts stays as it is', () => {
    const text = ' {"a" : "b\\"c\\\\", "d":[1.50,"é\\u00e9\\ud83d\\ude00"],"e":null}\n';
    for (let size = 1; size < text.length; size++) expect(skim(text, size)).toBe(text);
  });

  test.each([
    ['plain', 'x'],
    ['quotes', '"'],
    ['backslashes', '\\'],
    ['characters of two bytes', 'é'],
    ['characters of four bytes', '👩'],
    ['control characters, which are escaped', '\u0001'],
    ['a mixture', 'a"\\é\u0001👩/'],
  ])('with a long text of %s keeps its beginning and its place', (_, unit) => {
    const value = { first: 1, text: unit.repeat(3_000), last: ['z', unit.repeat(2_000), 2] };
    const json = JSON.stringify(value);
    const whole = skim(json) ?? '';
    expect(whole.length).toBeLessThan(3_000);
    expect(isCut(JSON.parse(whole), value)).toBe(true);
    for (const size of [1, 2, 3, 7, 1_000, 1_023, 1_024, 1_025]) {
      expect(skim(json, size)).toBe(whole);
    }
  });

  test('that is any JSON is the same but for long texts, however it is cut', () => {
    const long = fc.string({ unit: 'binary', minLength: 600, maxLength: 700 });
    const value = fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), long), { maxKeys: 4 });
    fc.assert(
      fc.property(value, fc.integer({ min: 1, max: 300 }), (object, size) => {
        const json = JSON.stringify(object);
        const kept = skim(json, size) ?? '';
        expect(kept).toBe(skim(json));
        expect(isCut(JSON.parse(kept), JSON.parse(json))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  test('that is large without long texts is not kept', () => {
    expect(skim(`[${'1,'.repeat(3_000)}1]`, 100, 5_000)).toBeUndefined();
  });
});

test('a request with a large picture has its facts, and nothing that is told in part', () => {
  const url = `data:image/png;base64,${'QUJD'.repeat(2_000_000)}`;
  const body = {
    model: 'gpt-test',
    stream: true,
    temperature: 0.5,
    stop: ['END'],
    tools: [{ type: 'function', function: { name: 'f' } }],
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'image_url', image_url: { url } }] },
    ],
  };
  const provider = providerFor('openai', 'POST', '/chat/completions');
  const facts = requestFacts(provider, Buffer.from(JSON.stringify(body)), {});
  expect(facts).toEqual({
    parsed: true,
    model: 'gpt-test',
    stream: true,
    messages: 2,
    tools: 1,
    attachments: 1,
    context: 'complete',
    params: { stream: true, temperature: '0.5', stop_count: 1 },
  });
});

test('a large answer has its facts, and no text', () => {
  const provider = providerFor('openai', 'POST', '/chat/completions');
  const reader = provider.response({
    status: 200,
    headers: { 'content-type': 'application/json' },
  });
  const message = { role: 'assistant', content: 'x'.repeat(9_000_000) };
  const usage = { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 };
  const body = { id: 'c1', choices: [{ index: 0, finish_reason: 'stop', message }], usage };
  for (const piece of piecesOf(Buffer.from(JSON.stringify(body)), 65_536)) reader.push(piece);
  const facts = reader.end('eof');
  expect(facts).toMatchObject({
    id: 'c1',
    finishReasons: ['stop'],
    usage: { inputTokens: 3, outputTokens: 4 },
    flags: ['body-too-large'],
    complete: true,
  });
  expect(facts.normalized).toBeUndefined();
});

test('a text of many words is all of them', () => {
  const rope = new Rope('a');
  for (let i = 0; i < 1_000; i++) rope.add(String(i % 10));
  expect(rope.text).toBe(`a${'0123456789'.repeat(100)}`);
  rope.add('b');
  expect(rope.text.endsWith('9b')).toBe(true);
});
