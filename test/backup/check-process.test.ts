/**
 * Damage under a running server: the check finds it, the log stops signing and is read on, and goes on once a
 * check found it whole (P2, P4, P9). With real processes.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { Author } from '../fault/author.ts';
import { newPlace } from '../fault/world.ts';

/** Flips one bit of a blob, at the byte that `at` finds. */
function flip(path: string, table: string, where: string, at: (data: Buffer) => number): void {
  const db = new Database(path, { timeout: 5_000 });
  try {
    db.exec(`DROP TRIGGER IF EXISTS ${table}_is_append_only_update`);
    const data = db.prepare(`SELECT data FROM ${table} WHERE ${where}`).pluck().get() as Buffer;
    const place = at(data);
    data[place] = (data[place] ?? 0) ^ 1;
    db.prepare(`UPDATE ${table} SET data = ? WHERE ${where}`).run(data);
  } finally {
    db.close();
  }
}

/** In the signature of a chunk's first entry: the entry can still be read as one. */
const inSignature = (data: Buffer) => 2 + data.readUInt16BE(0) - 64 - 2 - 20;

/** A server whose log has a full tile, and content. */
async function filled(env: Readonly<Record<string, string>>) {
  const place = newPlace(env);
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  const submit = async () =>
    place
      .log('submit')
      .submit(await author.sign(author.next()))
      .then(({ receipt }) => receipt);
  for (let i = 0; i < 4; i++) await Promise.all(Array.from({ length: 80 }, submit));
  const draft = author.next([{ field: 'request.body', bytes: new Uint8Array(100_000) }]);
  await place.log('submit').submit(await author.sign(draft), {
    disclosures: draft.disclosures,
    bodies: draft.bodies.map(({ field, bytes }) => ({
      field,
      bytes: bytes.length,
      open: async function* () {
        yield bytes;
      },
    })),
  });
  const log = join(place.data, 'logs', 'default.db');
  const check = (...more: readonly string[]) =>
    place.stele('log', 'check', 'default', '--data', place.data, ...more);
  return { place, submit, log, check };
}

test('a flipped bit in a chunk, a tile or a content file is found beside the server, with its place', async () => {
  const { place, log, check } = await filled({});
  const whole = await check();
  expect(whole.output).toContain('HOLDS');
  expect(whole.code).toBe(0);

  const chunk = 'begin = (SELECT max(begin) FROM chunk WHERE begin BETWEEN 2 AND 200)';
  flip(log, 'chunk', chunk, inSignature);
  const entry = await check();
  expect(entry.output).toMatch(/default: entry \d+: entry \d+ was changed: tile 0\/0 has the hash/);
  expect(entry.code).toBe(1);
  flip(log, 'chunk', chunk, inSignature);

  flip(log, 'tile', 'id = 0', () => 32 * 99);
  const tile = await check();
  expect(tile.output).toMatch(/default: entry 99: tile 0\/0 was changed/);
  expect(tile.code).toBe(1);
  flip(log, 'tile', 'id = 0', () => 32 * 99);

  const vault = join(place.data, 'vault', 'default', '000', '000');
  const [name = ''] = readdirSync(vault);
  const bytes = readFileSync(join(vault, name));
  bytes[50_000] = (bytes[50_000] ?? 0) ^ 1;
  writeFileSync(join(vault, name), bytes);
  const content = await check('--json');
  expect(JSON.parse(content.output)).toMatchObject({
    logs: [
      {
        tree: 'holds',
        content: 'damaged',
        found: [expect.stringMatching(`^vault/default/000/000/${name}: body request.body: `)],
      },
      {},
    ],
  });
  expect(content.code).toBe(1);
  await place.stop();
}, 120_000);

test('a log that its own server finds damaged stops signing, and goes on once it is whole', async () => {
  const { place, submit, log, check } = await filled({
    STELE_CHECK_SCHEDULE: '* * * * * *',
    STELE_CHECK_BYTES_PER_SECOND: '1000000000',
  });
  const chunk = 'begin = (SELECT max(begin) FROM chunk WHERE begin BETWEEN 2 AND 200)';
  flip(log, 'chunk', chunk, inSignature);
  let refusal: unknown;
  while (refusal === undefined) {
    refusal = await submit().then(
      () => undefined,
      (error: unknown) => error,
    );
    await pause(50);
  }
  expect(refusal).toMatchObject({
    code: 'storage',
    message: expect.stringContaining('a check found log default damaged'),
  });
  const { size } = await place.log('read').head();
  expect((await place.log('read').checkpoint()).length).toBeGreaterThan(0);
  const figures = await fetch(`${place.addresses().server}/metrics`, {
    headers: { authorization: `Bearer ${place.token('admin')}` },
  });
  expect(await figures.text()).toContain('stele_log_check_holds{log="default"} 0');
  const { output } = await place.running!.kill('SIGTERM');
  expect(output).toContain('the log is damaged: it signs nothing more');

  // It is remembered.
  await place.start();
  await expect(submit()).rejects.toMatchObject({ code: 'storage' });
  expect((await place.log('read').head()).size).toBe(size);
  await place.stop();
  flip(log, 'chunk', chunk, inSignature);
  expect((await check()).code).toBe(0);
  await place.start();
  await submit();
  expect((await place.log('read').head()).size).toBe(size + 1);
  await place.stop();
}, 120_000);
