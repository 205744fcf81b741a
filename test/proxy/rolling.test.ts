/** The log of a source ends and another goes on: no call fails, and no record is lost, doubled or out of its chain. */
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { Backlog, type Waiting } from '../../server/proxy/backlog.ts';
import { FRAME } from '../../server/proxy/journal/frame.ts';
import { scanJournal } from '../../server/proxy/journal/scan.ts';
import { Rolling } from '../../server/proxy/rolling.ts';
import { chat, chatProvider, STREAM } from './calls.ts';
import { FaultDisk } from './fault-disk.ts';
import {
  gate,
  ORIGIN,
  refusal,
  type Setup,
  setUp,
  TestLog,
  TestSeries,
  temporaryFolder,
  testSigner,
} from './harness.ts';

const NEXT = 'log.example/logs/default-2027';
const LATER = 'log.example/logs/default-2028';

function seriesOf(...origins: string[]) {
  const signer = testSigner();
  const logs = origins.map((origin) => new TestLog(signer, origin));
  return { signer, series: new TestSeries(...logs), logs };
}

/** Every call that was answered is on record once, with its content, in whichever log. */
function checkCalls({ logs }: TestSeries, ids: readonly string[]): void {
  const all = logs.flatMap(({ logged }) => logged);
  const calls = all.filter(({ record }) => record.kind === 'inference');
  expect(calls.map(({ record }) => record.record_id).toSorted()).toEqual(ids.toSorted());
  for (const { record, bodies } of calls) {
    expect(bodies.get('response.body')?.toString(), record.record_id).toBe(STREAM);
    expect(bodies.get('request.body'), record.record_id).toBeDefined();
  }
}

/** Every call that was begun is in a log. */
function idle({ proxy }: Setup) {
  const left = () => {
    const {
      open_calls = -1,
      unrecorded = -1,
      backlog = -1,
    } = proxy.state().logs.get('default') ?? {};
    return open_calls + unrecorded + backlog;
  };
  return expect.poll(left, { timeout: 30_000 }).toBe(0);
}

