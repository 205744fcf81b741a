import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { equalBytes } from '../../server/core/bytes.ts';
import { DISCLOSURE_BYTES_MAX } from '../../server/core/limits.ts';
import { CHUNK_BYTES } from '../../server/vault/chunks.ts';
import type { Vault } from '../../server/vault/vault.ts';
import {
  content,
  contentFiles,
  gather,
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

describe('a staging refuses', () => {
  const body = plain(CHUNK_BYTES + 5);
  const record = content('r1', { 'input.raw': body, f: 'value' });
  const other = content('r1', { 'input.raw': body, f: 'other', g: 1 });
  const changed = body.with(CHUNK_BYTES, 0);

  const refusals: Record<string, [string, (vault: Vault) => Promise<void>]> = {
    'a disclosure of a name that is not committed': ['unverified', (v) => disclose(v, other, 'g')],
    'a disclosure with another digest': ['unverified', (v) => disclose(v, other, 'f')],
    'text that is no disclosure': ['malformed', (v) => add(v, (s) => s.addDisclosure('!'))],
    'a disclosure that is too long': [
      'too_large',
      (v) => add(v, (s) => s.addDisclosure('A'.repeat(DISCLOSURE_BYTES_MAX + 1))),
    ],
    'a body before its disclosure': [
      'unverified',
      (v) => add(v, (s) => s.addBody('input.raw', stream(body))),
    ],
    'a body for a field that names none': [
      'unverified',
      (v) =>
        add(v, async (s) => {
          await s.addDisclosure(record.disclosures.get('f') ?? '');
          await s.addBody('f', stream(body));
        }),
    ],
    'a body for a field that is not committed': [
      'unverified',
      (v) => add(v, (s) => s.addBody('h', stream(body))),
    ],
    'a body with a byte changed': ['unverified', (v) => send(v, changed)],
    'a body cut short': ['unverified', (v) => send(v, body.subarray(0, -1))],
    'an empty body': ['unverified', (v) => send(v, body.subarray(0, 0))],
    'a body with a byte more': [
      'unverified',
      (v) => send(v, Buffer.concat([body, body.slice(0, 1)])),
    ],
    'a body over the limit': ['too_large', (v) => send(v, body, body.length - 1)],
  };

  async function add(
    vault: Vault,
    work: (staging: Awaited<ReturnType<Vault['begin']>>) => Promise<void>,
  ): Promise<void> {
    await work(await vault.begin(record.key, record.commitments));
  }
  const disclose = (v: Vault, from: typeof other, field: string) =>
    add(v, (s) => s.addDisclosure(from.disclosures.get(field) ?? ''));
  const send = (v: Vault, bytes: Uint8Array, bytesMax?: number) =>
    add(v, async (s) => {
      await s.addDisclosure(record.disclosures.get('input.raw') ?? '');
      await s.addBody('input.raw', stream(bytes), bytesMax === undefined ? {} : { bytesMax });
    });

  test.each(Object.keys(refusals))('%s, and leaves nothing', async (name) => {
    const [expected, attempt] = refusals[name] ?? ['', async () => {}];
    await expect(attempt(vault)).rejects.toEqual(code(expected));
    expect(contentFiles(folder)).toEqual([]);
    expect(await vault.fields(record.key)).toEqual([]);
    await store(vault, record);
    expect(await isWhole(vault, record)).toBe(true);
  });

  test('a body whose stream breaks, with the reason of the break', async () => {
    async function* broken() {
      yield body.subarray(0, CHUNK_BYTES);
      throw new Error('connection reset');
    }
    const attempt = add(vault, async (s) => {
      await s.addDisclosure(record.disclosures.get('input.raw') ?? '');
      await s.addBody('input.raw', broken());
    });
    await expect(attempt).rejects.toThrow('connection reset');
    expect(contentFiles(folder)).toEqual([]);
  });

  test('a body of the exact limit not', async () => {
    await send(vault, body, body.length);
    expect(contentFiles(folder)).toHaveLength(1);
  });

  test('an endless body as soon as it is too long', async () => {
    let given = 0;
    async function* endless() {
      for (;;) {
        given += 65_536;
        yield new Uint8Array(65_536);
      }
    }
    const attempt = add(vault, async (s) => {
      await s.addDisclosure(record.disclosures.get('input.raw') ?? '');
      await s.addBody('input.raw', endless());
    });
    await expect(attempt).rejects.toEqual(code('unverified'));
    expect(given).toBeLessThan(body.length + 3 * 65_536);
  });

  test('anything after a failure, a seal or a discard', async () => {
    const text = record.disclosures.get('f') ?? '';
    const failed = await vault.begin(record.key, record.commitments);
    await expect(failed.addDisclosure('!')).rejects.toEqual(code('malformed'));
    await expect(failed.addDisclosure(text)).rejects.toThrow('broken invariant');
    await expect(vault.commitAll([failed])).rejects.toThrow('broken invariant');
    const sealed = await stage(vault, record);
    await sealed.seal();
    await expect(sealed.addDisclosure(text)).rejects.toThrow('broken invariant');
    await sealed.discard();
    await sealed.discard();
    await expect(vault.commitAll([sealed])).rejects.toThrow('broken invariant');
    expect(contentFiles(folder)).toEqual([]);
  });

  test('to be taken out of a commit that has begun', async () => {
    const staging = await stage(vault, record);
    const sealed = await stage(vault, content('r2', { f: 1 }));
    await sealed.seal();
    const commit = vault.commitAll([staging, sealed]);
    await Promise.all([staging.discard(), sealed.discard()]);
    await commit;
    expect(await isWhole(vault, record)).toBe(true);
    expect(contentFiles(folder)).toHaveLength(2);
  });

  test('to be outlived by a discard in the middle of a body', async () => {
    const staging = await vault.begin(record.key, record.commitments);
    await staging.addDisclosure(record.disclosures.get('input.raw') ?? '');
    async function* leaving() {
      yield body.subarray(0, CHUNK_BYTES);
      await staging.discard();
      yield body.subarray(CHUNK_BYTES);
    }
    await expect(staging.addBody('input.raw', leaving())).rejects.toEqual(code('storage'));
    expect(contentFiles(folder)).toEqual([]);
  });
});

describe('a repeat', () => {
  const record = content('r1', { 'input.raw': plain(3000, 'in'), 'output.raw': plain(10), f: 1 });

  test('supplies what is missing, and keeps what is there', async () => {
    await store(vault, record, ['f']);
    const first = contentFiles(folder);
    await store(vault, record, ['f', 'input.raw']);
    expect(contentFiles(folder)).toEqual(expect.arrayContaining(first));
    expect(contentFiles(folder)).toHaveLength(2);
    await store(vault, record);
    expect(await isWhole(vault, record)).toBe(true);
    expect(contentFiles(folder).filter((path) => /\.[12]$/.test(path))).toHaveLength(2);
  });

  test('with nothing new stores nothing, but is still checked', async () => {
    await store(vault, record);
    const before = contentFiles(folder);
    for (let round = 0; round < 40; round++) await store(vault, record);
    expect(contentFiles(folder)).toEqual(before);
    const staging = await vault.begin(record.key, record.commitments);
    const wrong = stream(plain(3000, 'ni'));
    await expect(staging.addBody('input.raw', wrong)).rejects.toEqual(code('unverified'));
    expect(await isWhole(vault, record)).toBe(true);
  });

  test('may send only the body, where the disclosure is stored', async () => {
    const disclosed = await vault.begin(record.key, record.commitments);
    await disclosed.addDisclosure(record.disclosures.get('input.raw') ?? '');
    await vault.commitAll([disclosed]);
    expect(await vault.fields(record.key)).toEqual([{ field: 'input.raw' }]);
    const staging = await vault.begin(record.key, record.commitments);
    await staging.addBody('input.raw', stream(plain(3000, 'in')));
    await vault.commitAll([staging]);
    expect(await vault.fields(record.key)).toEqual([{ field: 'input.raw', bodyBytes: 3000 }]);
  });

  test('that comes while the first is under way is stored once', async () => {
    const both = [await stage(vault, record), await stage(vault, record)];
    const later = await stage(vault, record);
    await vault.commitAll(both);
    await vault.commitAll([later]);
    expect(contentFiles(folder)).toHaveLength(1);
    expect(await isWhole(vault, record)).toBe(true);
  });

  test('is refused when the record has its 16 files', async () => {
    const names = Array.from({ length: 17 }, (_, i) => `f${i}`);
    const many = content('r2', Object.fromEntries(names.map((name) => [name, name])));
    for (const name of names.slice(0, 16)) await store(vault, many, [name]);
    await expect(store(vault, many, ['f16'])).rejects.toEqual(code('conflict'));
    await store(vault, many, ['f3']);
    expect(contentFiles(folder)).toHaveLength(16);
  });

  test('of which too many come at once is pushed back', async () => {
    const open = [];
    for (let i = 0; i < 16; i++) open.push(await stage(vault, record, ['f']));
    await expect(stage(vault, record, ['f'])).rejects.toEqual(code('pushback'));
    await vault.commitAll(open);
    await store(vault, record);
    expect(await isWhole(vault, record)).toBe(true);
  });

  test('of a record whose first statement was never logged replaces nothing, and is what is read', async () => {
    const never = content('r1', { f: 'first statement', 'input.raw': plain(20) });
    await store(vault, never);
    await store(vault, record);
    expect(await isWhole(vault, record)).toBe(true);
    const digest = never.commitments.get('f') ?? '';
    expect(await vault.disclosure(never.key, 'f', digest)).toBe(never.disclosures.get('f'));
    const { chunks } = await vault.body(never.key, 'input.raw', never.commitments.get('input.raw'));
    expect(equalBytes(await gather(chunks), plain(20))).toBe(true);
  });
});
