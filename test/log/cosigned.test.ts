/** Heads with what witnesses said of them: kept, published, served, and believed only as far as they verify. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { SteleError } from '../../server/core/errors.ts';
import { formatNote, parseNote } from '../../server/core/note.ts';
import { parsePolicy } from '../../server/core/policy.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import type { Cosignature } from '../../server/core/tlog-witness.ts';
import { leafIndex } from '../../server/core/units.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { cosignaturesOn, type LogWitnesses } from '../../server/log/cosigned.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { Memories } from '../../server/log/memories.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { logKey, mldsaKey, type TestKey, witnessKey } from '../core/note-keys.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, checkWhole, type Gateway, logOptions, startLog, TestClock } from './make.ts';

const a = witnessKey('a.example', 1, 1_767_225_600);
const b = mldsaKey('b.example', 2, 1_767_225_601);
const c = witnessKey('c.example', 3, 1_767_225_602);
const POLICY = `witness a ${a.key.text}\nwitness b ${b.key.text}\nwitness c ${c.key.text}\ngroup two 2 a b c\n`;

interface Shown {
  readonly fail: 'open' | 'closed';
  readonly policy?: string;
}

/** A log with witnesses, which may be opened again on what it has on disk. */
class Witnessed {
  readonly store = new MemoryStore();
  readonly clock = new TestClock();
  readonly grown: number[] = [];
  readonly warnings: string[] = [];
  readonly #state = temporaryFolder();
  log!: Log;
  gateway!: Gateway;
  witnesses: LogWitnesses | undefined;

  static async start(shown: Shown): Promise<Witnessed> {
    const world = new Witnessed();
    world.set(shown);
    const { log, gateway } = await startLog(world.#options());
    world.log = log;
    world.gateway = gateway;
    onTestFinished(() => world.log.close());
    return world;
  }

  set({ fail, policy = `${POLICY}quorum two\n` }: Shown): void {
    const grown = (size: number) => this.grown.push(size);
    this.witnesses = { fail, policy: parsePolicy(utf8(policy)), grown };
  }

  async reopen(): Promise<void> {
    await this.log.close();
    this.log = await Log.open(this.#options());
  }

  #options(): LogOptions<StagedContent> {
    const { store, clock } = this;
    return logOptions({
      store,
      clock,
      memories: new Memories([new HighWater(this.#state)]),
      stateFolder: this.#state,
      witnesses: () => this.witnesses,
      warn: (message) => this.warnings.push(message),
    });
  }

  async append(count = 1): Promise<void> {
    await append(this.log, ...(await this.gateway.many(count)));
  }

  /** Shows the newest head to these, and brings their lines back. */
  async cosign(...keys: readonly TestKey[]): Promise<Head> {
    const head = await this.log.headToShow();
    await this.log.cosigned(head, linesOf(head, ...keys));
    return head;
  }
}

function linesOf({ checkpoint }: Head, ...keys: readonly TestKey[]): Cosignature[] {
  const { text } = parseNote(utf8(checkpoint));
  return keys.map((one) => ({ key: one.key, line: one.line(text), time: 1 }));
}

/** Whose lines a note has, each verified. */
function signersOf({ log }: Witnessed, { checkpoint }: { checkpoint?: string }): string[] {
  const own = log.ownKeys().map(({ key }) => key);
  const keys = [...own, a.key, b.key, c.key];
  return openCheckpoint(utf8(checkpoint ?? ''), log.origin, keys).verified.map(({ name }) => name);
}

describe('with fail: open', () => {
  test('a head is published at once, and again with each line that it gets', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const { log } = world;
    const head = await log.headToShow();
    expect(log.published()).toBe(head);
    expect(signersOf(world, head)).toEqual([log.origin, log.origin]);
    await log.cosigned(head, linesOf(head, c));
    expect(signersOf(world, log.checkpoint())).toEqual([log.origin, log.origin, 'c.example']);
    await log.cosigned(head, linesOf(head, a, b));
    expect(signersOf(world, log.checkpoint())).toEqual([
      ...[log.origin, log.origin, 'c.example', 'a.example', 'b.example'],
    ]);
    expect(log.checkpoint().size).toBe(head.size);
    await checkWhole(log);
  });

  test('a head that was cosigned is kept for good, whatever is published in its hour', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const first = await world.cosign(a);
    await world.append();
    const second = await world.cosign(a, b);
    await world.append();
    await world.log.headToShow();
    await world.reopen();
    for (const { size } of [first, second]) {
      const kept = await world.log.headAt(size);
      expect(signersOf(world, kept)).toContain('a.example');
    }
  });

  test('lines that come when a newer head is published are kept with theirs', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const slow = await world.log.headToShow();
    await world.append();
    const newer = await world.log.headToShow();
    await world.log.cosigned(slow, linesOf(slow, a, b));
    expect(world.log.published()).toBe(newer);
    expect(signersOf(world, await world.log.headAt(slow.size))).toContain('b.example');
    expect(world.log.witnessed?.size).toBe(slow.size);
  });

  test('a line by the same key takes the place of the one before', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const head = await world.cosign(witnessKey('a.example', 1, 5));
    await world.log.cosigned(head, linesOf(head, witnessKey('a.example', 1, 9)));
    const own = world.log.ownKeys().map(({ key }) => key);
    expect(cosignaturesOn(world.log.checkpoint().checkpoint, own)).toEqual([
      { name: 'a.example', keyId: a.key.keyId, time: 9 },
    ]);
  });

  test('whoever asks is told of growth, and of nothing while there is none', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    await world.log.headToShow();
    const told = world.grown.length;
    expect(world.grown.at(-1)).toBe(2);
    await world.log.headToShow();
    await world.log.publishNow();
    expect(world.grown).toHaveLength(told);
    await world.append(3);
    await world.log.headToShow();
    expect(world.grown.slice(told)).toEqual([5]);
  });

