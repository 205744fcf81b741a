/**
 * Tree heads for RFC 6962 clients: at most one a second, each later than all before, over restarts, crashes
 * and clocks that go back.
 */
import { createPublicKey, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { equalBytes } from '../../server/core/bytes.ts';
import type { SignedTreeHead } from '../../server/core/ct.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { parseRecord } from '../../server/core/record.ts';
import { Tree } from '../../server/core/tree.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import type { LogKeyring } from '../../server/keys/log-keyring.ts';
import type { Signer } from '../../server/keys/signer.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { temporaryFolder } from '../temporary.ts';
import {
  append,
  checkWhole,
  createLog,
  type Gateway,
  logOptions,
  makeSigner,
  startLog,
  TestClock,
  TestKeys,
} from './make.ts';

/** What became of a signature: the bytes as RFC 6962 lays them out, read by nobody's code but this. */
function read(message: Uint8Array) {
  const view = Buffer.from(message);
  expect(view.length).toBe(50);
  expect(view.readUInt16BE(0)).toBe(1);
  return {
    timeMs: Number(view.readBigUInt64BE(2)),
    size: Number(view.readBigUInt64BE(10)),
    root: view.subarray(18),
  };
}

function messageOf({ timeMs, size, root }: SignedTreeHead): Buffer {
  const message = Buffer.alloc(50);
  message.writeUInt16BE(1, 0);
  message.writeBigUInt64BE(BigInt(timeMs), 2);
  message.writeBigUInt64BE(BigInt(size), 10);
  Buffer.from(root).copy(message, 18);
  return message;
}

/** A signer that keeps what it was asked to sign. */
class Witnessed implements Signer {
  readonly signed: Uint8Array[] = [];
  readonly #signer = makeSigner('ecdsa-p256');
  readonly publicKey = this.#signer.publicKey;
  /** Thrown in place of a signature, or what is made of one. */
  spoil: ((signature: Uint8Array) => Uint8Array) | undefined;

  async sign(message: Uint8Array): Promise<Uint8Array> {
    this.signed.push(message);
    const signature = await this.#signer.sign(message);
    return this.spoil?.(signature) ?? signature;
  }

  async close(): Promise<void> {}
}

/** A store whose tree heads can fail to be kept. */
class FailingStore extends MemoryStore {
  moment: 'never' | 'before' | 'after, reporting failure' = 'never';

  override async keepTreeHead(...args: Parameters<MemoryStore['keepTreeHead']>): Promise<void> {
    if (this.moment === 'before') throw new SteleError('storage', 'the disk is full');
    await super.keepTreeHead(...args);
    if (this.moment !== 'never') throw new SteleError('storage', 'the disk is gone');
  }
}

interface World {
  readonly options: LogOptions<StagedContent>;
  readonly store: FailingStore;
  readonly sth: Witnessed;
  readonly clock: TestClock;
  readonly log: Log;
  readonly gateway: Gateway;
  readonly warnings: string[];
}

async function world(stateFolder = temporaryFolder()): Promise<World> {
  const warnings: string[] = [];
  const sth = new Witnessed();
  const clock = new TestClock();
  const store = new FailingStore();
  const keys = new TestKeys();
  keys.made.set('sth 1', sth);
  const warn = (message: string) => warnings.push(message);
  const options = logOptions({ stateFolder, keys, clock, store, warn });
  return { options, store, sth, clock, warnings, ...(await startLog(options)) };
}

/** Verified by node:crypto over bytes that are put together here; the root is derived from the entries. */
async function checkHolds(log: Log, head: SignedTreeHead, { publicKey }: Signer): Promise<void> {
  const key = createPublicKey({ key: Buffer.from(publicKey.spki), format: 'der', type: 'spki' });
  const { signature } = head;
  expect([...signature.subarray(0, 4)]).toEqual([4, 3, 0, signature.length - 4]);
  expect(verify('sha256', messageOf(head), key, signature.subarray(4))).toBe(true);
  const entries = await log.entries(leafIndex(0), treeSize(head.size));
  const { tree } = Tree.empty().append(entries.map(leafHash));
  expect(equalBytes(tree.root(), head.root)).toBe(true);
}

/** Of somebody who holds no key for tree heads. */
function withoutTreeHeads(keys: LogKeyring): LogKeyring {
  return {
    open: (...which) => keys.open(...which),
    next: async (purpose, number) => {
      if (purpose === 'sth') throw new SteleError('not_found', 'there is no such key');
      return keys.next(purpose, number);
    },
  };
}

const code = (name: string) => expect.objectContaining({ code: name }) as Error;

describe('a tree head', () => {
  test('is of the newest entries, and is signed when somebody asks', async () => {
    const { log, gateway, sth, clock } = await world();
    await append(log, await gateway.next());
    expect(sth.signed).toEqual([]);
    const first = await log.treeHead();
    expect(first).toMatchObject({ size: 3, timeMs: clock.ms });
    await append(log, await gateway.next());
    clock.ms += 1_000;
    const second = await log.treeHead();
    expect(second).toMatchObject({ size: 4, timeMs: clock.ms });
    for (const head of [first, second]) await checkHolds(log, head, sth);
  });

  test('is signed at most once a second, however many ask', async () => {
    const { log, gateway, sth, clock } = await world();
    const all = new Set<SignedTreeHead>();
    for (let i = 0; i < 50; i++) {
      for (const one of await Promise.all([log.treeHead(), log.treeHead(), log.treeHead()])) {
        all.add(one);
      }
      await append(log, await gateway.next());
      clock.ms += 100;
    }
    expect(sth.signed.length).toBe(5);
    expect(all.size).toBe(5);
    const times = sth.signed.map((message) => read(message).timeMs);
    for (const [i, time] of times.slice(1).entries()) {
      expect(time - times[i]!).toBeGreaterThanOrEqual(1_000);
    }
  });

  test('stays the same while the clock stands still', async () => {
    const { log, gateway, sth } = await world();
    const first = await log.treeHead();
    for (let i = 0; i < 5; i++) {
      await append(log, await gateway.next());
      expect(await log.treeHead()).toBe(first);
    }
    expect(sth.signed.length).toBe(1);
  });

  test('is of a committed head only', async () => {
    const { log, gateway, store, sth } = await world();
    const commit = store.commit.bind(store);
    let asked: SignedTreeHead | undefined;
    store.commit = async (batch, expected) => {
      asked = await log.treeHead();
      await commit(batch, expected);
      store.commit = commit;
    };
    await append(log, await gateway.next());
    expect(asked).toMatchObject({ size: 2 });
    expect(log.head().size).toBe(3);
    await checkHolds(log, asked!, sth);
  });

  test('has no time before the head that it is of', async () => {
    const { log, gateway, clock } = await world();
    clock.ms += 400;
    await append(log, await gateway.next());
    clock.ms -= 300;
    expect((await log.treeHead()).timeMs).toBe(log.head().timeMs);
    clock.ms -= 1_000_000;
    const other = await world();
    other.clock.ms -= 5_000;
    await expect(other.log.treeHead()).rejects.toThrow(code('storage'));
    expect(other.sth.signed).toEqual([]);
  });
});

describe('when the clock goes back', () => {
  test('by less than a second, the last one is served', async () => {
    const { log, clock, sth } = await world();
    const first = await log.treeHead();
    clock.ms -= 999;
    expect(await log.treeHead()).toBe(first);
    clock.ms += 1_998;
    expect(await log.treeHead()).toBe(first);
    clock.ms += 1;
    expect((await log.treeHead()).timeMs).toBe(first.timeMs + 1_000);
    expect(sth.signed.length).toBe(2);
  });

  test('by more, none is, until it has caught up', async () => {
    const { log, clock, sth, gateway } = await world();
    clock.ms += 60_000;
    const first = await log.treeHead();
    clock.ms -= 30_000;
    await expect(log.treeHead()).rejects.toMatchObject({ code: 'storage', retryAfterS: 30 });
    await append(log, await gateway.next());
    clock.ms += 29_000;
    await expect(log.treeHead()).rejects.toMatchObject({ code: 'storage', retryAfterS: 1 });
    clock.ms += 1;
    expect(await log.treeHead()).toBe(first);
    clock.ms += 1_999;
    expect(await log.treeHead()).toMatchObject({ size: 3, timeMs: first.timeMs + 1_000 });
    expect(sth.signed.length).toBe(2);
  });

  test('by years, nobody is told to wait for years', async () => {
    const { log, clock } = await world();
    await log.treeHead();
    clock.ms -= 10 * 365 * 86_400_000;
    await expect(log.treeHead()).rejects.toMatchObject({ retryAfterS: 3_600 });
  });

  test('while a key is asked, the time is the one that was read first', async () => {
    const { log, clock, sth } = await world();
    const first = await log.treeHead();
    clock.ms += 1_000;
    sth.spoil = (signature) => {
      clock.ms -= 5_000;
      return signature;
    };
    expect((await log.treeHead()).timeMs).toBe(first.timeMs + 1_000);
    await expect(log.treeHead()).rejects.toThrow(code('storage'));
  });
});

describe('after a restart', () => {
  test('the last one is served, and the next is later', async () => {
    const { log, options, clock, sth } = await world();
    const first = await log.treeHead();
    await log.close();
    const opened = await Log.open(options);
    expect(await opened.treeHead()).toEqual(first);
    clock.ms += 999;
    expect(await opened.treeHead()).toEqual(first);
    expect(sth.signed.length).toBe(1);
    clock.ms += 1;
    expect((await opened.treeHead()).timeMs).toBe(first.timeMs + 1_000);
  });

  test('with a clock that went back, none is signed', async () => {
    const { log, options, clock, sth } = await world();
    clock.ms += 10_000;
    const first = await log.treeHead();
    await log.close();
    clock.ms -= 5_000;
    const opened = await Log.open(options);
    await expect(opened.treeHead()).rejects.toMatchObject({ code: 'storage', retryAfterS: 5 });
    expect(sth.signed.length).toBe(1);
    clock.ms += 6_000;
    expect((await opened.treeHead()).timeMs).toBe(first.timeMs + 1_000);
  });

  test.each(['before', 'after, reporting failure'] as const)(
    'that followed a crash %s keeping one, times go on rising',
    async (moment) => {
      const { log, options, store, clock, sth } = await world();
      store.moment = moment;
      await expect(log.treeHead()).rejects.toThrow(code('storage'));
      // Nobody closes what crashed.
      store.moment = 'never';
      const opened = await Log.open(options);
      const first = await opened.treeHead();
      clock.ms += 1_000;
      const second = await opened.treeHead();
      expect(second.timeMs).toBe(first.timeMs + 1_000);
      for (const head of [first, second]) await checkHolds(opened, head, sth);
    },
  );

  test.each(['the signature', 'the root', 'the time', 'the size'])(
    'one that is damaged on disk (%s) is not served, and its time still counts',
    async (what) => {
      const { log, options, store, clock, warnings, sth } = await world();
      const first = await log.treeHead();
      await log.close();
      const spoiled: SignedTreeHead = {
        'the signature': { ...first, signature: first.signature.with(20, 1) },
        'the root': { ...first, root: first.root.with(0, first.root[0]! ^ 1) as typeof first.root },
        'the time': { ...first, timeMs: first.timeMs + 1 },
        'the size': { ...first, size: treeSize(1) },
      }[what]!;
      store.readTreeHead = async () => spoiled;
      const opened = await Log.open(options);
      await expect(opened.treeHead()).rejects.toMatchObject({ code: 'storage', retryAfterS: 1 });
      expect(warnings).toEqual([expect.stringContaining('its last tree head is damaged')]);
      clock.ms += 1_001;
      const next = await opened.treeHead();
      expect(next.timeMs).toBe(clock.ms);
      await checkHolds(opened, next, sth);
      expect(warnings.length).toBe(1);
    },
  );

  test('one of another history is not served', async () => {
    const other = await world();
    await append(other.log, await other.gateway.next());
    const { log, options, store, sth } = await world();
    await log.close();
    const foreign = { ...(await other.log.treeHead()), size: treeSize(2) };
    const signature = await sth.sign(messageOf(foreign));
    const head = Uint8Array.of(4, 3, 0, signature.length);
    const signed = { ...foreign, signature: Buffer.concat([head, signature]) };
    store.readTreeHead = async () => signed;
    const opened = await Log.open(options);
    await expect(opened.treeHead()).rejects.toThrow('damaged');
  });
});

describe('where one cannot be signed or kept', () => {
  test.each(['before', 'after, reporting failure'] as const)(
    'since the disk fails %s that, the last one is served (P9), and nothing of the other gets out',
    async (moment) => {
      const { log, gateway, store, clock, warnings, sth } = await world();
      const first = await log.treeHead();
      await append(log, await gateway.next());
      store.moment = moment;
      clock.ms += 1_000;
      for (let i = 0; i < 3; i++) expect(await log.treeHead()).toBe(first);
      expect(warnings.length).toBe(1);
      store.moment = 'never';
      clock.ms += 999;
      expect(await log.treeHead()).toBe(first);
      clock.ms += 1;
      const next = await log.treeHead();
      expect(next).toMatchObject({ size: 3, timeMs: first.timeMs + 2_000 });
      expect(sth.signed.length).toBe(3);
      await checkHolds(log, next, sth);
    },
  );

  test('and there was none before, that is said, once for each second', async () => {
    const { log, store, clock, sth } = await world();
    store.moment = 'before';
    for (let i = 0; i < 4; i++) {
      await expect(log.treeHead()).rejects.toThrow('the disk is full');
      clock.ms += 500;
    }
    expect(sth.signed.length).toBe(2);
    store.moment = 'never';
    expect((await log.treeHead()).timeMs).toBe(clock.ms);
  });

  test.each([
    ['of another message', (signature: Uint8Array) => signature.with(12, signature[12]! ^ 1)],
    ['that is none', () => new Uint8Array(70)],
    [
      'whose key is away',
      () => {
        throw new SteleError('storage', 'the key service is away');
      },
    ],
  ])('a signature %s is never given out', async (_, spoil) => {
    const { log, clock, sth } = await world();
    sth.spoil = spoil;
    await expect(log.treeHead()).rejects.toThrow(code('storage'));
    sth.spoil = undefined;
    clock.ms += 1_000;
    await checkHolds(log, await log.treeHead(), sth);
  });

  test('a failed fsync ends the process (P9)', async () => {
    const fatal: Error[] = [];
    const base = logOptions({ stateFolder: temporaryFolder() });
    const store = new MemoryStore();
    store.keepTreeHead = () => Promise.reject(new Error('fsync failed'));
    const { log } = await startLog({ ...base, store, fatal: (error) => fatal.push(error) });
    await expect(log.treeHead()).rejects.toThrow('fsync failed');
    expect(fatal.map(({ message }) => message)).toEqual(['fsync failed']);
  });

  test('a later one that somebody else kept is a second history', async () => {
    const { log, store } = await world();
    store.keepTreeHead = () => Promise.reject(new SteleError('conflict', 'not later'));
    await expect(log.treeHead()).rejects.toThrow(code('split_view'));
  });
});

test('a log whose history is in doubt signs none (P2)', async () => {
  const { log, options, gateway, sth, clock } = await world();
  await append(log, await gateway.next());
  await log.treeHead();
  await log.close();
  // Yesterday's store under today's memory.
  const old = await world(temporaryFolder());
  await old.log.close();
  const opened = await Log.open({ ...old.options, memories: options.memories });
  expect(opened.stopped?.code).toBe('split_view');
  clock.ms += 10_000;
  await expect(opened.treeHead()).rejects.toThrow(code('split_view'));
  expect(old.sth.signed).toEqual([]);
  expect(sth.signed.length).toBe(1);
});

describe('a log that has ended', () => {
  test('still signs what it is, with a new time', async () => {
    const { log, options, clock, sth } = await world();
    await log.finish({ reason: 'done' });
    const { size } = log.head();
    const first = await log.treeHead();
    expect(first.size).toBe(size);
    await log.close();
    const opened = await Log.open(options);
    clock.ms += 3_600_000;
    const next = await opened.treeHead();
    expect(next).toMatchObject({ size, timeMs: clock.ms });
    await checkHolds(opened, next, sth);
  });

  test('before it had a key for that signs none, and opens without a word', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const log = await createLog({ ...options, keys: withoutTreeHeads(options.keys) });
    await log.finish({ reason: 'done' });
    await log.close();
    const opened = await Log.open(options);
    await expect(opened.treeHead()).rejects.toThrow(code('frozen'));
  });
});

