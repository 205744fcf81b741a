import { describe, expect, test } from 'vitest';
import { BadAnswer } from '../../server/client/problem.ts';
import { type BodyValue, bodyValueOf } from '../../server/core/disclosure.ts';
import { FRAME } from '../../server/proxy/journal/frame.ts';
import type { SyncFailed } from '../../server/proxy/journal/journal.ts';
import { scanJournal } from '../../server/proxy/journal/scan.ts';
import { CHAT, chat, chatProvider, REQUEST, STREAM } from './calls.ts';
import { FaultDisk, ioError } from './fault-disk.ts';
import {
  ask,
  gate,
  RawClient,
  refusal,
  setUp,
  TestLog,
  temporaryFolder,
  testSigner,
} from './harness.ts';

async function typesOn(disk: FaultDisk): Promise<number[]> {
  const types: number[] = [];
  await scanJournal(disk.reopened('killed'), (frame) => types.push(frame.type));
  return types;
}

describe('crash', () => {
  /** The steps that one call takes on the disk. */
  async function stepsOfACall(): Promise<number> {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const { proxy, log } = await setUp({ upstream: provider.url, disk });
    await chat(proxy);
    await log.untilCalls(1);
    await proxy.close();
    return disk.steps.length;
  }

  test('at every step: what left or arrived has a record, and the chain goes on', async () => {
    const steps = await stepsOfACall();
    expect(steps).toBeGreaterThan(8);
    for (const mode of ['killed', 'power-cut'] as const) {
      for (const moment of ['before', 'after'] as const) {
        for (let n = 0; n < steps; n++) {
          const where = `${mode} ${moment} step ${n}`;
          const provider = await chatProvider();
          const disk = new FaultDisk();
          const signer = testSigner();
          const log = new TestLog(signer);
          const later = new TestLog(signer);
          let found: FaultDisk | undefined;
          let forwarded = 0;
          let wasWhole = false;
          disk[moment] = (_step, at) => {
            if (at !== n) return;
            found = disk.reopened(mode);
            forwarded = provider.requests.length;
            later.logged.push(...log.logged);
          };
          const first = await setUp({ upstream: provider.url, disk, signer, log });
          const answer = await chat(first.proxy);
          if (found === undefined) wasWhole = answer.isWhole;
          await log.untilCalls(1);
          await first.proxy.close();
          if (found === undefined) continue;

          const second = await setUp({
            upstream: provider.url,
            disk: found,
            signer,
            log: later,
            kek: first.kek,
          });
          await chat(second.proxy);
          await later.until(() => later.calls.length >= (forwarded > 0 || wasWhole ? 2 : 1));
          await second.proxy.close();
          const record = later.calls.find((r) => r.record_id === answer.recordId);
          if (forwarded > 0) expect(record, where).toBeDefined();
          if (record?.source.completeness === 'full') {
            const { bodies } = later.of(answer.recordId);
            expect(bodies.get('response.body')?.toString(), where).toBe(STREAM);
            expect(record.outcome.status, where).toBe('ok');
          } else if (record !== undefined) {
            expect(record.source.truncated_fields?.length, where).toBeGreaterThan(0);
          }
          expect(
            later.gaps.filter((gap) => gap.reason !== 'journal-lost'),
            where,
          ).toEqual([]);
          const bySource = Map.groupBy(later.logged, (l) => l.record.source.id);
          for (const logged of bySource.values()) {
            const seqs = logged.map((l) => l.record.source.seq).sort((a, b) => a - b);
            expect(seqs, where).toEqual(seqs.map((_, i) => i));
          }
        }
      }
    }
  });

  test('in the middle of a stream leaves a record that says what is missing', async () => {
    const hold = gate();
    const provider = await chatProvider({
      beforePiece: async (sent) => {
        if (sent >= 300) await hold.passed;
      },
    });
    const disk = new FaultDisk();
    const first = await setUp({ upstream: provider.url, disk });
    const client = new RawClient(first.proxy.url);
    client.post(CHAT, REQUEST);
    await client.until((c) => c.text.includes('Hel'));
    // Pieces wait a moment for company before they are written.
    await expect.poll(() => typesOn(disk)).toContain(FRAME.response);
    const later = new TestLog(first.signer);
    const second = await setUp({
      ...first,
      upstream: provider.url,
      disk: disk.reopened('killed'),
      log: later,
      dir: temporaryFolder(),
    });
    const [record] = await later.untilCalls(1);
    expect(record).toMatchObject({
      outcome: { status: 'transport-error', http_status: 200 },
      source: { seq: 0, completeness: 'truncated', truncated_fields: ['response.body'] },
      input: { messages: 1 },
      output: { stream: { terminated: 'eof-cut' } },
    });
    const { bodies } = later.of(record?.record_id ?? '');
    expect(bodies.get('request.body')?.toString()).toBe(REQUEST);
    const kept = bodies.get('response.body')?.toString() ?? '';
    expect(STREAM.startsWith(kept)).toBe(true);
    expect(kept.length).toBeGreaterThan(0);
    hold.open();
    await second.proxy.close();
  });

  test('with other keys than before reads nothing, and a gap says so', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const signer = testSigner();
    const log = new TestLog(signer);
    const stop = gate();
    log.refuse = () => stop.passed;
    const first = await setUp({ upstream: provider.url, disk, signer, log });
    const hold = new RawClient(first.proxy.url);
    hold.socket.write(`POST ${CHAT} HTTP/1.1\r\nHost: p\r\nContent-Length: 9\r\n\r\nhalf`);
    await expect.poll(() => first.proxy.state().logs.get('default')?.open_calls).toBe(1);
    await expect.poll(() => typesOn(disk)).toContain(FRAME.request);
    const later = new TestLog(signer);
    const other = await setUp({
      upstream: provider.url,
      disk: disk.reopened('killed'),
      signer,
      log: later,
    });
    await later.until(() => later.gaps.length > 0);
    expect(later.gaps[0]).toMatchObject({ reason: 'unreadable-call', count: 1 });
    expect(other.proxy.state().logs.get('default')?.open_calls).toBe(0);
    stop.open();
  });
});