  test('an append waits for no witness', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    world.witnesses = undefined;
    await world.append();
    expect(world.log.head().size).toBe(3);
  });
});

describe('with fail: closed', () => {
  test('nothing is published before its quorum, and then that very head is', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    const { log } = world;
    expect(log.isHeldBack).toBe(true);
    expect(() => log.checkpoint()).toThrow(expect.objectContaining({ code: 'not_yet' }));
    const head = await world.cosign(a);
    expect(log.isHeldBack).toBe(true);
    await log.cosigned(head, linesOf(head, b));
    expect(log.checkpoint().size).toBe(head.size);
    expect(signersOf(world, log.checkpoint())).toEqual([
      ...[log.origin, log.origin, 'a.example', 'b.example'],
    ]);
    await world.append();
    await log.headToShow();
    expect(log.checkpoint().size).toBe(head.size);
    await world.cosign(c);
    expect(log.checkpoint().size).toBe(head.size);
    await world.cosign(a);
    expect(log.checkpoint().size).toBe(head.size + 1);
  });

  test('a head that was kept and could not be published is, once its lines are brought again', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    const head = await world.log.headToShow();
    const lines = linesOf(head, a, b);
    const fails = vi
      .spyOn(world.store, 'publish')
      .mockRejectedValueOnce(new SteleError('storage', 'no space'));
    await expect(world.log.cosigned(head, lines)).rejects.toMatchObject({ code: 'storage' });
    expect(world.log.isHeldBack).toBe(true);
    fails.mockRestore();
    // The same as after a crash between the two.
    await world.reopen();
    await world.log.cosigned(head, lines);
    expect(world.log.checkpoint().size).toBe(head.size);
    expect(signersOf(world, world.log.checkpoint())).toContain('b.example');
  });

  test('entries are logged and answered with receipts all the same', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    await world.append(5);
    expect(world.log.isHeldBack).toBe(true);
    expect(parseReceipt(await world.log.receipt(leafIndex(6))).index).toBe(6);
  });

  test('a third line is added to the head that is served', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    const head = await world.cosign(a, b);
    await world.log.cosigned(head, linesOf(head, c));
    expect(signersOf(world, world.log.checkpoint())).toContain('c.example');
  });

  test('a quorum that comes for an older head does not take the newer one away', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    const slow = await world.log.headToShow();
    await world.append();
    const newer = await world.cosign(a, b);
    await world.log.cosigned(slow, linesOf(slow, a, b));
    expect(world.log.checkpoint().size).toBe(newer.size);
    expect(signersOf(world, await world.log.headAt(slow.size))).toContain('b.example');
  });

  test('what is served is the same after a restart', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    await world.cosign(a, b);
    const served = world.log.checkpoint().checkpoint;
    await world.append();
    await world.reopen();
    expect(world.log.checkpoint().checkpoint).toBe(served);
    expect(world.log.witnessed?.checkpoint).toBe(served);
  });

  test('a head of before, without the quorum, is not served; nor is ever a smaller one', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const old = await world.cosign(a, b);
    await world.append(4);
    const published = await world.log.headToShow();
    await world.log.close();
    world.set({ fail: 'closed' });
    await world.reopen();
    expect(world.log.isHeldBack).toBe(true);
    await world.log.cosigned(old, linesOf(old, c));
    expect(world.log.isHeldBack).toBe(true);
    await world.cosign(b, c);
    expect(world.log.checkpoint().size).toBe(published.size);
  });

  test('a log that comes to be shown to witnesses while it is open serves no head without them', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    world.witnesses = undefined;
    await world.append();
    const before = await world.log.publishNow();
    expect(world.log.checkpoint().size).toBe(before.size);
    world.set({ fail: 'closed' });
    expect(world.log.isHeldBack).toBe(true);
    expect(() => world.log.checkpoint()).toThrow(expect.objectContaining({ code: 'not_yet' }));
    await world.cosign(a);
    expect(world.log.isHeldBack).toBe(true);
    await world.cosign(b);
    expect(signersOf(world, world.log.checkpoint())).toContain('b.example');
  });

  test('a log that is not shown to witnesses publishes as any', async () => {
    const world = await Witnessed.start({ fail: 'closed' });
    await world.log.close();
    world.witnesses = undefined;
    await world.reopen();
    await world.log.headToShow();
    expect(world.log.checkpoint().size).toBe(2);
  });
});

