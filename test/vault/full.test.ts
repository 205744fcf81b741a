/** A full disk: nothing is left behind, what is stored stays readable, and room is enough to go on (P9). */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { content, contentFiles, isWhole, makeFolder, openVault, plain, store } from './fixture.ts';

const mounted: string[] = [];
afterAll(() => {
  for (const path of mounted) execFileSync('umount', [path]);
});

/** A file system of so many bytes, or nothing where this process may not mount one. */
function smallDisk(bytes: number): string | undefined {
  const path = join(makeFolder(), 'disk');
  mkdirSync(path);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { stdio: 'pipe' });
  } catch {
    return undefined;
  }
  mounted.push(path);
  return path;
}

const disk = smallDisk(8 * 2 ** 20);

describe.skipIf(disk === undefined)('on a full disk (needs the right to mount a tmpfs)', () => {
  test('a body is refused with `storage`, and the next one that fits is taken', async () => {
    const folder = disk ?? '';
    const vault = await openVault(folder);
    const kept = content('kept', { f: 'kept', 'input.raw': plain(1_000_000) });
    await store(vault, kept);
    const before = contentFiles(folder);

    const large = content('large', { 'input.raw': plain(12_000_000) });
    await expect(store(vault, large)).rejects.toMatchObject({ code: 'storage', retryAfterS: 30 });
    expect(contentFiles(folder)).toEqual(before);
    expect(await isWhole(vault, kept)).toBe(true);

    // Not a byte free: neither a file nor a row can be written.
    const filler = join(folder, 'filler');
    let free = 8 * 2 ** 20;
    while (free >= 4_096) {
      try {
        writeFileSync(filler, new Uint8Array(free), { flag: 'a' });
      } catch {
        free = Math.floor(free / 2);
      }
    }
    const small = content('small', { f: 1 });
    for (let round = 0; round < 3; round++) {
      await expect(store(vault, small)).rejects.toMatchObject({ code: 'storage' });
      expect(contentFiles(folder)).toEqual(before);
      expect(await isWhole(vault, kept)).toBe(true);
    }

    rmSync(filler);
    await store(vault, small);
    expect(await isWhole(vault, small)).toBe(true);
    await vault.close();
    const next = await openVault(folder);
    expect(await isWhole(next, small)).toBe(true);
    expect(await isWhole(next, kept)).toBe(true);
    await next.close();
  });
});