describe('a roll', () => {
  test('while calls run fails none of them, and each is on record once', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT, LATER);
    const set = await setUp({ upstream: provider.url, signer, series });
    const ids: string[] = [];
    const calls = Array.from({ length: 8 }, async () => {
      for (let i = 0; i < 25; i++) {
        const answer = await chat(set.proxy);
        expect(answer).toMatchObject({ status: 200, isWhole: true });
        ids.push(answer.recordId);
      }
    });
    for (const [i, log] of logs.slice(0, -1).entries()) {
      await log.until(() => log.calls.length > 20);
      log.isEnded = true;
      expect(i).toBeLessThan(2);
    }
    await Promise.all(calls);
    await idle(set);
    checkCalls(series, ids);
    series.checkChain();
    expect(logs.every(({ logged }) => logged.length > 0)).toBe(true);
    expect(set.proxy.state().logs.get('default')?.log).toBe(LATER);
    expect(set.lines.join()).toContain('the log has ended');
  });

  test('before the next log is there keeps calls going, and their records on disk', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN);
    const set = await setUp({ upstream: provider.url, signer, series });
    const ids = [(await chat(set.proxy)).recordId];
    await logs[0]?.untilCalls(1);
    (logs[0] as TestLog).isEnded = true;
    for (let i = 0; i < 10; i++) ids.push((await chat(set.proxy)).recordId);
    const state = () => set.proxy.state().logs.get('default');
    await expect.poll(() => state()?.log_error, { timeout: 30_000 }).toContain('being made');
    await expect.poll(() => state()?.backlog, { timeout: 30_000 }).toBe(10);
    expect(state()?.log).toBe(ORIGIN);
    series.logs.push(new TestLog(signer, NEXT));
    await idle(set);
    checkCalls(series, ids);
    series.checkChain();
    // The chain goes on with the number behind the last.
    expect(series.logs[1]?.calls.map(({ source }) => source.seq)).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    expect(set.proxy.state().logs.get('default')?.log_error).toBeUndefined();
  });

  test('of a record that was kept out while later ones got in gives it a new number, and a gap', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
    const [old] = logs as [TestLog, TestLog];
    const set = await setUp({ upstream: provider.url, signer, series });
    let isKept = true;
    old.refuse = (record) => {
      if (isKept && (record.source.seq === 1 || record.source.seq === 3)) throw refusal('pushback');
    };
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) ids.push((await chat(set.proxy)).recordId);
    await old.untilCalls(4);
    const made = gate();
    series.before = () => made.passed;
    old.isEnded = true;
    isKept = false;
    for (let i = 0; i < 2; i++) ids.push((await chat(set.proxy)).recordId);
    const waiting = () => set.proxy.state().logs.get('default')?.backlog;
    await expect.poll(waiting, { timeout: 30_000 }).toBe(4);
    made.open();
    await idle(set);
    await series.logs[1]?.until(() => (series.logs[1]?.gaps.length ?? 0) === 2);
    checkCalls(series, ids);
    series.checkChain();
    expect(series.logs[1]?.gaps).toMatchObject([
      { reason: 'rolled-over', seq_from: 1, seq_to: 1 },
      { reason: 'rolled-over', seq_from: 3, seq_to: 3 },
    ]);
    const again = series.logs[1]?.calls.map(({ source, record_id }) => [source.seq, record_id]);
    // What was made for the old log and never sent keeps its number: it is of no other statement.
    expect(again).toEqual([
      [6, ids[6]],
      [7, ids[7]],
      [8, ids[1]],
      [9, ids[3]],
    ]);
  });

  test('asks the old log what it has, where answers were lost', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
    const [old, next] = logs as [TestLog, TestLog];
    const submit = old.submit.bind(old);
    let isLosing = true;
    old.submit = async (...args) => {
      const answer = await submit(...args);
      if (isLosing) throw new SteleError('storage', 'the answer was lost');
      return answer;
    };
    const set = await setUp({ upstream: provider.url, signer, series });
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push((await chat(set.proxy)).recordId);
    await old.untilCalls(5);
    old.isEnded = true;
    isLosing = false;
    ids.push((await chat(set.proxy)).recordId);
    await idle(set);
    expect(old.calls).toHaveLength(5);
    expect(next.calls).toHaveLength(1);
    checkCalls(series, ids);
    series.checkChain();
  });

  test('that cannot be proven is not followed, and is tried again', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
    let lies = 4;
    series.before = () => {
      if (lies-- > 0) throw new SteleError('unverified', 'the seam does not hold');
    };
    (logs[0] as TestLog).isEnded = true;
    const set = await setUp({ upstream: provider.url, signer, series });
    const ids = [(await chat(set.proxy)).recordId];
    await idle(set);
    expect(series.asked).toBe(5);
    checkCalls(series, ids);
    expect(set.lines.join()).not.toContain('set aside');
  });

  test('of a long backlog asks for few of them, and moves them all', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
    const [old, next] = logs as [TestLog, TestLog];
    old.refuse = () => {
      throw refusal('storage');
    };
    const disk = new FaultDisk();
    const limits = { segmentBytes: 20_000 };
    const set = await setUp({ upstream: provider.url, signer, series, disk, limits });
    const ids: string[] = [];
    for (let i = 0; i < 150; i++) ids.push((await chat(set.proxy)).recordId);
    const before = old.attempts.length;
    const segments = disk.files.size;
    old.refuse = () => {};
    old.isEnded = true;
    await idle(set);
    // As many as are ever in flight can be missing before one that is there.
    expect(old.attempts.length - before).toBeLessThan(100);
    expect(old.logged).toEqual([]);
    expect(next.calls).toHaveLength(150);
    checkCalls(series, ids);
    series.checkChain();
    await expect.poll(() => disk.files.size, { timeout: 30_000 }).toBeLessThan(segments / 4);
  });

  test('while the proxy is down is seen by the next start', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT, LATER);
    const [old, next] = logs as [TestLog, TestLog];
    const disk = new FaultDisk();
    const first = await setUp({ upstream: provider.url, signer, series, disk });
    const ids = [(await chat(first.proxy)).recordId];
    await old.untilCalls(1);
    old.refuse = () => {
      throw refusal('storage');
    };
    for (let i = 0; i < 3; i++) ids.push((await chat(first.proxy)).recordId);
    await first.proxy.close();
    old.refuse = () => {};
    old.isEnded = true;
    next.isEnded = true;
    const second = await setUp({
      upstream: provider.url,
      signer,
      series,
      kek: first.kek,
      // The frames that say what was logged were not synced.
      disk: disk.reopened('power-cut'),
    });
    ids.push((await chat(second.proxy)).recordId);
    await idle(second);
    expect(old.calls).toHaveLength(1);
    expect(next.logged).toEqual([]);
    checkCalls(series, ids);
    series.checkChain();
  });
});

