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
    { published: undefined },
  );
  publisher.grown(headOf(3));
  await publisher.now();
  expect(failures).toHaveLength(1);
  await publisher.close();
  expect(publisher.published?.size).toBe(5);
  expect((await store.readPublished())?.size).toBe(5);
});

test('how long growth has waited to be published is known, and over once it is', async () => {
  const store = new MemoryStore();
  const clock = new TestClock();
  let isFull = true;
  const publish = store.publish.bind(store);
  store.publish = async (head) => {
    if (isFull) throw new SteleError('storage', 'the disk is full');
    await publish(head);
  };
  const publisher = new Publisher(
    {
      store,
      reader: new Reader(store, () => treeOf(5)),
      clock,
      countersign: async ({ checkpoint }) => checkpoint,
      failed: () => {},
    },
    { published: undefined },
  );
  expect(publisher.waitingMs).toBe(0);
  publisher.grown(headOf(3));
  clock.ms += 40_000;
  publisher.grown(headOf(5));
  await publisher.now();
  clock.ms += 30_000;
  expect(publisher.waitingMs).toBe(70_000);
  isFull = false;
  await publisher.now();
  expect(publisher.waitingMs).toBe(0);
  // Nothing has grown since.
  publisher.grown(headOf(5));
  clock.ms += 3_600_000;
  expect(publisher.waitingMs).toBe(0);
  publisher.grown(headOf(6));
  clock.ms += 5_000;
  publisher.stop();
  expect(publisher.waitingMs).toBe(0);
});
