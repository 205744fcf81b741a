import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, describe, expect, test } from 'vitest';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { openForWriting, WAL_BYTES_KEPT } from '../../server/storage/sqlite/database.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import { batch, head, storeContract } from '../contract/store.ts';
import { temporaryFolder } from '../temporary.ts';

const writers = new WriterPool();
afterAll(() => writers.close());

storeContract(async () => {
  const path = join(temporaryFolder(), 'log.db');
  const store = await SqliteStore.open(path, writers);
  return {
    store,
    reopen: async () => {
      await store.close();
      return SqliteStore.open(path, writers);
    },
  };
});

describe('the file', () => {
  async function written(): Promise<{ path: string; db: Database.Database }> {
    const path = join(temporaryFolder(), 'log.db');
    const store = await SqliteStore.open(path, writers);
    const tiles = [{ level: 0, index: 0, bytes: new Uint8Array(8_192) }];
    await store.commit(batch(0, 3, { tiles, control: [leafIndex(0)] }), undefined);
    const { root } = head(3);
    await store.keepTreeHead(root, { timeMs: 5, size: treeSize(3), root, signature: root });
    await store.close();
    return { path, db: new Database(path) };
  }

  test.each([
    "UPDATE chunk SET data = x'00'",
    'DELETE FROM chunk',
    'UPDATE tile SET data = zeroblob(8192)',
    'DELETE FROM tile',
    'DELETE FROM control',
    'DELETE FROM head',
    'UPDATE head SET size = 2',
    'UPDATE head SET root = zeroblob(32)',
    'DELETE FROM tree_head',
    'UPDATE tree_head SET time_ms = 5',
    'UPDATE tree_head SET time_ms = 6, size = 2',
  ])('refuses: %s', async (sql) => {
    const { db } = await written();
    expect(() => db.exec(sql)).toThrow(/append-only|never/);
    db.close();
  });

  test('of a newer release is refused', async () => {
    const { path, db } = await written();
    db.exec("INSERT INTO migration (number, name) VALUES (9999, 'later')");
    db.exec("INSERT INTO migration (number, name) VALUES (9998, 'later')");
    db.close();
    expect(() => openForWriting(path, 'sqlite')).toThrow(/newer release/);
  });

  test('of an earlier release is not read before a server has brought it up to date', async () => {
    const { path, db } = await written();
    db.exec('DELETE FROM migration WHERE number = (SELECT max(number) FROM migration)');
    db.close();
    expect(() => SqliteStore.openReadOnly(path)).toThrow(/start its server once/);
  });

  test('that is damaged gives a storage error, never a short or wrong answer', async () => {
    const { path, db } = await written();
    db.exec('DROP TRIGGER chunk_is_append_only_update');
    db.exec('UPDATE chunk SET data = substr(data, 1, length(data) - 1)');
    db.close();
    const store = SqliteStore.openReadOnly(path);
    await expect(store.readEntries(leafIndex(0), treeSize(3))).rejects.toMatchObject({
      code: 'storage',
    });
    await store.close();
  });

  test('that is open for reading only refuses to commit', async () => {
    const { path, db } = await written();
    db.close();
    const store = SqliteStore.openReadOnly(path);
    await expect(store.commit(batch(3, 1), head(3))).rejects.toMatchObject({ code: 'storage' });
    await store.close();
  });

  test('writes with synchronous = FULL, also after the first write in WAL mode', async () => {
    const { path, db } = await written();
    db.close();
    const again = openForWriting(path, 'sqlite');
    again.exec("INSERT INTO source (name, keyid) VALUES ('s', 'k')");
    expect(again.pragma('journal_mode', { simple: true })).toBe('wal');
    expect(again.pragma('synchronous', { simple: true })).toBe(2);
    again.close();
  });

  test('gives back what its write-ahead log grew by while somebody read for long', async () => {
    const { path, db } = await written();
    db.close();
    const wal = () => statSync(`${path}-wal`).size;
    const writing = openForWriting(path, 'sqlite');
    writing.exec('CREATE TABLE growth (data BLOB)');
    const grow = writing.prepare('INSERT INTO growth VALUES (zeroblob(8388608))');
    const reading = new Database(path, { readonly: true });
    reading.exec('BEGIN');
    reading.prepare('SELECT count(*) FROM head').get();
    while (wal() < WAL_BYTES_KEPT + 16_777_216) grow.run();
    reading.close();
    // One commit puts all of it into the database, and the next begins the log anew.
    writing.exec('CREATE TABLE one (x)');
    writing.exec('CREATE TABLE two (x)');
    expect(wal()).toBe(WAL_BYTES_KEPT);
    writing.close();
  });
});

const straceMissing = !(() => {
  try {
    execFileSync('strace', ['-V'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(straceMissing)('under strace (skipped where strace is missing)', () => {
  function syncs(...more: string[]): number {
    const folder = temporaryFolder();
    const trace = join(folder, 'trace');
    const script = new URL('./commit-many.ts', import.meta.url).pathname;
    const program = [process.execPath, script, join(folder, 'log.db'), '50', ...more];
    execFileSync('strace', ['-f', '-e', 'trace=fsync,fdatasync', '-o', trace, ...program]);
    return (readFileSync(trace, 'utf8').match(/f(?:data)?sync\(\d+/g) ?? []).length;
  }

  test('every commit is followed by an fsync before it resolves', () => {
    expect(syncs()).toBeGreaterThanOrEqual(50);
  });

  test('so is every tree head that is kept', () => {
    expect(syncs('tree-heads')).toBeGreaterThanOrEqual(100);
  });

  test('so is every batch that is staged', () => {
    expect(syncs('staged')).toBeGreaterThanOrEqual(100);
  });
});
