/** A provider that answers every chat call, and the call. */
import { onTestFinished } from 'vitest';
import { type Exchange, type Replay, startReplay } from '../replay/replay.ts';
import { type Answer, ask } from './harness.ts';

export const CHAT = '/openai/v1/chat/completions';

export const REQUEST = JSON.stringify({
  model: 'gpt-test',
  stream: true,
  messages: [{ role: 'user', content: 'a question nobody else should read' }],
});

const chunk = (delta: object, finish: string | null = null) =>
  `data: ${JSON.stringify({
    id: 'chatcmpl-1',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-test-1',
    choices: [{ index: 0, delta, finish_reason: finish }],
  })}\n\n`;

export const STREAM =
  chunk({ role: 'assistant', content: 'Hel' }) +
  chunk({ content: 'lo' }) +
  chunk({}, 'stop') +
  'data: [DONE]\n\n';

export async function chatProvider(exchange: Partial<Exchange> = {}): Promise<Replay> {
  const server = await startReplay({
    exchanges: [
      {
        path: '/v1/chat/completions',
        headers: { 'content-type': 'text/event-stream' },
        body: STREAM,
        pieces: 100,
        ...exchange,
      },
    ],
  });
  onTestFinished(() => server.close());
  return server;
}

export function chat(proxy: { readonly url: string }, body = REQUEST): Promise<Answer> {
  return ask(`${proxy.url}${CHAT}`, { body });
}
