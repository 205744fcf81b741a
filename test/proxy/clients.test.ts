/**
 * The official clients of Gemini, Ollama and Bedrock, each in a process of its own: with another base URL they get
 * what they got before, and the record judges for itself how the call ended.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { ownBytes, ownExchange, wireOf } from '../replay/exchanges.ts';
import { type Exchange, startReplay } from '../replay/replay.ts';
import { isSignedBy } from '../replay/sigv4.ts';
import { setUp } from './harness.ts';

const run = promisify(execFile);

interface Seen {
  readonly seen: readonly object[];
  readonly error?: { readonly message: string };
}

async function client(name: string, base: string, ...args: readonly string[]): Promise<Seen> {
  const script = join(import.meta.dirname, 'clients', `${name}.mjs`);
  // Nothing of this machine's own settings.
  const env = { PATH: process.env.PATH ?? '', AWS_EC2_METADATA_DISABLED: 'true' };
  const { stdout } = await run(process.execPath, [script, base, ...args], { env });
  return JSON.parse(stdout) as Seen;
}

const body = (name: string) => Buffer.from(ownBytes(name)).toString();

/** The same answer without what ends it. */
const cut = (name: string, from: string): Partial<Exchange> => ({
  body: body(name).slice(0, body(name).lastIndexOf(from)),
});

const UNARY = '/v1beta/models/gemini-test:generateContent';

const cases: readonly [string, string, Exchange, string, string][] = [
  ['gemini', 'stream', ownExchange('gemini.sse', { pieces: 37 }), 'gemini', 'ok'],
  [
    'gemini',
    'stream',
    ownExchange('gemini.sse', cut('gemini.sse', 'data:')),
    'gemini',
    'incomplete',
  ],
  [
    'gemini',
    'plain',
    { path: UNARY, body: JSON.stringify(JSON.parse(body('gemini-array.json')).at(-1)) },
    'gemini',
    'ok',
  ],
  [
    'gemini',
    'plain',
    { path: UNARY, status: 429, body: '{"error":{"code":429,"message":"m","status":"X"}}' },
    'gemini',
    'upstream-error',
  ],
  ['ollama', 'stream', ownExchange('ollama-chat.ndjson', { pieces: 37 }), 'ollama.chat', 'ok'],
  ['ollama', 'stream', ownExchange('ollama-error.ndjson'), 'ollama.chat', 'upstream-error'],
  [
    'ollama',
    'stream',
    ownExchange('ollama-chat.ndjson', cut('ollama-chat.ndjson', '{"model"')),
    'ollama.chat',
    'incomplete',
  ],
  ['ollama', 'generate', ownExchange('ollama-generate.ndjson'), 'opaque', 'incomplete'],
  [
    'ollama',
    'plain',
    { path: '/api/chat', body: body('ollama-chat.ndjson').trim().split('\n').at(-1) ?? '' },
    'ollama.chat',
    'ok',
  ],
];

test('clients get what they got before, and the record judges for itself', async () => {
  // Each call names the case it is by its model, or in Gemini's paths.
  const exchanges = cases.map(([name, , exchange], i): Exchange => {
    const path = exchange.path.replace('gemini-test', `case-${i}`);
    if (name === 'gemini') return { ...exchange, path };
    return { ...exchange, when: (value) => (value as { model?: string }).model === `case-${i}` };
  });
  const provider = await startReplay({ exchanges });
  onTestFinished(() => provider.close());
  const { proxy, log, lines } = await setUp({ upstream: provider.url });
  for (const [i, [name, how, , format, status]] of cases.entries()) {
    const direct = await client(name, provider.url, `case-${i}`, how);
    const through = await client(name, `${proxy.url}/any`, `case-${i}`, how);
    expect(through, `case ${i}`).toEqual(direct);
    expect(direct.seen.length + (direct.error ? 1 : 0), `case ${i}`).toBeGreaterThan(0);
    // Google's client calls a stream that broke off a success.
    if (i === 1) expect([direct.error, status]).toEqual([undefined, 'incomplete']);
    const record = (await log.untilCalls(i + 1))[i];
    expect([record?.input.format, record?.outcome.status], `case ${i}`).toEqual([format, status]);
    expect(record?.model.requested).toBe(`case-${i}`);
  }
  expect(lines.join('\n')).not.toContain('planted');
  const kept = log.logged.map(({ record, bodies, disclosures }) =>
    JSON.stringify([record, [...bodies].map(String), [...disclosures]]),
  );
  expect(kept.join('\n')).not.toContain('planted');
}, 120_000);

test('a signed call arrives as it was signed', async () => {
  const model = 'us.amazon.nova-lite-v1:0';
  const path = (verb: string) => `/model/${encodeURIComponent(model)}/${verb}`;
  const name = 'bedrock-converse.jsonl';
  const headers = { 'content-type': 'application/vnd.amazon.eventstream' };
  const output = { message: { role: 'assistant', content: [{ text: 'Hello' }] } };
  const provider = await startReplay({
    pieces: 37,
    exchanges: [
      { path: path('converse-stream'), headers, body: wireOf(name, ownBytes(name)) },
      {
        path: path('converse'),
        headers: { 'x-amzn-requestid': 'amzn-1' },
        body: JSON.stringify({
          output,
          stopReason: 'end_turn',
          usage: { inputTokens: 3, outputTokens: 1, totalTokens: 4 },
        }),
      },
    ],
  });
  onTestFinished(() => provider.close());
  const { proxy, log } = await setUp({ upstream: provider.url, byHost: true });
  for (const how of ['stream', 'plain']) {
    const direct = await client('bedrock', provider.url, model, how);
    const through = await client('bedrock', proxy.url, model, how);
    expect(direct.error).toBeUndefined();
    expect(through).toEqual(direct);
  }
  const records = await log.untilCalls(2);
  expect(records.map((r) => [r.outcome.status, r.output?.format])).toEqual([
    ['incomplete', 'bedrock.converse'],
    ['ok', 'bedrock.converse'],
  ]);
  expect(records.map((r) => r.ids.upstream_request)).toEqual([undefined, 'amzn-1']);
  expect(records[0]?.output?.stream?.terminated).toBe('message_stop');
  expect(records[0]?.output?.tool_calls).toMatchObject([{ name: 'look' }]);
  expect(records[0]?.model.requested).toBe(model);
  expect(provider.requests).toHaveLength(4);
  for (const request of provider.requests) {
    expect(isSignedBy('secret-planted', request)).toBe(true);
    const elsewhere = { ...request, headers: { ...request.headers, host: 'bedrock.example' } };
    expect(isSignedBy('secret-planted', elsewhere)).toBe(false);
    expect(isSignedBy('another', request)).toBe(false);
  }
  // By the upstream's name the same call arrives under another path and host: that cannot hold.
  const refused = await client('bedrock', `${proxy.url}/openai`, model, 'plain');
  expect(refused.error).toBeDefined();
  const kept = log.logged.map(({ record, disclosures }) =>
    JSON.stringify([record, [...disclosures]]),
  );
  expect(kept.join('\n')).not.toMatch(/planted|AKID/i);
}, 120_000);
