/**
 * Every step of an append is failed before it happens, after it happened, and after it happened while
 * reporting that it did not. Then the log goes on, is opened again, and is held to what it answered. All
 * of it with keys that sign what they are given, and with keys of a signer that remembers.
 */
import { describe, expect, test } from 'vitest';
import { encodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { Memories, type Memory } from '../../server/log/memories.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { FsyncFailed } from '../../server/storage/sqlite/database.ts';
import type { LogStore } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { Faults, faulty, type Moment } from './fail.ts';
import { checkWhole, Gateway, logOptions, ORIGIN, startLog, submit, wrappedKeys } from './make.ts';
import { TestSigner, withSigner } from './test-signer.ts';

interface World {
  readonly options: LogOptions<StagedContent>;
  readonly faults: Faults;
  readonly log: Log;
  readonly gateway: Gateway;
}

async function world(remembering = false): Promise<World> {
  const faults = new Faults();
  const plain = logOptions({ stateFolder: temporaryFolder() });
  const base = remembering ? withSigner(plain, new TestSigner(plain, faults)) : plain;
  const options: LogOptions<StagedContent> = {
    ...base,
    store: faulty(new MemoryStore(), faults),
    warn: () => {},
    commitContent: () => faults.around('content', async () => {}),
    keys: wrappedKeys(base.keys, (signer, purpose) =>
      purpose === 'identity' ? faultySigner(signer, faults) : signer,
    ),
  };
  return { options, faults, ...(await startLog(options)) };
}

function faultySigner(signer: Signer, faults: Faults): Signer {
  return {
    publicKey: signer.publicKey,
    sign: (message) => faults.around('sign', () => signer.sign(message)),
    close: () => signer.close(),
  };
}

const STEPS = ['findCandidates', 'content', 'sign', 'commit', 'publish'] as const;
const STAGED_STEPS = ['findCandidates', 'content', 'stage', 'extend', 'sign', 'commit', 'publish'];
const MOMENTS: readonly Moment[] = ['before', 'after', 'after, reporting failure'];
const content: StagedContent = { discard: async () => {} };

describe.each([
  ...STEPS.map((step) => ({ step, remembering: false })),
  ...STAGED_STEPS.map((step) => ({ step, remembering: true })),
])('when $step fails (a signer that remembers: $remembering)', ({ step, remembering }) => {
  test.each(MOMENTS)('%s, no answer is broken and nothing is lost', async (moment) => {
    const { options, faults, log, gateway } = await world(remembering);
    const answered = new Map<string, number>();
    const entries = await gateway.many(6);
    for (const [i, entry] of entries.entries()) {
      if (i === 2) faults.arm(step, moment);
      const admitted = await log.admit(entry);
      const [submitted] = await log.submit([{ admitted, content }]);
      if (submitted instanceof SteleError || submitted === undefined) {
        expect(i).toBe(2);
        expect(submitted?.code).toBe('storage');
      } else {
        answered.set(Buffer.from(encodeEntry(entry)).toString('hex'), submitted.index);
      }
    }
    expect(answered.size).toBeGreaterThanOrEqual(5);
    await checkWhole(log);

    const opened = await Log.open(options);
    await checkWhole(opened);
    for (const [hex, index] of answered) {
      expect(Buffer.from(await opened.entry(leafIndex(index))).toString('hex')).toBe(hex);
    }
    // Submitted again, everything has one place, and what was refused gets one now.
    const again = await submit(opened, ...entries);
    const indexes = again.map((s) => (s instanceof SteleError ? s.message : s.index));
    expect(new Set(indexes).size).toBe(entries.length);
    for (const [i, entry] of entries.entries()) {
      const index = answered.get(Buffer.from(encodeEntry(entry)).toString('hex'));
      if (index !== undefined) expect(indexes[i]).toBe(index);
    }
    expect(opened.head().size).toBe(2 + entries.length);
    await checkWhole(opened);
  });
});

test('when a head cannot be remembered outside the data folder, nobody gets it before it can', async () => {
  const file = new HighWater(temporaryFolder());
  let isAway = false;
  const memory: Memory = {
    kind: 'high-water',
    isLocal: true,
    placeOf: (origin) => file.placeOf(origin),
    recall: (origin) => file.recall(origin),
    remember: (head) => {
      if (isAway) throw new SteleError('storage', 'the state folder is away');
      file.remember(head);
    },
  };
  const { log, gateway } = await startLog(
    logOptions({ stateFolder: temporaryFolder(), memories: new Memories([memory]) }),
  );
  const [first, second] = await gateway.many(2);
  const { size } = log.head();
  isAway = true;
  expect(await submit(log, first!)).toMatchObject([{ code: 'storage' }]);
  expect(await submit(log, second!)).toMatchObject([{ code: 'storage' }]);
  expect(log.head().size).toBe(size);
  expect(log.published().size).toBeLessThanOrEqual(size);
  isAway = false;
  // What was committed is part of the log, and its submitter gets its place.
  expect(await submit(log, second!)).toMatchObject([{ repeat: false, index: size + 1 }]);
  expect(await submit(log, first!)).toMatchObject([{ repeat: true, index: size }]);
  expect((await file.recall(ORIGIN))?.size).toBe(log.head().size);
  await checkWhole(log);
});

describe('when the outcome of a commit cannot be read', () => {
  test.each(['before', 'after, reporting failure'] as const)(
    'and it failed %s, the next batch settles it first',
    async (moment) => {
      const { faults, log, gateway } = await world();
      const [first, second] = await gateway.many(2);
      const admitted = await log.admit(first!);
      faults.arm('commit', moment);
      const failing = log.submit([{ admitted }]);
      // Armed again as soon as the commit has used the first: reading the head fails too.
      queueMicrotask(function arm() {
        faults.arm('commit', moment);
      });
      await failing;
      expect(await submit(log, second!)).toMatchObject([{ repeat: false }]);
      expect((await submit(log, first!))[0]).not.toBeInstanceOf(SteleError);
      expect(log.head().size).toBe(4);
      await checkWhole(log);
    },
  );

  test('and the head cannot be read either, nothing is accepted until it can', async () => {
    const store = new MemoryStore();
    let unreadable = false;
    let lying = false;
    const broken: LogStore = new Proxy(store, {
      get(target, name: keyof LogStore) {
        const method = target[name] as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          if (name === 'readHead' && unreadable) throw new SteleError('storage', 'unreadable');
          const result = await method.apply(target, args);
          if (name === 'commit' && lying) throw new SteleError('storage', 'reported as failed');
          return result;
        };
      },
    });
    const { log, gateway } = await startLog(
      logOptions({ stateFolder: temporaryFolder(), store: broken }),
    );
    const [first, second] = await gateway.many(2);
    unreadable = true;
    lying = true;
    expect(await submit(log, first!)).toMatchObject([{ code: 'storage' }]);
    expect(await submit(log, second!)).toMatchObject([{ code: 'storage' }]);
    unreadable = false;
    lying = false;
    expect(await submit(log, second!)).toMatchObject([{ index: 3, repeat: false }]);
    expect(await submit(log, first!)).toMatchObject([{ index: 2, repeat: true }]);
    await checkWhole(log);
  });
});

