/**
 * Every recorded exchange, in pieces of every size, through the official clients: with Stele in between
 * they make of it exactly what they make of it without, be that an answer, a stream or an error.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { cassette, ownExchange, sharedExchange } from '../replay/exchanges.ts';
import { type Exchange, startReplay } from '../replay/replay.ts';
import { SHARED, sharedMissing } from '../shared.ts';
import { temporaryFolder } from '../temporary.ts';
import { startStele } from './running.ts';

const PATHS = ['/v1/chat/completions', '/v1/responses', '/v1/messages'];

const OWN: readonly Exchange[] = [
  ownExchange('openai-chat.json'),
  ownExchange('openai-chat.sse'),
  ownExchange('openai-chat-tools.sse'),
  ownExchange('openai-chat-crlf.sse'),
  ownExchange('openai-chat-error.sse'),
  ownExchange('openai-chat-truncated.sse'),
  ownExchange('openai-error-429.json', { status: 429, headers: { 'retry-after': '7' } }),
  ownExchange('bad-gateway.html', { path: '/v1/chat/completions', status: 502 }),
  ownExchange('responses.sse'),
  ownExchange('anthropic-messages.json'),
  ownExchange('anthropic-messages.sse'),
  ownExchange('anthropic-messages-no-blank-line.sse'),
  ownExchange('anthropic-overloaded.sse'),
  ownExchange('anthropic-error-529.json', { status: 529 }),
];

function published(): Exchange[] {
  const files = (folder: string) =>
    readdirSync(join(SHARED, 'fixtures', 'llm', folder), { withFileTypes: true });
  const streams = ['anthropic', 'openai', 'openai-responses', 'synthetic'].flatMap((folder) =>
    files(folder)
      .filter((file) => file.isFile() && /\.sse$|error-.*\.(json|html)$/.test(file.name))
      .map(({ name }) => {
        const status = /-(\d{3})\.(?:json|html)$/.exec(name)?.[1];
        return sharedExchange(
          `${folder}/${name}`,
          status === undefined ? {} : { status: Number(status) },
        );
      }),
  );
  const cassettes = files('openai')
    .filter((file) => file.isDirectory())
    .map(({ name }) => cassette(`openai/${name}`));
  return [...streams, ...cassettes].filter(({ path }) => PATHS.includes(path));
}

interface Outcome {
  readonly recordId: string | null;
  readonly result: unknown;
}

/** What an official client makes of an exchange; the request's model says which one is meant. */
async function callWith(base: string, path: string, model: string, stream: boolean) {
  const options = { apiKey: 'sk-test', maxRetries: 0, logLevel: 'off' as const };
  const messages = [{ role: 'user' as const, content: 'Say hello.' }];
  // The base of the proxy is that of the provider with the upstream's name in front of the version.
  if (path === '/v1/messages') {
    const client = new Anthropic({ ...options, baseURL: `${base}/anthropic` });
    return client.messages.create({ model, messages, max_tokens: 10, stream }).withResponse();
  }
  const client = new OpenAI({ ...options, baseURL: `${base}/openai/v1` });
  return path === '/v1/responses'
    ? client.responses.create({ model, input: 'Say hello.', stream }).withResponse()
    : client.chat.completions.create({ model, messages, stream }).withResponse();
}

async function outcomeOf(
  base: string,
  path: string,
  model: string,
  stream: boolean,
): Promise<Outcome> {
  let recordId: string | null = null;
  const seen: unknown[] = [];
  try {
    const { data, response } = await callWith(base, path, model, stream);
    recordId = response.headers.get('x-stele-record-id');
    if (!stream) return { recordId, result: { data } };
    for await (const event of data as AsyncIterable<unknown>) seen.push(event);
    return { recordId, result: { events: seen } };
  } catch (error) {
    const {
      name,
      status,
      message,
      error: body,
      headers,
    } = error as InstanceType<typeof OpenAI.APIError>;
    recordId ??= headers?.get('x-stele-record-id') ?? null;
    return { recordId, result: { events: seen, error: { name, status, message, body } } };
  }
}

async function compare(exchanges: readonly Exchange[], pieces: number): Promise<void> {
  const named = exchanges.map((exchange, i) => ({
    ...exchange,
    when: (body: unknown) => (body as { model?: string }).model === `exchange-${i}`,
  }));
  // Asked directly, the provider has the proxy's paths too.
  const direct = named.map((exchange) => ({
    ...exchange,
    path: `${exchange.path === '/v1/messages' ? '/anthropic' : '/openai'}${exchange.path}`,
  }));
  const provider = await startReplay({ pieces, exchanges: [...named, ...direct] });
  onTestFinished(() => provider.close());
  const stele = await startStele(temporaryFolder(), provider.url);
  const ids: (string | null)[] = [];
  for (const [i, { path, body, headers }] of named.entries()) {
    const isStream = headers?.['content-type']?.startsWith('text/event-stream') === true;
    const before = await outcomeOf(provider.url, path, `exchange-${i}`, isStream);
    const through = await outcomeOf(stele.proxy, path, `exchange-${i}`, isStream);
    expect(through.result, `${path} ${Buffer.from(body).toString().slice(0, 80)}`).toEqual(
      before.result,
    );
    expect(before.recordId).toBeNull();
    ids.push(through.recordId);
  }
  // A client that throws in the middle of a stream has its headers already; every call has a record.
  expect(ids.filter((id) => id === null)).toEqual([]);
  for (const id of ids) await stele.log.receipt(id ?? '', { wait: 20 });
  const verdict = await stele.verified(ids.at(-1) ?? '');
  expect(verdict.holds, JSON.stringify(verdict.steps)).toBe(true);
  const [source] = (await stele.log.sources()).filter(({ id }) => id.startsWith('proxy'));
  expect(source).toMatchObject({ holes: [], forks: 0 });
  expect(source?.next).toBeGreaterThanOrEqual(named.length);
}

describe.each([1, 7, 37, 4_096])('in pieces of %i bytes', (pieces) => {
  test('our own recordings', async () => {
    await compare(OWN, pieces);
  });

  test.skipIf(sharedMissing)(
    'the published recordings (skipped without the shared folder)',
    async () => {
      const exchanges = published();
      expect(exchanges.length).toBeGreaterThan(30);
      await compare(exchanges, pieces);
    },
  );
});