describe('crash', () => {
  /** Calls, a log that ends with one of them in it and others on their way, and calls again. */
  async function live(set: Setup, series: TestSeries): Promise<string[]> {
    const [old, next] = series.logs as [TestLog, TestLog];
    const ids: string[] = [];
    const call = async () => {
      const answer = await chat(set.proxy);
      if (answer.isWhole && answer.status === 200) ids.push(answer.recordId);
    };
    await call();
    await old.untilCalls(1);
    // The first of the two is kept out, so that it is late.
    const first = old.logged.length;
    old.refuse = (record) => {
      if (record.source.seq === first) throw refusal('pushback');
    };
    await Promise.all([call(), call()]);
    await old.untilCalls(2);
    old.refuse = () => {};
    old.isEnded = true;
    await call();
    await next.untilCalls(2);
    await next.until(() => next.gaps.length === 1);
    return ids;
  }

  async function steps(): Promise<number> {
    const provider = await chatProvider();
    const disk = new FaultDisk();
    const { signer, series } = seriesOf(ORIGIN, NEXT);
    const set = await setUp({ upstream: provider.url, signer, series, disk });
    await live(set, series);
    await set.proxy.close();
    return disk.steps.length;
  }

  test('at every step of a roll leaves every call on record once, in one chain', {
    timeout: 240_000,
  }, async () => {
    const count = await steps();
    expect(count).toBeGreaterThan(25);
    const provider = await chatProvider();
    for (const mode of ['killed', 'power-cut'] as const) {
      for (let n = 0; n < count; n++) {
        const where = `${mode} after step ${n} of ${count}`;
        const disk = new FaultDisk();
        const { signer, series } = seriesOf(ORIGIN, NEXT);
        let found: FaultDisk | undefined;
        const later = new TestSeries(new TestLog(signer, ORIGIN), new TestLog(signer, NEXT));
        disk.after = (_step, at) => {
          if (at !== n || found !== undefined) return;
          found = disk.reopened(mode);
          for (const [i, log] of later.logs.entries()) {
            log.logged.push(...(series.logs[i]?.logged ?? []));
            log.isEnded = series.logs[i]?.isEnded === true;
          }
        };
        const first = await setUp({ upstream: provider.url, signer, series, disk });
        const ids = await live(first, series);
        await first.proxy.close();
        if (found === undefined) continue;
        // What was answered before the crash; the rest of the life was another world's.
        const known = new Set(later.logs.flatMap(({ calls }) => calls.map((c) => c.record_id)));
        (later.logs[0] as TestLog).isEnded = true;
        const second = await setUp({
          upstream: provider.url,
          signer,
          series: later,
          disk: found,
          kek: first.kek,
        });
        const last = await chat(second.proxy);
        await expect
          .poll(
            () => later.logs.some((log) => log.calls.some((c) => c.record_id === last.recordId)),
            {
              timeout: 20_000,
            },
          )
          .toBe(true);
        await second.proxy.close();
        const all = later.logs.flatMap(({ logged }) => logged);
        const calls = all.flatMap(({ record }) => (record.kind === 'inference' ? [record] : []));
        const found2 = new Set(calls.map(({ record_id }) => record_id));
        expect(found2.size, where).toBe(calls.length);
        for (const id of known) expect(found2.has(id), where).toBe(true);
        for (const { source, record_id } of calls) {
          if (source.completeness !== 'full' || !ids.includes(record_id)) continue;
          const one = all.find(({ record }) => record.record_id === record_id);
          expect(one?.bodies.get('response.body')?.toString(), where).toBe(STREAM);
        }
        const bySource = Map.groupBy(all, ({ record }) => record.source.id);
        for (const logged of bySource.values()) {
          const own = new TestSeries(new TestLog(signer, ORIGIN));
          own.logs[0]?.logged.push(...logged);
          try {
            own.checkChain();
          } catch (cause) {
            throw new Error(where, { cause });
          }
        }
      }
    }
  });
});

