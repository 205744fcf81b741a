/**
 * A signer that remembers what it signed, and a log that may die or lose its answer at any step: the batch
 * that it remembers always comes into the log, byte for byte the same, and no other ever does.
 */
import { describe, expect, test } from 'vitest';
import { encodeEntry } from '../../server/core/entry.ts';
import { SteleError } from '../../server/core/errors.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { HeadBook } from '../../server/keys/remote/head-book.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { NO_USAGE } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { Faults, faulty } from './fail.ts';
import {
  append,
  checkWhole,
  createLog,
  Gateway,
  logOptions,
  startLog,
  submit,
  wrappedKeys,
} from './make.ts';
import { MemoryHeads, TestSigner, withSigner } from './test-signer.ts';

const content: StagedContent = { discard: async () => {} };

/** A process that dies before or after a step: from there on nothing that it does has any effect. */
class Death {
  #step: string | undefined;
  #moment: 'before' | 'after' = 'before';
  isDead = false;

  arm(step: string, moment: 'before' | 'after'): void {
    this.#step = step;
    this.#moment = moment;
  }

  async around<T>(step: string, work: () => Promise<T>): Promise<T> {
    const dies = step === this.#step;
    if (this.isDead || (dies && this.#moment === 'before')) throw this.#die();
    const result = await work();
    if (dies) throw this.#die();
    return result;
  }

  #die(): SteleError {
    this.isDead = true;
    return new SteleError('storage', 'the process is dead');
  }
}

interface Machine {
  /** What survives any death of the log's process. */
  readonly store: MemoryStore;
  readonly signer: TestSigner;
  readonly warned: string[];
  /** How a new process opens the log. */
  options(death?: Death): LogOptions<StagedContent>;
}

/** `known` is a signer that is there already, for a log on another machine. */
function machine(known?: TestSigner): Machine {
  const stateFolder = temporaryFolder();
  const store = new MemoryStore();
  const plain = logOptions({ stateFolder, store });
  const signer = known ?? new TestSigner(plain);
  const warned: string[] = [];
  const options = (death?: Death): LogOptions<StagedContent> => {
    const opened = {
      ...withSigner(plain, signer, [new HighWater(stateFolder)]),
      warn: (message: string, error: unknown) => {
        warned.push(error instanceof Error ? `${message}: ${error.message}` : message);
      },
    };
    if (death === undefined) return opened;
    return {
      ...opened,
      store: faulty(store, death),
      commitContent: () => death.around('content', async () => {}),
      keys: wrappedKeys(opened.keys, (key, purpose) =>
        purpose === 'identity'
          ? { ...key, sign: (message) => death.around('sign', () => key.sign(message)) }
          : key,
      ),
      signerMemory: {
        checkThere: () => signer.checkThere(),
        onReturn: (listener) => signer.onReturn(listener),
        extend: (head, prove) => death.around('extend', () => signer.extend(head, prove)),
      },
    };
  };
  return { store, signer, warned, options };
}

describe.each(['content', 'stage', 'extend', 'sign', 'commit'])(
  'a process that dies at %s',
  (step) => {
    test.each(['before', 'after'] as const)(
      '%s it: the next one goes on where it was',
      async (moment) => {
        const { options, signer } = machine();
        const { log, gateway } = await startLog(options());
        const entries = await gateway.many(6);
        await append(log, ...entries.slice(0, 3));
        await log.close();

        const death = new Death();
        const dying = await Log.open(options(death));
        death.arm(step, moment);
        const late = entries.slice(3, 5);
        const admitted = await Promise.all(late.map((entry) => dying.admit(entry)));
        const answers = await dying.submit(admitted.map((one) => ({ admitted: one, content })));
        expect(death.isDead).toBe(true);
        for (const answer of answers) expect(answer).toMatchObject({ code: 'storage' });

        const next = await Log.open(options());
        const isStaged = step !== 'content' && !(step === 'stage' && moment === 'before');
        expect(next.head().size).toBe(isStaged ? 7 : 5);
        await checkWhole(next);
        // Nobody lost anything: what was not answered is asked for again, and has one place.
        expect(await append(next, ...entries)).toEqual([2, 3, 4, 5, 6, 7]);
        expect(next.head().size).toBe(8);
        await checkWhole(next);
        signer.checkSigned();
        await next.close();
        expect(await (await Log.open(options())).entry(leafIndex(5))).toEqual(
          encodeEntry(entries[3]!),
        );
      },
    );
  },
);

describe.each(['stage', 'extend', 'sign', 'commit'])(
  'a creation that is cut short at %s',
  (step) => {
    test.each(['before', 'after'] as const)(
      '%s it is completed with one genesis',
      async (moment) => {
        const { options, signer } = machine();
        const death = new Death();
        death.arm(step, moment);
        await expect(createLog(options(death))).rejects.toMatchObject({ code: 'storage' });

        // As `Logs` does it: where there is a head, there is nothing left to do.
        const again = options();
        const log =
          (await again.store.readHead()) === undefined
            ? await createLog(again)
            : await Log.open(again);
        expect(log.head().size).toBe(1);
        const gateway = new Gateway();
        await log.registerGateway(gateway.signer.publicKey);
        expect(await append(log, await gateway.next())).toEqual([2]);
        await checkWhole(log);
        signer.checkSigned();
      },
    );
  },
);

test('a log of an origin that the signer knows is not begun again', async () => {
  const first = machine();
  await createLog(first.options());
  const second = machine(first.signer);
  await expect(createLog(second.options())).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('was created before'),
  });
});