test('a log that is closed signs none, and waits for one that is being signed', async () => {
  const { log, store, clock } = await world();
  const keep = store.keepTreeHead.bind(store);
  let isKept = false;
  const asked = Promise.withResolvers<void>();
  store.keepTreeHead = async (...args) => {
    asked.resolve();
    await new Promise((resolve) => setImmediate(resolve));
    await keep(...args);
    isKept = true;
  };
  store.close = async () => expect(isKept).toBe(true);
  const answer = log.treeHead();
  await asked.promise;
  await log.close();
  expect((await answer).timeMs).toBe(clock.ms);
  clock.ms += 5_000;
  await expect(log.treeHead()).rejects.toThrow('is closed');
});

test('whatever happens, those that get out rise by a second or more, and are of one history', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('wait' as const), ms: fc.integer({ min: -3_000, max: 3_000 }) }),
    fc.constant({ do: 'ask' as const }),
    fc.constant({ do: 'append' as const }),
    fc.constant({ do: 'restart' as const }),
    fc.constant({ do: 'crash' as const }),
    fc.record({
      do: fc.constant('disk' as const),
      moment: fc.constantFrom(
        'never' as const,
        'before' as const,
        'after, reporting failure' as const,
      ),
    }),
  );
  // Clock and disk change; what holds must hold under all of it. Fast-check prints the seed.
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.context(), async (steps, context) => {
      const { log, options, store, sth, clock, gateway } = await world(temporaryFolder());
      let open = log;
      const given: SignedTreeHead[] = [];
      for (const one of steps) {
        if (one.do === 'wait') clock.ms += one.ms;
        else if (one.do === 'append') await append(open, await gateway.next());
        else if (one.do === 'disk') store.moment = one.moment;
        else if (one.do === 'crash') open = await Log.open(options);
        else if (one.do === 'restart') {
          await open.close();
          open = await Log.open(options);
        } else {
          const answer = await open.treeHead().catch((error: unknown) => {
            expect(error).toMatchObject({ code: 'storage' });
          });
          context.log(`${clock.ms}: ${answer?.timeMs}`);
          if (answer !== undefined) given.push(answer);
        }
      }
      for (const [i, head] of given.slice(1).entries()) {
        const before = given[i]!;
        if (head.timeMs === before.timeMs) expect(head).toEqual(before);
        else expect(head.timeMs - before.timeMs).toBeGreaterThanOrEqual(1_000);
        expect(head.size).toBeGreaterThanOrEqual(before.size);
      }
      for (const head of given) await checkHolds(open, head, sth);
      for (const message of sth.signed) read(message);
    }),
    { numRuns: 60 },
  );
});