describe('a journal', () => {
  test.each([
    ['in the middle', 75, { seq_from: 75, seq_to: 75 }],
    ['at the end', 79, { seq_from: 79, seq_to: 79 }],
  ])(
    'with a rotten record %s takes all others to the next log, and a gap says so',
    async (_, at, missing) => {
      const provider = await chatProvider();
      const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
      const [old, next] = logs as [TestLog, TestLog];
      const disk = new FaultDisk();
      old.refuse = () => {
        throw refusal('storage');
      };
      // It is read from the disk, where it rots.
      const limits = { recentBytes: 0 };
      const set = await setUp({ upstream: provider.url, signer, series, disk, limits });
      const ids: string[] = [];
      for (let i = 0; i < 80; i++) ids.push((await chat(set.proxy)).recordId);
      const waiting = () => set.proxy.state().logs.get('default')?.backlog;
      await expect.poll(waiting, { timeout: 30_000 }).toBe(80);
      const records: number[] = [];
      await scanJournal(disk.reopened('killed'), (frame, position) => {
        if (frame.type === FRAME.record) records.push(position);
      });
      // One that was never sent, so that nothing but the roll reads it.
      const rotten = records[at] as number;
      const [file] = [...disk.files.values()];
      if (file === undefined) throw new Error('no segment');
      file.written[rotten + 200] = (file.written[rotten + 200] ?? 0) ^ 0xff;
      old.refuse = () => {};
      old.isEnded = true;
      await idle(set);
      await next.until(() => next.gaps.length > 0);
      expect(next.gaps).toMatchObject([{ reason: 'unreadable-record', ...missing, count: 1 }]);
      series.checkChain();
      expect(next.calls.map(({ record_id }) => record_id)).toEqual(ids.filter((__, i) => i !== at));
      expect(set.lines.join()).toContain('a record cannot be read back');
    },
  );

  test('that lost the frame of a roll says the same by its records', async () => {
    const provider = await chatProvider();
    const { signer, series, logs } = seriesOf(ORIGIN, NEXT);
    const [old, next] = logs as [TestLog, TestLog];
    const disk = new FaultDisk();
    old.refuse = () => {
      throw refusal('storage');
    };
    const first = await setUp({ upstream: provider.url, signer, series, disk });
    const ids: string[] = [];
    for (let i = 0; i < 80; i++) ids.push((await chat(first.proxy)).recordId);
    old.refuse = () => {};
    old.isEnded = true;
    next.refuse = () => {
      throw refusal('storage');
    };
    // The first 64 are made anew, and the rest is not yet.
    const rolledAt = async () => {
      let at = -1;
      await scanJournal(disk.reopened('killed'), (frame, position) => {
        if (frame.type === FRAME.rolled) at = position;
      });
      return at;
    };
    await expect.poll(rolledAt, { timeout: 20_000 }).toBeGreaterThan(0);
    const at = await rolledAt();
    const rotten = disk.reopened('killed');
    const [file] = [...rotten.files.values()];
    if (file === undefined) throw new Error('no segment');
    file.written[at + 40] = (file.written[at + 40] ?? 0) ^ 0xff;
    const later = new TestSeries(new TestLog(signer, ORIGIN), new TestLog(signer, NEXT));
    (later.logs[0] as TestLog).isEnded = true;
    const second = await setUp({
      upstream: provider.url,
      signer,
      series: later,
      disk: rotten,
      kek: first.kek,
      dir: temporaryFolder(),
    });
    ids.push((await chat(second.proxy)).recordId);
    await idle(second);
    const calls = later.logs.flatMap(({ logged }) =>
      logged.filter(({ record }) => record.kind === 'inference'),
    );
    expect(new Set(calls.map(({ record }) => record.record_id))).toEqual(new Set(ids));
    expect(later.logs[0]?.logged).toEqual([]);
  });
});

describe('what is made anew', () => {
  const fill = (count: number) => {
    const all: Waiting[] = [];
    const find = async (first: number, last: number) =>
      all.filter(({ position }) => position >= first && position <= last);
    const backlog = new Backlog({ blockRecords: 10, loadedMax: 20, find });
    for (let i = 0; i < count; i++) {
      all.push({ position: 10 * i, begin: 10 * i - 5 });
      backlog.push({ position: 10 * i, begin: 10 * i - 5 });
    }
    return { backlog, all };
  };

  test('comes in order, the late ones last, however much of it was forgotten', async () => {
    const { backlog, all } = fill(200);
    const rolling = new Rolling();
    const late = [all[0], all[3]] as Waiting[];
    rolling.begin(backlog, late);
    expect(backlog.count).toBe(0);
    expect(await backlog.head(5)).toEqual([]);
    expect(rolling.count).toBe(200);
    expect(rolling.floor).toBe(-5);
    const seen: number[] = [];
    for (let some = await rolling.head(7); some.length > 0; some = await rolling.head(7)) {
      for (const position of some) rolling.done(position);
      seen.push(...some);
    }
    const kept = all.filter((one) => !late.includes(one)).map(({ position }) => position);
    expect(seen).toEqual([...kept, 0, 30]);
    expect(rolling.count).toBe(0);
    expect(rolling.floor).toBe(Number.POSITIVE_INFINITY);
  });

  test('is told in order by a journal that is read, without being found again', async () => {
    const { backlog, all } = fill(200);
    const rolling = new Rolling();
    rolling.begin(backlog, []);
    for (const { position } of all.slice(0, 137)) rolling.done(position);
    expect(rolling.count).toBe(63);
    expect(await rolling.head(3)).toEqual([1370, 1380, 1390]);
    // Twice is once.
    rolling.done(1360);
    expect(rolling.count).toBe(63);
  });
});
