/** A file of calls becomes records: in pieces, resumed where it stopped, with what is wrong told by the line. */
import { createHash } from 'node:crypto';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { importFile } from '../../server/cli/import.ts';
import { voiceOf } from '../../server/cli/terminal.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { type InferenceRecord, parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';
import { temporaryFolder } from '../temporary.ts';
import { PAYLOAD, SPANS } from './examples.ts';
import { opened } from './opened.ts';
import { event, span, spans, log as telemetryLog } from './spans.ts';

let world: World;
let log: Log;
let file: string;
let refusals: number;
let written: string;
let shown: string;

beforeEach(async () => {
  refusals = 0;
  written = '';
  shown = '';
  world = await World.start({
    checkSpace: () => {
      if (refusals-- > 0) throw new SteleError('storage', 'the disk is full', { retryAfterS: 0 });
    },
  });
  ({ log } = await world.log('team-a'));
  file = join(temporaryFolder(), 'calls.jsonl');
});
afterEach(() => world.stop());

const sent = (id: string, more: object = {}) => ({
  id,
  started: '2026-05-01T10:00:00.123456Z',
  ended: '2026-05-01T10:00:02Z',
  provider: 'openai',
  path: '/v1/chat/completions',
  status: 200,
  user: 'alice',
  request: { model: 'gpt-4o', messages: [{ role: 'user', content: 'hi' }], temperature: 0.5 },
  response: {
    id: 'chatcmpl-1',
    model: 'gpt-4o-2024',
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'ho' } }],
    usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  },
  ...more,
});

const line = (value: unknown) => `${JSON.stringify(value)}\n`;

function run(more: { isTerminal?: boolean; state?: string; signal?: AbortSignal } = {}) {
  const command = {
    env: {},
    cwd: '/',
    isTerminal: more.isTerminal === true,
    out: (text: string | Uint8Array) => {
      written += String(text);
    },
    err: (text: string) => {
      shown += text;
    },
    stdin: async function* () {},
    now: () => 0,
    interrupted: more.signal ?? new AbortController().signal,
  };
  const token = world.token({ roles: ['submit'], logs: ['team-a'] });
  return importFile({
    world: command,
    voice: voiceOf(command, false),
    where: { server: world.server.url, token },
    log: 'team-a',
    file,
    state: more.state ?? `${file}.state`,
    pieceLines: 10,
  });
}

