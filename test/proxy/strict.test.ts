/** Posture strict: the log has the intent to make a call before the provider has the call. */
import { expect, test } from 'vitest';
import type { Json } from '../../server/core/json.ts';
import type { IntentRecord } from '../../server/core/record.ts';
import { CHAT, chat, chatProvider, REQUEST } from './calls.ts';
import { FaultDisk } from './fault-disk.ts';
import {
  ask,
  gate,
  ORIGIN,
  refusal,
  setUp,
  TestLog,
  TestSeries,
  temporaryFolder,
  testSigner,
} from './harness.ts';

const intentsOf = (log: TestLog): IntentRecord[] =>
  log.logged.flatMap(({ record }) => (record.kind === 'intent' ? [record] : []));

const problemOf = (body: Buffer): { [name: string]: Json } => JSON.parse(body.toString());

test('the log has the intent before the provider has the request, and both records name one call', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, posture: 'strict' });
  const hold = gate();
  const arrived = gate();
  log.refuse = async ({ kind }) => {
    if (kind !== 'intent') return;
    arrived.open();
    await hold.passed;
  };
  const calling = chat(proxy);
  await arrived.passed;
  expect(provider.requests).toEqual([]);
  hold.open();
  const answer = await calling;
  expect(answer).toMatchObject({ status: 200, isWhole: true });
  const [call] = await log.untilCalls(1);
  const [intent] = intentsOf(log);
  expect(call?.record_id).toBe(answer.recordId);
  expect(intent?.record_id).not.toBe(answer.recordId);
  expect(intent?.ids).toEqual({ gateway_request: answer.recordId, attempt: 1 });
  expect(intent?.source).toMatchObject({ seq: 0, prev: null, completeness: 'full' });
  expect(intent?.input).toEqual(call?.input);
  expect(intent?.model).toMatchObject({ provider: 'openai', requested: 'gpt-test' });
  expect(Object.keys(intent?.commitments.fields ?? {})).toContain('request.body');
  // Salts of its own: the two cannot be compared by who sees only the log.
  expect(intent?.commitments.fields['request.body']).not.toBe(
    call?.commitments.fields['request.body'],
  );
  const of = (id: string) => log.of(id).disclosures.get('request.body');
  expect(of(intent?.record_id ?? '')).toEqual(of(answer.recordId));
  expect(log.of(intent?.record_id ?? '').bodies.size).toBe(0);
  expect(log.of(answer.recordId).bodies.get('request.body')?.toString()).toBe(REQUEST);
  log.checkChain();
});

test('without the log no call is made, and what was not made is on record', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({
    upstream: provider.url,
    posture: 'strict',
    timeouts: { intentMs: 30 },
  });
  let isAway = true;
  log.refuse = () => {
    if (isAway) throw refusal('storage');
  };
  const answer = await chat(proxy);
  expect(answer.status).toBe(503);
  expect(answer.headers['retry-after']).toBe('5');
  expect(problemOf(answer.body)).toMatchObject({ code: 'storage' });
  expect(problemOf(answer.body).detail).toContain('the log does not have it after 30 ms');
  expect(provider.requests).toEqual([]);
  const ready = await ask(`${proxy.url}/readyz`, { method: 'GET', headers: {} });
  expect(ready.status).toBe(503);
  isAway = false;
  const [record] = await log.untilCalls(1);
  expect(record).toMatchObject({
    record_id: answer.recordId,
    outcome: { status: 'blocked', error_type: 'intent-not-logged' },
  });
  expect(intentsOf(log).map(({ ids }) => ids.gateway_request)).toEqual([answer.recordId]);
  await expect.poll(async () => (await chat(proxy)).status).toBe(200);
  await log.until(() => log.calls.some(({ outcome }) => outcome.status === 'ok'));
  log.checkChain();
});

test('an intent that the log refuses for good keeps its call from being made, and a gap says so', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, posture: 'strict' });
  log.refuse = ({ kind, source }) => {
    if (kind === 'intent' && source.seq === 0) throw refusal('conflict');
  };
  const answer = await chat(proxy);
  expect(answer.status).toBe(503);
  expect(problemOf(answer.body).detail).toContain('the log refused it');
  expect(provider.requests).toEqual([]);
  expect((await chat(proxy)).status).toBe(200);
  await log.until(() => log.gaps.length === 1 && log.calls.length === 2);
  expect(log.gaps[0]).toMatchObject({ reason: 'refused', seq_from: 0, seq_to: 0 });
});

