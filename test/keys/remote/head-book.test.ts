/** Which heads a signer takes, and what is left of its memory after a crash at any byte. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { leafHash } from '../../../server/core/merkle.ts';
import { Tree } from '../../../server/core/tree.ts';
import { type Hash, type TreeSize, treeSize } from '../../../server/core/units.ts';
import type { HeadRoot } from '../../../server/keys/log-keys.ts';
import { type Extension, HeadBook } from '../../../server/keys/remote/head-book.ts';
import { HeadFiles } from '../../../server/keys/remote/heads-file.ts';
import { Reader } from '../../../server/log/reader.ts';
import { MemoryStore } from '../../../server/storage/memory.ts';
import { MemoryHeads } from '../../log/test-signer.ts';
import { temporaryFolder } from '../../temporary.ts';

const origin = 'log.example/logs/a';
const SIZES = 20;

/** A tree of 20 leaves, its head at every size, and proofs between them. */
function history(salt = 0) {
  const leaves = Array.from({ length: SIZES }, (_, i) =>
    leafHash(Uint8Array.of(i < 5 ? 0 : salt, i)),
  );
  const tree = Tree.empty().append(leaves).tree;
  const reader = new Reader(new MemoryStore(), () => tree);
  const headAt = async (size: number): Promise<HeadRoot> => ({
    size: treeSize(size),
    root: await reader.root(treeSize(size)),
  });
  const extension = async (from: number, to: number): Promise<Extension> => ({
    head: await headAt(to),
    from: treeSize(from),
    proof: from === 0 ? [] : await reader.consistency(treeSize(from), treeSize(to)),
  });
  return { headAt, extension };
}

const ours = history();
const theirs = history(1);

async function bookAt(size: number): Promise<HeadBook> {
  const book = new HeadBook(new MemoryHeads());
  await book.expect(origin, await ours.headAt(size));
  return book;
}

