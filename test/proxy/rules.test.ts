/** Requests are judged before they are forwarded: flagged, changed or blocked, and all of it is on record. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { InferenceRecord } from '../../server/core/record.ts';
import { ownExchange } from '../replay/exchanges.ts';
import { type Replay, startReplay } from '../replay/replay.ts';
import { CHAT, chatProvider } from './calls.ts';
import { Callers } from './custody-place.ts';
import { FaultDisk, ioError } from './fault-disk.ts';
import {
  ask,
  gate,
  type Setup,
  type SetupOptions,
  setUp,
  TestLog,
  temporaryFolder,
} from './harness.ts';

const RULES = `format: stele.rules/1
version: '2026-11'
timeout_ms: 30000
rules:
  - {rule: keys, find: 'sk-[A-Za-z0-9]{8,}', action: redact, replace: '[key]', category: secret}
  - {rule: project-x, find: 'project x', ignore_case: true, action: block, message: not for this model}
  - {rule: swearing, find: 'damn', action: flag}
`;

const PATIENT = { timeout: 30_000 };

const SECRET = 'sk-ABCDEFGH1234';

interface Place extends Setup {
  readonly provider: Replay;
  readonly rules: string;
  readonly module: string;
}

async function place(
  files: { rules?: string; module?: string },
  options: Partial<SetupOptions> = {},
): Promise<Place> {
  const isStream = (body: unknown) => (body as { stream?: boolean }).stream === true;
  const provider = await startReplay({
    exchanges: [
      ownExchange('openai-chat.sse', { when: isStream }),
      ownExchange('openai-chat.json'),
      ownExchange('anthropic-messages.json'),
    ],
  });
  onTestFinished(() => provider.close());
  const folder = temporaryFolder();
  const [rules, module] = [join(folder, 'rules.yaml'), join(folder, 'judge.mjs')];
  if (files.rules !== undefined) writeFileSync(rules, files.rules);
  if (files.module !== undefined) writeFileSync(module, files.module);
  const { upstreamOptions, ...rest } = options;
  const setup = await setUp({
    upstream: provider.url,
    ...rest,
    upstreamOptions: {
      rules: files.rules === undefined ? undefined : rules,
      rulesModule: files.module === undefined ? undefined : module,
      ...upstreamOptions,
    },
  });
  return { ...setup, provider, rules, module };
}

const client = ({ proxy }: Setup) =>
  new OpenAI({ baseURL: `${proxy.url}/openai/v1`, apiKey: 'sk-x', maxRetries: 0 });

const say = (content: string) => ({
  model: 'gpt-test',
  messages: [{ role: 'user' as const, content }],
});

const forwarded = ({ provider }: Place, i = 0) =>
  Buffer.from(provider.requests[i]?.body ?? []).toString();

const events = (record: InferenceRecord | undefined) => {
  const all = record?.policy.events;
  return Array.isArray(all) ? all : [];
};

const hex = (text: string) => createHash('sha256').update(text).digest('hex');
const digestOf = (rules: string) => `sha-256:${hex(`rules ${hex(rules)}\n`)}`;

describe('a request that breaks a rule', () => {
  test('goes on without what was found, a stream too, and both bodies are committed', async () => {
    const one = await place({ rules: RULES });
    const stream = await client(one).chat.completions.create({
      ...say(`my key is ${SECRET}, damn`),
      stream: true,
    });
    for await (const _ of stream);
    expect(forwarded(one)).not.toContain(SECRET);
    expect(JSON.parse(forwarded(one))).toEqual({
      ...say('my key is [key], damn'),
      stream: true,
    });
    expect(one.provider.requests[0]?.headers['content-length']).toBe(
      String(Buffer.byteLength(forwarded(one))),
    );
    const [record] = await one.log.untilCalls(1);
    expect(record?.outcome.status).toBe('ok');
    expect(record?.policy).toEqual({
      version: '2026-11',
      digest: digestOf(RULES),
      events: [
        {
          ...{ stage: 'input', rule: 'keys', category: 'secret' },
          ...{ verdict: 'violation', action: 'redact', modified: true },
        },
        { stage: 'input', rule: 'project-x', verdict: 'pass', action: 'none' },
        { stage: 'input', rule: 'swearing', verdict: 'flag', action: 'warn' },
      ],
    });
    const { bodies, disclosures } = one.log.of(record?.record_id ?? '');
    expect(bodies.get('request.body')?.toString()).toContain(SECRET);
    expect(bodies.get('request.forwarded')?.toString()).toBe(forwarded(one));
    expect(disclosures.get('policy.manifest')).toEqual([{ rule: 'keys', count: 1 }]);
    expect(disclosures.get('request.forwarded')).toMatchObject({ media_type: 'application/json' });
    expect(JSON.stringify(record)).not.toContain(SECRET);
  });

  test('is blocked, the official clients say why, and the record has the outcome', async () => {
    const one = await place({ rules: RULES });
    await expect(client(one).chat.completions.create(say('about Project X'))).rejects.toSatisfy(
      (error) =>
        error instanceof OpenAI.PermissionDeniedError &&
        error.message === '403 policy: not for this model' &&
        error.code === 'blocked',
    );
    const anthropic = new Anthropic({ baseURL: `${one.proxy.url}/anthropic`, apiKey: 'x' });
    const message = { ...say('PROJECT X'), max_tokens: 5 };
    await expect(anthropic.messages.create(message)).rejects.toSatisfy(
      (error) =>
        error instanceof Anthropic.PermissionDeniedError &&
        error.type === 'permission_error' &&
        error.message.includes('policy: not for this model'),
    );
    const google = await ask(`${one.proxy.url}/openai/v1/models/g:generateContent`, {
      body: '{"contents":[{"parts":[{"text":"project x"}]}]}',
    });
    expect(JSON.parse(google.body.toString())).toMatchObject({
      error: { code: 403, message: 'policy: not for this model', status: 'PERMISSION_DENIED' },
    });
    expect(one.provider.requests).toHaveLength(0);
    const records = await one.log.untilCalls(3);
    for (const record of records) {
      expect(record.outcome).toEqual({ status: 'blocked', error_type: 'policy' });
      expect(record.output).toBeUndefined();
      expect(events(record)[1]).toMatchObject({ rule: 'project-x', action: 'block' });
      expect(one.log.of(record.record_id).bodies.has('request.forwarded')).toBe(false);
    }
  });

  test('is one with what comes in pieces, compressed, or larger than memory', async () => {
    const one = await place({ rules: RULES }, { limits: { memoryBytes: 50_000 } });
    const long = JSON.stringify(say(`${'x'.repeat(400_000)} ${SECRET}`));
    const large = await ask(`${one.proxy.url}${CHAT}`, { body: long });
    expect(large.status).toBe(200);
    expect(forwarded(one)).toBe(long.replace(SECRET, '[key]'));
    const body = gzipSync(JSON.stringify(say(SECRET)));
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
    await ask(`${one.proxy.url}${CHAT}`, { body, headers: { ...headers, 'content-md5': 'x' } });
    expect(forwarded(one, 1)).toBe(JSON.stringify(say('[key]')));
    expect(one.provider.requests[1]?.headers['content-encoding']).toBeUndefined();
    expect(one.provider.requests[1]?.headers['content-md5']).toBeUndefined();
    const records = await one.log.untilCalls(2);
    for (const { record_id } of records) {
      expect(one.log.of(record_id).bodies.has('request.forwarded')).toBe(true);
    }
  });

  test('is blocked where it is signed and would have to be changed', async () => {
    const one = await place({ rules: RULES });
    const headers = {
      'content-type': 'application/json',
      authorization: 'AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature=0',
    };
    const body = JSON.stringify(say(SECRET));
    const answer = await ask(`${one.proxy.url}${CHAT}`, { headers, body });
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain('a signed request cannot be changed');
    const [record] = await one.log.untilCalls(1);
    expect(events(record)[0]).toMatchObject({ rule: 'keys', action: 'block' });
    const untouched = await ask(`${one.proxy.url}${CHAT}`, {
      headers,
      body: JSON.stringify(say('a')),
    });
    expect(untouched.status).toBe(200);
  });

  test('that breaks none goes on byte for byte', async () => {
    const one = await place({ rules: RULES });
    const body =
      ' {"model" : "gpt-test", "x":1.50,"messages":[{"role":"user","content":"\\u0061"}] }';
    await ask(`${one.proxy.url}${CHAT}`, { body });
    expect(forwarded(one)).toBe(body);
    const [record] = await one.log.untilCalls(1);
    expect(events(record).map(({ verdict }) => verdict)).toEqual(['pass', 'pass', 'pass']);
    expect(one.log.of(record?.record_id ?? '').bodies.has('request.forwarded')).toBe(false);
  });
});

describe('after a crash', () => {
  test('the record of a changed request has what went on, and what the rules said', async () => {
    const disk = new FaultDisk();
    const hold = gate();
    const provider = await chatProvider({ beforePiece: () => hold.passed });
    const rules = join(temporaryFolder(), 'rules.yaml');
    writeFileSync(rules, RULES);
    const options = { upstream: provider.url, upstreamOptions: { rules } };
    const first = await setUp({ ...options, disk });
    const running = ask(`${first.proxy.url}${CHAT}`, { body: JSON.stringify(say(SECRET)) });
    await expect.poll(() => provider.requests.length, PATIENT).toBe(1);
    const later = new TestLog(first.signer);
    const { kek, signer } = first;
    const found = disk.reopened('killed');
    await setUp({ ...options, kek, signer, disk: found, log: later });
    const [record] = await later.untilCalls(1);
    expect(record?.outcome.status).toBe('transport-error');
    expect(record?.policy).toMatchObject({ version: '2026-11', digest: digestOf(RULES) });
    expect(events(record)[0]).toMatchObject({ rule: 'keys', action: 'redact' });
    const { bodies } = later.of(record?.record_id ?? '');
    expect(bodies.get('request.body')?.toString()).toBe(JSON.stringify(say(SECRET)));
    expect(bodies.get('request.forwarded')?.toString()).toBe(JSON.stringify(say('[key]')));
    hold.open();
    await running;
  });
});

describe('a request that cannot be judged', () => {
  const SLOW = `format: stele.rules/1
timeout_ms: 500
rules:
  - {rule: slow, find: '(a+)+$', action: flag}
`;
  const HARD = `${'a'.repeat(40)}!`;

  test('in time is blocked, and the next one is judged', async () => {
    const one = await place({ rules: SLOW });
    await expect(client(one).chat.completions.create(say(HARD))).rejects.toThrow(
      '403 policy: blocked by rule rules',
    );
    expect(one.provider.requests).toHaveLength(0);
    await client(one).chat.completions.create(say('b'));
    const records = await one.log.untilCalls(2);
    expect(events(records[0])[0]).toMatchObject({
      ...{ rule: 'rules', verdict: 'error', action: 'block', category: 'error' },
    });
    expect(one.log.of(records[0]?.record_id ?? '').disclosures.get('policy.0.reason')).toBe(
      'timeout',
    );
    expect(events(records[1])).toEqual([
      { stage: 'input', rule: 'slow', verdict: 'pass', action: 'none' },
    ]);
  });

  test('keeps no other from being judged meanwhile', async () => {
    const one = await place({ rules: SLOW.replace('500', '2000') });
    const hard = client(one)
      .chat.completions.create(say(HARD))
      .catch(() => 'blocked');
    for (let i = 0; i < 3; i++) await client(one).chat.completions.create(say('b'));
    expect(await hard).toBe('blocked');
    expect(one.provider.requests).toHaveLength(3);
  });

  test('goes on where the file says so, and the record says that it was not', async () => {
    const one = await place({ rules: `${SLOW}on_error: warn\n` });
    await client(one).chat.completions.create(say(HARD));
    const [record] = await one.log.untilCalls(1);
    expect(events(record)[0]).toMatchObject({ verdict: 'error', action: 'warn' });
  });

  test.each([
    ['is no text', Buffer.from([0xff, 0xfe, 0x00]), {}],
    ['has an unknown coding', '{}', { 'content-encoding': 'snappy' }],
    ['is JSON to some readers only', '{"n":NaN,"x":"\\u0073k-ABCDEFGH1234"}', {}],
    ['begins with a mark', '\ufeff{"x":"\\u0073k-ABCDEFGH1234"}', {}],
    ['is UTF-16', Buffer.from('{"x":"sk-ABCDEFGH1234"}', 'utf16le'), {}],
    ['is UTF-16 the other way', Buffer.from('{"x":"sk-ABCDEFGH1234"}', 'utf16le').swap16(), {}],
    ['is UTF-16 and no JSON', Buffer.from('sk-ABCDEFGH1234', 'utf16le'), {}],
    ['is Latin-1', Buffer.from('{"x":"é"}', 'latin1'), {}],
    [
      'says that it is in UTF-7',
      '{"x":"+AHM-k-ABCDEFGH1234"}',
      { 'content-type': 'application/json; charset="utf-7"' },
    ],
    ['says that it is Latin-1', '{"x":"é"}', { 'content-type': 'text/plain;charset=iso-8859-1' }],
  ])('because it %s is blocked', async (_, body, headers) => {
    const one = await place({ rules: RULES });
    const answer = await ask(`${one.proxy.url}${CHAT}`, {
      body,
      headers: { 'content-type': 'application/json', ...headers },
    });
    expect(answer.status).toBe(403);
    const [record] = await one.log.untilCalls(1);
    expect(events(record)[0]?.verdict).toBe('error');
    expect(record?.outcome.status).toBe('blocked');
  });
});

test.each([
  'application/json; charset=utf-8',
  'application/json; charset="UTF8"; x=y',
  'text/plain; charset=us-ascii',
])('a request of %s is judged', async (type) => {
  const one = await place({ rules: RULES });
  const body = JSON.stringify(say(SECRET));
  await ask(`${one.proxy.url}${CHAT}`, { body, headers: { 'content-type': type } });
  expect(forwarded(one)).toBe(JSON.stringify(say('[key]')));
});

describe('a module', () => {
  test('sees the request as the rules left it, and may flag, change and block', async () => {
    const module = `
      export async function judge({ body, text, upstream, method, path, tenant, kind }) {
        const said = body.messages[0].content;
        const events = [{ rule: 'mine', verdict: 'flag', action: 'warn', score_milli: 700,
          category: 'x', reason: [upstream, method, path, tenant, kind, said, text.length].join() }];
        if (said.includes('stop')) events.push({ rule: 'stop', verdict: 'violation', action: 'block', message: 'enough' });
        if (said.includes('[key]')) return { events, body: { ...body, user: 'redacted' } };
        return { events };
      }`;
    const one = await place({ rules: RULES, module });
    await client(one).chat.completions.create(say(SECRET));
    expect(JSON.parse(forwarded(one))).toEqual({ ...say('[key]'), user: 'redacted' });
    await expect(client(one).chat.completions.create(say('stop'))).rejects.toThrow(
      '403 policy: enough',
    );
    const [first, second] = await one.log.untilCalls(2);
    expect(events(first)[3]).toMatchObject({
      ...{ stage: 'input', rule: 'mine', verdict: 'flag', action: 'warn', score_milli: 700 },
    });
    expect(one.log.of(first?.record_id ?? '').disclosures.get('policy.3.reason')).toMatch(
      /^openai,POST,\/chat\/completions,default,unknown,\[key\],\d+$/,
    );
    expect(events(second).map((e) => e.action)).toEqual(['none', 'none', 'none', 'warn', 'block']);
    expect(first?.policy.digest).toBe(
      `sha-256:${hex(`rules ${hex(RULES)}\nmodule ${hex(module)}\n`)}`,
    );
  });

  test.each([
    ['throws', 'throw new Error("sorry")', /^sorry$/],
    ['gives something else', 'return 7', /something else/],
    ['gives an unknown member', 'return { verdict: "pass" }', /member "verdict"/],
    ['gives an event that is none', 'return { events: [{ rule: "a" }] }', /events|verdict/],
    [
      'gives too many',
      'return { events: Array(65).fill({ rule: "a", verdict: "pass", action: "none" }) }',
      /65/,
    ],
    ['waits for ever', 'return new Promise(() => {})', /^timeout$/],
    ['never ends', 'for (;;) ;', /^timeout$/],
    ['ends its process', 'process.exit(0)', /ended/],
    [
      'fails later',
      'setTimeout(() => { throw new Error("late"); }); return new Promise(() => {})',
      /^late$/,
    ],
  ])('that %s blocks the call, and the proxy goes on', async (_, code, reason) => {
    const module = `export function judge({ text }) { if (text.includes('bad')) { ${code} } }`;
    const one = await place({
      module,
      rules: 'format: stele.rules/1\nrules: []\ntimeout_ms: 1000',
    });
    await expect(client(one).chat.completions.create(say('bad'))).rejects.toThrow('403 policy: ');
    await client(one).chat.completions.create(say('good'));
    const [first, second] = await one.log.untilCalls(2);
    expect(events(first)[0]).toMatchObject({ verdict: 'error', action: 'block' });
    expect(one.log.of(first?.record_id ?? '').disclosures.get('policy.0.reason')).toMatch(reason);
    expect(events(second)).toEqual([]);
    expect(one.provider.requests).toHaveLength(1);
  });

  test.each([
    ['is missing', undefined],
    ['exports nothing', 'export const x = 1;'],
    ['is no module', 'export function {'],
    ['fails as it is loaded', 'throw new Error("no");'],
  ])('that %s stops the start, and is named', async (_, module) => {
    const files = { rules: RULES, ...(module === undefined ? {} : { module }) };
    const missing = join(temporaryFolder(), 'none.mjs');
    const options = module === undefined ? { upstreamOptions: { rulesModule: missing } } : {};
    await expect(place(files, options)).rejects.toThrow(/module .*\.mjs: /);
  });

  test('cannot make a call of another model than the token is for', async () => {
    const callers = new Callers(temporaryFolder());
    const { token } = callers.add({ models: ['gpt-test'] });
    const module = 'export const judge = ({ body }) => ({ body: { ...body, model: "gpt-5" } });';
    const one = await place(
      { module },
      { callers: callers.path, upstreamOptions: { key: 'none' } },
    );
    const answer = await ask(`${one.proxy.url}${CHAT}`, {
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(say('a')),
    });
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain('gpt-5');
    expect(one.provider.requests).toHaveLength(0);
  });
});

describe('the rules in force', () => {
  test('are those of the file from a moment after it changed, and the record says by which', async () => {
    const one = await place({ rules: RULES });
    await client(one).chat.completions.create(say('fine'));
    writeFileSync(one.rules, 'format: stele.rules/1\nrules: [{rule: broken}]');
    await client(one).chat.completions.create(say('fine'));
    await expect.poll(() => one.lines.join(), PATIENT).toContain('the new rules are not used');
    const next = RULES.replace('2026-11', '2026-12').replace('project x', 'fine');
    writeFileSync(one.rules, next);
    let isBlocked = false;
    while (!isBlocked) {
      isBlocked = await client(one)
        .chat.completions.create(say('fine'))
        .then(
          () => false,
          (error) => error instanceof OpenAI.PermissionDeniedError,
        );
    }
    await one.log.until(() => one.log.calls.some(({ outcome }) => outcome.status === 'blocked'));
    const versions = one.log.calls.map(({ policy }) => [policy.version, policy.digest]);
    expect(versions.slice(0, 2)).toEqual([
      ['2026-11', digestOf(RULES)],
      ['2026-11', digestOf(RULES)],
    ]);
    expect(versions.at(-1)).toEqual(['2026-12', digestOf(next)]);
  });

  test('hold in posture observe too, also while nothing can be recorded', async () => {
    const disk = new FaultDisk();
    const one = await place({ rules: RULES }, { posture: 'observe', disk });
    await client(one).chat.completions.create(say('fine'));
    await one.log.untilCalls(1);
    disk.before = (step) => {
      if (step === 'write') throw ioError('ENOSPC');
    };
    await expect(client(one).chat.completions.create(say('project x'))).rejects.toThrow('403');
    await client(one).chat.completions.create(say(SECRET));
    expect(forwarded(one, 1)).not.toContain(SECRET);
  });

  test('refuse in posture observe what is neither in memory nor on disk any more', async () => {
    const disk = new FaultDisk();
    const limits = { memoryBytesTotal: 10 };
    const one = await place({ rules: RULES }, { posture: 'observe', disk, limits });
    const syncs = disk.syncs;
    disk.before = (step) => {
      // From the moment on at which the request is on disk.
      if (step === 'write' && disk.syncs > syncs) throw ioError('ENOSPC');
    };
    const answer = await ask(`${one.proxy.url}${CHAT}`, { body: JSON.stringify(say('fine')) });
    expect(answer.status).toBe(503);
    expect(one.provider.requests).toHaveLength(0);
  });

  test('are in the intent, in posture strict', async () => {
    const one = await place({ rules: RULES }, { posture: 'strict' });
    await client(one).chat.completions.create(say(SECRET));
    await one.log.untilCalls(1);
    const intent = one.log.logged.map(({ record }) => record).find((r) => r.kind === 'intent');
    expect(intent?.policy).toMatchObject({ version: '2026-11', digest: digestOf(RULES) });
    expect(Object.keys(intent?.commitments.fields ?? {})).toContain('request.forwarded');
  });
});
