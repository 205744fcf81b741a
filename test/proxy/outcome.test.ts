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
