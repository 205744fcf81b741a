import { describe, expect, test } from 'vitest';
import { providerFor } from '../../server/proxy/providers/index.ts';
import type { ResponseFacts } from '../../server/proxy/providers/provider.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';
import { feed, PIECES, piecesOf, readerFor, textsOf } from './reading.ts';

/** What the official client made of a stream; "events" leaves out `ping` and `[DONE]`. */
interface Expected {
  readonly outcome?: 'ok' | 'error';
  readonly id?: string;
  readonly model?: string;
  readonly status?: string;
  readonly incomplete?: { readonly reason: string } | null;
  readonly stop_reason?: string | null;
  readonly text?: string | Readonly<Record<string, string>>;
  readonly finish?: Readonly<Record<string, string>>;
  readonly usage?: Readonly<Record<string, unknown>> | null;
  readonly content?: readonly {
    readonly type: string;
    readonly text?: string;
    readonly id?: string;
    readonly name?: string;
    readonly input?: unknown;
  }[];
  readonly choices?: Readonly<Record<string, Choice>>;
  readonly with_final_blank_line?: Expected;
}

interface Choice {
  readonly content: string;
  readonly finish_reason: string | null;
  readonly tool_calls: Readonly<Record<string, { id: string; name: string; arguments: string }>>;
}

const published = sharedMissing
  ? {}
  : (sharedJson('fixtures', 'llm', 'expected.json') as Record<string, Expected>);
const names = Object.keys(published).filter((name) => name.endsWith('.sse'));
const SPLICED = 'anthropic/vercel-spliced-message-start.sse';
/** Ends that the official clients call a success, and we do not, or the other way round. */
const JUDGED: Readonly<Record<string, boolean>> = {
  'synthetic/openai-chat-truncated.sse': false,
  'synthetic/openai-chat-no-done.sse': false,
  [SPLICED]: false,
};

const bytesOf = (name: string) => sharedBytes('fixtures', 'llm', name);

function checkUsage(facts: ResponseFacts, usage: Expected['usage']): void {
  const count = (name: string) => Number(usage?.[name] ?? 0);
  const { usage: ours } = facts;
  if (!usage) {
    expect(ours).toBeUndefined();
    return;
  }
  const cached = count('cache_read_input_tokens') + count('cache_creation_input_tokens');
  expect(ours?.inputTokens).toBe(count('prompt_tokens') + count('input_tokens') + cached);
  expect(ours?.outputTokens).toBe(count('completion_tokens') + count('output_tokens'));
  if (usage.cached_tokens) expect(ours?.cacheReadInputTokens).toBe(usage.cached_tokens);
  if (usage.reasoning_tokens) expect(ours?.reasoningOutputTokens).toBe(usage.reasoning_tokens);
}

function checkChat(facts: ResponseFacts, expected: Expected): void {
  const choices = Object.values(expected.choices ?? {});
  expect(textsOf(facts.normalized)).toEqual(choices.map(({ content }) => content));
  expect(facts.finishReasons).toEqual(choices.flatMap((choice) => choice.finish_reason ?? []));
  const calls = choices.flatMap((choice) => Object.values(choice.tool_calls));
  expect(facts.toolCalls).toEqual(calls);
}

function checkMessages(facts: ResponseFacts, expected: Expected): void {
  const content = expected.content ?? [];
  const text = content.filter(({ type }) => type === 'text').map((block) => block.text);
  expect(textsOf(facts.normalized)).toEqual([text.join('')]);
  expect(facts.finishReasons).toEqual([expected.stop_reason].filter(Boolean));
  const calls = content.filter(({ type }) => type === 'tool_use');
  const ours = facts.toolCalls.filter(({ id }) => id?.startsWith('toolu_'));
  expect(ours.map(({ id, name }) => [id, name])).toEqual(calls.map(({ id, name }) => [id, name]));
  for (const [i, { input }] of calls.entries()) {
    const text = ours[i]?.arguments ?? '';
    // The client completes what broke off; we keep the words.
    if (expected.stop_reason === 'max_tokens') expect(text.startsWith('{')).toBe(true);
    else expect(JSON.parse(text || '{}')).toEqual(input);
  }
}

