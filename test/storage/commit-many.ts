/**
 * Makes commits one after another, for a test that counts what reaches the disk: FILE COUNT. With `staged`
 * after that, each is staged first; with `tree-heads`, a tree head is kept after each.
 */
import { treeSize } from '../../server/core/units.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import { batch, head } from '../contract/store.ts';

const [file = '', count = '1', more] = process.argv.slice(2);
const writers = new WriterPool();
const store = await SqliteStore.open(file, writers);
for (let i = 0; i < Number(count); i++) {
  const before = i === 0 ? undefined : head(i);
  const next = batch(i, 1);
  if (more === 'staged') await store.stage(next, before);
  await store.commit(next, before);
  if (more === 'tree-heads') {
    const { root } = next.head;
    await store.keepTreeHead(root, { timeMs: i, size: treeSize(i + 1), root, signature: root });
  }
}
await store.close();
await writers.close();