describe('a disk that fails', () => {
  test('at any write: the client gets an error or a break, and what went out has a record', async () => {
    for (const moment of ['before', 'after'] as const) {
      for (let n = 0; n < 12; n++) {
        const where = `${moment} step ${n}`;
        const provider = await chatProvider();
        const disk = new FaultDisk();
        const { proxy, log } = await setUp({ upstream: provider.url, disk });
        const start = disk.steps.length;
        disk[moment] = (step, at) => {
          if (at === start + n && step !== 'sync') throw ioError('ENOSPC');
        };
        const answer = await chat(proxy);
        if (answer.status === 503) {
          expect(provider.requests, where).toEqual([]);
          expect(answer.headers['retry-after'], where).toBe('5');
          expect(JSON.parse(answer.body.toString()).code, where).toBe('storage');
        }
        if (provider.requests.length > 0) {
          const record = (await log.untilCalls(1))[0];
          expect(record?.record_id, where).toBe(answer.recordId);
          if (answer.isWhole) expect(record?.outcome.status, where).toBe('ok');
        }
        // It resumes by itself. The later steps fail the second call rather than the first.
        let after = await chat(proxy);
        if (after.status !== 200 || !after.isWhole) after = await chat(proxy);
        expect(after, where).toMatchObject({ status: 200, isWhole: true });
        await log.until(() => log.calls.some((r) => r.record_id === after.recordId));
        log.checkChain();
        await proxy.close();
      }
    }
  });

  test('below the floor: refused before anything is forwarded, and readyz says why', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    disk.free = 1_000;
    const { proxy, log } = await setUp({ upstream: provider.url, disk });
    const answer = await chat(proxy);
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body.toString()).detail).toContain('1000 bytes are free');
    expect(provider.requests).toEqual([]);
    const ready = await ask(`${proxy.url}/readyz`, { method: 'GET', headers: {} });
    expect(ready.status).toBe(503);
    expect(ready.body.toString()).toContain('1000 bytes are free');
    expect((await ask(`${proxy.url}/healthz`, { method: 'GET', headers: {} })).status).toBe(200);
    disk.free = 1e12;
    await expect.poll(async () => (await chat(proxy)).status, { timeout: 5_000 }).toBe(200);
    await log.untilCalls(1);
  });

  test('past the spool limit: refused while the log is away', async () => {
    const provider = await chatProvider();
    const limits = { spoolBytes: 20_000, segmentBytes: 5_000 };
    const { proxy, log } = await setUp({ upstream: provider.url, limits });
    let isAway = true;
    log.refuse = () => {
      if (isAway) throw refusal('storage');
    };
    let calls = 0;
    let answer = await chat(proxy);
    for (; answer.status === 200 && calls < 50; calls++) answer = await chat(proxy);
    expect(JSON.parse(answer.body.toString()).detail).toContain('the limit is 20000');
    isAway = false;
    await log.untilCalls(calls);
    await expect.poll(async () => (await chat(proxy)).status).toBe(200);
  });

  test('in posture observe: calls go through, and a gap counts them', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const { proxy, log } = await setUp({ upstream: provider.url, disk, posture: 'observe' });
    disk.before = (step) => {
      if (step === 'write') throw ioError('ENOSPC');
    };
    for (let i = 0; i < 3; i++) {
      const answer = await chat(proxy);
      expect(answer.isWhole).toBe(true);
      expect(answer.body.toString()).toBe(STREAM);
    }
    const long = JSON.stringify({ messages: [{ role: 'user', content: 'x'.repeat(10_000_000) }] });
    expect((await chat(proxy, long)).isWhole).toBe(true);
    expect(provider.requests.at(-1)?.body.length).toBe(long.length);
    disk.before = () => {};
    await log.until(() => log.gaps.reduce((sum, gap) => sum + (gap.count ?? 0), 0) === 4);
    expect(log.gaps[0]?.reason).toBe('journal-unwritable');
    expect(log.gaps[0]?.time_from).toBeDefined();
    await chat(proxy);
    await log.untilCalls(1);
    log.checkChain();
  });

  test('at a sync: the process is told to end, and no answer is complete', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const fatal: SyncFailed[] = [];
    const { proxy } = await setUp({ upstream: provider.url, disk, onFatal: (e) => fatal.push(e) });
    disk.before = (step) => {
      if (step === 'sync') throw ioError('EIO');
    };
    const answer = await chat(proxy);
    expect(answer.status).toBe(503);
    expect(provider.requests).toEqual([]);
    expect(fatal).toHaveLength(1);
  });
});