describe('the log stops', () => {
  test('for good when somebody else appended (P2), and reads go on', async () => {
    const store = new MemoryStore();
    const stateFolder = temporaryFolder();
    const { log, gateway } = await startLog(logOptions({ stateFolder, store }));
    const stranger = new Gateway('gateway-2');
    await log.registerGateway(stranger.signer.publicKey);
    const other = await Log.open(logOptions({ stateFolder, store }));
    await submit(other, await gateway.next());
    const entry = await stranger.next();
    expect(await submit(log, entry)).toMatchObject([{ code: 'split_view' }]);
    expect(await submit(log, entry)).toMatchObject([{ code: 'split_view' }]);
    expect(await log.entry(leafIndex(1))).toBeInstanceOf(Uint8Array);
    expect(log.head().size).toBe(3);
  });

  test('and the process ends after a failed fsync (P9)', async () => {
    const store = new MemoryStore();
    const fatal: Error[] = [];
    const { log, gateway } = await startLog(
      logOptions({ stateFolder: temporaryFolder(), store, fatal: (error) => fatal.push(error) }),
    );
    store.commit = async () => {
      throw new FsyncFailed('log.db', { cause: new Error('EIO') });
    };
    const [first, second] = await gateway.many(2);
    expect(await submit(log, first!)).toMatchObject([{ code: 'storage' }]);
    expect(fatal).toMatchObject([{ name: 'FsyncFailed' }]);
    expect(await submit(log, second!)).toMatchObject([{ code: 'storage' }]);
  });

  test('before signing when an entry changed since it was admitted', async () => {
    const fatal: Error[] = [];
    const { log, gateway } = await startLog(
      logOptions({ stateFolder: temporaryFolder(), fatal: (error) => fatal.push(error) }),
    );
    const admitted = await log.admit(await gateway.next());
    admitted.bytes[admitted.bytes.length - 1]! ^= 1;
    expect(await log.submit([{ admitted }])).toMatchObject([{ code: 'storage' }]);
    expect(fatal).toMatchObject([{ name: 'Bug' }]);
    expect(log.head().size).toBe(2);
  });
});

describe('pushback', () => {
  test('comes before the queue outgrows its bytes, and says when to come again', async () => {
    const { log, gateway } = await startLog(
      logOptions({
        stateFolder: temporaryFolder(),
        limits: { queueBytes: 1_000, queueAgeMs: 5_000 },
      }),
    );
    const admitted = await Promise.all((await gateway.many(4)).map((entry) => log.admit(entry)));
    const waiting = log.submit(admitted.map((one) => ({ admitted: one })));
    expect(() => log.checkRoom()).toThrowError(/bytes are waiting/);
    expect(await waiting).toHaveLength(4);
    expect(() => log.checkRoom()).not.toThrow();
  });

  test('a full disk refuses entries, and they are taken again when there is room (P9)', async () => {
    let full = false;
    const { log, gateway } = await startLog(
      logOptions({
        stateFolder: temporaryFolder(),
        checkSpace: () => {
          if (full) throw new SteleError('storage', 'the disk is full', { retryAfterS: 30 });
        },
      }),
    );
    const entry = await gateway.next();
    full = true;
    expect(await submit(log, entry)).toMatchObject([{ code: 'storage', retryAfterS: 30 }]);
    expect(await log.inclusion(leafIndex(0), treeSize(2))).toHaveLength(1);
    full = false;
    expect(await submit(log, entry)).toMatchObject([{ index: 2 }]);
  });
});
