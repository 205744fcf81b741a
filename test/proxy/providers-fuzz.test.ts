import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalize } from '../../server/core/canonical.ts';
import { ownBytes, wireOf } from '../replay/exchanges.ts';
import { feed, piecesOf, readerFor, STREAMS } from './reading.ts';

describe('no bytes at all', () => {
  const names = [
    'openai-chat.sse',
    'anthropic-x.sse',
    'responses.sse',
    'x.json',
    'openai/embedding.json',
    'openai/completion-x.sse',
    'gemini.sse',
    'gemini-array.json',
    'gemini.json',
    'ollama-chat.ndjson',
    'ollama-generate.ndjson',
    'bedrock-converse.jsonl',
    'bedrock.json',
  ];
  const mutated = fc
    .tuple(
      fc.constantFrom(
        ...STREAMS,
        'openai-chat.json',
        'anthropic-messages.json',
        'gemini.sse',
        'gemini-array.json',
        'ollama-chat.ndjson',
        'bedrock-converse.jsonl',
      ),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('"', '{', '}', '[', '\n', '1', 'null', '\\')), {
        maxLength: 6,
      }),
    )
    .map(([name, edits]) => {
      let text = Buffer.from(wireOf(name, ownBytes(name))).toString('latin1');
      for (const [at, put] of edits) {
        const place = at % text.length;
        text = text.slice(0, place) + put + text.slice(place + (at % 3));
      }
      return Buffer.from(text, 'latin1') as Uint8Array;
    });
  const values = fc.json().map((json) => Buffer.from(`data: ${json}\n\n`) as Uint8Array);

  test('make a reader throw, lose or reorder anything', () => {
    const any = fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated, values);
    const statuses = fc.constantFrom(200, 400, 502);
    fc.assert(
      fc.property(
        any,
        fc.constantFrom(...names),
        statuses,
        fc.integer({ min: 1, max: 50 }),
        (bytes, name, status, size) => {
          const reading = feed(readerFor(name, status), piecesOf(bytes, size), 'cut');
          const { cuts, facts } = reading;
          expect(feed(readerFor(name, status), [bytes], 'cut')).toEqual(reading);
          expect(cuts).toEqual([...new Set(cuts)].sort((a, b) => a - b));
          // At a line end, a bracket, or the last byte of a frame.
          const isLines = !/bedrock|array|ollama/.test(name);
          for (const cut of cuts) if (isLines) expect([10, 13]).toContain(bytes[cut]);
          if (facts.normalized !== undefined) canonicalize(facts.normalized);
          if (facts.reasoning !== undefined) canonicalize(facts.reasoning);
        },
      ),
      { numRuns: 800 },
    );
  });
});
