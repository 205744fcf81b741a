/** What every log store must do, run against each implementation. */
import { describe, expect, test } from 'vitest';
import type { SignedTreeHead } from '../../server/core/ct.ts';
import { type Hash, leafIndex, treeSize } from '../../server/core/units.ts';
import type {
  Batch,
  Head,
  LogStore,
  Lookup,
  SourceChange,
  StagedBatch,
  Usage,
} from '../../server/storage/store.ts';

export interface Harness {
  readonly store: LogStore;
  /** The same log, opened again after a close. */
  reopen(): Promise<LogStore>;
}

export function head(size: number, salt = 0, timeMs = 1_000 * size): Head {
  const root = new Uint8Array(32).fill((size + salt) % 256) as Hash;
  return { size: treeSize(size), root, timeMs, checkpoint: `head ${size} ${salt}\n` };
}

export function usage(entries: number, bytes = 20): Usage {
  return { bytes: entries * bytes, day: 20_000, dayEntries: entries, dayBytes: entries * bytes };
}

/** A batch that takes a log from `begin` to `begin + count` entries, each `bytes` long. */
export function batch(begin: number, count: number, more: Partial<Batch> = {}, bytes = 20): Batch {
  return {
    begin: leafIndex(begin),
    entries: Array.from({ length: count }, (_, i) => entry(begin + i, bytes)),
    tiles: [],
    lookups: [],
    indexed: treeSize(0),
    control: [],
    sources: [],
    head: head(begin + count),
    usage: usage(begin + count, bytes),
    ...more,
  };
}

export function entry(index: number, bytes = 20): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (index * 7 + i) % 256);
}