test('a request too large for memory has an intent that is read back from the journal', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({
    upstream: provider.url,
    posture: 'strict',
    limits: { memoryBytes: 1_000 },
  });
  const long = JSON.stringify({
    model: 'gpt-test',
    stream: true,
    messages: [{ role: 'user', content: 'x'.repeat(300_000) }],
  });
  expect((await chat(proxy, long)).status).toBe(200);
  await log.untilCalls(1);
  expect(intentsOf(log)[0]).toMatchObject({
    model: { requested: 'gpt-test' },
    input: { messages: 1 },
  });
  expect(provider.requests[0]?.body.length).toBe(long.length);
});

test('a client that leaves while the log takes its time is not forwarded', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, posture: 'strict' });
  const hold = gate();
  const arrived = gate();
  log.refuse = async ({ kind }) => {
    if (kind !== 'intent') return;
    arrived.open();
    await hold.passed;
  };
  const leaving = new AbortController();
  const calling = fetch(`${proxy.url}${CHAT}`, {
    method: 'POST',
    body: REQUEST,
    signal: leaving.signal,
  });
  await arrived.passed;
  leaving.abort();
  await expect(calling).rejects.toThrow();
  await expect.poll(() => proxy.state().calls).toBe(0);
  hold.open();
  const [record] = await log.untilCalls(1);
  expect(record?.outcome.status).toBe('client-abort');
  expect(provider.requests).toEqual([]);
});

test('a crash while the log takes the intent: it is there once, and its call has a record', async () => {
  const provider = await chatProvider();
  const disk = new FaultDisk();
  const signer = testSigner();
  const log = new TestLog(signer);
  const hold = gate();
  let isHeld = true;
  const submit = log.submit.bind(log);
  log.submit = async (entry, content) => {
    const done = await submit(entry, content);
    // The log has it; the answer does not come.
    if (isHeld) await hold.passed;
    return done;
  };
  const first = await setUp({ upstream: provider.url, posture: 'strict', disk, signer, log });
  const lost = chat(first.proxy).catch(() => undefined);
  await log.until(() => intentsOf(log).length === 1);
  const found = disk.reopened('killed');
  isHeld = false;
  const second = await setUp({
    upstream: provider.url,
    posture: 'strict',
    disk: found,
    signer,
    log,
    kek: first.kek,
    dir: temporaryFolder(),
  });
  const [record] = await log.untilCalls(1);
  expect(record?.source).toMatchObject({ completeness: 'truncated', seq: 1 });
  expect(intentsOf(log)).toHaveLength(1);
  expect(intentsOf(log)[0]?.ids.gateway_request).toBe(record?.record_id);
  expect(provider.requests).toEqual([]);
  expect((await chat(second.proxy)).status).toBe(200);
  await log.untilCalls(2);
  await second.proxy.close();
  hold.open();
  await lost;
});

test('when the log ends, the intent goes to the next one and the call is made', async () => {
  const provider = await chatProvider();
  const signer = testSigner();
  const [first, second] = [new TestLog(signer), new TestLog(signer, `${ORIGIN}-2`)];
  const series = new TestSeries(first, second);
  const { proxy } = await setUp({
    upstream: provider.url,
    posture: 'strict',
    signer,
    log: first,
    series,
  });
  expect((await chat(proxy)).status).toBe(200);
  await first.untilCalls(1);
  first.isEnded = true;
  expect((await chat(proxy)).status).toBe(200);
  await second.untilCalls(1);
  expect(intentsOf(second)).toHaveLength(1);
  series.checkChain();
});

test('many calls at once share windows, each behind its own intent', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, posture: 'strict' });
  const answers = await Promise.all(Array.from({ length: 40 }, () => chat(proxy)));
  expect(answers.every(({ status, isWhole }) => status === 200 && isWhole)).toBe(true);
  await log.untilCalls(40);
  log.checkChain();
  const seqs = new Map(intentsOf(log).map(({ ids, source }) => [ids.gateway_request, source.seq]));
  for (const { record_id, source } of log.calls) {
    expect(seqs.get(record_id)).toBeLessThan(source.seq);
  }
});