describe('a log that is away', () => {
  test('gets every record in order when it is back, each once', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    let isAway = true;
    log.refuse = () => {
      if (isAway) throw refusal('storage');
    };
    for (let i = 0; i < 10; i++) await chat(proxy);
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(10);
    expect(proxy.state().logs.get('default')?.log_error).toContain('made up');
    isAway = false;
    expect(await log.untilCalls(10)).toHaveLength(10);
    log.checkChain();
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(0);
  });

  test('gets what waited from the next process, with a chain that goes on', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const signer = testSigner();
    const away = new TestLog(signer);
    away.refuse = () => {
      throw refusal('pushback');
    };
    const first = await setUp({ upstream: provider.url, disk, signer, log: away });
    for (let i = 0; i < 5; i++) await chat(first.proxy);
    await first.proxy.close();
    const log = new TestLog(signer);
    const second = await setUp({
      upstream: provider.url,
      disk: disk.reopened('power-cut'),
      signer,
      log,
      kek: first.kek,
    });
    await chat(second.proxy);
    await log.untilCalls(6);
    log.checkChain();
    expect(new Set(log.calls.map((r) => r.source.id)).size).toBe(1);
    expect(new Set(log.calls.map((r) => r.source.instance)).size).toBe(2);
    expect(second.lines.join()).toContain('"backlog":5');
  });

  test('keeps segments on the disk, and they go when the records are logged', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const { proxy, log } = await setUp({
      upstream: provider.url,
      disk,
      limits: { segmentBytes: 5_000 },
    });
    let isAway = true;
    log.refuse = () => {
      if (isAway) throw refusal('storage');
    };
    for (let i = 0; i < 10; i++) await chat(proxy);
    expect(disk.files.size).toBeGreaterThan(5);
    isAway = false;
    await log.untilCalls(10);
    await expect.poll(() => disk.files.size).toBeLessThanOrEqual(2);
    const frames: number[] = [];
    await scanJournal(disk.reopened('killed'), (frame) => frames.push(frame.type));
    expect(frames.length).toBeGreaterThan(0);
  });
});

