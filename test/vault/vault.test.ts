import { readdirSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeDisclosure } from '../../server/core/disclosure.ts';
import { DISCLOSURE_BYTES_MAX } from '../../server/core/limits.ts';
import { CHUNK_BYTES } from '../../server/vault/chunks.ts';
import { SqliteKeys } from '../../server/vault/keys.ts';
import { Vault } from '../../server/vault/vault.ts';
import {
  bodyValue,
  content,
  contentFiles,
  Faults,
  holds,
  isWhole,
  makeFolder,
  openVault,
  plain,
  stage,
  store,
  stream,
} from './fixture.ts';

const code = (name: string) => expect.objectContaining({ code: name });

let folder: string;
let vault: Vault;
beforeEach(async () => {
  folder = makeFolder();
  vault = await openVault(folder);
});
afterEach(() => vault.close());

describe('stored content', () => {
  test.each([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])(
    'of %i bytes comes back after a restart',
    async (length) => {
      const record = content('r1', { 'input.raw': plain(length), 'principal.id': 'alice' });
      await store(vault, record);
      await vault.close();
      vault = await openVault(folder);
      expect(await isWhole(vault, record)).toBe(true);
      const { value } = await vault.body(record.key, 'input.raw');
      expect(value).toEqual(bodyValue(plain(length)));
      expect(await vault.fields(record.key)).toEqual([
        { field: 'input.raw', bodyBytes: length },
        { field: 'principal.id' },
      ]);
    },
  );

  test('is one file for a record, whatever its names are', async () => {
    const hostile = ['../../../etc/passwd', 'a/b', '', '\u0000', '.', 'x'.repeat(300)];
    for (const name of hostile) {
      const record = content(name, { 'input.raw': plain(10), b: 1, c: 2 }, `../${name}`);
      await store(vault, record);
      expect(await isWhole(vault, record)).toBe(true);
    }
    const files = contentFiles(folder).map((path) => path.slice(`${folder}/vault/default/`.length));
    expect(files).toHaveLength(hostile.length);
    for (const name of files) expect(name).toMatch(/^000\/000\/[0-9a-f]{64}$/);
  });

  test('is kept apart by source', async () => {
    const a = content('r1', { f: 'one' }, 'source-a');
    const b = content('r1', { f: 'two' }, 'source-b');
    await store(vault, a);
    await store(vault, b);
    expect(await vault.disclosure(a.key, 'f')).toBe(a.disclosures.get('f'));
    expect(await vault.disclosure(b.key, 'f')).toBe(b.disclosures.get('f'));
    await vault.erase(a.key);
    expect(await isWhole(vault, b)).toBe(true);
  });

  test('is not found where there is none', async () => {
    const record = content('r1', { 'input.raw': plain(5), f: 1 });
    await expect(vault.disclosure(record.key, 'f')).rejects.toEqual(code('not_found'));
    expect(await vault.fields(record.key)).toEqual([]);
    await store(vault, record, ['f']);
    await expect(vault.disclosure(record.key, 'input.raw')).rejects.toEqual(code('not_found'));
    await expect(vault.body(record.key, 'input.raw')).rejects.toEqual(code('not_found'));
    await expect(vault.body(record.key, 'f')).rejects.toEqual(code('not_found'));
  });

  test('is seen only after its commit', async () => {
    const record = content('r1', { f: 1 });
    const staging = await stage(vault, record);
    expect(await vault.fields(record.key)).toEqual([]);
    await staging.seal();
    expect(await vault.fields(record.key)).toEqual([]);
    await vault.commitAll([staging]);
    expect(await isWhole(vault, record)).toBe(true);
  });

  test('of a batch is committed together', async () => {
    const records = Array.from({ length: 20 }, (_, i) => content(`r${i}`, { f: plain(i * 100) }));
    const stagings = await Promise.all(records.map((record) => stage(vault, record)));
    await vault.commitAll(stagings);
    for (const record of records) expect(await isWhole(vault, record)).toBe(true);
  });

  test('of a batch costs an fsync for each file, one for their folder, and one transaction', async () => {
    await vault.close();
    const faults = new Faults();
    vault = await openVault(folder, { faults });
    await store(vault, content('first', { f: 1 }));
    const records = Array.from({ length: 20 }, (_, i) => content(`r${i}`, { f: i, g: plain(9) }));
    const before = faults.steps.length;
    await vault.commitAll(await Promise.all(records.map((record) => stage(vault, record))));
    const count = (name: string) =>
      faults.steps.slice(before).filter((s) => s.startsWith(name)).length;
    expect(count('write')).toBe(20);
    expect(count('fsync file')).toBe(20);
    expect(count('fsync folder')).toBe(1);
    expect(count('add keys')).toBe(1);
  });

  test('never touches the disk in the clear, nor does its digest', async () => {
    const body = plain(2 * CHUNK_BYTES + 99, 'planted');
    const record = content('r1', { 'input.raw': body, 'principal.id': 'alice@planted.example' });
    const staging = await vault.begin(record.key, record.commitments);
    const secrets = [
      'planted',
      'principal.id',
      ...record.disclosures.values(),
      bodyValue(body).sha256,
    ];
    const check = () => {
      for (const secret of secrets) expect(holds(folder, secret)).toBe(false);
    };
    for (const text of record.disclosures.values()) await staging.addDisclosure(text);
    async function* watched() {
      for await (const piece of stream(body, 700_000)) {
        yield piece;
        check();
      }
    }
    await staging.addBody('input.raw', watched());
    check();
    await staging.seal();
    check();
    await vault.commitAll([staging]);
    check();
    // The search itself finds what is there: names of records are not secret.
    expect(holds(folder, 'r1')).toBe(true);
    await vault.erase(record.key);
    check();
  });

  test('is read in pieces, and a reader that stops early leaves nothing open', async () => {
    const record = content('r1', { f: plain(5 * CHUNK_BYTES) });
    await store(vault, record);
    for (let round = 0; round < 3; round++) {
      const { chunks } = await vault.body(record.key, 'f');
      for await (const chunk of chunks) {
        expect(chunk.length).toBe(CHUNK_BYTES);
        break;
      }
    }
    await vault.body(record.key, 'f');
    expect(openFiles().filter((path) => path.includes(`${folder}/vault/`))).toEqual([]);
  });
});

