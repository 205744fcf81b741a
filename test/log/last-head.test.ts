/** A log that follows names the last head that the other is known to have signed (P2, P6). */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toBase64 } from '../../server/core/bytes.ts';
import { HighWater } from '../../server/log/high-water.ts';
import type { Head } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { leased, openInstance } from './instance.ts';
import { append, Gateway } from './make.ts';

/** A folder with log `a`: what it was yesterday, and the heads of then and now. */
async function twoDays() {
  const folder = temporaryFolder();
  const path = join(folder, 'data', 'logs', 'a.db');
  const { logs } = openInstance(folder);
  await logs.create({ name: 'a' });
  const gateway = new Gateway();
  const log = await leased(logs, 'a');
  await log.registerGateway(gateway.signer.publicKey);
  const old = log.head();
  await logs.close();
  copyFileSync(path, `${path}.yesterday`);
  const today = openInstance(folder).logs;
  const grown = await leased(today, 'a');
  await append(grown, await gateway.next({}, log.origin));
  const newest = grown.head();
  await today.close();
  const back = () => copyFileSync(`${path}.yesterday`, path);
  return { folder, path, back, old, newest, origin: log.origin };
}

const previous = (origin: string, { size, root }: Head) => ({ origin, size, root: toBase64(root) });

/** Where the high-water file of `a` lies. */
function memoryOf(folder: string): string {
  return new HighWater(join(folder, 'state')).placeOf('log.example/logs/a');
}

describe('the log that follows', () => {
  test('names the stored head of one that has ended', async () => {
    const { folder, newest, origin } = await twoDays();
    const { logs } = openInstance(folder);
    await logs.freeze('a');
    const last = (await leased(logs, 'a')).head();
    expect(last.size).toBe(newest.size + 1);
    await logs.create({ name: 'b', previous: await logs.lastHead('a') });
    expect((await leased(logs, 'b')).previous).toEqual(previous(origin, last));
    await logs.close();
  });

  test('names the remembered head of one whose data is older', async () => {
    const { folder, back, newest, origin } = await twoDays();
    back();
    const { logs } = openInstance(folder);
    expect(await logs.lastHead('a')).toEqual(previous(origin, newest));
    // It can be had from the log that lost it.
    const log = await leased(logs, 'a');
    expect(await log.headAt(newest.size)).toMatchObject({ checkpoint: newest.checkpoint });
    await logs.close();
  });

  test('names the stored head where a memory only claims a newer one', async () => {
    const { folder, back, old, origin } = await twoDays();
    back();
    const path = memoryOf(folder);
    // The head without the line that proves it.
    writeFileSync(path, readFileSync(path).subarray(0, 512));
    const { logs } = openInstance(folder);
    expect((await leased(logs, 'a')).stopped).toMatchObject({ code: 'split_view' });
    expect(await logs.lastHead('a')).toEqual(previous(origin, old));
    await logs.close();
  });

  test('names the remembered head of one whose database is lost', async () => {
    const { folder, path, newest, origin } = await twoDays();
    rmSync(path);
    const { logs } = openInstance(folder);
    expect(await logs.lastHead('a')).toEqual(previous(origin, newest));
    rmSync(memoryOf(folder));
    await expect(logs.lastHead('a')).rejects.toMatchObject({ code: 'split_view' });
    await logs.close();
  });
});

describe('no log follows', () => {
  test('one that takes entries', async () => {
    const { folder } = await twoDays();
    const { logs } = openInstance(folder);
    await expect(logs.lastHead('a')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('stele log roll a'),
    });
    await expect(logs.lastHead('b')).rejects.toMatchObject({ code: 'not_found' });
    await logs.close();
  });

  test('one that is followed', async () => {
    const { folder } = await twoDays();
    const { logs } = openInstance(folder);
    await logs.roll('a', 'b');
    await expect(logs.lastHead('a')).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('is followed by log.example/logs/b'),
    });
    await logs.close();
  });

  test('one that signed two heads of one size', async () => {
    const { folder, newest } = await twoDays();
    const path = memoryOf(folder);
    const root = toBase64(newest.root);
    const other = `${root.startsWith('A') ? 'B' : 'A'}${root.slice(1)}`;
    writeFileSync(path, readFileSync(path, 'utf8').replace(root, other));
    const { logs } = openInstance(folder);
    await expect(logs.lastHead('a')).rejects.toMatchObject({
      code: 'split_view',
      message: expect.stringContaining('no log can follow both'),
    });
    await logs.close();
  });
});