describe('a refusal', () => {
  test('for good sets the entry aside, leaves a gap, and holds up nobody', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const { proxy, log, lines } = await setUp({ upstream: provider.url, disk });
    let refused = '';
    log.refuse = (record) => {
      if (record.kind === 'inference' && record.source.seq === 1) {
        refused = record.record_id;
        throw refusal('conflict');
      }
    };
    for (let i = 0; i < 4; i++) await chat(proxy);
    await log.until(() => log.calls.length === 3 && log.gaps.length === 1);
    expect(log.gaps[0]).toMatchObject({ reason: 'refused', seq_from: 1, seq_to: 1, count: 1 });
    const aside = [...disk.files.keys()].filter((name) => name.startsWith('refused-'));
    expect(aside).toEqual([`refused-000000000001-${refused}.journal`]);
    expect(
      disk.files.get(aside[0] ?? '')?.synced.includes(refused.replaceAll('-', ''), 0, 'hex'),
    ).toBe(true);
    expect(disk.everything().includes('a question nobody else')).toBe(false);
    expect(lines.join()).toContain('refused an entry for good');
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(0);
  });

  test('is not what an answer is that cannot be believed: the record is sent again', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    let lies = 3;
    log.refuse = () => {
      if (lies-- > 0) throw new BadAnswer('it is about another entry');
    };
    await chat(proxy);
    await log.untilCalls(1);
    expect(log.attempts.length).toBe(4);
    expect(log.gaps).toEqual([]);
  });

  test('for want of a registered key waits until it is registered', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    let isRegistered = false;
    log.refuse = () => {
      if (!isRegistered) throw refusal('forbidden');
    };
    for (let i = 0; i < 3; i++) await chat(proxy);
    await expect.poll(() => log.attempts.length).toBeGreaterThan(6);
    isRegistered = true;
    await log.untilCalls(3);
    expect(log.gaps).toEqual([]);
    log.checkChain();
  });

  test('of everything is not answered with ever more gaps', async () => {
    const provider = await chatProvider();
    const timeouts = { patienceMs: 0 };
    const { proxy, log } = await setUp({ upstream: provider.url, timeouts });
    let isRefusing = true;
    log.refuse = () => {
      if (isRefusing) throw refusal('forbidden');
    };
    for (let i = 0; i < 5; i++) await chat(proxy);
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(0);
    expect(new Set(log.attempts).size).toBeLessThanOrEqual(6);
    isRefusing = false;
    await chat(proxy);
    await log.until(() => log.gaps.reduce((n, g) => n + g.seq_to - g.seq_from + 1, 0) >= 5);
    const missing = log.gaps.flatMap((g) =>
      Array.from({ length: g.seq_to - g.seq_from + 1 }, (_, i) => g.seq_from + i),
    );
    const seqs = log.logged.map((l) => l.record.source.seq);
    expect([...missing, ...seqs].sort((a, b) => a - b)).toEqual(
      Array.from({ length: missing.length + seqs.length }, (_, i) => i),
    );
  });
});

