/**
 * Real programs in front of a server, with the settings that docs/gateways.md shows. Each is run where a variable
 * names it, and skipped elsewhere: STELE_OTELCOL, a collector with `otlp`, `otlp_http` and `file_storage`; and
 * STELE_LITELLM, LiteLLM's command.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createSocket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { World } from '../http/world.ts';
import { blocksOf, page } from '../repo/pages.ts';
import { temporaryFolder } from '../temporary.ts';
import { EVENTS, inProtobuf, SPANS } from './examples.ts';

const { STELE_OTELCOL, STELE_LITELLM } = process.env;
const PATIENCE_MS = 240_000;

let world: World;
let log: Log;
let token: string;
const running: ChildProcess[] = [];

beforeEach(async () => {
  world = await World.start({ joinMs: 60_000 });
  ({ log } = await world.log('default'));
  token = world.token({ roles: ['submit'], logs: ['default'] });
});

afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode !== null) continue;
    child.kill();
    await once(child, 'exit');
  }
  await world.stop();
});

/** A block of the page, with this machine's addresses in place of the example's. */
function settings(file: string, changes: Readonly<Record<string, string>>): string {
  const block = blocksOf(page('docs/gateways.md')).find(({ info }) => info === `yaml file=${file}`);
  let text = block?.text ?? '';
  for (const [from, to] of Object.entries({
    'https://stele.example.com': world.server.url,
    ...changes,
  })) {
    expect(text, `${file} has ${from}`).toContain(from);
    text = text.replaceAll(from, to);
  }
  const path = join(temporaryFolder(), file);
  writeFileSync(path, text);
  return path;
}

function start(command: string, args: readonly string[], env: Record<string, string>) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' });
  running.push(child);
}

async function freePort(): Promise<number> {
  const socket = createSocket().listen(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address() as AddressInfo;
  socket.close();
  return port;
}

/** Asks again until it is answered: the program takes its time to start. */
async function answered(ask: () => Promise<Response>): Promise<Response> {
  for (const until = Date.now() + PATIENCE_MS; ; ) {
    const answer = await ask().catch(() => undefined);
    if (answer?.ok === true) return answer;
    if (Date.now() > until) throw new Error(`it was never answered: ${await answer?.text()}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function calls() {
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; ) {
    const entries = await log.entries(leafIndex(0), treeSize(log.head().size));
    const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
    const found = all.filter(({ source }) => source.id === 'ingest');
    if (found.length > 0) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return [];
}

describe.skipIf(STELE_OTELCOL === undefined)('an OpenTelemetry collector', () => {
  test('brings a span and its event, which are one record', { timeout: PATIENCE_MS }, async () => {
    const port = await freePort();
    const config = settings('collector.yaml', {
      '127.0.0.1:4318': `127.0.0.1:${port}`,
      '/var/lib/otelcol': join(temporaryFolder(), 'queue'),
    });
    start(STELE_OTELCOL ?? '', ['--config', config], { STELE_TOKEN: token });
    for (const [signal, request] of [
      ['traces', SPANS],
      ['logs', EVENTS],
    ] as const) {
      await answered(() =>
        fetch(`http://127.0.0.1:${port}/v1/${signal}`, {
          method: 'POST',
          headers: { 'content-type': 'application/x-protobuf' },
          body: inProtobuf(request) as never,
        }),
      );
    }
    const [record, ...more] = await calls();
    expect(more).toEqual([]);
    expect(record).toMatchObject({ kind: 'inference', source: { completeness: 'full' } });
  });
});

describe.skipIf(STELE_LITELLM === undefined)('LiteLLM', () => {
  test('brings a call that its proxy made', { timeout: PATIENCE_MS }, async () => {
    const provider = createServer((req, res) => {
      req.resume();
      res.setHeader('content-type', 'application/json');
      res.end(
        JSON.stringify({
          id: 'chatcmpl-1',
          object: 'chat.completion',
          created: 1,
          model: 'gpt-4o-mini-2024-07-18',
          choices: [
            { index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Paris.' } },
          ],
          usage: { prompt_tokens: 14, completion_tokens: 7, total_tokens: 21 },
        }),
      );
    }).listen(0, '127.0.0.1');
    await once(provider, 'listening');
    const base = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;
    const key = `sk-${randomBytes(16).toString('hex')}`;
    const config = settings('litellm.yaml', {
      'api_key: os.environ/OPENAI_API_KEY': `api_key: none, api_base: "${base}"`,
    });
    const port = await freePort();
    start(
      STELE_LITELLM ?? '',
      ['--config', config, '--port', String(port), '--host', '127.0.0.1'],
      {
        GENERIC_LOGGER_HEADERS: `Authorization=Bearer ${token}`,
        LITELLM_MASTER_KEY: key,
        LITELLM_TELEMETRY: 'False',
      },
    );
    await answered(() =>
      fetch(`http://127.0.0.1:${port}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
        body: JSON.stringify({
          model: 'gpt-4o-mini',
          messages: [{ role: 'user', content: 'What is the capital of France?' }],
        }),
      }),
    );
    const [record, ...more] = await calls();
    provider.close();
    expect(more).toEqual([]);
    expect(record).toMatchObject({
      kind: 'inference',
      source: { provenance: 'reported', completeness: 'full' },
      // LiteLLM names the model as its own configuration does, whatever the provider said.
      model: { served: 'gpt-4o-mini' },
      metrics: { input_tokens: 14, output_tokens: 7 },
    });
  });
});
