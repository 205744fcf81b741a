/** The proxy gets another key while calls go on: none is lost, none is said twice, and the chain goes on. */
import { describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { SteleError } from '../../server/core/errors.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { RunningProxy } from '../../server/proxy/proxy.ts';
import { chat, chatProvider } from './calls.ts';
import { FaultDisk } from './fault-disk.ts';
import { gate, ORIGIN, refusal, setUp, TestLog, TestSeries, testSigner } from './harness.ts';

/** Changes the key; resolves to what could not be changed. */
async function change(
  proxy: RunningProxy,
  next: Signer,
  handOver: (log: string, source: string) => Promise<void> | void,
): Promise<string[]> {
  const failures: string[] = [];
  await proxy.changeSigner(next, {
    handOver: async (log, source) => handOver(log, source),
    failed: (log: string, error: SteleError) => failures.push(`${log}: ${error.message}`),
  });
  return failures;
}

/** Who signed each record, in the order of their seqs. */
const signersOf = (log: TestLog) =>
  [...log.logged]
    .sort((a, b) => a.record.source.seq - b.record.source.seq)
    .map(({ entry }) => decodeEntry(entry).signatures[0]?.keyid);

test('what was signed before is in the log before the source is handed over, and calls wait for neither', async () => {
  const provider = await chatProvider();
  const { proxy, log, signer } = await setUp({ upstream: provider.url });
  const hold = gate();
  let isHeld = false;
  log.refuse = async () => {
    if (isHeld) await hold.passed;
  };
  await chat(proxy);
  await log.untilCalls(1);
  isHeld = true;
  await chat(proxy);
  const next = testSigner();
  let atHandOver = 0;
  const changed = change(proxy, next, () => {
    atHandOver = log.calls.length;
    log.handOver(next);
  });
  // The log takes its time with the second call, and meanwhile there is a third.
  await chat(proxy);
  expect(log.calls).toHaveLength(1);
  hold.open();
  expect(await changed).toEqual([]);
  expect(atHandOver).toBe(2);
  await chat(proxy);
  await log.untilCalls(4);
  log.checkChain();
  const [old, newest] = [signer.publicKey.keyid, next.publicKey.keyid];
  expect(signersOf(log)).toEqual([old, old, newest, newest]);
  expect(log.gaps).toEqual([]);
  // Asked again, it only makes sure that the log knows.
  let isAsked = false;
  expect(
    await change(proxy, next, () => {
      isAsked = true;
    }),
  ).toEqual([]);
  expect(isAsked).toBe(true);
});

test('many calls at once: each is logged, by the one key or the other', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url });
  const next = testSigner();
  const calls = Array.from({ length: 60 }, (_, i) => {
    if (i !== 20) return chat(proxy);
    return change(proxy, next, () => log.handOver(next)).then((failures) => {
      expect(failures).toEqual([]);
    });
  });
  await Promise.all(calls);
  await chat(proxy);
  await log.untilCalls(60);
  log.checkChain();
  expect(log.gaps).toEqual([]);
  expect(new Set(log.attempts).size).toBe(log.logged.length);
});

describe('the old key goes on', () => {
  test('while the log takes nothing', async () => {
    const provider = await chatProvider();
    const { proxy, log, signer } = await setUp({ upstream: provider.url });
    let isAway = true;
    log.refuse = () => {
      if (isAway) throw refusal('pushback');
    };
    await chat(proxy);
    const next = testSigner();
    const failures = await change(proxy, next, () => log.handOver(next));
    expect(failures).toEqual([expect.stringMatching(/^default: source .*: 1 records .* wait/)]);
    expect(log.owner).toBe(signer);
    await chat(proxy);
    isAway = false;
    await log.untilCalls(2);
    log.checkChain();
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(0);
    expect(await change(proxy, next, () => log.handOver(next))).toEqual([]);
    await chat(proxy);
    await log.untilCalls(3);
    expect(signersOf(log).at(-1)).toBe(next.publicKey.keyid);
  });

  test('where the log refuses the other one', async () => {
    const provider = await chatProvider();
    const { proxy, log, signer } = await setUp({ upstream: provider.url });
    await chat(proxy);
    await log.untilCalls(1);
    const failures = await change(proxy, testSigner(), () => {
      throw refusal('forbidden');
    });
    expect(failures).toHaveLength(1);
    await chat(proxy);
    await log.untilCalls(2);
    expect(new Set(signersOf(log))).toEqual(new Set([signer.publicKey.keyid]));
  });
});

test('an answer to the hand-over that was lost is asked for again, and nothing is signed meanwhile', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url });
  await chat(proxy);
  await log.untilCalls(1);
  const next = testSigner();
  let asked = 0;
  const failures = await change(proxy, next, async () => {
    asked++;
    log.handOver(next);
    if (asked === 1) {
      // It is in the log, and a call ends before anybody here knows.
      await chat(proxy);
      throw refusal('storage');
    }
  });
  expect(failures).toEqual([]);
  expect(asked).toBe(2);
  await log.untilCalls(2);
  log.checkChain();
  expect(log.gaps).toEqual([]);
});

