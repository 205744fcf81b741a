/** The published head: what is newest, also after a failure. */
import { expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { Tree } from '../../server/core/tree.ts';
import { Publisher } from '../../server/log/publish.ts';
import { Reader } from '../../server/log/reader.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import type { Head } from '../../server/storage/store.ts';
import { TestClock } from './make.ts';

function treeOf(size: number): Tree {
  const leaves = Array.from({ length: size }, (_, i) => leafHash(Uint8Array.of(i)));
  return Tree.empty().append(leaves).tree;
}

function headOf(size: number): Head {
  const tree = treeOf(size);
  return { size: tree.size, root: tree.root(), timeMs: size, checkpoint: `head ${size}\n` };
}

test('a head that came while an older one failed is the one that is published', async () => {
  const store = new MemoryStore();
  const failures: unknown[] = [];
  let publisher: Publisher | undefined;
  const publish = store.publish.bind(store);
  store.publish = async (head) => {
    if (head.size === 3) {
      publisher?.grown(headOf(5));
      throw new SteleError('storage', 'the disk is full');
    }
    await publish(head);
  };
  publisher = new Publisher(
    {
      store,
      reader: new Reader(store, () => treeOf(5)),
      clock: new TestClock(),
      countersign: async ({ checkpoint }) => checkpoint,
      failed: (error) => failures.push(error),
    },
    undefined,
  );
  publisher.grown(headOf(3));
  await publisher.now();
  expect(failures).toHaveLength(1);
  await publisher.close();
  expect(publisher.published?.size).toBe(5);
  expect((await store.readPublished())?.size).toBe(5);
});
