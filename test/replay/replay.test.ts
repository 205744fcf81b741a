import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { ownBytes, ownExchange } from './exchanges.ts';
import { type Exchange, startReplay } from './replay.ts';

async function post(url: string, path: string, body = '{}') {
  const req = request(`${url}${path}`, { method: 'POST', agent: false });
  req.end(body);
  const [answer] = (await once(req, 'response')) as [IncomingMessage];
  const pieces: Buffer[] = [];
  let failed = false;
  try {
    for await (const piece of answer) pieces.push(piece as Buffer);
  } catch {
    failed = true;
  }
  return { answer, pieces, body: Buffer.concat(pieces), failed };
}

async function withReplay(
  exchanges: Exchange[],
  pieces: number,
  use: (url: string) => Promise<void>,
) {
  const replay = await startReplay({ exchanges, pieces });
  try {
    await use(replay.url);
  } finally {
    await replay.close();
  }
}

const CHAT = '/v1/chat/completions';

test('serves a recorded stream byte for byte, in pieces', async () => {
  const replay = await startReplay({ exchanges: [ownExchange('openai-chat.sse')], pieces: 7 });
  const { answer, body } = await post(replay.url, `${CHAT}?x=1`, '{"a":1}');
  expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(new Uint8Array(body)).toEqual(ownBytes('openai-chat.sse'));
  expect(replay.requests).toMatchObject([{ method: 'POST', target: `${CHAT}?x=1` }]);
  expect(Buffer.from(replay.requests[0]?.body ?? []).toString()).toBe('{"a":1}');
  await replay.close();
});

test('chooses by the body, and answers 404 to what was not recorded', async () => {
  const isStream = (body: unknown) => (body as { stream?: boolean }).stream === true;
  const exchanges = [
    ownExchange('openai-chat.sse', { when: isStream }),
    ownExchange('openai-chat.json'),
  ];
  await withReplay(exchanges, 4096, async (url) => {
    const types = [];
    for (const body of ['{"stream":true}', '{}']) {
      types.push((await post(url, CHAT, body)).answer.headers['content-type']);
    }
    expect(types).toEqual(['text/event-stream; charset=utf-8', 'application/json']);
    expect((await post(url, '/v1/nothing')).answer.statusCode).toBe(404);
  });
});

test('sends errors, codings and declared lengths', async () => {
  const error = ownExchange('anthropic-error-529.json', {
    status: 529,
    coding: 'gzip',
    hasLength: true,
  });
  await withReplay([error], 1, async (url) => {
    const { answer, body } = await post(url, '/v1/messages');
    expect([answer.statusCode, answer.headers['content-encoding']]).toEqual([529, 'gzip']);
    expect(answer.headers['content-length']).toBe(String(body.length));
    expect(new Uint8Array(gunzipSync(body))).toEqual(ownBytes('anthropic-error-529.json'));
  });
});

test('breaks a connection after so many bytes', async () => {
  await withReplay([ownExchange('openai-chat.sse', { cutAfter: 100 })], 37, async (url) => {
    const { body, failed } = await post(url, CHAT);
    expect([body.length, failed]).toEqual([100, true]);
  });
});

test('stalls after so many bytes until the client leaves', async () => {
  const replay = await startReplay({
    exchanges: [ownExchange('openai-chat.sse', { stallAfter: 100 })],
    pieces: 100,
  });
  const req = request(`${replay.url}${CHAT}`, { method: 'POST', agent: false });
  req.end('{}');
  const [answer] = (await once(req, 'response')) as [IncomingMessage];
  const [piece] = (await once(answer, 'data')) as [Buffer];
  expect(piece.length).toBe(100);
  answer.on('error', () => undefined);
  answer.destroy();
  await replay.requests[0]?.closed;
  expect(replay.requests[0]?.wasAborted()).toBe(true);
  await replay.close();
});