describe('the newest witnessed head', () => {
  test('is the one of the receipts that it covers', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    await world.append(3);
    const head = await world.cosign(a, b);
    await world.append(2);
    await world.log.headToShow();
    const under = async (index: number) =>
      parseNote(utf8(parseReceipt(await world.log.receipt(leafIndex(index))).checkpoint)).text;
    const { text } = parseNote(utf8(head.checkpoint));
    expect(await under(0)).toBe(text);
    expect(await under(head.size - 1)).toBe(text);
    expect(await under(head.size)).not.toBe(text);
  });

  test('is found again among those that were kept, by the policy of today', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const enough = await world.cosign(a, b);
    await world.append();
    await world.cosign(c);
    await world.reopen();
    expect(world.log.witnessed?.size).toBe(enough.size);
    world.set({ fail: 'open', policy: `witness c ${c.key.text}\nquorum c\n` });
    await world.reopen();
    expect(world.log.witnessed?.size).toBe(enough.size + 1);
    world.set({ fail: 'open', policy: `${POLICY}group all all two\nquorum all\n` });
    await world.reopen();
    expect(world.log.witnessed?.size).toBe(enough.size);
  });

  test('needs somebody’s cosignature also where no quorum is asked for', async () => {
    const world = await Witnessed.start({ fail: 'open', policy: `${POLICY}quorum none\n` });
    await world.log.headToShow();
    expect(world.log.witnessed).toBeUndefined();
    const head = await world.cosign(c);
    expect(world.log.witnessed?.size).toBe(head.size);
  });

  test('wakes those who wait for their entry to be covered, and no others', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    const signal = new AbortController();
    const covered = world.log.whenWitnessed(leafIndex(1), signal.signal);
    const beyond = world.log.whenWitnessed(leafIndex(2), signal.signal);
    await world.cosign(a);
    await world.cosign(b);
    await covered;
    signal.abort();
    await expect(beyond).rejects.toThrow();
  });
});