test('a batch that was staged is in the log with all that it changes', async () => {
  const { options } = machine();
  const { log, gateway } = await startLog(options(), { continuity: 'require' });
  await append(log, await gateway.next());
  await log.close();

  const death = new Death();
  const dying = await Log.open(options(death));
  const other = new Gateway('gateway-2');
  death.arm('sign', 'after');
  await expect(
    dying.registerGateway(other.signer.publicKey, { source: 'gateway-2' }),
  ).rejects.toMatchObject({ code: 'storage' });
  const next = await Log.open(options());
  // The key is registered, and only once, and the sources go on without a hole.
  expect(await next.registerGateway(other.signer.publicKey, { source: 'gateway-2' })).toBe(3);
  expect(await append(next, await other.next(), await gateway.next())).toEqual([4, 5]);
  expect((await next.sources()).map(({ id, holes }) => ({ id, holes }))).toEqual([
    { id: '_log', holes: [] },
    { id: 'gateway-1', holes: [] },
    { id: 'gateway-2', holes: [] },
  ]);
});

describe('a signer that is away', () => {
  test('keeps nobody from reading, takes nothing, and all goes on when it is back', async () => {
    const { options, signer } = machine();
    const { log, gateway } = await startLog(options());
    const entry = await gateway.next();
    signer.isAway = true;
    expect(() => log.checkRoom()).toThrow(
      expect.objectContaining({ code: 'storage', retryAfterS: 2 }),
    );
    expect(await submit(log, entry)).toMatchObject([{ code: 'storage', retryAfterS: 2 }]);
    expect(await log.inclusion(leafIndex(0), treeSize(2))).toHaveLength(1);
    expect(log.head().size).toBe(2);
    signer.comeBack();
    log.checkRoom();
    expect(await submit(log, entry)).toMatchObject([{ index: 2, repeat: false }]);
  });

  test('in the middle of a batch: it is in the log as soon as the signer is back', async () => {
    const { options, signer, store } = machine();
    const { log, gateway } = await startLog(options());
    const entry = await gateway.next();
    const stage = store.stage.bind(store);
    store.stage = async (...batch) => {
      await stage(...batch);
      signer.isAway = true;
    };
    expect(await submit(log, entry)).toMatchObject([{ code: 'storage' }]);
    store.stage = stage;
    const { record_id, source } = (await log.admit(entry)).record!;
    expect(log.isStaged(record_id, source.id)).toBe(true);
    expect(log.isStaged(record_id, 'another')).toBe(false);
    const grown = log.grown(treeSize(2), new AbortController().signal);
    signer.comeBack();
    // Nobody submitted anything since.
    await grown;
    expect(log.isStaged(record_id, source.id)).toBe(false);
    expect(await submit(log, entry)).toMatchObject([{ index: 2, repeat: true }]);
  });

  test('at a start: the log is open for reading, and what was staged waits', async () => {
    const { options, signer, warned } = machine();
    const { log, gateway } = await startLog(options());
    await log.close();
    const death = new Death();
    const dying = await Log.open(options(death));
    death.arm('commit', 'before');
    const entry = await gateway.next();
    const admitted = await dying.admit(entry);
    await dying.submit([{ admitted, content }]);
    signer.isAway = true;
    const next = await Log.open(options());
    expect(next.head().size).toBe(2);
    expect(next.stopped).toBeUndefined();
    expect(warned.join('\n')).toContain('a batch that was staged is not in the log yet');
    const { record_id, source } = admitted.record!;
    expect(next.isStaged(record_id, source.id)).toBe(true);
    const grown = next.grown(treeSize(2), new AbortController().signal);
    signer.comeBack();
    await grown;
    expect(await submit(next, entry)).toMatchObject([{ index: 2, repeat: true }]);
    await checkWhole(next);
  });
});

