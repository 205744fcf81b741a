/** POST many entries: one head, a result for each in order, in the form that was sent. */
import protobuf from 'protobufjs/minimal.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseBase64, parseHex, toHex, utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { formatEnvelopeJson } from '../../server/core/envelope.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { checkInclusion } from '../../server/core/proof.ts';
import { hash, leafIndex } from '../../server/core/units.ts';
import type { Log } from '../../server/log/log.ts';
import { type Gateway, World } from './world.ts';

let world: World;
let log: Log;
let gateway: Gateway;
let token: string;
let full = false;

beforeAll(async () => {
  world = await World.start({
    checkSpace: () => {
      if (full) throw new SteleError('storage', 'the disk is full', { retryAfterS: 9 });
    },
  });
  ({ log, gateway } = await world.log('a'));
  token = world.token({ roles: ['submit'], logs: ['a'] });
});

afterAll(() => world.stop());

const NDJSON = 'application/x-ndjson';
const PROTOBUF = 'application/protobuf';

function post(body: Uint8Array | string, type: string) {
  return world.ask('POST', '/logs/a/v1/entries/batch', { token, body, type });
}

function lines(entries: readonly Uint8Array[]): string {
  return entries.map((bytes) => `${formatEnvelopeJson(decodeEntry(bytes))}\n`).join('');
}

function frames(entries: readonly Uint8Array[]): Uint8Array {
  const writer = protobuf.Writer.create();
  for (const bytes of entries) writer.bytes(bytes);
  return writer.finish();
}

interface Result {
  readonly index?: number;
  readonly leaf_hash?: string;
  readonly proof?: readonly string[];
  readonly repeat?: boolean;
  readonly code?: string;
  readonly detail?: string;
}

interface Parsed {
  readonly head: { readonly checkpoint: string; readonly size: number };
  readonly results: readonly Result[];
}

function parseLines(text: string): Parsed {
  expect(text.endsWith('\n')).toBe(true);
  const [head, ...results] = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  return { head, results };
}

function parseFrames(bytes: Uint8Array): Parsed {
  const reader = protobuf.Reader.create(bytes);
  const messages: Record<number, unknown[]>[] = [];
  while (reader.pos < reader.len) {
    const end = reader.uint32() + reader.pos;
    const message: Record<number, unknown[]> = {};
    while (reader.pos < end) {
      const tag = reader.uint32();
      const value = tag % 8 === 2 ? reader.bytes() : Number(reader.uint64());
      (message[Math.floor(tag / 8)] ??= []).push(value);
    }
    messages.push(message);
  }
  const text = (value: unknown) => Buffer.from(value as Uint8Array).toString();
  const [head, ...rest] = messages;
  return {
    head: { checkpoint: text(head?.[1]?.[0]), size: head?.[2]?.[0] as number },
    results: rest.map((m) =>
      m[5] === undefined
        ? {
            index: (m[1]?.[0] ?? 0) as number,
            leaf_hash: toHex(m[2]?.[0] as Uint8Array),
            proof: (m[3] ?? []).map((h) => Buffer.from(h as Uint8Array).toString('base64')),
            repeat: m[4] !== undefined,
          }
        : (JSON.parse(text(m[5][0])) as Result),
    ),
  };
}

/** The head is the log's, and every result is proven under it. */
function checkAnswer({ head, results }: Parsed): void {
  const { identity } = log.verifierKeys();
  const { checkpoint } = openCheckpoint(utf8(head.checkpoint), log.origin, [identity]);
  expect(checkpoint.size).toBe(head.size);
  for (const { index, leaf_hash = '', proof = [] } of results) {
    if (index === undefined) continue;
    checkInclusion({
      index: leafIndex(index),
      size: checkpoint.size,
      leafHash: hash(parseHex(leaf_hash, 'leaf')),
      proof: proof.map((text) => hash(parseBase64(text, 'proof'))),
      root: checkpoint.root,
    });
  }
}

const FORMS = [
  ['lines', NDJSON, lines, (bytes: Buffer) => parseLines(bytes.toString())],
  ['messages', PROTOBUF, frames, parseFrames],
] as const;