export function storeContract(make: () => Promise<Harness>): void {
  describe('heads', () => {
    test('an empty log has none', async () => {
      const { store } = await make();
      expect(await store.readHead()).toBeUndefined();
      expect(await store.readPublished()).toBeUndefined();
      expect(await store.readControl()).toEqual([]);
      expect(await store.readIndexed()).toBe(0);
    });

    test('is the one of the last commit, also after reopening', async () => {
      const { store, reopen } = await make();
      await store.commit(batch(0, 3), undefined);
      await store.commit(batch(3, 2), head(3));
      expect(await store.readHead()).toEqual(head(5));
      expect(await (await reopen()).readHead()).toEqual(head(5));
    });

    test('says how much was logged, also after reopening', async () => {
      const { store, reopen } = await make();
      expect(await store.readUsage()).toEqual({ bytes: 0, day: 0, dayEntries: 0, dayBytes: 0 });
      await store.commit(batch(0, 3), undefined);
      await store.commit(batch(3, 2), head(3));
      expect(await store.readUsage()).toEqual(usage(5));
      expect(await (await reopen()).readUsage()).toEqual(usage(5));
    });

    test.each([
      ['none, where there is one', undefined],
      ['an older one', head(3)],
      ['one of the same size with another root', head(5, 1)],
    ])('refuses a commit that expects %s, and changes nothing', async (_, expected) => {
      const { store } = await make();
      await store.commit(batch(0, 3), undefined);
      await store.commit(batch(3, 2), head(3));
      await expect(store.commit(batch(5, 1), expected)).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.readHead()).toEqual(head(5));
      await expect(store.readEntries(leafIndex(5), treeSize(6))).rejects.toMatchObject({
        code: 'storage',
      });
    });

    test('lets exactly one of two racing commits through', async () => {
      const { store } = await make();
      await store.commit(batch(0, 1), undefined);
      const results = await Promise.allSettled([
        store.commit(batch(1, 1, { head: head(2, 1) }), head(1)),
        store.commit(batch(1, 1, { head: head(2, 2) }), head(1)),
      ]);
      expect(results.map((r) => r.status).sort()).toEqual(['fulfilled', 'rejected']);
    });
  });

  describe('entries', () => {
    test('come back byte for byte over every range', async () => {
      const { store, reopen } = await make();
      await store.commit(batch(0, 1), undefined);
      await store.commit(batch(1, 150), head(1));
      await store.commit(batch(151, 2, {}, 65_535), head(151));
      for (const again of [async () => store, reopen]) {
        const from = await again();
        for (const [begin, end] of [
          [0, 153],
          [0, 1],
          [1, 2],
          [63, 66],
          [64, 65],
          [100, 152],
          [152, 153],
          [7, 7],
        ] as const) {
          const expected = Array.from({ length: end - begin }, (_, i) =>
            entry(begin + i, begin + i < 151 ? 20 : 65_535),
          );
          const read = await from.readEntries(leafIndex(begin), treeSize(end));
          expect(read.map((e) => Buffer.from(e))).toEqual(expected.map((e) => Buffer.from(e)));
        }
      }
    });

    test('are never answered short', async () => {
      const { store } = await make();
      await store.commit(batch(0, 3), undefined);
      for (const [begin, end] of [
        [0, 4],
        [3, 4],
        [9, 12],
      ] as const) {
        await expect(store.readEntries(leafIndex(begin), treeSize(end))).rejects.toMatchObject({
          code: 'storage',
        });
      }
    });
  });

  test('tiles come back in the order asked, and a missing one is a storage error', async () => {
    const { store } = await make();
    const tile = (fill: number) => new Uint8Array(8_192).fill(fill);
    await store.commit(
      batch(0, 1, {
        tiles: [
          { level: 0, index: 5, bytes: tile(1) },
          { level: 1, index: 0, bytes: tile(2) },
          { level: 6, index: 2 ** 20, bytes: tile(3) },
        ],
      }),
      undefined,
    );
    const read = await store.readTiles([
      { level: 6, index: 2 ** 20 },
      { level: 0, index: 5 },
    ]);
    expect(read.map((t) => [t.length, t[0]])).toEqual([
      [8_192, 3],
      [8_192, 1],
    ]);
    await expect(
      store.readTiles([
        { level: 0, index: 5 },
        { level: 0, index: 6 },
      ]),
    ).rejects.toMatchObject({ code: 'storage' });
  });

  describe('look-ups', () => {
    const lookup = (kind: Lookup['kind'], prefix: number, index: number): Lookup => ({
      kind,
      prefix,
      index: leafIndex(index),
    });

    test('are found by kind and prefix, ascending, the largest prefix included', async () => {
      const { store } = await make();
      const large = 2 ** 52 - 1;
      const lookups = [lookup('leaf', large, 0), lookup('leaf', large, 2), lookup('record', 7, 1)];
      await store.commit(batch(0, 3, { lookups, indexed: treeSize(3) }), undefined);
      expect(await store.findCandidates('leaf', [large, 7])).toEqual([[0, 2], []]);
      expect(await store.findCandidates('record', [7])).toEqual([[1]]);
      expect(await store.findCandidates('statement', [7])).toEqual([[]]);
      expect(await store.readIndexed()).toBe(3);
    });

    test('written twice are found once', async () => {
      const { store } = await make();
      await store.commit(batch(0, 1, { lookups: [lookup('leaf', 9, 0)] }), undefined);
      await store.commit(batch(1, 1, { lookups: [lookup('leaf', 9, 0)] }), head(1));
      expect(await store.findCandidates('leaf', [9])).toEqual([[0]]);
    });

    test('refuse to answer with too many candidates', async () => {
      const { store } = await make();
      const lookups = Array.from({ length: 65 }, (_, i) => lookup('leaf', 9, i));
      await store.commit(batch(0, 65, { lookups }), undefined);
      await expect(store.findCandidates('leaf', [9])).rejects.toMatchObject({ code: 'storage' });
    });
  });

  test('control indexes are kept in order', async () => {
    const { store } = await make();
    await store.commit(batch(0, 2, { control: [leafIndex(0), leafIndex(1)] }), undefined);
    await store.commit(batch(2, 1, { control: [leafIndex(2)] }), head(2));
    expect(await store.readControl()).toEqual([0, 1, 2]);
  });

  describe('sources', () => {
    const change = (
      name: string,
      ...seqs: readonly (readonly [number, number])[]
    ): SourceChange => ({
      name,
      keyid: 'k',
      forks: 0,
      records: seqs.map(([seq, index]) => ({ seq, index: leafIndex(index) })),
    });

    test('join runs as holes fill, whatever the order', async () => {
      const { store } = await make();
      const order = [4, 0, 1, 7, 6, 2, 5, 3, 9];
      for (const [i, seq] of order.entries()) {
        const before = i === 0 ? undefined : head(i);
        await store.commit(batch(i, 1, { sources: [change('a', [seq, i])] }), before);
        const seen = order.slice(0, i + 1).sort((a, b) => a - b);
        const ranges = await store.readRanges('a', 100);
        expect((await store.readSource('a'))?.next).toBe(ranges.at(-1)?.end);
        const numbers = ranges.flatMap(({ begin, end }) =>
          Array.from({ length: end - begin }, (_, k) => begin + k),
        );
        expect(numbers).toEqual(seen);
      }
      expect(await store.readRanges('a', 2)).toEqual([
        { begin: 0, end: 8 },
        { begin: 9, end: 10 },
      ]);
      expect(await store.readRanges('a', 1)).toEqual([{ begin: 0, end: 8 }]);
      expect(await store.readRanges('b', 1)).toEqual([]);
      expect(await store.findSeq('a', 7)).toBe(3);
      expect(await store.findSeq('a', 8)).toBeUndefined();
      expect(await store.findSeq('b', 7)).toBeUndefined();
    });

    test('keep the first entry of a number that is taken twice', async () => {
      const { store } = await make();
      await store.commit(batch(0, 2, { sources: [change('a', [0, 0], [1, 1])] }), undefined);
      const forked = { ...change('a', [1, 2]), forks: 1 };
      await store.commit(batch(2, 1, { sources: [forked] }), head(2));
      expect(await store.findSeq('a', 1)).toBe(1);
      expect(await store.readSource('a')).toEqual({
        name: 'a',
        keyid: 'k',
        forks: 1,
        next: 2,
      });
      expect(await store.readRanges('a', 9)).toEqual([{ begin: 0, end: 2 }]);
    });

    test('join runs also where numbers in the middle of a batch are taken already', async () => {
      const { store } = await make();
      const taken = [5, 8, 9, 10, 20];
      const first = change('a', ...taken.map((seq, i) => [seq, i] as const));
      await store.commit(batch(0, taken.length, { sources: [first] }), undefined);
      const again = [3, 4, 5, 6, 7, 8, 9];
      const second = change('a', ...again.map((seq, i) => [seq, taken.length + i] as const));
      const more = { sources: [second] };
      await store.commit(batch(taken.length, again.length, more), head(taken.length));
      expect(await store.readRanges('a', 9)).toEqual([
        { begin: 3, end: 11 },
        { begin: 20, end: 21 },
      ]);
      expect((await store.readSource('a'))?.next).toBe(21);
      expect(await store.findSeq('a', 8)).toBe(1);
    });

    test('are paged by name', async () => {
      const { store } = await make();
      const sources = ['a', 'b', 'c'].map((name, i) => change(name, [0, i]));
      await store.commit(batch(0, 3, { sources }), undefined);
      const names = async (after: string | undefined, limit: number) =>
        (await store.readSources(after, limit)).map((s) => s.name);
      expect(await names(undefined, 2)).toEqual(['a', 'b']);
      expect(await names('b', 2)).toEqual(['c']);
      expect(await names('c', 2)).toEqual([]);
      expect(await store.readSource('d')).toBeUndefined();
    });
  });

  describe('a staged batch', () => {
    const staged = ({ begin, entries, head: signed }: Batch): StagedBatch => {
      const { checkpoint: _, ...unsigned } = signed;
      return { begin, entries, head: unsigned };
    };

    test('comes back byte for byte, also after reopening, and changes nothing else', async () => {
      const { store, reopen } = await make();
      expect(await store.readStaged()).toBeUndefined();
      await store.commit(batch(0, 2), undefined);
      const next = batch(2, 150, {}, 1_000);
      await store.stage(staged(next), head(2));
      for (const again of [async () => store, reopen]) {
        const from = await again();
        const read = await from.readStaged();
        expect(read?.begin).toBe(2);
        expect(read?.head).toEqual(staged(next).head);
        const bytes = (entries: readonly Uint8Array[] = []) => entries.map((e) => Buffer.from(e));
        expect(bytes(read?.entries)).toEqual(bytes(next.entries));
        expect(await from.readHead()).toEqual(head(2));
        await expect(from.readEntries(leafIndex(2), treeSize(3))).rejects.toMatchObject({
          code: 'storage',
        });
      }
    });

    test('of a log without entries is one too', async () => {
      const { store, reopen } = await make();
      await store.stage(staged(batch(0, 1)), undefined);
      const again = await reopen();
      expect((await again.readStaged())?.head.size).toBe(1);
      expect(await again.readHead()).toBeUndefined();
      await again.commit(batch(0, 1), undefined);
      expect(await again.readStaged()).toBeUndefined();
      expect(store).toBeDefined();
    });

    test('is gone with its commit, also after reopening', async () => {
      const { store, reopen } = await make();
      await store.stage(staged(batch(0, 3)), undefined);
      await store.commit(batch(0, 3), undefined);
      expect(await store.readStaged()).toBeUndefined();
      const again = await reopen();
      expect(await again.readStaged()).toBeUndefined();
      expect(await again.readHead()).toEqual(head(3));
      await again.commit(batch(3, 1), head(3));
    });

    test.each([
      ['size', batch(0, 4)],
      ['root', batch(0, 3, { head: head(3, 1) })],
    ])('lets no other be committed, whose %s differs', async (_, other) => {
      const { store } = await make();
      await store.stage(staged(batch(0, 3)), undefined);
      await expect(store.commit(other, undefined)).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.readHead()).toBeUndefined();
      expect((await store.readStaged())?.head).toEqual(staged(batch(0, 3)).head);
      await store.commit(batch(0, 3), undefined);
    });

    test('takes the place of one that was staged before', async () => {
      const { store } = await make();
      await store.stage(staged(batch(0, 3)), undefined);
      await store.stage(staged(batch(0, 2)), undefined);
      expect((await store.readStaged())?.entries).toHaveLength(2);
      await store.commit(batch(0, 2), undefined);
    });

    test('is refused against a head that is no longer stored, and the one before stays', async () => {
      const { store } = await make();
      await store.commit(batch(0, 3), undefined);
      await store.stage(staged(batch(3, 1)), head(3));
      for (const expected of [undefined, head(2), head(3, 1)]) {
        await expect(store.stage(staged(batch(3, 2)), expected)).rejects.toMatchObject({
          code: 'conflict',
        });
      }
      expect((await store.readStaged())?.entries).toHaveLength(1);
    });
  });

  describe('tree heads of RFC 6962', () => {
    const treeHead = (timeMs: number, size = 1, fill = 0): SignedTreeHead => ({
      timeMs,
      size: treeSize(size),
      root: new Uint8Array(32).fill(fill) as Hash,
      signature: new Uint8Array(75).fill(fill),
    });
    const logId = new Uint8Array(32).fill(1) as Hash;
    const other = new Uint8Array(32).fill(2) as Hash;

    test('there is none before one is kept', async () => {
      const { store } = await make();
      expect(await store.readTreeHead(logId)).toBeUndefined();
    });

    test('the newest of each log ID is kept, also after reopening', async () => {
      const { store, reopen } = await make();
      await store.keepTreeHead(logId, treeHead(0));
      await store.keepTreeHead(logId, treeHead(1_000, 5, 7));
      await store.keepTreeHead(other, treeHead(500));
      for (const again of [async () => store, reopen]) {
        const from = await again();
        expect(await from.readTreeHead(logId)).toEqual(treeHead(1_000, 5, 7));
        expect(await from.readTreeHead(other)).toEqual(treeHead(500));
      }
    });

    test.each([
      ['an earlier time', treeHead(999, 6)],
      ['the same time', treeHead(1_000, 6)],
      ['a smaller size', treeHead(2_000, 4)],
    ])('one of %s is refused, and the one before stays', async (_, late) => {
      const { store } = await make();
      await store.keepTreeHead(logId, treeHead(1_000, 5, 7));
      await expect(store.keepTreeHead(logId, late)).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.readTreeHead(logId)).toEqual(treeHead(1_000, 5, 7));
    });

    test('says nothing about the head of the log', async () => {
      const { store } = await make();
      await store.commit(batch(0, 3), undefined);
      await store.keepTreeHead(logId, treeHead(1_000, 3));
      expect(await store.readHead()).toEqual(head(3));
      await store.commit(batch(3, 1), head(3));
    });
  });

  test('of the published heads the last of each hour stays', async () => {
    const { store, reopen } = await make();
    const hour = 3_600_000;
    await store.publish(head(1, 0, 10));
    await store.publish(head(2, 0, hour - 1));
    await store.publish(head(3, 0, hour));
    for (const again of [async () => store, reopen]) {
      const from = await again();
      expect(await from.readPublished()).toEqual(head(3, 0, hour));
      expect(await from.readPublished(treeSize(2))).toEqual(head(2, 0, hour - 1));
      expect(await from.readPublished(treeSize(1))).toBeUndefined();
      expect(await from.readFirstPublished()).toEqual(head(2, 0, hour - 1));
    }
  });

  describe('heads that are kept for good', () => {
    const hour = 3_600_000;
    const cosigned = (size: number, lines: string) => ({
      ...head(size),
      checkpoint: `head ${size}, ${lines}\n`,
    });

    test('stay, whatever is published in their hour, also after reopening', async () => {
      const { store, reopen } = await make();
      await store.publish(head(1, 0, 10));
      await store.keep(head(1, 0, 10));
      await store.publish(head(2, 0, 20));
      await store.publish(head(3, 0, hour));
      await store.keep(head(3, 0, hour));
      for (const again of [async () => store, reopen]) {
        const from = await again();
        expect(await from.readPublished(treeSize(1))).toEqual(head(1, 0, 10));
        expect(await from.readKept(Number.MAX_SAFE_INTEGER, 10)).toEqual([
          head(3, 0, hour),
          head(1, 0, 10),
        ]);
        expect(await from.readKept(3, 10)).toEqual([head(1, 0, 10)]);
        expect(await from.readKept(4, 1)).toEqual([head(3, 0, hour)]);
        expect(await from.readKept(1, 10)).toEqual([]);
      }
    });

    test('have the lines that came last, and the time that they had first', async () => {
      const { store, reopen } = await make();
      await store.publish(cosigned(5, 'no line'));
      await store.keep(cosigned(5, 'one line'));
      await store.keep({ ...cosigned(5, 'two lines'), timeMs: 9 * hour });
      for (const again of [async () => store, reopen]) {
        expect(await (await again()).readPublished(treeSize(5))).toEqual(cosigned(5, 'two lines'));
      }
    });

    test('are never replaced by another head of their size', async () => {
      const { store } = await make();
      await store.keep(head(5));
      await expect(store.keep(head(5, 1))).rejects.toMatchObject({ code: 'conflict' });
      expect(await store.readPublished(treeSize(5))).toEqual(head(5));
    });
  });
}
