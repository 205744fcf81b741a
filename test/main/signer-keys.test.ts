/** Keys that a signer holds are changed as files are: the log says which sign, the signer what it has. */
import { copyFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseNote } from '../../server/core/note.ts';
import { openKeyFile } from '../../server/keys/file.ts';
import { addNext } from '../../server/keys/remote/add-keys.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import type { Log } from '../../server/log/log.ts';
import { SignerKeys } from '../../server/main/signer-keys.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { addLog, type Place, signerPlace } from '../keys/remote/signer-folder.ts';
import { openInstance } from '../log/instance.ts';
import { checker } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';

const ORIGIN = 'log.example/logs/b';

async function open(place: Place, folder: string) {
  const data = join(folder, 'data');
  const signer = place.connect();
  const openOperator = () => openKeyFile(join(place.keys, 'operator.pem'));
  const keysElsewhere = new SignerKeys({ data, signer, openOperator });
  return openInstance(folder, { keysElsewhere, operator: undefined });
}

const linesOf = (log: Log) =>
  parseNote(new TextEncoder().encode(log.head().checkpoint)).signatures.map(({ keyId }) => keyId);

test('a log whose keys a signer holds changes to one that was put there, and to no other', async () => {
  const place = await signerPlace();
  await addLog(place.keys, 'b', ORIGIN);
  await addLog(place.keys, 'b-access', `${ORIGIN}.access`);
  await place.start();
  const folder = temporaryFolder();
  const first = await open(place, folder);
  await first.logs.create({ name: 'b' });
  const { log } = await first.logs.lease('b');
  await expect(log.rotateKey('identity')).rejects.toThrow(
    `run "stele signer add ${ORIGIN} --keys … --next identity"`,
  );
  const options = { cwd: folder, secrets: {} };
  await addNext(place.keys, ORIGIN, { purpose: 'identity' }, options);
  await addNext(place.keys, ORIGIN, { purpose: 'identity' }, options);
  await expect(log.rotateKey('identity')).rejects.toThrow(
    `the signer has 2 identity keys for ${ORIGIN} that the log never announced`,
  );
  expect(log.head().size).toBe(1);
  await first.logs.close();

  // The signer is started again with one of them.
  const files = await signerPlace();
  rmSync(join(place.keys, 'b', 'identity-3.pem'));
  const again = { ...files, keys: place.keys };
  await place.start({ path: files.path });
  const second = await open(again, folder);
  const next = await second.logs.use('b', (opened) => opened.rotateKey('identity'));
  await second.logs.use('b', async (opened) => {
    expect(linesOf(opened)).toHaveLength(2);
    await opened.retireKey('identity', { overlapMs: 0 });
    expect(opened.head().size).toBe(3);
  });
  await second.logs.close();

  // Opened again the log asks for the key that it announced, and not for what it began with.
  const third = await open(again, folder);
  await third.logs.use('b', async (opened) => {
    expect(opened.stopped).toBeUndefined();
    await expect(opened.rotateKey('anchor')).rejects.toThrow('no anchor key');
    await opened.changeRules({ ...opened.rules, entries_per_second: 7 });
    expect(linesOf(opened)).toEqual([next.key.keyId]);
  });
  const path = join(folder, 'data', 'logs', 'b.db');
  await third.logs.close();
  const store = SqliteStore.openReadOnly(path);
  const report = await audit({ reader: new StoreReader(store), known: [], checker });
  await store.close();
  expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
  expect(report.size).toBe(4);
});

test('a log goes over to a signer with every key that signs for it now, and with no other', async () => {
  const folder = temporaryFolder();
  const place = await signerPlace();
  const operator = await openKeyFile(join(place.keys, 'operator.pem'));
  const files = openInstance(folder, { operator });
  await files.logs.create({ name: 'b' });
  await files.logs.use('b', (log) => log.rotateKey('identity'));
  await files.logs.close();
  // Both identity keys sign, and the signer has others.
  await addLog(place.keys, 'b', ORIGIN);
  const signer = await place.start();
  const wrong = await open(place, folder);
  await expect(wrong.logs.use('b', () => {})).rejects.toThrow(
    'are not those that the log was signed with (its identity key is',
  );
  await wrong.logs.close();
  await signer.stop();
  const own = join(folder, 'data', 'keys', 'logs', 'b');
  for (const file of readdirSync(own)) {
    if (file.endsWith('.pem')) copyFileSync(join(own, file), join(place.keys, 'b', file));
  }
  const { book } = await place.start();
  const right = await open(place, folder);
  await right.logs.use('b', async (log) => {
    expect(log.stopped).toBeUndefined();
    await book.expect(ORIGIN, log.head());
    await log.changeRules({ ...log.rules, entries_per_second: 7 });
    expect(linesOf(log)).toHaveLength(2);
  });
  await right.logs.close();
});
