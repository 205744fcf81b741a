/** The official client libraries through the proxy into the log: only their base URL is changed. */
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { expect, onTestFinished, test } from 'vitest';
import { bodyValueOf, parseDisclosure } from '../../server/core/disclosure.ts';
import type { InferenceRecord } from '../../server/core/record.ts';
import { ownExchange } from '../replay/exchanges.ts';
import { startReplay } from '../replay/replay.ts';
import { temporaryFolder } from '../temporary.ts';
import { everyByte, startStele } from './running.ts';

const SECRETS = ['sk-planted-openai-key', 'sk-ant-planted-key', 'sk-planted-query'];
const QUESTION = 'a question that nobody else may read';

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts).toString();
}

test('both clients get what they got before, and every call has a receipt that holds', async () => {
  const isStream = (body: unknown) => (body as { stream?: boolean }).stream === true;
  const provider = await startReplay({
    pieces: 37,
    exchanges: [
      ownExchange('openai-chat.sse', { when: isStream }),
      ownExchange('openai-chat.json'),
      ownExchange('anthropic-messages.sse', { when: isStream }),
      ownExchange('anthropic-messages.json'),
    ],
  });
  onTestFinished(() => provider.close());
  const cwd = temporaryFolder();
  const stele = await startStele(cwd, provider.url);

  const openai = (baseURL: string) => new OpenAI({ baseURL, apiKey: SECRETS[0] as string });
  const anthropic = (baseURL: string) => new Anthropic({ baseURL, apiKey: SECRETS[1] as string });
  const messages = [{ role: 'user' as const, content: QUESTION }];
  const chat = { model: 'gpt-test', messages };
  const message = { model: 'claude-test', max_tokens: 10, messages };
  const ids: string[] = [];

  const calls = async (openaiBase: string, anthropicBase: string) => {
    const plain = await openai(openaiBase).chat.completions.create(chat).withResponse();
    ids.push(plain.response.headers.get('x-stele-record-id') ?? '');
    const stream = await openai(openaiBase)
      .chat.completions.create({ ...chat, stream: true })
      .withResponse();
    ids.push(stream.response.headers.get('x-stele-record-id') ?? '');
    const chunks = [];
    for await (const chunk of stream.data) chunks.push(chunk);
    const said = await anthropic(anthropicBase).messages.create(message).withResponse();
    ids.push(said.response.headers.get('x-stele-record-id') ?? '');
    const events = [];
    const streamed = await anthropic(anthropicBase)
      .messages.create({ ...message, stream: true })
      .withResponse();
    ids.push(streamed.response.headers.get('x-stele-record-id') ?? '');
    for await (const event of streamed.data) events.push(event);
    return { plain: plain.data, chunks, said: said.data, events };
  };
  const through = await calls(`${stele.proxy}/openai/v1`, `${stele.proxy}/anthropic`);
  const recorded = ids.splice(0);
  const direct = await calls(`${provider.url}/v1`, provider.url);
  expect(through).toEqual(direct);

  const records: InferenceRecord[] = [];
  for (const id of recorded) {
    const verdict = await stele.verified(id);
    expect(verdict.holds, JSON.stringify(verdict.steps)).toBe(true);
    records.push(verdict.record as InferenceRecord);
  }
  expect(
    records.map((r) => [r.model.provider, r.outcome.status, r.output?.stream !== undefined]),
  ).toEqual([
    ['openai', 'ok', false],
    ['openai', 'ok', true],
    ['anthropic', 'ok', false],
    // It was stopped by max_tokens, which the client takes for an end like any other.
    ['anthropic', 'incomplete', true],
  ]);
  expect(records.map((r) => r.source.seq)).toEqual([0, 1, 2, 3]);
  expect(records.every((r) => r.metrics.usage_source === 'provider')).toBe(true);

  // The content is in the vault, and is what went over the wire.
  const reason = { reason: 'a test of the whole way' };
  for (const [i, id] of recorded.entries()) {
    const answer = await textOf(stele.contents.body(id, 'response.body', reason));
    expect(answer).toBe(Buffer.from(provider.requests[i]?.sent ?? []).toString());
    const question = await textOf(stele.contents.body(id, 'request.body', reason));
    expect(question).toContain(QUESTION);
    const disclosure = await stele.contents.disclosure(id, 'request.messages', reason);
    expect(JSON.stringify(parseDisclosure(disclosure).value)).toContain(QUESTION);
    const body = await stele.contents.disclosure(id, 'request.body', reason);
    expect(bodyValueOf(parseDisclosure(body).value)?.bytes).toBe(Buffer.byteLength(question));
  }

  await fetch(`${stele.proxy}/openai/v1/models?key=${SECRETS[2]}`, {
    headers: { authorization: `Bearer ${SECRETS[0]}`, cookie: `session=${SECRETS[1]}` },
  }).then((answer) => answer.text());
  await stele.stop('SIGTERM');
  const bytes = Buffer.concat([everyByte(cwd), Buffer.from(stele.output())]);
  for (const secret of [...SECRETS, QUESTION]) expect(bytes.includes(secret), secret).toBe(false);
});
