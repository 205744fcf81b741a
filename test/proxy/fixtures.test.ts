/** Every recorded answer through the proxy: the client gets its bytes, and so does the record. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ownExchange, sharedExchange } from '../replay/exchanges.ts';
import { type Coding, type Exchange, startReplay, wireBody } from '../replay/replay.ts';
import { SHARED, sharedMissing } from '../shared.ts';
import { ask, setUp } from './harness.ts';

const OWN = readdirSync(join(import.meta.dirname, '../replay/fixtures')).filter((name) =>
  /\.(sse|jsonl?|ndjson|html)$/.test(name),
);

const PUBLISHED = sharedMissing
  ? []
  : readdirSync(join(SHARED, 'fixtures/llm'), { recursive: true, encoding: 'utf8' }).filter(
      (name) =>
        /\.(sse|ndjson|html)$|^gemini\/.*\.json$|^bedrock.*text\.(json|chunks\.txt)$/.test(name),
    );

/** Sends one call for each exchange, by a path of its own, and compares what came with what was sent. */
async function checkAll(exchanges: readonly Exchange[]): Promise<void> {
  const own = exchanges.map((e, i) => ({ ...e, path: `/n${i}${e.path}` }));
  const provider = await startReplay({ exchanges: own });
  onTestFinished(() => provider.close());
  const { proxy, log } = await setUp({ upstream: provider.url });
  for (const exchange of own) {
    const wire = Buffer.from(wireBody(exchange));
    const answer = await ask(`${proxy.url}/any${exchange.path}?alt=sse`, {
      body: '{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}',
    });
    expect(answer.isWhole, exchange.path).toBe(true);
    expect(answer.body.equals(wire), exchange.path).toBe(true);
    await log.until(() => log.calls.some((r) => r.record_id === answer.recordId));
    expect(log.of(answer.recordId).bodies.get('response.body')?.equals(wire)).toBe(true);
  }
  log.checkChain();
}

describe.each([1, 37, 4_096])('in pieces of %i bytes', (pieces) => {
  test('our own', () => checkAll(OWN.map((name) => ownExchange(name, { pieces }))));

  test.skipIf(sharedMissing)('the published ones', () =>
    checkAll(PUBLISHED.map((name) => sharedExchange(name, { pieces }))),
  );
});

test.each<Coding>(['gzip', 'deflate', 'br', 'zstd'])(
  'what comes in %s stays in it, and is read all the same',
  async (coding) => {
    const provider = await startReplay({
      exchanges: [ownExchange('openai-chat.json', { coding })],
    });
    onTestFinished(() => provider.close());
    const { proxy, log } = await setUp({ upstream: provider.url });
    const answer = await ask(`${proxy.url}/openai/v1/chat/completions`, {
      body: '{"model":"m","messages":[{"role":"user","content":"hi"}]}',
    });
    expect(answer.headers['content-encoding']).toBe(coding);
    expect(answer.body.equals(Buffer.from(provider.requests[0]?.sent ?? []))).toBe(true);
    const [record] = await log.untilCalls(1);
    expect(record?.metrics.usage_source).toBe('provider');
    const { bodies, disclosures } = log.of(answer.recordId);
    expect(bodies.get('response.body')?.equals(answer.body)).toBe(true);
    expect(disclosures.get('response.body')).toMatchObject({ content_encoding: coding });
  },
);