describe.each(FORMS)('as %s', (_, type, format, parse) => {
  test('every entry gets its index and a proof under one head', async () => {
    const entries = await Promise.all(Array.from({ length: 600 }, () => gateway.entry()));
    const begin = log.head().size;
    const answer = await post(format(entries), type);
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toBe(type);
    expect(answer.headers['cache-control']).toBe('private, no-store');
    const parsed = parse(answer.bytes);
    checkAnswer(parsed);
    expect(parsed.results.map((r) => r.index)).toEqual(entries.map((_, i) => begin + i));
    expect(parsed.results.map((r) => r.leaf_hash)).toEqual(entries.map((e) => toHex(leafHash(e))));
    expect(parsed.results.some((r) => r.repeat)).toBe(false);
  });

  test('one bad entry does not spoil the others', async () => {
    const good = [await gateway.entry(), await gateway.entry(), await gateway.entry()];
    const foreign = await gateway.entry({ log: 'log.example/logs/b' });
    const [first, second, third] = good;
    if (!first || !second || !third) throw new Error('no entries');
    const begin = log.head().size;
    const answer = await post(format([first, foreign, second, first, third]), type);
    const parsed = parse(answer.bytes);
    checkAnswer(parsed);
    expect(parsed.results.map((r) => r.index ?? r.code)).toEqual([
      begin,
      'malformed',
      begin + 1,
      begin,
      begin + 2,
    ]);
    expect(parsed.results[1]?.detail).toContain('was made for log');
    expect(parsed.results.map((r) => r.repeat ?? false)).toEqual([
      false,
      false,
      false,
      true,
      false,
    ]);
    expect(log.head().size).toBe(begin + 3);
  });

  test('repeats come with the head of now and their first index', async () => {
    const entries = [await gateway.entry(), await gateway.entry()];
    const first = parse((await post(format(entries), type)).bytes);
    const before = log.head();
    const again = parse((await post(format(entries), type)).bytes);
    checkAnswer(again);
    expect(again.results.map((r) => r.index)).toEqual(first.results.map((r) => r.index));
    expect(again.results.every((r) => r.repeat)).toBe(true);
    expect(log.head()).toBe(before);
  });

  test('a batch without a good entry still comes with a head', async () => {
    const before = log.head();
    const foreign = await gateway.entry({ log: 'log.example/logs/b' });
    const parsed = parse((await post(format([foreign, foreign]), type)).bytes);
    checkAnswer(parsed);
    expect(parsed.results.map((r) => r.code)).toEqual(['malformed', 'malformed']);
    expect(parsed.head.size).toBe(before.size);
    expect(log.head()).toBe(before);
  });

  test('a full disk refuses the whole request', async () => {
    const body = format([await gateway.entry(), await gateway.entry()]);
    full = true;
    const answer = await post(body, type);
    full = false;
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ code: 'storage', retry_after: 9 });
    expect(answer.headers['retry-after']).toBe('9');
    expect((await post(body, type)).status).toBe(200);
  });
});

test('a repeat whose signature is another names the leaf that is logged', async () => {
  const { entry, bytes } = await gateway.make();
  await post(frames([bytes]), PROTOBUF);
  // A second signature by the same key over a window of one: other bytes, the same statement.
  const { buildWindow } = await import('../../server/core/window.ts');
  const { message, windows } = buildWindow(log.origin, [entry]);
  const [window] = windows;
  if (window === undefined) throw new Error('no window');
  const { keyid } = gateway.signer.publicKey;
  const sig = await gateway.signer.sign(message);
  const text = formatEnvelopeJson({ ...entry, signatures: [{ keyid, sig, window }] });
  const parsed = parseLines((await post(`${text}\n`, NDJSON)).text);
  checkAnswer(parsed);
  expect(parsed.results[0]).toMatchObject({ repeat: true, leaf_hash: toHex(leafHash(bytes)) });
});

describe('what is refused as a whole, and leaves the log as it was', () => {
  const cases: Record<
    string,
    readonly [() => Promise<Uint8Array | string>, string, number, string]
  > = {
    'no lines': [async () => '', NDJSON, 400, 'has no entry'],
    'no messages': [async () => '', PROTOBUF, 400, 'has no entry'],
    'an empty line': [
      async () => `${lines([await gateway.entry()])}\n`,
      NDJSON,
      400,
      'line 1 is empty',
    ],
    'a message that breaks off': [
      async () => frames([await gateway.entry(), await gateway.entry()]).slice(0, -1),
      PROTOBUF,
      400,
      'are left',
    ],
    'too many': [async () => 'x\n'.repeat(10_001), NDJSON, 413, 'more than 10000 entries'],
    'a line that is too long': [
      async () => 'x'.repeat(131_073),
      NDJSON,
      413,
      '131073 bytes where at most',
    ],
    'too many bytes': [
      async () => Buffer.alloc(16 * 1024 * 1024 + 1, 10),
      NDJSON,
      413,
      'at most 16777216',
    ],
    'an envelope that is not a line': [async () => 'x', 'application/json', 415, 'content-type'],
    multipart: [async () => 'x', 'multipart/form-data; boundary=x', 415, 'content-type'],
  };

  test.each(Object.entries(cases))('%s', async (_, [make, type, status, rule]) => {
    const before = log.head();
    const answer = await post(await make(), type);
    expect(answer.text).toContain(rule);
    expect(answer.status).toBe(status);
    expect(log.head()).toBe(before);
  });

  test('10,000 lines that are no envelopes get 10,000 results', async () => {
    const answer = await post('x\n'.repeat(10_000), NDJSON);
    const { results } = parseLines(answer.text);
    expect(results).toHaveLength(10_000);
    expect(results.every((r) => r.code === 'malformed')).toBe(true);
  });
});