async function calls(): Promise<InferenceRecord[]> {
  const entries = await log.entries(leafIndex(0), treeSize(log.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter((record) => record.kind === 'inference');
}

async function reportOf(record: InferenceRecord): Promise<string> {
  const path = `/logs/team-a/v1/content/${record.record_id}/report.body/body`;
  const answer = await world.get(path, {
    token: world.token({ roles: ['content'] }),
    headers: { 'x-stele-reason': 'a test' },
  });
  return answer.bytes.toString();
}

describe('a line', () => {
  test('with bodies as they were sent is a record with itself as its report, byte for byte', async () => {
    const text = `{"x":1.50, ${JSON.stringify(sent('a')).slice(1)}`;
    writeFileSync(file, `${text}\n`);
    expect(await run()).toEqual({ lines: 1, recorded: 1, repeated: 0, rejected: 0 });
    const [record] = await calls();
    expect(record).toMatchObject({
      source: { id: 'ingest', provenance: 'imported', completeness: 'full' },
      ids: { gateway_request: 'a', response: 'chatcmpl-1' },
      time: { received: '2026-05-01T10:00:00.123456Z', completed: '2026-05-01T10:00:02.000000Z' },
      input: { format: 'openai.chat', messages: 1 },
      model: { provider: 'openai', requested: 'gpt-4o', served: 'gpt-4o-2024' },
      output: { finish_reasons: ['stop'] },
      metrics: { input_tokens: 3, output_tokens: 1 },
      outcome: { status: 'ok', http_status: 200 },
    });
    expect(await reportOf(record!)).toBe(text);
    expect(await opened(world, record!, 'principal.id')).toBe('alice');
  });

  test('of many calls gives each its own part as its report, and not all of itself', async () => {
    const filler = { filler: 'x'.repeat(20_000) };
    const many = Array.from({ length: 300 }, () =>
      span({ 'gen_ai.operation.name': 'chat', ...filler }),
    );
    const { traceId, spanId } = many[0] as { traceId: string; spanId: string };
    const content = { 'gen_ai.input.messages': [{ role: 'user', parts: [] }] };
    const own = { traceId, spanId, ...event('gen_ai.client.inference.operation.details', content) };
    // As every part would be a line of 6 MB, 300 would be 1.8 GB.
    const text = line({ ...spans(...many), ...telemetryLog(own) });
    expect(text.length).toBeGreaterThan(6_000_000);
    writeFileSync(file, text);
    expect(await run()).toEqual({ lines: 1, recorded: 300, repeated: 0, rejected: 0 });
    writeFileSync(file, text);
    expect(await run({ state: `${file}.other` })).toMatchObject({ recorded: 0, repeated: 300 });
    const all = await calls();
    const one = all.find(({ ids }) => ids.trace === traceId);
    const report = JSON.parse(await reportOf(one!));
    expect(report).toHaveLength(2);
    expect(report[0].resourceSpans[0].scopeSpans[0].spans).toHaveLength(1);
    expect(report[1].resourceLogs[0].scopeLogs[0].logRecords).toMatchObject([own]);
    const other = all.find(({ ids }) => ids.trace !== traceId);
    expect(JSON.parse(await reportOf(other!)).resourceSpans).toHaveLength(1);
  });

  test('may be of LiteLLM or of OTLP as well', async () => {
    writeFileSync(file, line(PAYLOAD) + line(SPANS));
    expect(await run()).toMatchObject({ lines: 2, recorded: 2 });
    expect((await calls()).map(({ model }) => model.requested)).toEqual([
      'gpt-4o-mini',
      'gpt-4o-mini',
    ]);
    for (const { source } of await calls()) expect(source.provenance).toBe('imported');
  });

  test('that is wrong is told by its number, and keeps out no other', async () => {
    const wrong = [
      '{"id":',
      '[]',
      line({ id: 'x' }).trim(),
      line(sent('y', { started: 'soon' })).trim(),
      '{"resourceSpans":7}',
    ];
    writeFileSync(file, `${line(sent('a'))}\n${wrong.join('\n')}\n${line(sent('b')).trim()}`);
    expect(await run()).toEqual({ lines: 8, recorded: 2, repeated: 0, rejected: 5 });
    expect(written.trim().split('\n')).toEqual([
      'line 3: call: it is not JSON',
      'line 4: call: it is no JSON object',
      'line 5: started: it is missing',
      'line 6: started: "soon" is no time',
      'line 7: otlp: resourceSpans is no list',
    ]);
    expect(await calls()).toHaveLength(2);
  });
});

describe('an import', () => {
  const many = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => line(sent(`call-${from + i}`))).join('');

  test('goes on where it stopped, and takes what was appended since', async () => {
    writeFileSync(file, many(0, 3));
    expect(await run()).toMatchObject({ lines: 3, recorded: 3 });
    expect(await run()).toMatchObject({ lines: 3, recorded: 3, repeated: 0 });
    appendFileSync(file, many(3, 5));
    expect(await run()).toMatchObject({ lines: 5, recorded: 5 });
    expect(await calls()).toHaveLength(5);
    const state = JSON.parse(readFileSync(`${file}.state`, 'utf8'));
    const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
    expect(state).toMatchObject({ sha256, offset: readFileSync(file).length });
  });

  test('that lost its state makes no second record', async () => {
    writeFileSync(file, many(0, 3));
    await run();
    expect(await run({ state: `${file}.other` })).toMatchObject({ recorded: 0, repeated: 3 });
    expect(await calls()).toHaveLength(3);
  });

  test('is in pieces, waits where it is told to, and shows how far it is on a terminal', async () => {
    writeFileSync(file, many(0, 25));
    refusals = 1;
    expect(await run({ isTerminal: true })).toMatchObject({ lines: 25, recorded: 25 });
    expect(shown).toMatch(/\r█+░+ \d+ %, 10 lines/);
    expect(shown).toContain('100 %, 25 lines');
    expect(await calls()).toHaveLength(25);
  });

  test('does not go on with a file that changed, nor with a state that is none, or of another log', async () => {
    writeFileSync(file, many(0, 2));
    await run();
    writeFileSync(file, many(1, 3));
    await expect(run()).rejects.toThrow('are not those that were imported');
    writeFileSync(`${file}.bad`, '{"format":"stele.import/1"}');
    await expect(run({ state: `${file}.bad` })).rejects.toThrow('no state of an import');
    const state = JSON.parse(readFileSync(`${file}.state`, 'utf8'));
    writeFileSync(`${file}.bad`, JSON.stringify({ ...state, log: 'other' }));
    await expect(run({ state: `${file}.bad` })).rejects.toThrow('import to log other');
  });

  test('that is interrupted says so, and loses nothing', async () => {
    writeFileSync(file, many(0, 2));
    const interrupt = new AbortController();
    interrupt.abort();
    await expect(run({ signal: interrupt.signal })).rejects.toThrow();
    expect(await run()).toMatchObject({ lines: 2, recorded: 2 });
  });
});