describe('a source', () => {
  test('says every so often that it is alive', async () => {
    const { log } = await setUp({ upstream: 'http://127.0.0.1:9', timeouts: { heartbeatMs: 10 } });
    await log.until(() => log.logged.length >= 3);
    const beats = log.logged.map((l) => l.record);
    expect(beats.map((r) => r.kind)).toEqual(beats.map(() => 'heartbeat'));
    expect(beats.map((r) => (r.kind === 'heartbeat' ? r.heartbeat.seq : -1))).toEqual(
      beats.map((_, i) => i),
    );
    log.checkChain();
  });

  test('whose journal was lost begins anew, and a gap names the old one', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const first = await setUp({ upstream: provider.url, disk });
    await chat(first.proxy);
    const [old] = await first.log.untilCalls(1);
    await first.proxy.close();
    const lost = disk.reopened('power-cut');
    lost.files.clear();
    const log = new TestLog(first.signer);
    let isAway = true;
    log.sources = async () => {
      if (isAway) throw refusal('storage');
      return [{ id: old?.source.id ?? '', keyid: '', next: 1, holes: [], forks: 0 }];
    };
    const second = await setUp({
      upstream: provider.url,
      disk: lost,
      signer: first.signer,
      kek: first.kek,
      log,
    });
    await chat(second.proxy);
    const [record] = await log.untilCalls(1);
    isAway = false;
    await log.until(() => log.gaps.length > 0);
    expect(record?.source.id).not.toBe(old?.source.id);
    expect(log.gaps).toMatchObject([
      { reason: 'journal-lost', source: old?.source.id, seq_from: 1, seq_to: 1 },
    ]);
    log.checkChain();
    await second.proxy.close();

    // It is said once.
    const third = await setUp({
      ...second,
      upstream: provider.url,
      disk: lost.reopened('killed'),
      dir: temporaryFolder(),
      log: new TestLog(first.signer),
    });
    await chat(third.proxy);
    await third.log.untilCalls(1);
    expect(third.log.gaps).toEqual([]);
  });

  test('whose journal is damaged puts a gap on record, once, and never forks its chain', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const away = new TestLog(testSigner());
    const signer = testSigner();
    away.refuse = () => {
      throw refusal('storage');
    };
    const log0 = new TestLog(signer);
    log0.refuse = () => {
      throw refusal('storage');
    };
    const first = await setUp({ upstream: provider.url, disk, signer, log: log0 });
    for (let i = 0; i < 3; i++) await chat(first.proxy);
    await first.proxy.close();
    const rotten = disk.reopened('killed');
    const file = [...rotten.files.values()][0];
    if (file === undefined) throw new Error('no segment');
    // A byte in the second half: some frames before it, some behind it.
    const at = Math.floor(file.written.length * 0.6);
    file.written[at] = (file.written[at] ?? 0) ^ 0xff;
    const log = new TestLog(signer);
    const second = await setUp({
      upstream: provider.url,
      disk: rotten,
      signer,
      log,
      kek: first.kek,
    });
    await chat(second.proxy);
    await log.until(() => log.gaps.length > 0 && log.calls.length >= 3);
    expect(log.gaps.filter((g) => g.reason === 'journal-damage')).toHaveLength(1);
    await second.proxy.close();
    const seen = new Set(log.logged.map((l) => `${l.record.source.id} ${l.record.source.seq}`));
    expect(seen.size).toBe(log.logged.length);
    const again = new TestLog(signer);
    const third = await setUp({
      upstream: provider.url,
      disk: rotten.reopened('killed'),
      signer,
      log: again,
      kek: first.kek,
    });
    await chat(third.proxy);
    await again.untilCalls(1);
    expect(again.gaps.filter((g) => g.reason === 'journal-damage')).toEqual([]);
  });

  test('whose journal lost the frame that names it goes on under its name', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const signer = testSigner();
    const away = new TestLog(signer);
    away.refuse = () => {
      throw refusal('storage');
    };
    const first = await setUp({ upstream: provider.url, disk, signer, log: away });
    for (let i = 0; i < 3; i++) await chat(first.proxy);
    await first.proxy.close();
    const { source } = first.proxy.state().logs.get('default') ?? {};
    const rotten = disk.reopened('killed');
    const file = [...rotten.files.values()][0];
    if (file === undefined) throw new Error('no segment');
    // The first frame of all says whose chain it is; each record behind it says so too.
    file.written[40] = (file.written[40] ?? 0) ^ 0xff;
    const log = new TestLog(signer);
    const second = await setUp({
      upstream: provider.url,
      disk: rotten,
      signer,
      log,
      kek: first.kek,
    });
    await chat(second.proxy);
    await log.until(() => log.gaps.length > 0 && log.calls.length >= 4);
    expect(new Set(log.logged.map(({ record }) => record.source.id))).toEqual(new Set([source]));
    log.checkChain();
  });

  test('has one process', async () => {
    const first = await setUp({ upstream: 'http://127.0.0.1:9' });
    await expect(setUp({ upstream: 'http://127.0.0.1:9', dir: first.dir })).rejects.toThrow(
      'another process uses it',
    );
  });
});

