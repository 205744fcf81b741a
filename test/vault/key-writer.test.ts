/** Keys are added by a thread, so that no sync stops anybody else; what it promises is what a vault promises. */
import { readdirSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KeyWriter } from '../../server/vault/key-writer.ts';
import {
  content,
  contentFiles,
  holds,
  isWhole,
  makeFolder,
  openVault,
  stage,
  store,
} from './fixture.ts';

const code = (name: string) => expect.objectContaining({ code: name });

function newWriter(program?: URL): KeyWriter {
  const writer = new KeyWriter(program);
  onTestFinished(() => writer.close());
  return writer;
}

describe('a vault whose keys a thread adds', () => {
  test('has what was stored, also after a restart without one', async () => {
    const folder = makeFolder();
    const keyWriter = newWriter();
    const vault = await openVault(folder, { keyWriter });
    const records = Array.from({ length: 20 }, (_, i) => content(`r${i}`, { f: `value ${i}` }));
    await Promise.all(records.map((record) => store(vault, record)));
    for (const record of records) expect(await isWhole(vault, record)).toBe(true);
    await vault.close();
    const again = await openVault(folder);
    for (const record of records) expect(await isWhole(again, record)).toBe(true);
    await again.close();
  });

  test('leaves no byte of a key behind when content is erased', async () => {
    const folder = makeFolder();
    const keyWriter = newWriter();
    const wrapped: Uint8Array[] = [];
    const add = keyWriter.add.bind(keyWriter);
    keyWriter.add = (path, files, touched, nowMs) => {
      wrapped.push(...files.map((file) => file.wrapped));
      return add(path, files, touched, nowMs);
    };
    const vault = await openVault(folder, { keyWriter });
    const record = content('r1', { f: 'a secret' });
    await store(vault, record);
    const sealed = wrapped[0]?.subarray(32, 64) ?? new Uint8Array();
    expect(sealed).toHaveLength(32);
    expect(holds(folder, sealed)).toBe(true);
    await vault.erase(record.key);
    expect(holds(folder, sealed)).toBe(false);
    // And nothing is taken for the record any more.
    await expect(vault.begin(record.key, record.commitments)).rejects.toEqual(code('conflict'));
    await vault.close();
  });

  test('lets go of its database when it is closed, and of no other', async () => {
    const keyWriter = newWriter();
    const folders = [makeFolder(), makeFolder()];
    const [first, second] = await Promise.all(
      folders.map((folder) => openVault(folder, { keyWriter })),
    );
    if (first === undefined || second === undefined) throw new Error('two vaults');
    await store(first, content('r1', { f: 1 }));
    await store(second, content('r1', { f: 1 }));
    await first.close();
    // The last connection takes the write-ahead log with it.
    expect(readdirSync(`${folders[0]}/vault-keys`)).toEqual(['default.db']);
    await store(second, content('r2', { f: 2 }));
    await second.close();
    expect(readdirSync(`${folders[1]}/vault-keys`)).toEqual(['default.db']);
  });

  test('refuses a commit whose outcome nobody knows, and goes on with another thread', async () => {
    const folder = makeFolder();
    const keyWriter = newWriter(new URL('./dying-key-worker.ts', import.meta.url));
    let nowMs = 12;
    const vault = await openVault(folder, { keyWriter, now: () => nowMs });
    const [before, lost, after] = ['r1', 'r2', 'r3'].map((id) => content(id, { f: id }));
    if (before === undefined || lost === undefined || after === undefined) throw new Error('three');
    await store(vault, before);
    nowMs = 13;
    const staging = await stage(vault, lost);
    await expect(vault.commitAll([staging])).rejects.toEqual(code('storage'));
    expect(await vault.fields(lost.key)).toEqual([]);
    nowMs = 14;
    await store(vault, after);
    // As a submitter does that was told to come again.
    await store(vault, lost);
    for (const record of [before, lost, after]) expect(await isWhole(vault, record)).toBe(true);
    expect(contentFiles(folder)).toHaveLength(3);
    await vault.close();
  });
});
