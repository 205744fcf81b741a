/** What a provider's own filters and moderation say becomes policy events, also where only a word says it. */
import { expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import { feed, readerFor } from './reading.ts';

const json = { status: 200, headers: { 'content-type': 'application/json' } };

test('a moderation is a call whose judgments are events, those that found nothing too', () => {
  const provider = providerFor('openai', 'POST', '/v1/moderations');
  const request = provider.request(Buffer.from('{"model":"omni-moderation-latest","input":"x"}'));
  expect(request).toMatchObject({ parsed: true, model: 'omni-moderation-latest' });
  const body = JSON.stringify({
    id: 'modr-1',
    model: 'omni-moderation-1',
    results: [
      {
        flagged: false,
        categories: { hate: false, 'hate/threatening': false, 'self-harm': false },
      },
      { flagged: true, categories: { hate: true, 'hate/threatening': false } },
    ],
  });
  const { facts } = feed(provider.response({ ...json, request }), [Buffer.from(body)]);
  expect(provider).toMatchObject({ format: 'opaque', operation: 'moderation' });
  expect(facts).toMatchObject({ id: 'modr-1', served: 'omni-moderation-1', complete: true });
  const common = { rule: 'openai.moderation', stage: 'input', action: 'allow' };
  expect(facts.policyEvents).toEqual([
    { ...common, verdict: 'detected', category: 'hate' },
    { ...common, verdict: 'clear', category: 'hate.threatening' },
    { ...common, verdict: 'clear', category: 'self-harm' },
  ]);
});

test('what a filter ended has an event, once, and where the filter says more that counts', () => {
  const event = (choice: object) => `data: ${JSON.stringify({ choices: [choice] })}\n\n`;
  const end = { index: 0, delta: {}, finish_reason: 'content_filter' };
  const read = (choice: object) =>
    feed(readerFor('openai-chat.sse'), [Buffer.from(`${event(choice)}data: [DONE]\n\n`)]).facts;
  expect(read(end)).toMatchObject({
    refused: true,
    policyEvents: [
      {
        ...{ rule: 'content_filter', stage: 'output' },
        ...{ verdict: 'detected', action: 'block', category: 'other' },
      },
    ],
  });
  const results = { violence: { filtered: true, severity: 'high' } };
  expect(read({ ...end, content_filter_results: results }).policyEvents).toEqual([
    {
      ...{ rule: 'azure.content_filter', stage: 'output', category: 'violence' },
      ...{ verdict: 'high', action: 'block' },
    },
  ]);
  expect(read({ ...end, finish_reason: 'stop' }).policyEvents).toEqual([]);
  const response = {
    id: 'r',
    status: 'incomplete',
    incomplete_details: { reason: 'content_filter' },
  };
  const responses = providerFor('openai', 'POST', '/v1/responses').response(json);
  const { facts } = feed(responses, [Buffer.from(JSON.stringify({ ...response, output: [] }))]);
  expect(facts.policyEvents).toMatchObject([{ rule: 'content_filter', action: 'block' }]);
});