describe('the signer', () => {
  /** A copy of the log as it is now, on another machine: nobody there knows that the first goes on. */
  async function copied(first: Machine, log: Log): Promise<Machine> {
    const copy = machine(first.signer);
    const head = log.head();
    await copy.store.commit(
      {
        begin: leafIndex(0),
        entries: await log.entries(leafIndex(0), head.size),
        tiles: [],
        lookups: [],
        indexed: treeSize(0),
        control: [leafIndex(0), leafIndex(1)],
        sources: [],
        head,
        usage: NO_USAGE,
      },
      undefined,
    );
    return copy;
  }

  test('signs for one of two logs with one history, and the other stops (P2)', async () => {
    const first = machine();
    const { log, gateway } = await startLog(first.options());
    const copy = await copied(first, log);
    const other = await Log.open(copy.options());
    const [mine, theirs] = await gateway.many(2);
    expect(await append(log, mine!)).toEqual([2]);
    const refused = await submit(other, theirs!);
    expect(refused).toMatchObject([{ code: 'split_view' }]);
    const { message } = refused[0] as SteleError;
    expect(message).toMatch(/a head of 3 entries with root \S+ does not continue .* of 3 entries/);
    expect(other.stopped?.code).toBe('split_view');
    expect(await submit(other, mine!)).toMatchObject([{ code: 'split_view' }]);
    expect(other.head().size).toBe(2);
    // Opened again it is still refused: the first has gone on without it.
    const again = await Log.open(copy.options());
    expect(again.stopped?.message).toContain('another root at size 3 than the one that was signed');
    first.signer.checkSigned();
    await checkWhole(log);
  });

  test('is not led astray by a copy that has grown past it', async () => {
    const first = machine();
    const { log, gateway } = await startLog(first.options());
    const copy = await copied(first, log);
    const other = await Log.open(copy.options());
    const [mine, ...theirs] = await gateway.many(5);
    await append(log, mine!);
    // Four at once: their head is larger than the one that was signed.
    expect(await submit(other, ...theirs)).toMatchObject(
      theirs.map(() => ({ code: 'split_view' })),
    );
    expect(other.stopped?.code).toBe('split_view');
    first.signer.checkSigned();
  });

  test('whose state is an old copy is told of what came since, with a proof', async () => {
    const { options, signer, warned } = machine();
    const { log, gateway } = await startLog(options());
    const old = new Map(signer.heads.kept);
    await append(log, ...(await gateway.many(300)));
    await append(log, await gateway.next());
    await log.close();
    const restored = new MemoryHeads();
    for (const [origin, remembered] of old) restored.kept.set(origin, remembered);
    const stale = new TestSigner(
      logOptions({ stateFolder: temporaryFolder() }),
      new Faults(),
      restored,
    );
    const next = await Log.open(withSigner(options(), stale));
    expect(warned.join('\n')).toContain('the signer remembers 2 of 303 entries');
    expect(next.stopped).toBeUndefined();
    expect(await append(next, await gateway.next())).toEqual([303]);
    expect((await stale.book.newest(log.origin))?.size).toBe(304);
  });

  test('whose state is lost signs nothing until it is told where the log was', async () => {
    const { options } = machine();
    const { log, gateway } = await startLog(options());
    await log.close();
    const plain = logOptions({ stateFolder: temporaryFolder() });
    const blank = new TestSigner(plain);
    const next = await Log.open(withSigner(options(), blank));
    const entry = await gateway.next();
    const [refused] = await submit(next, entry);
    expect(refused).toMatchObject({ code: 'conflict' });
    expect((refused as SteleError).message).toContain('start it once with --expect');
    expect(next.head().size).toBe(2);
    expect(blank.signed).toEqual([]);
    expect(await blank.book.expect(plain.origin, next.head())).toBe('noted');
    expect(await submit(next, entry)).toMatchObject([{ index: 2 }]);
    await checkWhole(next);
  });
});

