/** Whoever can write to the disk can take content away, but not change, swap or shorten it unnoticed. */
import { copyFileSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CHUNK_BYTES } from '../../server/vault/chunks.ts';
import type { Vault } from '../../server/vault/vault.ts';
import { content, contentFiles, isWhole, makeFolder, openVault, plain, store } from './fixture.ts';

const SEALED = CHUNK_BYTES + 16;
const HEADER = 15;

// Two fields of the same length, so that their sections could take each other's place.
const a = content('a', {
  'input.raw': plain(2 * CHUNK_BYTES, 'a'),
  'output.raw': plain(2 * CHUNK_BYTES, 'b'),
});
const b = content('b', {
  'input.raw': plain(2 * CHUNK_BYTES, 'c'),
  'output.raw': plain(2 * CHUNK_BYTES, 'd'),
});

let folder: string;
let vault: Vault;
let fileA: string;
let fileB: string;
let bytes: Buffer;
beforeEach(async () => {
  folder = makeFolder();
  vault = await openVault(folder);
  await store(vault, a);
  fileA = contentFiles(folder)[0] ?? '';
  await store(vault, b);
  fileB = contentFiles(folder).find((path) => path !== fileA) ?? '';
  bytes = readFileSync(fileA);
});
afterEach(() => vault.close());

/** Where the bodies begin: after the header and two small disclosures. */
function bodyAt(file: Buffer, index: 0 | 1): number {
  const sealedIndex = file.readUInt32BE(file.length - 4);
  return file.length - 4 - sealedIndex - (2 - index) * 2 * SEALED;
}

function swap(file: Buffer, from: number, to: number, length: number): Buffer {
  const copy = Buffer.from(file);
  file.copy(copy, from, to, to + length);
  file.copy(copy, to, from, from + length);
  return copy;
}

const spoilers: Record<string, () => void> = {
  'cut by a byte': () => truncateSync(fileA, bytes.length - 1),
  'cut before its index': () =>
    truncateSync(fileA, bytes.length - 4 - bytes.readUInt32BE(bytes.length - 4)),
  'cut to its header': () => truncateSync(fileA, HEADER),
  'cut to nothing': () => truncateSync(fileA, 0),
  'longer by a byte': () => writeFileSync(fileA, Buffer.concat([bytes, Buffer.from([0])])),
  'without the last chunk of a body': () => {
    const end = bodyAt(bytes, 1) + 2 * SEALED;
    writeFileSync(fileA, Buffer.concat([bytes.subarray(0, end - SEALED), bytes.subarray(end)]));
  },
  'with two chunks exchanged': () =>
    writeFileSync(fileA, swap(bytes, bodyAt(bytes, 0), bodyAt(bytes, 0) + SEALED, SEALED)),
  'with chunks exchanged between fields': () =>
    writeFileSync(fileA, swap(bytes, bodyAt(bytes, 0), bodyAt(bytes, 1), SEALED)),
  'with whole bodies exchanged between fields': () =>
    writeFileSync(fileA, swap(bytes, bodyAt(bytes, 0), bodyAt(bytes, 1), 2 * SEALED)),
  'with a chunk of another record': () => {
    const copy = Buffer.from(bytes);
    const other = readFileSync(fileB);
    other.copy(copy, bodyAt(bytes, 0), bodyAt(other, 0), bodyAt(other, 0) + SEALED);
    writeFileSync(fileA, copy);
  },
  'in the place of another record': () => copyFileSync(fileB, fileA),
  'with the key of another record': () => {
    const db = new Database(`${folder}/vault-keys/default.db`);
    const wrapped = db
      .prepare(`SELECT wrapped FROM content_file WHERE record_id = 'b'`)
      .pluck()
      .get();
    db.prepare(`UPDATE content_file SET wrapped = ? WHERE record_id = 'a'`).run(wrapped);
    db.close();
  },
  'with file and key of another record': () => {
    copyFileSync(fileB, fileA);
    const db = new Database(`${folder}/vault-keys/default.db`);
    db.exec(
      `UPDATE content_file SET wrapped = (SELECT wrapped FROM content_file WHERE record_id = 'b')`,
    );
    db.close();
  },
};

describe('a content file is refused', () => {
  test.each(Object.keys(spoilers))('%s', async (name) => {
    expect(await isWhole(vault, a)).toBe(true);
    spoilers[name]?.();
    await expect(isWhole(vault, a)).rejects.toMatchObject({ code: 'storage' });
    expect(await isWhole(vault, b)).toBe(true);
  });

  test('with any one bit flipped', async () => {
    const indexAt = bytes.length - 4 - bytes.readUInt32BE(bytes.length - 4);
    const anywhere = fc.oneof(
      fc.integer({ min: HEADER, max: bytes.length - 1 }),
      fc.integer({ min: HEADER, max: HEADER + 400 }),
      fc.integer({ min: indexAt, max: bytes.length - 1 }),
    );
    await fc.assert(
      fc.asyncProperty(anywhere, fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const copy = Buffer.from(bytes);
        copy[at] = (copy[at] ?? 0) ^ (1 << bit);
        writeFileSync(fileA, copy);
        await expect(isWhole(vault, a)).rejects.toMatchObject({ code: 'storage' });
      }),
      { numRuns: 60 },
    );
    writeFileSync(fileA, bytes);
    expect(await isWhole(vault, a)).toBe(true);
  });

  test('with a bit of its header flipped', async () => {
    for (let at = 0; at < HEADER; at++) {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 1;
      writeFileSync(fileA, copy);
      await expect(isWhole(vault, a)).rejects.toMatchObject({ code: 'storage' });
    }
  });

  test('only where it is damaged: what is whole can still be read', async () => {
    const copy = Buffer.from(bytes);
    const at = bodyAt(bytes, 0) + SEALED + 5;
    copy[at] = (copy[at] ?? 0) ^ 1;
    writeFileSync(fileA, copy);
    await expect(isWhole(vault, a)).rejects.toMatchObject({ code: 'storage' });
    expect(await vault.disclosure(a.key, 'input.raw')).toBe(a.disclosures.get('input.raw'));
    const { chunks } = await vault.body(a.key, 'output.raw');
    let length = 0;
    for await (const chunk of chunks) length += chunk.length;
    expect(length).toBe(2 * CHUNK_BYTES);
  });
});

test('files that are exchanged are both refused', async () => {
  renameSync(fileA, `${fileA}.x`);
  renameSync(fileB, fileA);
  renameSync(`${fileA}.x`, fileB);
  await expect(isWhole(vault, a)).rejects.toMatchObject({ code: 'storage' });
  await expect(isWhole(vault, b)).rejects.toMatchObject({ code: 'storage' });
});
