/** `kill -9` at any moment under load: every call that reached the provider has a record, or a gap has it. */
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { InferenceRecord } from '../../server/core/record.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex } from '../../server/core/units.ts';
import { CHAT, REQUEST, STREAM } from '../proxy/calls.ts';
import { ask, RawClient } from '../proxy/harness.ts';
import { startReplay } from '../replay/replay.ts';
import { temporaryFolder } from '../temporary.ts';
import { type Running, startStele } from './running.ts';

async function recordsOf(stele: Running): Promise<InferenceRecord[]> {
  const { size } = await stele.log.head();
  const records: InferenceRecord[] = [];
  for (let i = 0; i < size; i++) {
    const record = parseRecord(decodeEntry(await stele.log.entry(leafIndex(i))).payload);
    if (record.kind === 'inference') records.push(record);
  }
  return records;
}

test('a killed proxy leaves no call without a record', async () => {
  const held = Promise.withResolvers<void>();
  const provider = await startReplay({
    exchanges: [
      {
        path: '/v1/chat/completions',
        headers: { 'content-type': 'text/event-stream' },
        body: STREAM,
        pieces: 100,
        when: (body) => JSON.stringify(body).includes('hold'),
        beforePiece: async (sent) => {
          if (sent >= 200) await held.promise;
        },
      },
      {
        path: '/v1/chat/completions',
        headers: { 'content-type': 'text/event-stream' },
        body: STREAM,
        pieces: 100,
      },
    ],
  });
  onTestFinished(() => provider.close());
  const cwd = temporaryFolder();
  let stele = await startStele(cwd, provider.url);
  const whole: string[] = [];
  let midStream = '';
  for (let round = 0; round < 3; round++) {
    const holding = new RawClient(stele.proxy);
    holding.post(CHAT, REQUEST.replace('gpt-test', 'gpt-hold'));
    await holding.until((c) => c.text.includes('Hel'));
    midStream = /x-stele-record-id: (\S+)/.exec(holding.text)?.[1] ?? '';
    let isRunning = true;
    const load = Array.from({ length: 4 }, async () => {
      while (isRunning) {
        try {
          const answer = await ask(`${stele.proxy}${CHAT}`, { body: REQUEST });
          if (answer.isWhole && answer.status === 200) whole.push(answer.recordId);
        } catch {
          // The process is gone.
          return;
        }
      }
    });
    await expect.poll(() => whole.length, { timeout: 20_000 }).toBeGreaterThan(20 * (round + 1));
    const exited = once(stele.child, 'exit');
    await stele.stop('SIGKILL');
    await exited;
    isRunning = false;
    await Promise.all(load);
    stele = await startStele(cwd, provider.url);
  }
  held.resolve();
  for (const id of [midStream, ...whole.slice(-5)]) {
    expect((await stele.verified(id)).holds).toBe(true);
  }
  // Everything recovered is submitted before the next call's record.
  const last = await ask(`${stele.proxy}${CHAT}`, { body: REQUEST });
  await stele.verified(last.recordId);
  const records = await recordsOf(stele);
  const ids = new Set(records.map((r) => r.record_id));
  for (const id of [...whole, midStream]) expect(ids.has(id), id).toBe(true);
  expect(ids.size).toBe(records.length);
  // What reached the provider and what was recorded as forwarded are the same number.
  const forwarded = records.filter(
    (r) => r.source.truncated_fields?.includes('request.body') !== true,
  );
  expect(forwarded.length).toBeGreaterThanOrEqual(provider.requests.length);
  const cut = records.find((r) => r.record_id === midStream);
  expect(cut?.source).toMatchObject({
    completeness: 'truncated',
    truncated_fields: ['response.body'],
  });
  const sources = await stele.log.sources();
  const own = sources.filter(({ id }) => id.startsWith('proxy'));
  expect(own).toHaveLength(1);
  expect(own[0]).toMatchObject({ holes: [], forks: 0 });
  await stele.stop('SIGTERM');
});
