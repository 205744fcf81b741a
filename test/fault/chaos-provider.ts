/**
 * A model provider for a crowd of calls, each with a fate of its own, which its client tells it in a header.
 * It remembers which attempts reached it: what is not among them needs no record, and what is does.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from './random.ts';

/** How a call ends where nobody is killed; `abort` is the client's own doing. */
export type Fate = 'plain' | 'stream' | 'error' | 'error-event' | 'cut' | 'abort';

export const FATE_HEADER = 'x-chaos-fate';
/** Names an attempt, and is in its record in clear. */
export const ATTEMPT_HEADER = 'x-client-request-id';

const EVENTS = 6;

/** Longest pause before an answer and between two events, in milliseconds. */
const PAUSE_MS = 12;

export interface ChaosProvider {
  readonly url: string;
  /** How often each attempt came. */
  readonly reached: ReadonlyMap<string, number>;
  /** Resolves when so many more attempts have come. */
  untilMore(count: number): Promise<void>;
  /** Resolves when this attempt has come. */
  untilReached(attempt: string): Promise<void>;
  close(): Promise<void>;
}

export async function startChaosProvider(random: Random): Promise<ChaosProvider> {
  const reached = new Map<string, number>();
  const waiting = new Map<string, () => void>();
  const counting: { left: number; resolve(): void }[] = [];
  const server = createServer((req, res) => {
    answer(req, res, random, (attempt) => {
      reached.set(attempt, (reached.get(attempt) ?? 0) + 1);
      waiting.get(attempt)?.();
      waiting.delete(attempt);
      for (const one of counting) if (--one.left === 0) one.resolve();
    }).catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    reached,
    untilMore: (left) => new Promise((resolve) => counting.push({ left, resolve })),
    untilReached: (attempt) =>
      reached.has(attempt)
        ? Promise.resolve()
        : new Promise((resolve) => waiting.set(attempt, resolve)),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function answer(
  req: IncomingMessage,
  res: ServerResponse,
  random: Random,
  came: (attempt: string) => void,
): Promise<void> {
  for await (const _ of req);
  const fate = String(req.headers[FATE_HEADER]) as Fate;
  came(String(req.headers[ATTEMPT_HEADER]));
  await pause(random.int(0, PAUSE_MS));
  if (fate === 'plain') return json(res, 200, completion());
  if (fate === 'error') {
    return json(res, 500, { error: { message: 'overloaded', type: 'server_error', code: null } });
  }
  res.writeHead(200, { 'content-type': 'text/event-stream' });
  const events = fate === 'cut' || fate === 'error-event' ? random.int(1, EVENTS) : EVENTS;
  for (let i = 0; i < events; i++) {
    res.write(`data: ${JSON.stringify(chunk({ content: `word ${i} ` }, null))}\n\n`);
    await pause(random.int(0, PAUSE_MS));
  }
  if (fate === 'cut') {
    res.destroy();
    return;
  }
  if (fate === 'error-event') {
    res.end('data: {"error":{"message":"overloaded","type":"server_error","code":null}}\n\n');
    return;
  }
  res.end(`data: ${JSON.stringify(chunk({}, 'stop'))}\n\ndata: [DONE]\n\n`);
}

function json(res: ServerResponse, status: number, value: object): void {
  const body = Buffer.from(JSON.stringify(value));
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  res.end(body);
}

function chunk(delta: object, finish: string | null): object {
  return {
    id: 'chatcmpl-chaos',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-test-1',
    choices: [{ index: 0, delta, finish_reason: finish }],
  };
}

function completion(): object {
  return {
    id: 'chatcmpl-chaos',
    object: 'chat.completion',
    created: 1,
    model: 'gpt-test-1',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'a word' }, finish_reason: 'stop' },
    ],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
  };
}
