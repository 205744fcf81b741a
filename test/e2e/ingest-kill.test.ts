/** A server that is killed while it takes what others report: nothing that it answered is lost, and nothing is there twice. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { Place } from '../fault/process.ts';
import { EVENTS, inProtobuf, PAYLOAD, SPANS } from '../ingest/examples.ts';

const PATIENCE_MS = 240_000;
let place: Place;

beforeEach(async () => {
  place = new Place({ STELE_INGEST_JOIN_MS: '60000' });
  await place.start();
});
afterEach(() => place.close());

function send(way: string, body: Uint8Array | string, type: string): Promise<number> {
  const { server } = place.addresses();
  return fetch(`${server}/ingest/default/${way}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${place.token('submit')}`, 'content-type': type },
    body: body as never,
  }).then(
    ({ status }) => status,
    () => 0,
  );
}

const sendSpan = () => send('otlp/v1/traces', inProtobuf(SPANS), 'application/x-protobuf');
const sendEvent = () => send('otlp/v1/logs', inProtobuf(EVENTS), 'application/x-protobuf');

async function reported() {
  const client = place.log('read');
  const { size } = await client.head();
  const records = [];
  for (let index = 0; index < size; index++) {
    records.push(parseRecord(decodeEntry(await client.entry(leafIndex(index))).payload));
  }
  return records.filter(({ source }) => source.id === 'ingest');
}

/** Waits until the server says of itself that a call waits for its other half. */
async function untilHeld(): Promise<void> {
  const { server } = place.addresses();
  for (const until = Date.now() + PATIENCE_MS; Date.now() < until; ) {
    const answer = await fetch(`${server}/metrics`, {
      headers: { authorization: `Bearer ${place.token('admin')}` },
    });
    if (/^stele_ingest_waiting 1$/m.test(await answer.text())) return;
  }
  throw new Error('nothing ever waited');
}

test('between two halves of a call it had promised nothing, and both become one record when they come again', {
  timeout: PATIENCE_MS,
}, async () => {
  const held = sendSpan();
  await untilHeld();
  await place.running?.kill();
  expect(await held).toBe(0);
  await place.start();
  expect(await reported()).toEqual([]);
  expect(await Promise.all([sendSpan(), sendEvent()])).toEqual([200, 200]);
  const [record, ...more] = await reported();
  expect(more).toEqual([]);
  expect(record).toMatchObject({ kind: 'inference', source: { completeness: 'full', seq: 0 } });
  // After an answer it knows what it has, also when it is another process.
  await place.running?.kill();
  await place.start();
  expect(await Promise.all([sendSpan(), sendEvent()])).toEqual([200, 200]);
  expect(await send('litellm', JSON.stringify(PAYLOAD), 'application/json')).toBe(200);
  expect((await reported()).map(({ source }) => source.seq)).toEqual([0, 1]);
  expect((await place.stele('audit', '--log', 'default', '--data', place.data)).code).toBe(0);
});

test('with many on their way, what was answered is there, and each is there once when all are sent again', {
  timeout: PATIENCE_MS,
}, async () => {
  const calls = Array.from({ length: 60 }, (_, i) => ({ ...PAYLOAD, id: `call-${i}` }));
  const one = (call: object) => send('litellm', JSON.stringify(call), 'application/json');
  const first = calls.map(async (call) => ({ id: call.id, status: await one(call) }));
  await Promise.race(first);
  await place.running?.kill();
  const answered = (await Promise.all(first)).filter(({ status }) => status === 200);
  await place.start();
  const before = new Set((await reported()).map((record) => record.record_id));
  expect(before.size).toBeGreaterThanOrEqual(answered.length);
  for (const status of await Promise.all(calls.map(one))) expect(status).toBe(200);
  const after = await reported();
  expect(after).toHaveLength(60);
  for (const id of before) expect(after.map((record) => record.record_id)).toContain(id);
  expect(after.map(({ source }) => source.seq)).toEqual(Array.from({ length: 60 }, (_, i) => i));
});
