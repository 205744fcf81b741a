/** One log that cannot be opened: the instance starts, says so, and serves the others. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../temporary.ts';
import { startStele } from './running.ts';

test('a log whose database is lost keeps no other log from being served', async () => {
  const folder = temporaryFolder();
  const first = await startStele(folder, 'http://127.0.0.1:9');
  const token = readFileSync(join(folder, 'data', 'tokens', 'admin'), 'utf8').trim();
  const made = await fetch(`${first.server}/v1/admin/logs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'team-b' }),
  });
  expect(made.status).toBe(201);
  await first.stop('SIGTERM');
  for (const end of ['', '-wal', '-shm']) {
    rmSync(join(folder, 'data', 'logs', `team-b.db${end}`), { force: true });
  }

  const again = await startStele(folder, 'http://127.0.0.1:9');
  expect(again.output()).toMatch(/team-b.*its history is lost or elsewhere/s);
  expect((await fetch(`${again.server}/logs/default/checkpoint`)).status).toBe(200);
  expect((await fetch(`${again.server}/logs/team-b/checkpoint`)).status).toBe(503);
  await again.stop('SIGTERM');
});
