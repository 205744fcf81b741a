/** A backup that is killed, or whose disk is full, is none, and says so (P9). */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { mountMissing, SmallDisk } from '../fault/mount.ts';
import { Process } from '../fault/process.ts';
import { Random } from '../fault/random.ts';
import { type Made, makeData, makeFolder } from './folder.ts';

const STELE = join(import.meta.dirname, '..', '..', 'server', 'cli', 'stele.js');

let made: Made;
beforeAll(async () => {
  made = await makeData();
});

function stele(...argv: readonly string[]): Process {
  const env = { PATH: process.env.PATH ?? '', STELE_STATE: join(made.folder, 'state') };
  return new Process(process.execPath, [STELE, ...argv], env, made.folder);
}

test('a backup that is killed at any moment is none, or whole', async () => {
  const random = new Random();
  console.log(`STELE_SEED=${random.seed}`);
  let none = 0;
  for (let i = 0; i < 8; i++) {
    const folder = join(makeFolder(), 'killed');
    const backup = stele('backup', folder, '--data', made.data);
    // From before its first file to after its last one.
    while (!existsSync(folder) && backup.isRunning) await pause(1);
    await pause(random.int(0, 30 * (i + 1)));
    await backup.kill();
    const isWhole = existsSync(join(folder, 'backup.json'));
    if (!isWhole) none += 1;
    const { code, output } = await stele('backup', 'verify', folder).ended;
    expect([isWhole, code, output]).toEqual([isWhole, isWhole ? 0 : 2, expect.any(String)]);
    expect(output).toContain(isWhole ? 'HOLDS' : 'is no backup');
  }
  expect(none).toBeGreaterThan(0);
});

describe.skipIf(mountMissing !== undefined)(`a full disk (${mountMissing ?? 'tmpfs'})`, () => {
  const onSmallDisk = () => {
    const folder = join(makeFolder(), 'disk');
    const disk = new SmallDisk(folder, 2);
    onTestFinished(() => disk.close());
    return { folder, disk };
  };

  test('of databases, of content and of the manifest: the error names it, and there is no backup', async () => {
    for (const leave of [100_000, 500_000, 900_000]) {
      const { folder, disk } = onSmallDisk();
      disk.fill(leave);
      const to = join(folder, 'backup');
      const { code, output } = await stele('backup', to, '--data', made.data).ended;
      expect(output).toContain('the disk is full');
      expect(output).toContain(`${to} has no backup.json and is no backup`);
      expect(code).toBe(2);
      expect(readdirSync(to)).not.toContain('backup.json');
    }
  });

  test('of a restore leaves nothing that starts', async () => {
    const backup = join(makeFolder(), 'backup');
    expect((await stele('backup', backup, '--data', made.data).ended).code).toBe(0);
    const { folder, disk } = onSmallDisk();
    disk.fill(900_000);
    const data = join(folder, 'data');
    mkdirSync(data);
    const { code, output } = await stele('restore', '--from', backup, '--data', data).ended;
    expect(output).toContain('the disk is full');
    expect(output).toContain('remove it, and restore again');
    expect(code).toBe(2);
    const started = await stele('serve', '--data', data).ended;
    expect(started.output).toContain('is not complete');
    expect(started.code).toBe(1);
  });
});
