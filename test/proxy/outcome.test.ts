import { expect, test } from 'vitest';
import type { EndFrame } from '../../server/proxy/facts.ts';
import { outcomeOf } from '../../server/proxy/outcome.ts';
import { providerFor } from '../../server/proxy/providers/index.ts';

/** A call whose connection ended well. */
const END = {
  transport: 'complete',
  head: { status: 200, headers: {}, at_us: 0 },
} as unknown as EndFrame;

function statusOf(path: string, body: string, headers: Record<string, string> = {}): string {
  const reader = providerFor('openai', 'POST', path).response({
    status: 200,
    headers: { 'content-type': 'application/json', ...headers },
    request: undefined,
  });
  reader.push(new TextEncoder().encode(body));
  return outcomeOf(END, reader.end('eof')).status;
}

/** Bodies and streams that end well, and yet not where the model would have ended. */
test.each([
  ['/v1/chat/completions', { choices: [{ index: 0, finish_reason: 'length', message: {} }] }],
  ['/v1/completions', { choices: [{ index: 0, finish_reason: 'length', text: 'a' }] }],
  ['/v1/messages', { content: [], stop_reason: 'max_tokens' }],
  ['/v1/messages', { content: [], stop_reason: 'model_context_window_exceeded' }],
  [
    '/v1/responses',
    { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' }, output: [] },
  ],
  ['/v1beta/models/m:generateContent', { candidates: [{ finishReason: 'MAX_TOKENS' }] }],
  ['/model/m/converse', { output: {}, stopReason: 'max_tokens' }],
  ['/api/chat', { message: { content: 'a' }, done: true, done_reason: 'length' }],
])('an answer that a limit stopped is incomplete (%s)', (path, body) => {
  expect(statusOf(path, JSON.stringify(body))).toBe('incomplete');
  const reasons = ['length', 'max_tokens', 'model_context_window_exceeded', 'max_output_tokens'];
  const whole = JSON.stringify(body)
    .replaceAll(new RegExp(`"(?:${reasons.join('|')})"`, 'gi'), '"stop"')
    .replace('"incomplete"', '"completed"');
  expect(statusOf(path, whole)).toBe('ok');
});

test.each([
  ['/v1/chat/completions', { choices: [{ finish_reason: 'content_filter', message: {} }] }],
  ['/v1/messages', { content: [], stop_reason: 'refusal' }],
  [
    '/v1/responses',
    { status: 'incomplete', incomplete_details: { reason: 'content_filter' }, output: [] },
  ],
  ['/v1beta/models/m:generateContent', { promptFeedback: { blockReason: 'SAFETY' } }],
  ['/model/m/converse', { output: {}, stopReason: 'guardrail_intervened' }],
])('an answer that a filter stopped is refused (%s)', (path, body) => {
  expect(statusOf(path, JSON.stringify(body))).toBe('refused');
});

test.each([
  ['a whole answer', '/v1/chat/completions', '{"id":"a","choices":[]}', {}, 'ok'],
  [
    'half an answer of no declared length',
    '/v1/chat/completions',
    '{"id":"a","choi',
    {},
    'incomplete',
  ],
  [
    'an answer in a coding that is not known',
    '/v1/chat/completions',
    'x',
    { 'content-encoding': 'x-own' },
    'ok',
  ],
  [
    'bytes of no known form',
    '/v1/audio/speech',
    '\u0001\u0002',
    { 'content-type': 'audio/mpeg' },
    'ok',
  ],
] as const)('%s', (_, path, body, headers, status) => {
  expect(statusOf(path, body, headers)).toBe(status);
});
