/** What strangers and bad days bring: bombs, nonsense, full disks, ended logs, changed keys, and names that are taken. */
import { gzipSync } from 'node:zlib';
import protobuf from 'protobufjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { JsonRoom } from '../../server/ingest/json.ts';
import type { Log } from '../../server/log/log.ts';
import { newSigner, World } from '../http/world.ts';
import { inProtobuf, PAYLOAD, SPANS } from './examples.ts';
import { span, spans } from './spans.ts';

const PROTOBUF = 'application/x-protobuf';
let world: World;
let log: Log;
let token: string;
let refusing: SteleError | undefined;

async function start(options: Parameters<typeof World.start>[0] = {}) {
  refusing = undefined;
  world = await World.start({
    checkSpace: () => {
      if (refusing !== undefined) throw refusing;
    },
    ...options,
  });
  ({ log } = await world.log('team-a'));
  token = world.token({ roles: ['submit'], logs: ['team-a'] });
}

beforeEach(() => start());
afterEach(() => world.stop());

type Ask = NonNullable<Parameters<World['ask']>[2]>;

function tell(more: Ask = {}) {
  return world.ask('POST', '/ingest/team-a/otlp/v1/traces', {
    token,
    type: 'application/json',
    body: JSON.stringify(SPANS),
    ...more,
  });
}

async function records(of = log) {
  const entries = await of.entries(leafIndex(0), treeSize(of.head().size));
  const all = entries.map((entry) => parseRecord(decodeEntry(entry).payload));
  return all.filter(({ source }) => source.id.startsWith('ingest'));
}

/** A `google.rpc.Status`, in protobuf. */
function statusIn(bytes: Uint8Array) {
  const reader = new protobuf.Reader(bytes);
  const status = { code: 0, message: '' };
  while (reader.pos < reader.len) {
    const field = reader.uint32() >>> 3;
    if (field === 1) status.code = reader.int32();
    else status.message = reader.string();
  }
  return status;
}

describe('a refusal', () => {
  test('is a Status in the form of the request', async () => {
    const bad = await tell({ body: Buffer.from([0x0a, 0x7f, 1]), type: PROTOBUF });
    expect([bad.status, bad.headers['content-type']]).toEqual([400, PROTOBUF]);
    expect(statusIn(bad.bytes)).toMatchObject({ code: 3 });
    expect(statusIn(bad.bytes).message).toContain('otlp');
    const json = await tell({ body: '{' });
    expect([json.status, json.json()]).toEqual([400, { code: 3, message: 'otlp: it is not JSON' }]);
    for (const [body, message] of [
      ['[]', 'otlp: the request is no JSON object'],
      ['{"resourceSpans":7}', 'otlp: resourceSpans is no list'],
      ['{"resourceSpans":[{"scopeSpans":{"spans":[]}}]}', 'otlp: scopeSpans is no list'],
    ] as const) {
      const shapeless = await tell({ body });
      expect([shapeless.status, shapeless.json()]).toEqual([400, { code: 3, message }]);
    }
    const stranger = await tell({ token: undefined });
    expect([stranger.status, stranger.json().code]).toEqual([401, 16]);
    expect(stranger.headers['www-authenticate']).toBe('Bearer realm="stele"');
    const other = await tell({ token: world.token({ roles: ['submit'], logs: ['team-b'] }) });
    expect([other.status, other.json().code]).toEqual([403, 7]);
  });

  test('for a disk that is full, or a server that has enough to do, is one to come again after', async () => {
    for (const [code, status, rpc] of [
      ['storage', 503, 14],
      ['pushback', 429, 8],
    ] as const) {
      refusing = new SteleError(code, 'not now', { retryAfterS: 7 });
      const answer = await tell({ type: PROTOBUF, body: inProtobuf(SPANS) });
      expect([answer.status, answer.headers['retry-after']]).toEqual([status, '7']);
      expect(statusIn(answer.bytes).code).toBe(rpc);
    }
    refusing = undefined;
    expect(await records()).toEqual([]);
    expect((await tell()).status).toBe(200);
    expect(await records()).toHaveLength(1);
  });

  test('of the log itself for reasons of ours is one to come again after, never one that loses the call', async () => {
    await tell();
    const [key] = world.ingestKeys.all;
    await log.revokeGateway(key!.publicKey.keyid);
    const answer = await tell({
      body: JSON.stringify(spans(span({ 'gen_ai.operation.name': 'chat' }))),
    });
    expect(answer.status).toBe(503);
    expect(await records()).toHaveLength(1);
  });
});