describe('a head', () => {
  test('that continues the one before is taken, whatever the two sizes', async () => {
    for (let from = 1; from <= SIZES; from++) {
      for (let to = from; to <= SIZES; to++) {
        const book = await bookAt(from);
        expect(await book.extend(origin, await ours.extension(from, to))).toBeUndefined();
        expect(await book.newest(origin)).toEqual(await ours.headAt(to));
      }
    }
  });

  test('is taken again, with any proof or none', async () => {
    const book = await bookAt(7);
    const head = await ours.headAt(9);
    await book.extend(origin, await ours.extension(7, 9));
    expect(await book.extend(origin, { head, from: treeSize(0), proof: [] })).toBeUndefined();
    expect(await book.extend(origin, await ours.extension(7, 9))).toBeUndefined();
  });

  test('with a proof from elsewhere is not taken, and the right size is named', async () => {
    const book = await bookAt(7);
    for (const from of [0, 6, 8]) {
      expect(await book.extend(origin, await ours.extension(from, 9))).toBe(7);
    }
    expect((await book.newest(origin))?.size).toBe(7);
  });

  test.each([
    ['a smaller one', 'ours', 7, 6],
    ['one of the same size with another root', 'theirs', 7, 7],
    ['a larger one of another history', 'theirs', 7, 9],
  ] as const)('is refused: %s (P2)', async (_, whose, from, to) => {
    const book = await bookAt(from);
    const { extension } = whose === 'ours' ? ours : theirs;
    const asked =
      to < from
        ? { ...(await extension(to, to)), from: treeSize(from) }
        : await extension(from, to);
    const { root } = await ours.headAt(7);
    await expect(book.extend(origin, asked)).rejects.toMatchObject({
      code: 'split_view',
      message: expect.stringContaining(Buffer.from(root).toString('base64')),
    });
    expect(await book.newest(origin)).toEqual(await ours.headAt(7));
    // And afterwards the right one is still taken.
    expect(await book.extend(origin, await ours.extension(7, 9))).toBeUndefined();
  });

  test('is refused with any proof that was spoiled', async () => {
    const good = await ours.extension(7, 13);
    const stranger = new Uint8Array(32).fill(9) as Hash;
    const spoiled: readonly (readonly Hash[])[] = [
      [],
      good.proof.slice(1),
      good.proof.slice(0, -1),
      [...good.proof, stranger],
      good.proof.toReversed(),
      ...good.proof.map((_, i) => good.proof.with(i, stranger)),
    ];
    for (const proof of spoiled) {
      const book = await bookAt(7);
      await expect(book.extend(origin, { ...good, proof })).rejects.toMatchObject({
        code: 'split_view',
      });
      expect((await book.newest(origin))?.size).toBe(7);
    }
  });

  test('is the first of a log that nothing is known of only if it has one entry', async () => {
    const book = new HeadBook(new MemoryHeads());
    await expect(book.extend(origin, await ours.extension(0, 2))).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('--expect'),
    });
    expect(await book.newest(origin)).toBeUndefined();
    expect(await book.extend(origin, await ours.extension(0, 1))).toBeUndefined();
    expect((await book.newest(origin))?.size).toBe(1);
    expect(await book.newest('log.example/logs/b')).toBeUndefined();
  });

  test('may be signed for once it was taken, as long as it is among the newest', async () => {
    const book = await bookAt(1);
    const last = 300;
    const leaves = Array.from({ length: last }, (_, i) =>
      leafHash(Uint8Array.of(0, i % 256, i >> 8)),
    );
    const heads: HeadRoot[] = [];
    const one = new HeadBook(new MemoryHeads());
    let tree = Tree.empty();
    for (const leaf of leaves) {
      const grown = tree.append([leaf]);
      const reader = new Reader(new MemoryStore(), () => grown.tree);
      reader.remember(grown.tiles);
      const head = { size: grown.tree.size, root: grown.tree.root() };
      const from = tree.size;
      const proof = from === 0 ? [] : await reader.consistency(from, head.size);
      await one.extend(origin, { head, from, proof });
      heads.push(head);
      tree = grown.tree;
    }
    await expect(one.checkTaken(origin, heads[0]!)).rejects.toMatchObject({ code: 'conflict' });
    await one.checkTaken(origin, heads[last - 200]!);
    await one.checkTaken(origin, heads[last - 1]!);
    await expect(one.checkTaken(origin, await theirs.headAt(9))).rejects.toMatchObject({
      code: 'conflict',
    });
    await expect(book.checkTaken(origin, heads[1]!)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('that was asked for by two at once is taken from one of them', async () => {
    const book = await bookAt(7);
    const asked = [await ours.extension(7, 9), await theirs.extension(7, 9)];
    const results = await Promise.allSettled(asked.map((one) => book.extend(origin, one)));
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  test('whose writing failed is not taken, and the next may be another', async () => {
    const heads = new MemoryHeads();
    const book = new HeadBook(heads);
    await book.expect(origin, await ours.headAt(7));
    const write = heads.write.bind(heads);
    heads.write = async () => {
      throw new Error('EIO');
    };
    await expect(book.extend(origin, await ours.extension(7, 9))).rejects.toThrow('EIO');
    await expect(book.checkTaken(origin, await ours.headAt(9))).rejects.toMatchObject({
      code: 'conflict',
    });
    heads.write = write;
    expect(await book.extend(origin, await ours.extension(7, 8))).toBeUndefined();
  });
});

test('the times of tree heads rise, and survive what the log takes', async () => {
  const heads = new MemoryHeads();
  const book = new HeadBook(heads);
  await expect(book.takeTime(origin, 5)).rejects.toMatchObject({ code: 'conflict' });
  await book.expect(origin, await ours.headAt(7));
  await book.takeTime(origin, 5);
  for (const time of [5, 4, 0]) {
    await expect(book.takeTime(origin, time)).rejects.toMatchObject({ code: 'conflict' });
  }
  await book.extend(origin, await ours.extension(7, 9));
  await expect(book.takeTime(origin, 5)).rejects.toMatchObject({ code: 'conflict' });
  const again = new HeadBook(heads);
  await expect(again.takeTime(origin, 5)).rejects.toMatchObject({ code: 'conflict' });
  await again.takeTime(origin, 6);
});

test('an operator can say where a log is, and cannot take it back or aside', async () => {
  const book = await bookAt(7);
  expect(await book.expect(origin, await ours.headAt(9))).toBe('noted');
  expect(await book.expect(origin, await ours.headAt(9))).toBe('known');
  expect(await book.expect(origin, await ours.headAt(7))).toBe('known');
  await expect(book.expect(origin, await theirs.headAt(9))).rejects.toMatchObject({
    code: 'split_view',
  });
  expect((await book.newest(origin))?.size).toBe(9);
});

describe('on disk', () => {
  const headOf = (size: TreeSize): HeadRoot => ({
    size,
    root: new Uint8Array(32).fill(size % 256) as Hash,
  });

  /** What somebody who opens the folder now reads. */
  async function readAgain(folder: string, of = origin) {
    const files = new HeadFiles(folder);
    try {
      return await files.read(of);
    } finally {
      await files.close();
    }
  }

  async function written(count: number) {
    const folder = temporaryFolder();
    const files = new HeadFiles(folder);
    for (let i = 1; i <= count; i++) {
      await files.write(origin, { newest: headOf(treeSize(i)), treeHeadMs: i });
    }
    await files.close();
    const [name = ''] = readdirSync(folder);
    const path = join(folder, name);
    return { folder, path, bytes: readFileSync(path) };
  }

  test('what was written last is read', async () => {
    const folder = temporaryFolder();
    const files = new HeadFiles(folder);
    expect(await files.read(origin)).toBeUndefined();
    expect(readdirSync(folder)).toEqual([]);
    for (let size = 1; size < 20; size++) {
      const remembered = { newest: headOf(treeSize(size)), treeHeadMs: 7 * size };
      await files.write(origin, remembered);
      expect(await files.read(origin)).toEqual(remembered);
      expect(await readAgain(folder)).toEqual(remembered);
    }
    const [name = ''] = readdirSync(folder);
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    await files.close();
  });

  test('a writing that was cut off at any byte leaves what was before, or what was written', async () => {
    const { folder, path, bytes: before } = await written(5);
    const files = new HeadFiles(folder);
    await files.write(origin, { newest: headOf(treeSize(6)), treeHeadMs: 6 });
    await files.close();
    const after = readFileSync(path);
    const changed = [...after.keys()].filter((at) => after[at] !== before[at]);
    expect(changed.length).toBeGreaterThan(50);
    // Only one of the two pages was touched.
    expect(new Set(changed.map((at) => Math.floor(at / 4_096))).size).toBe(1);
    for (const cut of [0, ...changed.filter((_, i) => i % 5 === 0), after.length]) {
      const torn = Buffer.concat([after.subarray(0, cut), before.subarray(cut)]);
      writeFileSync(path, torn);
      const read = await readAgain(folder);
      expect([5, 6]).toContain(read?.newest.size);
      expect(read?.newest.root[0]).toBe(read?.newest.size);
    }
  });

  test('noise in one page leaves the other, in both it is said, and never is anything made up', async () => {
    const { folder, path, bytes } = await written(6);
    const at = fc.nat(bytes.length - 1);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(at, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 6 }),
        async (changes) => {
          const spoiled = Buffer.from(bytes);
          for (const [i, by] of changes) spoiled[i]! ^= by;
          writeFileSync(path, spoiled);
          try {
            const read = await readAgain(folder);
            expect([5, 6]).toContain(read?.newest.size);
            expect(read).toEqual({
              newest: headOf(read!.newest.size),
              treeHeadMs: read!.newest.size,
            });
          } catch (error) {
            expect(error).toMatchObject({
              code: 'storage',
              message: expect.stringContaining('damaged'),
            });
          }
        },
      ),
    );
  });

  test('a file of another origin is not taken for this one', async () => {
    const { folder, path } = await written(2);
    const files = new HeadFiles(folder);
    await files.write('log.example/logs/b', { newest: headOf(treeSize(40)), treeHeadMs: 0 });
    const other = readdirSync(folder).find((name) => !path.endsWith(name));
    writeFileSync(path, readFileSync(join(folder, other!)));
    await expect(readAgain(folder)).rejects.toMatchObject({ code: 'storage' });
    await files.close();
  });

  test('a file that was made and never written remembers nothing', async () => {
    const { folder, path } = await written(1);
    for (const blank of [Buffer.alloc(0), Buffer.alloc(100), Buffer.alloc(8_192)]) {
      writeFileSync(path, blank);
      const files = new HeadFiles(folder);
      expect(await files.read(origin)).toBeUndefined();
      await files.write(origin, { newest: headOf(treeSize(1)), treeHeadMs: 0 });
      expect((await files.read(origin))?.newest.size).toBe(1);
      await files.close();
    }
  });

  test('hundreds of logs are remembered at the same time, with few files open', async () => {
    const folder = temporaryFolder();
    const files = new HeadFiles(folder);
    const origins = Array.from({ length: 600 }, (_, i) => `log.example/logs/${i}`);
    for (const round of [1, 2]) {
      await Promise.all(
        origins.map((one, i) =>
          files.write(one, { newest: headOf(treeSize(10 * i + round)), treeHeadMs: 0 }),
        ),
      );
    }
    const open = readdirSync('/proc/self/fd').length;
    expect(open).toBeLessThan(400);
    for (const [i, one] of origins.entries()) {
      expect((await files.read(one))?.newest.size).toBe(10 * i + 2);
    }
    await files.close();
  });
});
