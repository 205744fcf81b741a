/**
 * What becomes of calls while they cannot be recorded (P7, P9): by the posture of their upstream, on a disk that is
 * really full, through the death of the proxy; and while the log is away, for as long as the disk has room.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { type Record as AuditRecord, parseRecord } from '../../server/core/record.ts';
import { RECORD_TYPE } from '../../server/core/statement.ts';
import { drained } from './evidence.ts';
import { call, type ProxyCall } from './load.ts';
import { mountMissing, SmallDisk } from './mount.ts';
import { freePort } from './ports.ts';
import { Place } from './process.ts';
import { KINDS, startProvider, upstreams } from './provider.ts';
import { Random } from './random.ts';
import { newPlace } from './world.ts';

const title = `postures${mountMissing === undefined ? '' : ` (${mountMissing})`}`;

const [PLAIN, , , CLAUDE] = KINDS;

describe.skipIf(mountMissing !== undefined)(title, () => {
  test('observe lets calls through a full disk and enforce does not; a gap counts them, also when the proxy dies', async () => {
    const { log, proxy, disk, provider } = await apart({
      STELE_UPSTREAM_OPENAI_POSTURE: 'observe',
      STELE_LIMITS_DISK_FLOOR_BYTES: '0',
    });
    expect((await make(proxy, PLAIN)).recordId).toBeDefined();
    disk.fill();
    let observed: ProxyCall[] = [];
    // Frames find room in what the file system rounds up.
    while (observed.length < 5) {
      const one = await make(proxy, PLAIN);
      expect(one).toMatchObject({ status: 200, isComplete: true });
      if (one.recordId === undefined) observed = [...observed, one];
    }
    const before = provider.requests.length;
    const refused = await make(proxy, CLAUDE);
    expect(refused.status).toBe(503);
    expect(provider.requests.length).toBe(before);
    const ready = await readiness(proxy);
    expect(ready).toMatchObject({
      status: 503,
      body: { status: 'not ready', reasons: [expect.stringContaining('log default: journal')] },
    });
    expect(ready.body.logs.default?.missed).toBeGreaterThanOrEqual(5);

    // The count is written where there was room before, so it outlives the process.
    await counted(proxy, observed.length);
    await proxy.running?.kill();
    disk.empty();
    await proxy.start();
    const after = await make(proxy, CLAUDE);
    expect(after.recordId).toBeDefined();
    await drained(proxy.addresses().proxy);
    expect(await readiness(proxy)).toMatchObject({ status: 200, body: { status: 'ready' } });
    const records = await recordsIn(log);
    const known = new Set(callsOf(records).map(({ ids }) => ids.client_request));
    const sent = provider.requests.map(({ headers }) => headers['x-client-request-id']);
    const unrecorded = sent.filter((id) => !known.has(String(id))).length;
    expect(unrecorded).toBe(observed.length);
    const gaps = records.flatMap((record) => (record.kind === 'gap' ? [record.gap] : []));
    expect(gaps.map(({ reason }) => reason)).toEqual(['journal-unwritable']);
    expect(gaps.reduce((sum, { count = 0 }) => sum + count, 0)).toBe(unrecorded);
    expect(gaps[0]?.time_from).toBeDefined();
  }, 120_000);

  test('while the log is away calls wait on disk down to its floor, and then go to the log in order', async () => {
    const { log, proxy, disk, provider } = await apart({
      STELE_LIMITS_DISK_FLOOR_BYTES: '32000000',
    });
    await drained(proxy.addresses().proxy);
    await log.stop();
    const made: ProxyCall[] = [];
    let last = await make(proxy, PLAIN, 2_000_000);
    for (; last.status === 200; last = await make(proxy, PLAIN, 2_000_000)) {
      made.push(last);
      if (made.length > 200) throw new Error(`200 calls fit on a disk with ${disk.free()} free`);
    }
    expect(made.length).toBeGreaterThan(10);
    expect(disk.free()).toBeLessThan(32_000_000);
    expect(last.status).toBe(503);
    expect(Buffer.from(last.answer).toString()).toContain('the floor is 32000000');
    const ready = await readiness(proxy);
    expect(ready.body.reasons?.join()).toContain('the floor is 32000000');
    expect(ready.body.logs.default?.log_error).toBeDefined();
    const forwarded = provider.requests.length;

    await log.start();
    await drained(proxy.addresses().proxy);
    const records = await recordsIn(log);
    const calls = callsOf(records);
    expect(calls).toHaveLength(forwarded);
    expect(made.every(({ recordId }) => calls.some((one) => one.record_id === recordId))).toBe(
      true,
    );
    const own = records.filter(({ source }) => source.id.startsWith('proxy-'));
    const seqs = own.map(({ source }) => source.seq);
    expect(seqs.toSorted((a, b) => a - b)).toEqual(seqs.map((_, i) => i));
    // A few are on their way at once, and overtake each other by no more than that.
    for (const [i, seq] of seqs.entries()) expect(Math.abs(seq - i)).toBeLessThanOrEqual(16);
    const [source] = (await log.log('read').sources()).filter(({ id }) => id.startsWith('proxy-'));
    expect(source).toMatchObject({ holes: [], forks: 0 });
    // It resumes by itself.
    for (let i = 0; ; i++) {
      const { status } = await make(proxy, CLAUDE);
      if (status === 200) break;
      if (i > 200) throw new Error('no call is taken although there is room');
      await pause(50);
    }
  }, 120_000);
});

async function apart(env: Readonly<Record<string, string>>) {
  const provider = await startProvider(new Random(1));
  onTestFinished(() => provider.close());
  const listen = `127.0.0.1:${await freePort()}`;
  const log = newPlace({ STELE_LISTEN: listen }, ['serve']);
  await log.start();
  const token = join(log.data, 'tokens', 'submit');
  const proxy = new Place({ ...upstreams(provider), STELE_TOKEN: token, ...env }, [
    'proxy',
    '--server',
    `http://${listen}`,
  ]);
  const disk = new SmallDisk(proxy.data, 64);
  onTestFinished(async () => {
    await proxy.end();
    disk.close();
    await proxy.close();
  });
  await proxy.start();
  const key = join(proxy.data, 'keys', 'proxy.pem');
  const pub = join(proxy.data, 'proxy.pub');
  const registered = await log.stele('gateway', 'register', pub, '--key', key, '--data', log.data);
  expect(registered.code, registered.output).toBe(0);
  return { log, proxy, disk, provider };
}

let asked = 0;

function make(proxy: Place, kind: (typeof KINDS)[number] | undefined, bytes = 5_000) {
  const body = Buffer.from(JSON.stringify(kind?.body('x'.repeat(bytes))));
  const id = `call-${++asked}`;
  return call(proxy.addresses().proxy + kind?.path, body, { 'x-client-request-id': id });
}

interface Ready {
  readonly status: number;
  readonly body: {
    readonly reasons?: readonly string[];
    readonly logs: Readonly<
      Record<string, { readonly missed?: number; readonly log_error?: string }>
    >;
  };
}

async function readiness(proxy: Place): Promise<Ready> {
  const answer = await fetch(`${proxy.addresses().proxy}/readyz`);
  return { status: answer.status, body: (await answer.json()) as Ready['body'] };
}

/** Waits until the proxy has counted so many calls that went through it. */
async function counted(proxy: Place, count: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const { body } = await readiness(proxy);
    if ((body.logs.default?.missed ?? 0) >= count) return;
    await pause(50);
  }
  throw new Error(`the proxy counted no ${count} calls`);
}

async function recordsIn(log: Place): Promise<AuditRecord[]> {
  const records: AuditRecord[] = [];
  for await (const { entry } of log.log('read').feed(0)) {
    const { payloadType, payload } = decodeEntry(entry);
    if (payloadType === RECORD_TYPE) records.push(parseRecord(payload));
  }
  return records;
}

function callsOf(records: readonly AuditRecord[]) {
  return records.filter((record) => record.kind === 'inference');
}