describe('a request that is made to hurt', () => {
  test('unfolds no further than is taken', async () => {
    const bomb = gzipSync(Buffer.alloc(65 * 1024 * 1024));
    expect(bomb.length).toBeLessThan(100_000);
    const answer = await tell({ body: bomb, headers: { 'content-encoding': 'gzip' } });
    expect(answer.status).toBe(413);
    const torn = gzipSync(JSON.stringify(SPANS)).subarray(0, 60);
    expect((await tell({ body: torn, headers: { 'content-encoding': 'gzip' } })).status).toBe(400);
  });

  test('unfolds no further than all requests together may hold', async () => {
    await world.stop();
    await start({ settings: { heldBytesMax: 1_000_000 } });
    const body = gzipSync(Buffer.alloc(2_000_000, 0x20));
    const answer = await tell({ body, headers: { 'content-encoding': 'gzip' } });
    expect([answer.status, answer.json().code]).toEqual([429, 8]);
    expect((await tell()).status).toBe(200);
  });

  test.each([
    ['JSON', 'application/json', `${'{"resourceSpans":['.repeat(500)}${']}'.repeat(500)}`, 400],
    [
      'objects in JSON',
      'application/json',
      `{"resourceSpans":[${'{},'.repeat(2_000_000)}{}]}`,
      413,
    ],
    ['names in JSON', 'application/json', `{"x":[${'{"":0},'.repeat(1_000_000)}0]}`, 413],
    [
      'long numbers in JSON',
      'application/json',
      `{"x":[${'1,'.repeat(2_000_000)}1234567890123456]}`,
      413,
    ],
    ['values in protobuf', PROTOBUF, nested(400), 400],
    ['groups in protobuf', PROTOBUF, Buffer.alloc(5_000, 0x1b), 400],
    ['fields in protobuf', PROTOBUF, Buffer.alloc(4_200_000, Buffer.from([0x38, 0x01])), 413],
    ['a length beyond the end', PROTOBUF, Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]), 400],
    [
      'an inner length beyond its message',
      PROTOBUF,
      Buffer.from([0x0a, 0x02, 0x12, 0x7f, 0, 0]),
      400,
    ],
  ])(
    'goes no deeper, and has no more of them, than is taken: %s',
    async (_, type, body, status) => {
      const answer = await tell({ type, body });
      expect(answer.status, answer.text).toBe(status);
    },
  );

  test('has no more reports made of it than two requests would have', async () => {
    const calls = Array.from({ length: 20 }, () => span({ 'gen_ai.operation.name': 'chat' }));
    const attributes = [{ key: 'filler', value: { stringValue: 'x'.repeat(7_000_000) } }];
    const group = { resource: { attributes }, scopeSpans: [{ spans: calls }] };
    const body = gzipSync(JSON.stringify({ resourceSpans: [group] }));
    expect(body.length).toBeLessThan(100_000);
    const answer = await tell({ body, headers: { 'content-encoding': 'gzip' } });
    expect([answer.status, answer.json().message]).toEqual([
      413,
      'otlp: over 134217728 characters, each of its calls, with its resource and scope said again',
    ]);
    expect(await records()).toEqual([]);
  });

  test('is put on record some megabytes at a time', async () => {
    await tell();
    const sizes: number[] = [];
    const submit = log.submit.bind(log);
    log.submit = (items) => {
      sizes.push(items.length);
      return submit(items);
    };
    const calls = Array.from({ length: 5 }, () => span({ 'gen_ai.operation.name': 'chat' }));
    const attributes = [{ key: 'filler', value: { stringValue: 'x'.repeat(20_000_000) } }];
    const group = { resource: { attributes }, scopeSpans: [{ spans: calls }] };
    const body = gzipSync(JSON.stringify({ resourceSpans: [group] }));
    expect((await tell({ body, headers: { 'content-encoding': 'gzip' } })).status).toBe(200);
    expect(sizes).toEqual([4, 1]);
    expect((await records()).map(({ source }) => source.seq)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('with JSON in its texts has no more made of it either: it stays text', async () => {
    const many = `[${'{},'.repeat(5_000_000)}{}]`;
    const few = '[{"role":"user","parts":[{"type":"text","content":"hi"}]},{"role":"user"}]';
    const call = (text: string) =>
      span({ 'gen_ai.operation.name': 'chat', 'gen_ai.input.messages': text });
    const body = gzipSync(JSON.stringify(spans(call(many), call(few))));
    expect(body.length).toBeLessThan(100_000);
    const answer = await tell({ body, headers: { 'content-encoding': 'gzip' } });
    expect([answer.status, answer.json()]).toEqual([200, {}]);
    const all = await records();
    const counts = all.map((record) => record.kind === 'inference' && record.input.messages);
    expect(counts).toEqual([1, 2]);
  });

  test('has no more made of all its texts together', () => {
    const room = new JsonRoom();
    const text = `[${'[],'.repeat(199_998)}[]]`;
    for (let i = 0; i < 10; i++) expect(room.within(text)).toHaveLength(199_999);
    expect(room.within('[[]]')).toBeUndefined();
    expect(room.within('"a"')).toBe('a');
    expect(new JsonRoom().within(`${'['.repeat(201)}${']'.repeat(201)}`)).toBeUndefined();
  });

  test('of many lines has no more made of all of them than of one', async () => {
    const line = `{"id":"a","x":[${'{},'.repeat(700_000)}{}]}\n`;
    for (const [way, type] of [
      ['jsonl', 'application/x-ndjson'],
      ['litellm', 'application/x-ndjson'],
    ] as const) {
      const body = line.repeat(3);
      const answer = await world.ask('POST', `/ingest/team-a/${way}`, { token, type, body });
      expect([answer.status, answer.json().detail], way).toEqual([
        413,
        `${way}: more than 2000000 lists, objects and texts in one request`,
      ]);
    }
  });

  test('with vectors of millions of numbers is read', async () => {
    const vector = `[${'0.5,'.repeat(2_500_000)}0.5]`;
    const request = JSON.stringify(spans(span({ 'gen_ai.operation.name': 'chat' })));
    const answer = await tell({ body: `{"x":${vector},${request.slice(1)}` });
    expect([answer.status, answer.json()]).toEqual([200, {}]);
  });

  test('with attributes that are no attributes is read as far as it goes', async () => {
    const odd = {
      resourceSpans: [
        null,
        7,
        {
          scopeSpans: [
            {
              spans: [
                { attributes: 'x' },
                null,
                span({ 'gen_ai.operation.name': 'chat' }, { events: 5, status: [] }),
              ],
            },
          ],
        },
      ],
    };
    expect((await tell({ body: JSON.stringify(odd) })).json()).toEqual({});
    const [record] = await records();
    expect(record).toMatchObject({ kind: 'inference', outcome: { status: 'ok' } });
  });

  test('with names of members that every object has does nothing but what it says', async () => {
    const attributes = {
      'gen_ai.operation.name': 'chat',
      __proto__: 'x',
      constructor: 'y',
      'gen_ai.prompt.__proto__.role': 'z',
      'gen_ai.prompt.0.__proto__.content': 'q',
    };
    expect((await tell({ body: JSON.stringify(spans(span(attributes))) })).status).toBe(200);
    expect(({} as { role?: string }).role).toBeUndefined();
    expect(await records()).toHaveLength(1);
  });

  test('with a record too long for an entry has one without its lists, and says so', async () => {
    const name = '語'.repeat(256);
    const call = (i: number) => ({
      type: 'tool_call',
      id: `${i}${'i'.repeat(250)}`,
      name,
      arguments: {},
    });
    const parts = Array.from({ length: 64 }, (_, i) => call(i));
    const reasons = Array.from({ length: 64 }, (_, i) => `${i}${'r'.repeat(250)}`);
    const big = span({
      'gen_ai.operation.name': 'chat',
      'gen_ai.response.finish_reasons': reasons,
      'gen_ai.output.messages': [{ role: 'assistant', parts }],
    });
    const answer = await tell({ body: JSON.stringify(spans(big)) });
    expect(answer.json()).toEqual({});
    const [record] = await records();
    expect(record?.source).toMatchObject({
      completeness: 'truncated',
      truncated_fields: ['request.messages', 'output.lists'],
    });
  });
});

/** A value inside a value, as protobuf has it: lengths from the inside out. */
function nested(levels: number): Uint8Array {
  let value: Uint8Array = new Uint8Array([0x0a, 0x00]);
  const wrap = (tag: number, inner: Uint8Array) =>
    protobuf.Writer.create().uint32(tag).bytes(inner).finish();
  for (let i = 0; i < levels; i++) value = wrap(0x2a, wrap(0x0a, value));
  const attribute = wrap(0x12, value);
  // resourceSpans, its resource, the resource's attributes.
  return wrap(0x0a, wrap(0x0a, wrap(0x0a, attribute)));
}

describe('the log', () => {
  test('that has ended knows what it has, and what is new goes to the one that follows', async () => {
    await tell();
    await world.logs.roll('team-a', 'team-a-2');
    expect((await tell()).status).toBe(200);
    const another = spans(span({ 'gen_ai.operation.name': 'chat' }));
    expect((await tell({ body: JSON.stringify(another) })).status).toBe(200);
    expect((await tell({ body: JSON.stringify(another) })).status).toBe(200);
    expect(await records()).toHaveLength(1);
    await world.logs.use('team-a-2', async (next) => {
      const [record, ...more] = await records(next);
      expect(more).toEqual([]);
      expect(record).toMatchObject({ log: next.origin, source: { id: 'ingest', seq: 0 } });
    });
  });

  test('keeps the name of a gateway that had it first', async () => {
    const { publicKey } = newSigner('ed25519');
    await log.registerGateway(publicKey, { source: 'ingest' });
    await tell();
    const [record] = await records();
    expect(record?.source.id).toBe('ingest-2');
    expect(await log.ownerOf('ingest')).toBe(publicKey.keyid);
  });

  test('has one chain, whichever key of the server signs it', async () => {
    await tell();
    await world.ownGateways.rotate({ purpose: 'ingest', compromised: true });
    expect((await tell()).status).toBe(200);
    await world.ask('POST', '/ingest/team-a/litellm', {
      token,
      type: 'application/json',
      body: JSON.stringify(PAYLOAD),
    });
    expect((await records()).map(({ source }) => source.seq)).toEqual([0, 1]);
    const [first, second] = world.ingestKeys.all.map(({ publicKey }) => publicKey.keyid);
    expect(log.keys().find(({ keyid }) => keyid === first)?.revoked).toBeDefined();
    const [known] = (await log.sources()).filter(({ id }) => id === 'ingest');
    expect(known).toMatchObject({ keyid: second, next: 2, holes: [], forks: 0 });
  });

  test('of strict chains takes what is reported, many at once', async () => {
    await log.changeRules({ ...log.rules, continuity: 'require' });
    const many = () =>
      spans(...Array.from({ length: 20 }, () => span({ 'gen_ai.operation.name': 'chat' })));
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => tell({ body: JSON.stringify(many()) })),
    );
    for (const { status } of answers) expect(status).toBe(200);
    expect((await records()).map(({ source }) => source.seq)).toEqual(
      Array.from({ length: 100 }, (_, i) => i),
    );
  });

  test('that refuses a record and takes the next one has a gap that says which number never comes', async () => {
    const submit = log.submit.bind(log);
    log.submit = async (items) => {
      // The key is registered first.
      if (items.length < 3) return submit(items);
      log.submit = submit;
      const [first, , third] = items;
      const [one, three] = await submit([first!, third!]);
      return [one!, new SteleError('storage', 'this one not'), three!];
    };
    const call = () => span({ 'gen_ai.operation.name': 'chat' });
    const three = JSON.stringify(spans(call(), call(), call()));
    expect((await tell({ body: three })).status).toBe(503);
    expect((await records()).map(({ source }) => source.seq)).toEqual([0, 2]);
    expect((await tell({ body: three })).status).toBe(200);
    const all = await records();
    expect(all.map(({ kind, source }) => [kind, source.seq])).toEqual([
      ['inference', 0],
      ['inference', 2],
      ['gap', 3],
      ['inference', 4],
    ]);
    expect(all[2]).toMatchObject({
      gap: { reason: 'refused', source: 'ingest', seq_from: 1, seq_to: 1 },
    });
    expect((await tell()).status).toBe(200);
    expect((await records()).filter(({ kind }) => kind === 'gap')).toHaveLength(1);
  });

  test('that lost only its answer has no second record, though the note of it went first', async () => {
    // A process that died between the note and the log: the note is there, the record is not.
    refusing = undefined;
    const noted: string[] = [];
    const { note } = world.instance.ingested;
    world.instance.ingested.note = (rows, ...more) => {
      note.call(world.instance.ingested, rows, ...more);
      noted.push(...rows.map(({ record }) => record));
      if (noted.length <= rows.length) throw new SteleError('storage', 'the process died here');
    };
    expect((await tell()).status).toBe(503);
    expect(await records()).toEqual([]);
    expect((await tell()).status).toBe(200);
    expect((await tell()).status).toBe(200);
    const [record, ...more] = await records();
    expect(more).toEqual([]);
    expect(new Set(noted)).toEqual(new Set([record?.record_id]));
  });
});

test('figures say what became of what was reported', async () => {
  await tell();
  await tell();
  await tell({ body: JSON.stringify(spans(span({}))) });
  const metrics = await world.get('/metrics', { token: world.token({ roles: ['metrics'] }) });
  for (const [fate, count] of [
    ['recorded', 1],
    ['repeated', 1],
    ['ignored', 1],
  ] as const) {
    expect(metrics.text).toContain(`stele_ingest_total{way="traces",fate="${fate}"} ${count}`);
  }
  expect(metrics.text).toContain('stele_ingest_waiting 0');
});
