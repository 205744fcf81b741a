/**
 * Yesterday's backup, put back although the log went on since: it is read and signs nothing, says what to do,
 * and what it says works (P2). With real processes.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { toBase64, utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { Author } from '../fault/author.ts';
import { Ledger } from '../fault/ledger.ts';
import { newPlace } from '../fault/world.ts';

test('a log of which a newer head was signed is followed, and never goes on', async () => {
  const place = newPlace({});
  await place.start();
  const { origin } = await place.log('read').head();
  const author = new Author(origin, 'gateway');
  await place.register(author.signer);
  const trust = place.trust();
  const ledger = new Ledger(trust);
  const submit = async () =>
    ledger.receipt((await place.log('submit').submit(await author.sign(author.next()))).receipt);
  await submit();
  const parts = ['data', 'keys', 'vault-keys'].map((name) => join(place.folder, `b-${name}`));
  const [data = '', keys = '', vaultKeys = ''] = parts;
  const options = ['--keys', keys, '--vault-keys', vaultKeys, '--data', place.data];
  expect((await place.stele('backup', data, ...options)).code).toBe(0);
  const backed = (await place.log('read').head()).size;
  for (let i = 0; i < 3; i++) await submit();
  await place.running?.kill();
  rmSync(place.data, { recursive: true });

  const restored = await place.stele('restore', '--from', data, ...options);
  const signed = ledger.largest;
  expect(restored.output).toContain(`has ${backed} entries, but a head of ${signed} was signed`);
  expect(restored.output).toContain('stele log create NEW --previous default');
  expect(restored.code).toBe(1);
  await place.start();
  await expect(submit()).rejects.toMatchObject({ code: 'split_view' });
  const log = place.log('read');
  expect((await log.head()).size).toBe(backed);
  expect((await log.entry(leafIndex(backed - 1))).length).toBeGreaterThan(0);

  const created = await place.stele(
    ...['log', 'create', 'default-2', '--previous', 'default', '--data', place.data],
  );
  expect(created.code, created.output).toBe(0);
  const next = place.log('read', 'default-2');
  const record = parseRecord(decodeEntry(await next.entry(leafIndex(0))).payload);
  const { previous } = record.kind === 'genesis' ? record.genesis : { previous: undefined };
  expect(previous).toMatchObject({ origin, size: signed });
  // Whoever has the old log's keys can check it, and whoever has a receipt of what was lost.
  const { checkpoint = '' } = await log.head(treeSize(signed));
  const opened = openCheckpoint(
    utf8(checkpoint),
    origin,
    trust.logs[0]?.keys.map((k) => k.key) ?? [],
  );
  expect(toBase64(opened.checkpoint.root)).toBe(previous?.root);
  expect(ledger.head(checkpoint).size).toBe(signed);

  const elsewhere = new Author((await next.head()).origin, 'gateway');
  await place.register(elsewhere.signer, 'default-2');
  await place.log('submit', 'default-2').submit(await elsewhere.sign(elsewhere.next()));
  const again = await place.stele(
    ...['log', 'create', 'default', '--previous', 'default', '--data', place.data],
  );
  expect(again.code).not.toBe(0);
  await place.stop();
  const audit = await place.stele('audit', '--files', '--log', 'default-2', '--data', place.data);
  expect(audit.output).toContain('HOLDS');
}, 120_000);