test('a second change at the same time is refused', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url });
  await chat(proxy);
  await log.untilCalls(1);
  const hold = gate();
  const next = testSigner();
  const first = change(proxy, next, async () => {
    await hold.passed;
    log.handOver(next);
  });
  const second = await change(proxy, testSigner(), () => expect.unreachable());
  expect(second).toEqual([expect.stringContaining('is being changed already')]);
  hold.open();
  expect(await first).toEqual([]);
});

describe('while the log ends and another goes on', () => {
  const NEXT = 'log.example/logs/default-2027';

  test('the source is handed over in the log that it is in by then, and no record is lost', async () => {
    const provider = await chatProvider();
    const signer = testSigner();
    const [old, later] = [new TestLog(signer), new TestLog(signer, NEXT)];
    const series = new TestSeries(old, later);
    const { proxy } = await setUp({ upstream: provider.url, signer, series });
    const ids = [(await chat(proxy)).recordId];
    await old.untilCalls(1);
    // It ends under a record that was signed and sent.
    const hold = gate();
    old.refuse = () => hold.passed;
    ids.push((await chat(proxy)).recordId);
    const next = testSigner();
    const asked: string[] = [];
    const changed = change(proxy, next, (origin) => {
      asked.push(origin);
      later.handOver(next);
    });
    ids.push((await chat(proxy)).recordId);
    old.isEnded = true;
    hold.open();
    expect(await changed).toEqual([]);
    expect(asked).toEqual([NEXT]);
    ids.push((await chat(proxy)).recordId);
    await later.untilCalls(3);
    series.checkChain();
    const logged = series.logs.flatMap(({ calls }) => calls.map(({ record_id }) => record_id));
    expect(logged.toSorted()).toEqual(ids.toSorted());
    const [before, after] = [signer.publicKey.keyid, next.publicKey.keyid];
    expect(signersOf(later)).toEqual([before, after, after]);
  });

  test('one that ended unnoticed refuses, and the old key goes on until the next one is found', async () => {
    const provider = await chatProvider();
    const signer = testSigner();
    const [old, later] = [new TestLog(signer), new TestLog(signer, NEXT)];
    const series = new TestSeries(old, later);
    const { proxy } = await setUp({ upstream: provider.url, signer, series });
    await chat(proxy);
    await old.untilCalls(1);
    old.isEnded = true;
    const next = testSigner();
    const handOver = (origin: string) => {
      if (origin === ORIGIN) throw refusal('frozen');
      later.handOver(next);
    };
    expect(await change(proxy, next, handOver)).toHaveLength(1);
    await chat(proxy);
    await later.untilCalls(1);
    await expect.poll(() => proxy.state().logs.get('default')?.backlog).toBe(0);
    expect(await change(proxy, next, handOver)).toEqual([]);
    await chat(proxy);
    await later.untilCalls(2);
    series.checkChain();
    expect(signersOf(later)).toEqual([signer.publicKey.keyid, next.publicKey.keyid]);
  });
});

describe('a process that ends', () => {
  test('while it changes: the next one signs with the key that the source has', async () => {
    for (const isHandedOver of [false, true]) {
      const provider = await chatProvider();
      const disk = new FaultDisk();
      const { proxy, log, signer, kek } = await setUp({ upstream: provider.url, disk });
      await chat(proxy);
      await log.untilCalls(1);
      const next = testSigner();
      const reached = gate();
      const hold = gate();
      const changed = change(proxy, next, async () => {
        if (isHandedOver) log.handOver(next);
        reached.open();
        await hold.passed;
        throw refusal('storage');
      });
      await reached.passed;
      // Its call has no record yet: the change waits.
      const waiting = await chat(proxy);
      await expect.poll(() => proxy.state().logs.get('default')?.unrecorded).toBe(1);
      const left = disk.reopened('killed');
      const closed = proxy.close();
      hold.open();
      await closed;
      expect(await changed).toHaveLength(1);
      const second = await setUp({
        upstream: provider.url,
        disk: left,
        log,
        kek,
        signer: next,
        signerOf: async () => log.owner,
      });
      await chat(second.proxy);
      await log.untilCalls(3);
      log.checkChain();
      expect(log.calls.map(({ record_id }) => record_id)).toContain(waiting.recordId);
      const expected = isHandedOver ? next : signer;
      expect(signersOf(log).at(-1)).toBe(expected.publicKey.keyid);
      await second.proxy.close();
    }
  });

  test('does not wait for a change', async () => {
    const provider = await chatProvider();
    const { proxy, log } = await setUp({ upstream: provider.url });
    const hold = gate();
    log.refuse = async () => {
      await hold.passed;
      throw refusal('pushback');
    };
    await chat(proxy);
    const changed = change(proxy, testSigner(), () => expect.unreachable());
    const closed = proxy.close();
    hold.open();
    await closed;
    expect(await changed).toHaveLength(1);
  });
});
