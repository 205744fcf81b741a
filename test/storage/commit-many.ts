/** Makes commits one after another, for a test that counts what reaches the disk: FILE COUNT. */
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import { batch, head } from '../contract/store.ts';

const [file = '', count = '1'] = process.argv.slice(2);
const writers = new WriterPool();
const store = await SqliteStore.open(file, writers);
for (let i = 0; i < Number(count); i++) {
  await store.commit(batch(i, 1), i === 0 ? undefined : head(i));
}
await store.close();
await writers.close();
