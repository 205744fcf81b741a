import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { openForWriting } from '../../server/storage/sqlite/database.ts';
import { createKek, Keyring, openKek } from '../../server/vault/keyring.ts';
import { makeFolder } from './fixture.ts';

describe('the key-encryption key', () => {
  test('is 32 random bytes in a file of its owner, made once', async () => {
    const folder = makeFolder();
    const path = join(folder, 'vault.kek');
    const kek = await createKek(path);
    expect(kek).toHaveLength(32);
    expect(await createKek(`${path}2`)).not.toEqual(kek);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await openKek(path)).toEqual(kek);
    await expect(createKek(path)).rejects.toMatchObject({ code: 'EEXIST' });
    expect(await openKek(path)).toEqual(kek);
    expect(readdirSync(folder).sort()).toEqual(['vault.kek', 'vault.kek2']);
  });

  test.each([0o640, 0o604, 0o620, 0o660, 0o644])('is refused with mode %o', async (mode) => {
    const path = join(makeFolder(), 'vault.kek');
    await createKek(path);
    chmodSync(path, mode);
    await expect(openKek(path)).rejects.toThrow('the rule is 0600');
  });

  test.each([0, 31, 33])('is refused with %i bytes', async (length) => {
    const path = join(makeFolder(), 'vault.kek');
    writeFileSync(path, new Uint8Array(length), { mode: 0o600 });
    await expect(openKek(path)).rejects.toMatchObject({ code: 'malformed' });
  });
});

describe('a wrapped data key', () => {
  let calls = 0;
  const random = (bytes: number) => new Uint8Array(bytes).fill(++calls);
  const keyring = new Keyring(new Uint8Array(32).fill(1), random);
  const owner = utf8('owner');
  const dataKey = new Uint8Array(32).fill(200);

  test('comes back for its owner', () => {
    const wrapped = keyring.wrap(dataKey, owner);
    expect(wrapped).toHaveLength(80);
    expect(keyring.unwrap(wrapped, owner)).toEqual(dataKey);
  });

  test('looks different each time', () => {
    expect(keyring.wrap(dataKey, owner)).not.toEqual(keyring.wrap(dataKey, owner));
  });

  test('does not open changed anywhere, cut, for another owner, or under another key', () => {
    const wrapped = keyring.wrap(dataKey, owner);
    const refused = expect.objectContaining({ code: 'unverified' });
    for (let at = 0; at < wrapped.length; at++) {
      const changed = wrapped.with(at, (wrapped[at] ?? 0) ^ 1);
      expect(() => keyring.unwrap(changed, owner)).toThrow(refused);
    }
    expect(() => keyring.unwrap(wrapped.subarray(0, 79), owner)).toThrow(refused);
    expect(() => keyring.unwrap(wrapped, utf8('other'))).toThrow(refused);
    const other = new Keyring(new Uint8Array(32).fill(2), random);
    expect(() => other.unwrap(wrapped, owner)).toThrow(refused);
  });
});

test('the key database is synced at every commit, also after its first write', () => {
  const db = openForWriting(join(makeFolder(), 'keys.db'), 'vault');
  const insert = 'INSERT INTO erased (record, erased_ms) VALUES (randomblob(32), 1)';
  for (let round = 0; round < 3; round++) {
    db.exec(insert);
    expect(db.pragma('synchronous', { simple: true })).toBe(2);
  }
  expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
  db.close();
});