describe('a record', () => {
  test('commits to values too large for a disclosure like to bodies', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    const text = 'long '.repeat(400_000);
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: text }] });
    const answer = await chat(proxy, body);
    await log.untilCalls(1);
    const { bodies, disclosures } = log.of(answer.recordId);
    const said = bodyValueOf(disclosures.get('request.messages') ?? null) as BodyValue;
    expect(said.media_type).toBe('application/json');
    expect(bodies.get('request.messages')?.length).toBe(said.bytes);
    expect(bodies.get('request.messages')?.includes(text)).toBe(true);
  });

  test('never goes out without its content, when that is lost between its making and its signing', async () => {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const plain = testSigner();
    const first = gate();
    const lost = gate();
    const held = gate();
    let signed = 0;
    const signer = {
      publicKey: plain.publicKey,
      close: () => plain.close(),
      sign: async (message: Uint8Array) => {
        signed++;
        if (signed === 1) {
          await first.passed;
          // From the commit of this record on, the disk holds what is written.
          disk.after = (step) => {
            if (step === 'sync') disk.gate = () => held.passed;
          };
        } else if (signed === 2) {
          // The second record's content is appended and not on disk. Now the disk refuses it.
          disk.before = (step) => {
            disk.before = () => {};
            lost.open();
            throw ioError(step === 'write' ? 'ENOSPC' : 'EIO');
          };
          disk.after = () => {};
          held.open();
          await lost.passed;
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
        return plain.sign(message);
      },
    };
    const { proxy, log } = await setUp({ upstream: provider.url, disk, signer });
    await chat(proxy);
    const text = 'long '.repeat(400_000);
    const body = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: text }] });
    const answer = await chat(proxy, body);
    first.open();
    await log.untilCalls(2);
    expect(log.of(answer.recordId).bodies.get('request.messages')?.includes(text)).toBe(true);
    expect(signed).toBeGreaterThan(2);
    log.checkChain();
  });

  test('of a request that was read back says the same as of one that was in memory', async () => {
    const memories = [{}, { memoryBytes: 10 }, { memoryBytesTotal: 10 }];
    const records = [];
    for (const limits of memories) {
      const provider = await chatProvider();
      const { proxy, log } = await setUp({ upstream: provider.url, limits });
      await chat(proxy);
      const [record] = await log.untilCalls(1);
      records.push({ input: record?.input, model: record?.model, output: record?.output });
    }
    expect(records[1]).toEqual(records[0]);
    expect(records[2]).toEqual(records[0]);
  });

  test('of a hundred calls at once: each has one, in one chain', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    const answers = await Promise.all(Array.from({ length: 100 }, () => chat(proxy)));
    expect(answers.every((a) => a.isWhole && a.body.toString() === STREAM)).toBe(true);
    await log.untilCalls(100);
    expect(new Set(log.calls.map((r) => r.record_id))).toEqual(
      new Set(answers.map((a) => a.recordId)),
    );
    log.checkChain();
  });
});
