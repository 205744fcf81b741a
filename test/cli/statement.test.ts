/** What is submitted, and what becomes of it where its log has ended. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readStatement } from '../../server/cli/statement.ts';
import type { World } from '../../server/cli/terminal.ts';
import { signEntry } from '../../server/client/sign.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { decodeEntry, RECORD_TYPE } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { createKeyFile } from '../../server/keys/file.ts';
import { heartbeat } from '../client/served.ts';
import { temporaryFolder } from '../temporary.ts';

const NEXT = 'log.example/logs/a-2027';

test('opaque bytes go to another log as they are, and records are made for it by whoever has the key', async () => {
  const cwd = temporaryFolder();
  const world = { cwd } as World;
  const signer = await createKeyFile(join(cwd, 'key'), 'ed25519');
  const payload = heartbeat('log.example/logs/a', 3, 'A'.repeat(43));
  writeFileSync(join(cwd, 'record.json'), payload);
  writeFileSync(join(cwd, 'record'), await signEntry(signer, RECORD_TYPE, payload));
  writeFileSync(join(cwd, 'note'), await signEntry(signer, 'text/plain', utf8('x')));

  const here = await readStatement(world, 'record.json', { key: 'key' });
  const { entry, madeAnew } = await here.forLog(NEXT);
  await here.close();
  expect(madeAnew).toBe(true);
  const { log, ...same } = parseRecord(decodeEntry(entry).payload);
  const { log: old, ...before } = parseRecord(payload);
  expect([old, log]).toEqual(['log.example/logs/a', NEXT]);
  expect(same).toEqual(before);

  const note = await readStatement(world, 'note', { entry: true });
  expect(await note.forLog(NEXT)).toEqual({ entry: note.entry, madeAnew: false });

  const elsewhere = await readStatement(world, 'record', { entry: true });
  await expect(elsewhere.forLog(NEXT)).rejects.toThrow(
    `was made and signed for log.example/logs/a: whoever signs it has to make it for ${NEXT}`,
  );
});
