/** A model provider that takes its time, so that a kill finds calls in every state. */
import { setTimeout as pause } from 'node:timers/promises';
import { ownExchange } from '../replay/exchanges.ts';
import { type Exchange, type Replay, startReplay } from '../replay/replay.ts';
import type { Kind } from './load.ts';
import type { Random } from './random.ts';

/** Plain and streamed, of two providers. */
export const KINDS: readonly Kind[] = [
  { path: '/openai/v1/chat/completions', body: (text) => chat('plain', text) },
  { path: '/openai/v1/chat/completions', body: (text) => chat('crlf', text) },
  { path: '/openai/v1/chat/completions', body: (text) => chat('stream', text) },
  { path: '/anthropic/v1/messages', body: (text) => chat('claude', text) },
];

function chat(model: string, content: string): object {
  return { model, stream: model !== 'plain', messages: [{ role: 'user', content }], max_tokens: 9 };
}

export function startProvider(random: Random): Promise<Replay> {
  const slowly = { pieces: 150, beforePiece: () => pause(random.int(0, 12)) };
  const exchanges: Exchange[] = [
    ownExchange('openai-chat.json', { ...slowly, when: (body) => modelOf(body) === 'plain' }),
    ownExchange('openai-chat-crlf.sse', { ...slowly, when: (body) => modelOf(body) === 'crlf' }),
    ownExchange('openai-chat.sse', slowly),
    ownExchange('anthropic-messages.sse', slowly),
  ];
  return startReplay({ exchanges });
}

function modelOf(body: unknown): unknown {
  return (body as { model?: unknown } | undefined)?.model;
}

export function upstreams({ url }: Replay): Record<string, string> {
  return { STELE_UPSTREAM_OPENAI: `${url}/v1`, STELE_UPSTREAM_ANTHROPIC: `${url}/v1` };
}