test('a damaged staged batch stops the log, and what is there can be read', async () => {
  const { options, store } = machine();
  const { log, gateway } = await startLog(options());
  await log.close();
  const death = new Death();
  const dying = await Log.open(options(death));
  death.arm('commit', 'before');
  const entry = await gateway.next();
  await submit(dying, entry);
  const staged = (await store.readStaged())!;
  const [bytes] = staged.entries;
  const spoiled = Uint8Array.from(bytes!);
  // The last digit of the key's ID: another digit, so that the entry reads well and is another.
  spoiled[spoiled.length - 1] = spoiled.at(-1) === 0x30 ? 0x31 : 0x30;
  await store.stage({ ...staged, entries: [spoiled] }, log.head());
  const next = await Log.open(options());
  expect(next.stopped?.message).toContain('does not lead there');
  expect(await submit(next, entry)).toMatchObject([{ code: 'storage' }]);
  expect(await next.entry(leafIndex(1))).toBeInstanceOf(Uint8Array);
});

test('what a signer was asked for comes into the log also once the keys are files again', async () => {
  const { options, store } = machine();
  const { log, gateway } = await startLog(options());
  await log.close();
  const death = new Death();
  const dying = await Log.open(options(death));
  death.arm('commit', 'before');
  const entry = await gateway.next();
  await submit(dying, entry);
  const { signerMemory: _, ...rest } = options();
  const plain = { ...rest, keys: logOptions({ stateFolder: '' }).keys };
  const next = await Log.open(plain);
  expect(next.head().size).toBe(3);
  expect(await store.readStaged()).toBeUndefined();
  expect(await submit(next, entry)).toMatchObject([{ index: 2, repeat: true }]);
  expect(await append(next, await gateway.next())).toEqual([3]);
  await checkWhole(next);
});

test('a head that the signer no longer knows is not published, and the next one is', async () => {
  const { options, signer, warned } = machine();
  const { log, gateway } = await startLog(options());
  await append(log, await gateway.next());
  // Another head came, and the signer was started again: it knows that one alone.
  const { origin } = log;
  const { size, root } = log.head();
  const restarted = new HeadBook(new MemoryHeads());
  await restarted.expect(origin, { size: treeSize(size + 1), root });
  const refuse = () => restarted.checkTaken(origin, log.head()) as Promise<never>;
  const keys = wrappedKeys(signer.keys, (key, purpose) =>
    purpose === 'anchor' ? { ...key, sign: refuse } : key,
  );
  const refusing = { ...options(), keys };
  await log.close();
  const behind = await Log.open(refusing);
  await append(behind, await gateway.next());
  await behind.close();
  expect(behind.published().size).toBe(3);
  expect(warned.join('\n')).toContain('is not among those that were taken lately');
  const next = await Log.open(options());
  expect(next.stopped).toBeUndefined();
  expect(await append(next, await gateway.next())).toEqual([4]);
  await next.close();
  expect(next.published().size).toBe(5);
});