/** The files that this process has open, as Linux names them. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor that listed the folder is closed by now.
      return [];
    }
  });
}

describe('an erasure', () => {
  const record = content('r1', { 'input.raw': plain(3000), f: 1 });

  test('leaves no file, no key, and no way back', async () => {
    await store(vault, record, ['f']);
    await store(vault, record);
    await vault.erase(record.key);
    expect(contentFiles(folder)).toEqual([]);
    expect(await vault.fields(record.key)).toEqual([]);
    await expect(vault.disclosure(record.key, 'f')).rejects.toEqual(code('not_found'));
    const again = vault.begin(record.key, record.commitments);
    await expect(again).rejects.toEqual(code('conflict'));
    await vault.close();
    vault = await openVault(folder);
    const later = vault.begin(record.key, record.commitments);
    await expect(later).rejects.toEqual(code('conflict'));
    await vault.erase(record.key);
  });

  test('leaves no byte of the wrapped key in the database or its log', async () => {
    const seen: Uint8Array[] = [];
    await vault.close();
    vault = await Vault.open({
      dir: `${folder}/vault/default`,
      keysDb: `${folder}/vault-keys/default.db`,
      kek: new Uint8Array(32).fill(9),
      origin: 'log.example/logs/default',
      openKeys: (options) => {
        const keys = SqliteKeys.open(options);
        const add = keys.add.bind(keys);
        keys.add = (files, touched, now) => {
          seen.push(...files.map(({ wrapped }) => wrapped));
          return add(files, touched, now);
        };
        return keys;
      },
    });
    await store(vault, record);
    const wrapped = seen[0] ?? new Uint8Array();
    expect(wrapped).toHaveLength(80);
    expect(holds(folder, wrapped)).toBe(true);
    await vault.erase(record.key);
    expect(holds(folder, wrapped)).toBe(false);
    expect(holds(folder, wrapped.subarray(32, 64))).toBe(false);
  });

  test('of a record without content refuses what would come later', async () => {
    await vault.erase(record.key);
    const begin = vault.begin(record.key, record.commitments);
    await expect(begin).rejects.toEqual(code('conflict'));
  });

  test('wins over a staging that is under way', async () => {
    const staging = await stage(vault, record);
    const other = content('r2', { f: 1 });
    const beside = await stage(vault, other);
    await vault.erase(record.key);
    await vault.commitAll([staging, beside]);
    expect(await vault.fields(record.key)).toEqual([]);
    expect(await isWhole(vault, other)).toBe(true);
    expect(contentFiles(folder)).toHaveLength(1);
  });
});

describe('the sweep', () => {
  const logged = content('logged', { f: plain(9) });
  const orphan = content('orphan', { f: plain(9) });
  const isLogged = async ({ recordId }: { recordId: string }) => recordId === 'logged';

  test('removes content without an entry once it is old enough, and nothing else', async () => {
    await store(vault, logged);
    await store(vault, orphan);
    expect(await vault.sweep(isLogged, 3_600_000, 3_600_999)).toBe(0);
    expect(await isWhole(vault, orphan)).toBe(true);
    expect(await vault.sweep(isLogged, 3_600_000, 3_601_000)).toBe(1);
    expect(await isWhole(vault, orphan)).toBe(false);
    expect(await isWhole(vault, logged)).toBe(true);
    expect(contentFiles(folder)).toHaveLength(1);
  });

  test('asks about each record once', async () => {
    const records = Array.from({ length: 600 }, (_, i) => content(`logged-${i}`, { f: i }));
    const stagings = [];
    for (const record of records) stagings.push(await stage(vault, record));
    await vault.commitAll(stagings);
    const asked: string[] = [];
    const ask = async ({ recordId }: { recordId: string }) => asked.push(recordId) > 0;
    expect(await vault.sweep(ask, 0, 2_000)).toBe(0);
    expect(new Set(asked).size).toBe(600);
    expect(asked).toHaveLength(600);
    await vault.sweep(ask, 0, 2_000);
    expect(asked).toHaveLength(600);
  });

  test('spares what a repeat under way relies on, and what a commit just relied on', async () => {
    let time = 1_000;
    await vault.close();
    vault = await openVault(folder, { now: () => time });
    await store(vault, orphan);
    const repeat = await stage(vault, orphan);
    expect(await vault.sweep(isLogged, 0, 9_000)).toBe(0);
    time = 10_000;
    await vault.commitAll([repeat]);
    expect(await vault.sweep(isLogged, 1_000, 10_999)).toBe(0);
    expect(await isWhole(vault, orphan)).toBe(true);
    expect(await vault.sweep(isLogged, 1_000, 11_000)).toBe(1);
    expect(await isWhole(vault, orphan)).toBe(false);
  });
});

describe('a vault', () => {
  test('does not open with another key-encryption key, or for another log', async () => {
    await vault.close();
    const kek = new Uint8Array(32).fill(8);
    await expect(openVault(folder, { kek })).rejects.toEqual(code('unverified'));
    await expect(openVault(folder, { origin: 'x/logs/y' })).rejects.toEqual(code('conflict'));
    vault = await openVault(folder);
  });

  test('discards what is staged when it closes', async () => {
    const record = content('r1', { f: plain(2 * CHUNK_BYTES) });
    await stage(vault, record);
    expect(contentFiles(folder)).toHaveLength(1);
    await vault.close();
    expect(contentFiles(folder)).toEqual([]);
    vault = await openVault(folder);
  });

  test('takes at most 64 commitments', async () => {
    const many = new Map(Array.from({ length: 65 }, (_, i) => [`f${i}`, '']));
    const begin = vault.begin({ source: 's', recordId: 'r' }, many);
    await expect(begin).rejects.toEqual(code('too_large'));
  });

  test('takes a disclosure at the limit', async () => {
    const salt = new Uint8Array(16);
    const room = Math.floor((DISCLOSURE_BYTES_MAX * 3) / 4) - 40;
    const { disclosure, digest } = makeDisclosure('f', 'v'.repeat(room), salt);
    expect(disclosure.length).toBeLessThanOrEqual(DISCLOSURE_BYTES_MAX);
    const key = { source: 's', recordId: 'r' };
    const staging = await vault.begin(key, new Map([['f', digest]]));
    await staging.addDisclosure(disclosure);
    await vault.commitAll([staging]);
    expect(await vault.disclosure(key, 'f')).toBe(disclosure);
  });
});
