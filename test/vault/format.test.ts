/** A second reader of the vault, written from `docs/formats-vault.md` alone. */
import { createDecipheriv, createHash, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { CHUNK_BYTES } from '../../server/vault/chunks.ts';
import { content, contentFiles, makeFolder, ORIGIN, openVault, plain, store } from './fixture.ts';

const kek = Buffer.alloc(32, 9);

function texts(...list: readonly string[]): Buffer {
  return Buffer.concat(
    list.flatMap((text) => {
      const bytes = Buffer.from(text, 'utf8');
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}

function decrypt(key: ArrayBuffer, nonce: Buffer, ad: Buffer, sealed: Buffer): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', new Uint8Array(key), nonce);
  decipher.setAAD(ad);
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()]);
}

function openSection(
  dataKey: Buffer,
  recordId: string,
  kind: string,
  field: string,
  sealed: Buffer,
) {
  const key = hkdfSync('sha256', dataKey, '', texts('stele vault v1 key', kind, field), 32);
  const parts: Buffer[] = [];
  for (let number = 0, at = 0; at < sealed.length; number++) {
    const end = Math.min(at + 1_048_576 + 16, sealed.length);
    const nonce = Buffer.alloc(12);
    nonce.writeUIntBE(number, 5, 6);
    nonce[11] = end === sealed.length ? 1 : 0;
    const ad = texts('stele vault v1', ORIGIN, recordId, field);
    parts.push(decrypt(key, nonce, ad, sealed.subarray(at, end)));
    at = end;
  }
  return Buffer.concat(parts);
}

test('a content file is what the documentation says', async () => {
  const folder = makeFolder();
  const vault = await openVault(folder);
  const recordId = '0197f0a0-0000-7000-8000-000000000001';
  const record = content(recordId, {
    'principal.id': 'alice@example.com',
    'input.raw': plain(2 * CHUNK_BYTES),
    'output.raw': plain(0),
  });
  await store(vault, record);
  await vault.close();

  const [path = ''] = contentFiles(folder);
  const hash = createHash('sha256').update(`["proxy-1","${recordId}"]`).digest('hex');
  expect(path).toBe(`${folder}/vault/default/000/000/${hash}`);

  const db = new Database(`${folder}/vault-keys/default.db`, { readonly: true });
  const wrapped = db.prepare('SELECT wrapped FROM content_file').pluck().get() as Buffer;
  db.close();
  const owner = texts('stele vault v1', ORIGIN, recordId, 'source proxy-1');
  const wrapping = hkdfSync('sha256', kek, wrapped.subarray(0, 32), owner, 32);
  const dataKey = decrypt(wrapping, Buffer.alloc(12), Buffer.alloc(0), wrapped.subarray(32));
  expect(dataKey).toHaveLength(32);

  const file = readFileSync(path);
  expect(file.subarray(0, 15).toString()).toBe('stele vault v1\n');
  const indexEnd = file.length - 4;
  const indexAt = indexEnd - file.readUInt32BE(indexEnd);
  const sealedIndex = file.subarray(indexAt, indexEnd);
  const index = JSON.parse(openSection(dataKey, recordId, 'index', '', sealedIndex).toString());
  let at = 15;
  const found = new Map<string, Buffer>();
  for (const { kind, field, digest, begin, sealed } of index) {
    expect(begin).toBe(at);
    at += sealed;
    expect(digest).toBe(record.commitments.get(field));
    const section = file.subarray(begin, at);
    found.set(`${kind} ${field}`, openSection(dataKey, recordId, kind, field, section));
  }
  expect(at).toBe(indexAt);
  for (const [field, text] of record.disclosures) {
    expect(found.get(`disclosure ${field}`)?.toString()).toBe(text);
  }
  expect(found.get('body input.raw')?.equals(plain(2 * CHUNK_BYTES))).toBe(true);
  expect(found.get('body output.raw')).toHaveLength(0);
  expect(found.size).toBe(5);
});