describe('what a store gives back', () => {
  async function spoiled(change: (head: Head) => Head): Promise<Witnessed> {
    const world = await Witnessed.start({ fail: 'open' });
    await world.cosign(a, b);
    await world.log.close();
    const { store } = world;
    const [kept] = await store.readKept(Number.MAX_SAFE_INTEGER, 1);
    const published = await store.readPublished();
    if (kept === undefined || published === undefined) throw new Error('nothing is kept');
    store.readKept = async () => [change(kept)];
    store.readPublished = async () => change(published);
    await world.reopen();
    return world;
  }
  const withLine = (head: Head, by: TestKey, text: string): Head => {
    const note = parseNote(utf8(head.checkpoint));
    const others = note.signatures.filter(({ name }) => name !== by.key.name);
    const signatures = [...others, by.line(text)];
    return { ...head, checkpoint: formatNote({ ...note, signatures }) };
  };

  test('is served where it verifies', async () => {
    const world = await spoiled((head) => head);
    expect(signersOf(world, world.log.checkpoint())).toContain('a.example');
    expect(world.warnings).toEqual([]);
  });

  test.each([
    ['a', a],
    ['b', b],
  ] as const)('is not served with a line of %s over another text', async (_, by) => {
    const other = 'log.example/logs/test\n9\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n';
    const world = await spoiled((head) => withLine(head, by, other));
    expect(world.log.witnessed).toBeUndefined();
    expect(world.warnings.join()).toContain('its published head is damaged');
    // A new head is published in its place.
    const head = await world.log.headToShow();
    expect(signersOf(world, head)).toEqual([world.log.origin, world.log.origin]);
  });

  test('is passed over where it is no note at all', async () => {
    const world = await Witnessed.start({ fail: 'open' });
    await world.cosign(a, b);
    await world.log.close();
    const [kept] = await world.store.readKept(Number.MAX_SAFE_INTEGER, 1);
    world.store.readKept = async () => [{ ...(kept as Head), checkpoint: 'rubbish' }, kept as Head];
    await world.reopen();
    expect(world.log.witnessed?.checkpoint).toBe(kept?.checkpoint);
    expect(world.warnings).toHaveLength(1);
  });

  test('is not served with another root, whoever signed that', async () => {
    const text = `log.example/logs/test\n2\n${'B'.repeat(42)}A=\n`;
    const world = await spoiled((head) => {
      const signatures = [logKey('log.example/logs/test', 9), a, b].map((key) => key.line(text));
      return { ...head, checkpoint: formatNote({ text, signatures }) };
    });
    expect(world.log.witnessed).toBeUndefined();
  });
});

test('a head of a log that was stopped is neither shown nor published', async () => {
  const world = await Witnessed.start({ fail: 'open' });
  const head = await world.log.headToShow();
  world.log.stop(new SteleError('split_view', 'two histories'));
  await expect(world.log.headToShow()).rejects.toMatchObject({ code: 'split_view' });
  const served = world.log.published().checkpoint;
  await world.log.cosigned(head, linesOf(head, a, b));
  expect(world.log.published().checkpoint).toBe(served);
});

test('a note has no more lines than a note may have', async () => {
  const world = await Witnessed.start({ fail: 'open' });
  const head = await world.log.headToShow();
  const many = Array.from({ length: 99 }, (_, i) => witnessKey(`w${i}.example`, 1));
  await expect(world.log.cosigned(head, linesOf(head, ...many))).rejects.toMatchObject({
    code: 'too_large',
  });
  expect(world.log.published()).toBe(head);
});
