/**
 * Two processes, copies and old databases: what would sign a second history does not sign (P2). By the
 * command line, over HTTP, and with real processes.
 */
import { copyFileSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parseReceipt } from '../../server/core/receipt.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { Author } from './author.ts';
import { drained } from './evidence.ts';
import { Ledger } from './ledger.ts';
import { call } from './load.ts';
import { Place } from './process.ts';
import { KINDS, startProvider, upstreams } from './provider.ts';
import { Random } from './random.ts';

async function placeWithGateway(env: Readonly<Record<string, string>> = {}) {
  const place = new Place(env);
  onTestFinished(() => place.close());
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  const ledger = new Ledger(place.trust());
  const submit = async () => {
    const entry = await author.sign(author.next());
    ledger.receipt((await place.log('submit').submit(entry)).receipt);
    return entry;
  };
  return { place, ledger, submit };
}

test('a second process on the same data folder is refused, and the first goes on', async () => {
  const { place, submit } = await placeWithGateway();
  const { pid } = place.running!;
  const second = await place.stele('up', '--data', place.data);
  expect(second.code).toBe(1);
  expect(second.output).toContain(`another process is using the data folder ${place.data}`);
  expect(second.output).toContain(`process ${pid}`);
  await submit();
  // However the first dies, its lock dies with it.
  await place.running!.kill();
  await place.start();
  await submit();
}, 120_000);

test('a copied data folder does not sign until somebody answers for it', async () => {
  const { place, submit, ledger } = await placeWithGateway();
  await submit();
  await place.stop();
  const copy = join(place.folder, 'copy');
  cpSync(place.data, copy, { recursive: true });
  const refused = await place.stele('up', '--data', copy);
  expect(refused.code).toBe(1);
  expect(refused.output).toContain('is a copy');
  expect(refused.output).toContain('stele restore --accept');
  const accepted = await place.stele('restore', '--data', copy, '--accept');
  expect(accepted.output).toContain('this is now the only place where its logs sign');
  expect(accepted.code).toBe(0);
  // The original goes on all the same, against what was said: now the copy is behind.
  await place.start();
  await submit();
  await ledger.checkAll(place.log('read'));
  const { size } = await place.log('read').head();
  await place.stop();
  const behind = await place.stele('restore', '--data', copy, '--accept');
  expect(behind.output).toContain(`a head of ${size} was signed before`);
  expect(behind.code).toBe(1);
}, 120_000);

test('a database whose write-ahead log was thrown away signs nothing', async () => {
  const { place, submit } = await placeWithGateway();
  for (let i = 0; i < 5; i++) await submit();
  await place.running!.kill();
  for (const end of ['-wal', '-shm']) rmSync(join(place.data, 'logs', `default.db${end}`));
  const running = await place.start();
  expect(running.output).toContain('Log default accepts nothing');
  await expect(submit()).rejects.toMatchObject({ code: 'split_view' });
}, 120_000);

test("yesterday's database is served and not added to, until the newer one is back", async () => {
  const provider = await startProvider(new Random(1));
  onTestFinished(() => provider.close());
  const { place, ledger, submit } = await placeWithGateway(upstreams(provider));
  await submit();
  await place.stop();
  const database = join(place.data, 'logs', 'default.db');
  const yesterday = join(place.folder, 'yesterday.db');
  const today = join(place.folder, 'today.db');
  copyFileSync(database, yesterday);
  await place.start();
  const newest = await submit();
  const { size } = await place.log('read').head();
  await place.stop();
  copyFileSync(database, today);
  copyFileSync(yesterday, database);

  const running = await place.start();
  expect(running.output).toContain('Log default accepts nothing');
  expect(running.output).toContain(`a head of ${size} was signed before`);
  const answer = await fetch(`${place.addresses().server}/logs/default/v1/entries`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${place.token('submit')}`,
      'content-type': 'application/protobuf',
    },
    body: newest,
  });
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({
    code: 'split_view',
    detail: expect.stringContaining('ring back the newer data'),
  });
  // Reading goes on: everything that is there can be had and proven.
  const log = place.log('read');
  const old = size - 1;
  expect((await log.head()).size).toBe(old);
  expect((await log.checkpoint()).length).toBeGreaterThan(0);
  expect((await log.entry(leafIndex(0))).length).toBeGreaterThan(0);
  expect(parseReceipt(await log.receipt(String(old - 1))).index).toBe(old - 1);
  expect(await log.consistency(treeSize(1), treeSize(old))).not.toEqual([]);
  const file = join(place.folder, 'text');
  writeFileSync(file, 'text');
  await place.stele('key', 'create', join(place.folder, 'key'));
  const submitted = await place.stele(
    ...['submit', file, '--data', place.data, '--type', 'text/plain'],
    ...['--key', join(place.folder, 'key')],
  );
  expect(submitted.code).not.toBe(0);
  expect(submitted.output).toContain('signs nothing more');
  // The proxy goes on too: its calls wait in the journal.
  const [kind] = KINDS;
  const body = Buffer.from(JSON.stringify(kind!.body('waits')));
  const called = await call(place.addresses().proxy + kind!.path, body);
  expect(called).toMatchObject({ status: 200, isComplete: true });
  await place.stop();

  copyFileSync(today, database);
  await place.start();
  await ledger.checkNews(place.log('read'));
  await submit();
  await drained(place.addresses().proxy);
  expect(await place.log('read').findRecord(called.recordId ?? '')).toBeGreaterThan(size - 1);
  await ledger.checkAll(place.log('read'));
  await place.stop();
  const audit = await place.stele('audit', '--files', '--data', place.data);
  expect(audit.output).toContain('HOLDS');
  expect(audit.code).toBe(0);
}, 180_000);