describe('the key of tree heads', () => {
  test('signs nothing but tree heads in the life of a log', async () => {
    const { log, options, gateway, sth, clock } = await world();
    for (let i = 0; i < 5; i++) {
      await append(log, await gateway.next());
      clock.ms += 1_000;
      if (i % 2 === 0) await log.treeHead();
    }
    await log.registerGateway(makeSigner().publicKey);
    await log.close();
    const opened = await Log.open(options);
    await opened.receipt(leafIndex(1));
    clock.ms += 1_000;
    await opened.treeHead();
    await opened.close();
    expect(sth.signed.map((message) => read(message).size)).toEqual([3, 5, 7, 8]);
  });

  test('is announced by a record where genesis does not list it, once', async () => {
    const keys = new TestKeys();
    const options = logOptions({ stateFolder: temporaryFolder(), keys });
    const created = await createLog({ ...options, keys: withoutTreeHeads(options.keys) });
    await created.close();
    const { publicKey } = keys.key('sth');
    for (let i = 0; i < 3; i++) {
      const log = await Log.open(options);
      await log.treeHead();
      expect(log.head().size).toBe(2);
      const [entry] = await log.entries(leafIndex(1), treeSize(2));
      expect(parseRecord(decodeEntry(entry!).payload)).toMatchObject({
        kind: 'key',
        source: { id: '_log' },
        key: { action: 'rotate', purpose: 'sth', keyid: publicKey.keyid },
      });
      await checkWhole(log);
      await log.close();
    }
  });

  test('is announced before the first tree head, also by a log that was just created', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    let isThere = false;
    const absent = withoutTreeHeads(options.keys);
    const keys: LogKeyring = {
      open: (...which) => options.keys.open(...which),
      next: (...which) => (isThere ? options.keys : absent).next(...which),
    };
    const log = await createLog({ ...options, keys });
    isThere = true;
    const heads = await Promise.all([log.treeHead(), log.treeHead(), log.treeHead()]);
    expect(heads.map(({ size }) => size)).toEqual([2, 2, 2]);
    expect(log.head().size).toBe(2);
  });

  test('is announced later where the log has no room when it is opened', async () => {
    let isFull = false;
    const warnings: string[] = [];
    const options = logOptions({
      stateFolder: temporaryFolder(),
      checkSpace: () => {
        if (isFull) throw new SteleError('storage', 'the disk is full');
      },
      warn: (message) => warnings.push(message),
    });
    const created = await createLog({ ...options, keys: withoutTreeHeads(options.keys) });
    await created.close();
    isFull = true;
    const log = await Log.open(options);
    expect(warnings).toEqual([expect.stringContaining('not announced yet')]);
    expect((await log.entries(leafIndex(0), treeSize(1))).length).toBe(1);
    await expect(log.treeHead()).rejects.toThrow('the disk is full');
    isFull = false;
    expect(await log.treeHead()).toMatchObject({ size: 2 });
  });

  test('is the one that the log announced, or the log signs nothing', async () => {
    const keys = new TestKeys();
    const options = logOptions({ stateFolder: temporaryFolder(), keys });
    const log = await createLog(options);
    await log.close();
    keys.made.set('sth 1', makeSigner('ecdsa-p256'));
    const opened = await Log.open(options);
    expect(opened.stopped).toMatchObject({ code: 'storage' });
    await expect(opened.treeHead()).rejects.toThrow('log test signs nothing: sth key 1 is not');
  });

  test('is never a gateway’s, and is revoked as none', async () => {
    const { log, sth } = await world();
    const { publicKey } = sth;
    await expect(log.registerGateway(publicKey)).rejects.toThrow(code('forbidden'));
    await expect(log.revokeGateway(publicKey.keyid)).rejects.toThrow(code('not_found'));
  });
});
