/**
 * The log behind `stele up` rolls over while calls run and keys change, and the process is killed on top: every call is
 * on record once, and its receipt holds.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { LogClient } from '../../server/client/client.ts';
import { InstanceClient } from '../../server/client/instance.ts';
import { sha256, toBase64url } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseRecord, type Record } from '../../server/core/record.ts';
import { parseTrust } from '../../server/core/trust.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { CHAT, REQUEST, STREAM } from '../proxy/calls.ts';
import { ask } from '../proxy/harness.ts';
import { startReplay } from '../replay/replay.ts';
import { temporaryFolder } from '../temporary.ts';
import { type Running, startStele } from './running.ts';

interface Found {
  readonly log: string;
  readonly record: Record;
  readonly digest: string;
}

test('a roll under load, and a kill behind it', { timeout: 240_000 }, async () => {
  const provider = await startReplay({
    exchanges: [
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
  const token = (role: string) => readFileSync(join(cwd, 'data/tokens', role), 'utf8').trim();
  const admin = (role = 'admin') => new InstanceClient({ base: stele.server, token: token(role) });
  const roll = (name: string, next: string) => admin().rollLog(name, next);
  const whole: string[] = [];
  const failed: string[] = [];
  let isKilled = false;
  let isRunning = true;
  const load = async () => {
    while (isRunning) {
      try {
        const answer = await ask(`${stele.proxy}${CHAT}`, { body: REQUEST });
        if (answer.isWhole && answer.status === 200) whole.push(answer.recordId);
        else if (!isKilled) failed.push(`${answer.status} ${answer.body.toString()}`);
      } catch (error) {
        if (!isKilled) throw error;
        return;
      }
    }
  };
  const more = (count: number) =>
    expect.poll(() => whole.length, { timeout: 30_000 }).toBeGreaterThan(whole.length + count);

  let callers = [1, 2, 3, 4].map(load);
  await more(20);
  // The log's own key and the proxy's change at the seam: both of the log's sign its last head.
  await admin().rotateKey('default', { purpose: 'identity' });
  await Promise.all([roll('default', 'default-2027'), admin().rotateOwnKey({ purpose: 'proxy' })]);
  const next = new LogClient({ base: `${stele.server}/logs/default-2027`, token: token('read') });
  const size = async () => (await next.head()).size;
  await expect.poll(size, { timeout: 30_000 }).toBeGreaterThan(20);
  await roll('default-2027', 'default-2028');
  // What the roll leaves to be done is under way when the process dies.
  isKilled = true;
  const exited = once(stele.child, 'exit');
  await stele.stop('SIGKILL');
  await exited;
  await Promise.all(callers);
  stele = await startStele(cwd, provider.url);
  isKilled = false;
  callers = [1, 2].map(load);
  await more(20);
  isRunning = false;
  await Promise.all(callers);
  expect(failed).toEqual([]);

  const ready = async () => {
    const answer = await ask(`${stele.proxy}/readyz`, { method: 'GET', headers: {} });
    const { logs } = JSON.parse(answer.body.toString()) as {
      logs: { [name: string]: { [figure: string]: number | string } };
    };
    const { open_calls, unrecorded, backlog, log } = logs.default ?? {};
    return [open_calls, unrecorded, backlog, String(log).split('/').at(-1)];
  };
  await expect.poll(ready, { timeout: 30_000 }).toEqual([0, 0, 0, 'default-2028']);
  const found = await recordsOf(stele, token('read'));
  const calls = found.filter(({ record }) => record.kind === 'inference');
  expect(new Set(calls.map(({ record }) => record.record_id)).size).toBe(calls.length);
  const ids = new Set(calls.map(({ record }) => record.record_id));
  for (const id of whole) expect(ids, id).toContain(id);
  expect(new Set(calls.map(({ log }) => log)).size).toBe(3);
  checkChain(found);
  // The server's trust file has followed: each log of the series, and each key of the proxy.
  const trust = parseTrust(readFileSync(join(cwd, 'data/trust.json')));
  const signers = new Set<string>();
  for (const log of ['default', 'default-2027', 'default-2028']) {
    const here = calls.filter((call) => call.log === log);
    const client = new LogClient({ base: `${stele.server}/logs/${log}`, token: token('read') });
    for (const one of [here[0], here.at(-1)]) {
      const receipt = await client.receipt(one?.record.record_id ?? '', {});
      const verdict = verifyReceipt(receipt, trust, { check: checkSignatureNative });
      expect(verdict.holds, JSON.stringify(verdict.steps)).toBe(true);
      const [signature] = decodeEntry(parseReceipt(receipt).entry).signatures;
      signers.add(signature?.keyid ?? '');
    }
  }
  expect(signers.size).toBe(2);
  // Content is where its record is.
  for (const { log, record } of [calls[0], calls.at(-1)] as Found[]) {
    const contents = new LogClient({
      base: `${stele.server}/logs/${log}`,
      token: token('content'),
    });
    const chunks: Uint8Array[] = [];
    const read = { reason: 'a test' };
    for await (const chunk of contents.body(record.record_id, 'response.body', read)) {
      chunks.push(chunk);
    }
    expect(STREAM.startsWith(Buffer.concat(chunks).toString())).toBe(true);
  }
  await stele.stop('SIGTERM');
});

async function recordsOf(stele: Running, token: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const log of ['default', 'default-2027', 'default-2028']) {
    const client = new LogClient({ base: `${stele.server}/logs/${log}`, token });
    for await (const { text } of client.feed(0)) {
      const { entry } = JSON.parse(text) as { entry: string };
      const { payload } = decodeEntry(new Uint8Array(Buffer.from(entry, 'base64')));
      const record = parseRecord(payload);
      if (record.source.id.startsWith('_')) continue;
      found.push({ log, record, digest: toBase64url(sha256(payload)) });
    }
  }
  return found;
}

/** One source over three logs: every number once, or named by a gap record, and each names the one before. */
function checkChain(found: readonly Found[]): void {
  expect(new Set(found.map(({ record }) => record.source.id)).size).toBe(1);
  const bySeq = new Map(found.map((one) => [one.record.source.seq, one]));
  expect(bySeq.size).toBe(found.length);
  const named = new Set(
    found.flatMap(({ record }) => {
      if (record.kind !== 'gap') return [];
      const { seq_from, seq_to } = record.gap;
      return Array.from({ length: seq_to - seq_from + 1 }, (_, i) => seq_from + i);
    }),
  );
  for (let seq = 0; seq <= Math.max(...bySeq.keys()); seq++) {
    const one = bySeq.get(seq);
    if (one === undefined) expect(named, `nothing says where ${seq} is`).toContain(seq);
    const before = bySeq.get(seq - 1);
    if (one !== undefined && before !== undefined) {
      expect(one.record.source.prev).toBe(before.digest);
    }
  }
}
