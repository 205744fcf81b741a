/** Under load the proxy signs windows, at low load single entries; a window is of one log and one key. */
import { expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { chat, chatProvider } from './calls.ts';
import { FaultDisk } from './fault-disk.ts';
import {
  gate,
  ORIGIN,
  refusal,
  setUp,
  TestLog,
  TestSeries,
  temporaryFolder,
  testSigner,
} from './harness.ts';

/** A signer that counts, and waits where a test wants it. */
function counting(): {
  readonly signer: Signer;
  readonly signed: () => number;
  before: () => Promise<void>;
} {
  const inner = testSigner();
  let count = 0;
  const counted = {
    signed: () => count,
    before: async () => {},
    signer: {
      ...inner,
      sign: async (message: Uint8Array) => {
        await counted.before();
        count++;
        return inner.sign(message);
      },
    },
  };
  return counted;
}

test('calls that come one by one are signed one by one', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url });
  for (let n = 1; n <= 3; n++) {
    await chat(proxy);
    await log.untilCalls(n);
  }
  expect(log.windows).toEqual([undefined, undefined, undefined]);
});

test('calls that come together share a signature, and each entry verifies alone', async () => {
  const provider = await chatProvider();
  const { signer, signed } = counting();
  const { proxy, log } = await setUp({
    upstream: provider.url,
    signer,
    timeouts: { gatherMs: 100 },
  });
  await Promise.all(Array.from({ length: 40 }, () => chat(proxy)));
  // The log checks the signature of every entry against its own path.
  await log.untilCalls(40);
  log.checkChain();
  const windows = log.windows.filter((window) => window !== undefined);
  expect(windows.length).toBeGreaterThan(20);
  expect(signed()).toBeLessThan(20);
});

test('more than a window takes are several windows', async () => {
  const provider = await chatProvider();
  const { signer, before, ...counted } = counting();
  const { proxy, log } = await setUp({
    upstream: provider.url,
    signer,
    timeouts: { gatherMs: 20 },
  });
  const calls = 150;
  await Promise.all(Array.from({ length: calls }, () => chat(proxy)));
  await log.untilCalls(calls);
  log.checkChain();
  const sizes = log.windows.map((window) => window?.size ?? 1);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(64);
  expect(counted.signed()).toBeGreaterThanOrEqual(3);
});

test('an answer waits neither for the signature nor for the log', async () => {
  const provider = await chatProvider();
  const held = counting();
  const hold = gate();
  held.before = () => hold.passed;
  const { proxy, log } = await setUp({ upstream: provider.url, signer: held.signer });
  const answers = await Promise.all(Array.from({ length: 5 }, () => chat(proxy)));
  expect(answers.every(({ isWhole, status }) => isWhole && status === 200)).toBe(true);
  expect(log.attempts).toEqual([]);
  hold.open();
  await log.untilCalls(5);
  log.checkChain();
});

test('the key is changed in the middle of a load: each window is signed by one key', async () => {
  const provider = await chatProvider();
  const { proxy, log } = await setUp({ upstream: provider.url, timeouts: { gatherMs: 20 } });
  const next = testSigner();
  const calls = Array.from({ length: 60 }, () => chat(proxy));
  await log.untilCalls(1);
  const more = Array.from({ length: 30 }, () => chat(proxy));
  const failures: string[] = [];
  await proxy.changeSigner(next, {
    handOver: async () => log.handOver(next),
    failed: (name, error) => failures.push(`${name}: ${error.message}`),
  });
  more.push(...Array.from({ length: 30 }, () => chat(proxy)));
  await Promise.all([...calls, ...more]);
  // A path that leads to another window's root would not verify: the log checks each.
  await log.untilCalls(120);
  expect(failures).toEqual([]);
  log.checkChain();
  const byWindow = new Map<string, Set<string>>();
  for (const { entry } of log.logged) {
    const [signature] = decodeEntry(entry).signatures;
    const sig = Buffer.from(signature?.sig ?? []).toString('hex');
    byWindow.set(sig, (byWindow.get(sig) ?? new Set()).add(signature?.keyid ?? ''));
  }
  expect([...byWindow.values()].every((keys) => keys.size === 1)).toBe(true);
  expect(new Set([...byWindow.values()].flatMap((keys) => [...keys])).size).toBe(2);
});

test('a crash between the signature and the log says no number twice', async () => {
  const provider = await chatProvider();
  const disk = new FaultDisk();
  const signer = testSigner();
  const log = new TestLog(signer);
  // The log took some of the window, and its answers were lost.
  let answers = 0;
  const submit = log.submit.bind(log);
  log.submit = async (entry, content) => {
    const done = await submit(entry, content);
    if (++answers > 3) return done;
    throw refusal('storage');
  };
  const first = await setUp({
    upstream: provider.url,
    disk,
    signer,
    log,
    timeouts: { gatherMs: 100, retryMs: 60_000 },
    limits: { inFlight: 3 },
  });
  await Promise.all(Array.from({ length: 10 }, () => chat(first.proxy)));
  await log.until(() => answers === 3);
  const found = disk.reopened('killed');
  const second = await setUp({
    upstream: provider.url,
    disk: found,
    signer,
    log,
    kek: first.kek,
    dir: temporaryFolder(),
  });
  await log.untilCalls(10);
  await chat(second.proxy);
  await log.untilCalls(11);
  log.checkChain();
  expect(new Set(log.logged.map(({ record }) => record.record_id)).size).toBe(11);
  expect(log.gaps).toEqual([]);
});

test('what a log that ended does not have is signed in windows of the next one', async () => {
  const provider = await chatProvider();
  const signer = testSigner();
  const first = new TestLog(signer);
  const second = new TestLog(signer, `${ORIGIN}-2`);
  const series = new TestSeries(first, second);
  const { proxy } = await setUp({
    upstream: provider.url,
    signer,
    log: first,
    series,
    timeouts: { gatherMs: 50 },
  });
  await chat(proxy);
  await first.untilCalls(1);
  first.isEnded = true;
  await Promise.all(Array.from({ length: 20 }, () => chat(proxy)));
  // The second log checks every path against its own origin.
  await second.untilCalls(20);
  series.checkChain();
  expect(second.windows.filter((window) => window !== undefined).length).toBeGreaterThan(10);
});
