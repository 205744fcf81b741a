/** A writer thread that dies: what it was doing is unknown, and the next commit has a thread again. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import { batch, head } from '../contract/store.ts';
import { temporaryFolder } from '../temporary.ts';

test('a dead thread is replaced, and its logs are written on (P9)', async () => {
  const program = new URL('./dying-worker.ts', import.meta.url);
  const writers = new WriterPool(1, program);
  onTestFinished(() => writers.close());
  const folder = temporaryFolder();
  const [a, b] = await Promise.all(
    ['a.db', 'b.db'].map((name) => SqliteStore.open(join(folder, name), writers)),
  );
  if (a === undefined || b === undefined) throw new Error('two stores were opened');
  await a.commit(batch(0, 2), undefined);
  const dying = a.publish(head(13));
  const behind = b.commit(batch(0, 1), undefined);
  await expect(dying).rejects.toMatchObject({ code: 'storage' });
  await expect(behind).rejects.toMatchObject({ code: 'storage' });

  // The callers read the head again, and go on.
  expect((await a.readHead())?.size).toBe(2);
  expect(await b.readHead()).toBeUndefined();
  await Promise.all([a.commit(batch(2, 3), head(2)), a.publish(head(5))]);
  await b.commit(batch(0, 1), undefined);
  expect((await a.readHead())?.size).toBe(5);
  expect((await a.readPublished())?.size).toBe(5);
  expect((await b.readHead())?.size).toBe(1);

  // A log that nobody wrote to since the thread died is closed like any other.
  await expect(a.publish(head(13))).rejects.toMatchObject({ code: 'storage' });
  await Promise.all([a.close(), b.close()]);
});