describe.skipIf(sharedMissing)('what the official clients make of it', () => {
  test.each(names)('%s', (name) => {
    const bytes = bytesOf(name);
    const { facts, cuts } = feed(readerFor(name), [bytes]);
    const one = published[name] as Expected;
    // A stream without its last blank line is read as if it had one, unless it broke off in an event.
    const isWhole = one.with_final_blank_line?.outcome === 'ok';
    const expected = isWhole ? (one.with_final_blank_line as Expected) : one;
    expect(facts.complete).toBe(JUDGED[name] ?? expected.outcome === 'ok');
    const ended = !['eof-clean', 'eof-cut'].includes(facts.stream?.terminated ?? '');
    const hasLineEnd = [10, 13].includes(bytes.at(-1) ?? 0);
    expect(cuts.length > 0).toBe(ended && hasLineEnd);
    if (isWhole && one.outcome === 'error') {
      expect(facts.flags).toContain('final-event-without-blank-line');
    }
    if (expected.id) expect(facts.id).toBe(expected.id);
    if (expected.model) expect(facts.served).toBe(expected.model);
    if (name === SPLICED) return;
    if (expected.choices) checkChat(facts, expected);
    if (expected.content) checkMessages(facts, expected);
    if (expected.finish) {
      expect(textsOf(facts.normalized)).toEqual(Object.values(expected.text ?? {}));
      expect(facts.finishReasons).toEqual(Object.values(expected.finish));
    }
    if (expected.status) {
      expect(textsOf(facts.normalized).join('')).toBe(expected.text);
      expect(facts.finishReasons).toEqual([expected.incomplete?.reason ?? expected.status]);
    }
    if ('usage' in expected) checkUsage(facts, expected.usage);
  });

  test.each(names)('%s reads the same in pieces of any size', (name) => {
    const bytes = bytesOf(name);
    const whole = feed(readerFor(name), [bytes]);
    for (const size of PIECES) expect(feed(readerFor(name), piecesOf(bytes, size))).toEqual(whole);
  });

  test.each(names.filter((name) => bytesOf(name).length < 1800))(
    '%s reads the same at every split',
    (name) => {
      const bytes = bytesOf(name);
      const whole = feed(readerFor(name), [bytes]);
      for (let at = 1; at < bytes.length; at++) {
        const halves = [bytes.subarray(0, at), bytes.subarray(at)];
        expect(feed(readerFor(name), halves)).toEqual(whole);
      }
    },
  );

  test('a second answer inside the first is told apart', () => {
    const { facts } = feed(readerFor(SPLICED), [bytesOf(SPLICED)]);
    expect(facts).toMatchObject({ id: 'msg_first', choices: 2, complete: false });
    expect(facts.flags).toContain('message-restarted');
    expect(facts.toolCalls.map(({ id }) => id)).toEqual(['toolu_first', 'toolu_second']);
  });

  test('the final event counts where deltas are missing', () => {
    const { facts } = feed(readerFor('openai-responses/phase.sse'), [
      bytesOf('openai-responses/phase.sse'),
    ]);
    expect(facts.flags).toEqual(['deltas-mismatch']);
  });

  test('refusals, hosted tools and blocks of unknown types are kept', () => {
    const refused = feed(readerFor('anthropic/x.sse'), [
      bytesOf('anthropic/stream-a-refusal.sse'),
    ]).facts;
    expect(refused).toMatchObject({ refused: true, usage: { reasoningOutputTokens: 67 } });
    const mcp = feed(readerFor('anthropic/x.sse'), [bytesOf('anthropic/vercel-mcp.sse')]).facts;
    expect(mcp.toolCalls).toMatchObject([{ name: 'echo' }]);
    const fallback = feed(readerFor('anthropic/x.sse'), [bytesOf('anthropic/fallback.sse')]).facts;
    expect(JSON.stringify(fallback.normalized)).toContain('"raw_type":"fallback"');
    const custom = feed(readerFor('openai-responses/x.sse'), [
      bytesOf('openai-responses/custom-tool.sse'),
    ]).facts;
    expect(custom.toolCalls).toEqual([
      {
        id: 'call_custom_sql_001',
        name: 'write_sql',
        arguments: 'SELECT * FROM users WHERE age > 25',
      },
    ]);
  });

  test('Azure’s filters become policy events', () => {
    for (const name of ['openai/azure-model-router.sse', 'openai-responses/azure-text.sse']) {
      const { policyEvents } = feed(readerFor(name), [bytesOf(name)]).facts;
      expect(new Set(policyEvents.map(({ stage }) => stage))).toEqual(new Set(['input', 'output']));
      expect(policyEvents.every(({ action }) => action === 'allow')).toBe(true);
    }
  });

  test.each([
    ['chat-basic', 'stop', 0],
    ['chat-tools', 'tool_calls', 1],
    ['chat-openai-agents-python', 'stop', 0],
    ['azure-chat-basic', 'stop', 0],
  ])('the exchange %s', (folder, finish, tools) => {
    const name = `openai/${folder}/response.json`;
    const body = JSON.parse(Buffer.from(bytesOf(name)).toString());
    const { facts } = feed(readerFor(name), piecesOf(bytesOf(name), 37));
    expect(facts).toMatchObject({
      id: body.id,
      served: body.model,
      finishReasons: [finish],
      complete: true,
    });
    expect(textsOf(facts.normalized)).toEqual([body.choices[0].message.content ?? '']);
    expect(facts.toolCalls).toHaveLength(tools);
    checkUsage(facts, body.usage);
    const request = providerFor('openai', 'POST', '/v1/chat/completions').request(
      bytesOf(`openai/${folder}/request.json`),
    );
    expect(request).toMatchObject({
      parsed: true,
      model: 'gpt-5-nano',
      context: 'complete',
      tools,
    });
    expect(request.normalized).toBeDefined();
  });

  test.each([
    ['openai/chat-bad-request/response.json', 400],
    ['openai/chat-unknown-model/response.json', 404],
    ['openai/embeddings-bad-request/response.json', 400],
    ['openai-responses/error.json', 429],
    ['synthetic/openai-error-429.json', 429],
    ['synthetic/anthropic-error-529.json', 529],
  ])('the error %s', (name, status) => {
    const body = JSON.parse(Buffer.from(bytesOf(name)).toString());
    const { facts } = feed(readerFor(name, status), [bytesOf(name)]);
    expect(facts).toMatchObject({ parsed: true, complete: true, finishReasons: [] });
    expect(facts.error?.message).toBe(body.error.message);
    expect(facts.error?.type).toBe(body.error.type);
  });

  test('embeddings have usage and nothing else', () => {
    const name = 'openai/embeddings-dimensions/response.json';
    const reader = providerFor('openai', 'POST', '/v1/embeddings').response({
      status: 200,
      headers: {},
    });
    const { facts } = feed(reader, [bytesOf(name)]);
    expect(facts).toMatchObject({ parsed: true, complete: true });
    expect(facts.usage?.inputTokens).toBeGreaterThan(0);
    expect(facts.normalized).toBeUndefined();
  });
});
