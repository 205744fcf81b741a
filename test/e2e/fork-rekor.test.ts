/**
 * A log's database is copied, and both copies are appended to: whichever looks into Rekor after the other has
 * shown a head there signs nothing more, and says why (P2). With real processes.
 */
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { sha256, utf8 } from '../../server/core/bytes.ts';
import { parseCheckpoint } from '../../server/core/checkpoint.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { type Note, parseNote } from '../../server/core/note.ts';
import { hashedRekordRequest } from '../../server/core/sigstore/hashedrekord.ts';
import { hash } from '../../server/core/units.ts';
import { NOTE_ECDSA, parseVerifierKey } from '../../server/core/verifier-key.ts';
import { RekorDouble } from '../anchor/rekor-double/double.ts';
import { Author } from '../fault/author.ts';
import { Place } from '../fault/process.ts';
import { temporaryFolder } from '../temporary.ts';

let rekor: RekorDouble;
let env: Record<string, string>;
const places: Place[] = [];

beforeAll(async () => {
  rekor = await RekorDouble.start();
  rekor.v2.shard.grow(300);
  const trusted = join(temporaryFolder(afterAll), 'trusted_root.json');
  const json = rekor.trustedRoot();
  const here = json.tlogs.map((log) => ({ ...log, baseUrl: rekor.url }));
  writeFileSync(trusted, JSON.stringify({ ...json, tlogs: [...json.tlogs, ...here] }));
  env = { STELE_ANCHOR_TRUSTED_ROOT: trusted, STELE_REKOR_PUBLIC: rekor.url };
});

afterAll(async () => {
  for (const place of places) await place.close();
  await rekor.stop();
});

function newPlace(): Place {
  const place = new Place(env, ['serve']);
  places.push(place);
  return place;
}

test('a copy of a log that goes on beside it is told by what the other showed', async () => {
  const first = newPlace();
  await first.start();
  const author = new Author((await first.log('read').head()).origin, 'gateway');
  await first.register(author.signer);
  await first.log('submit').submit(await author.sign(author.next()));
  await first.admin().anchorLog('default');
  await first.stop();

  // The whole folder, taken over as if the first were gone: nothing on that machine can know better.
  const second = newPlace();
  cpSync(first.data, second.data, { recursive: true });
  const accepted = await second.stele('restore', '--accept', '--data', second.data);
  expect(accepted.output).toContain('is accepted');
  await second.start();
  await second.log('submit').submit(await author.sign(author.next()));
  await second.admin().anchorLog('default');

  // The first did not hear of that. Before it signs anything it looks.
  await first.start();
  expect(first.running!.output).toContain('log default signs nothing more');
  const refused = first.log('submit').submit(await author.sign(author.next()));
  await expect(refused).rejects.toMatchObject({ code: 'split_view' });
  await expect(refused).rejects.toThrow(/entry 301 of http.* is a head .*another copy of the log/);
  expect((await first.log('read').head()).size).toBeGreaterThan(0);
});

test('of two that run at once, the one that is to show a head after the other stops', async () => {
  const first = newPlace();
  await first.start();
  const author = new Author((await first.log('read').head()).origin, 'gateway');
  await first.register(author.signer);
  await first.admin().anchorLog('default');
  await first.stop();
  const second = newPlace();
  cpSync(first.data, second.data, { recursive: true });
  await second.stele('restore', '--accept', '--data', second.data);
  await Promise.all([first.start(), second.start()]);

  await first.log('submit').submit(await author.sign(author.next()));
  await first.admin().anchorLog('default');
  await second.log('submit').submit(await author.sign(author.next()));
  await second
    .admin()
    .anchorLog('default')
    .catch(() => undefined);
  const refused = second.log('submit').submit(await author.sign(author.next()));
  await expect(refused).rejects.toMatchObject({ code: 'split_view' });
  // Nothing of the second was shown, so the first has nothing to see yet.
  await first.log('submit').submit(await author.sign(author.next()));
});

test('a log that is put back without the rest of its folder is older than what was shown of it', async () => {
  const place = newPlace();
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  await place.stop();
  const before = join(place.folder, 'before');
  cpSync(join(place.data, 'logs'), before, { recursive: true });
  await place.start();
  await place.log('submit').submit(await author.sign(author.next()));
  await place.admin().anchorLog('default');
  const shown = (await place.log('read').head()).size;
  await place.stop();

  rmSync(join(place.data, 'logs'), { recursive: true });
  cpSync(before, join(place.data, 'logs'), { recursive: true });
  // What would have known it first is gone.
  rmSync(place.env.STELE_STATE!, { recursive: true });
  const audited = await place.stele('audit', '--log', 'default', '--data', place.data);
  expect(audited.output).toContain('the heads that were shown outside');
  expect(audited.code).toBe(1);
  await place.start();
  const refused = place.log('submit').submit(await author.sign(author.next()));
  await expect(refused).rejects.toMatchObject({ code: 'split_view' });
  await expect(refused).rejects.toThrow(
    new RegExp(`a head of ${shown} was signed before \\(anchors: .*stele\\.db\\)`),
  );
});

test('a published head that somebody else has taken up is the log’s own all the same', async () => {
  const place = newPlace();
  await place.start();
  const author = new Author((await place.log('read').head()).origin, 'gateway');
  await place.register(author.signer);
  await place.admin().anchorLog('default');
  await place.log('submit').submit(await author.sign(author.next()));

  // All that is needed is public: the head, with the line of the anchor key, and that key.
  const { server } = place.addresses();
  const { keys } = (await (await fetch(`${server}/v1/keys`)).json()) as {
    keys: { log: string; vkey: string }[];
  };
  const { signatures, text } = await published(`${server}/logs/default/checkpoint`, 3);
  const anchor = keys
    .filter(({ log }) => log === 'default')
    .map(({ vkey }) => parseVerifierKey(vkey))
    .find(({ type }) => type === NOTE_ECDSA)!;
  const line = signatures.find(({ keyId }) => keyId === anchor.keyId)!;
  const answer = await fetch(`${rekor.url}/api/v2/log/entries`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: hashedRekordRequest(2, {
      digest: hash(sha256(utf8(text))),
      signature: line.signature,
      key: parsePublicKey('ecdsa-p256', anchor.key),
    }) as Uint8Array<ArrayBuffer>,
  });
  expect(answer.status).toBe(201);

  await place.log('submit').submit(await author.sign(author.next()));
  await place.admin().anchorLog('default');
  await place.log('submit').submit(await author.sign(author.next()));
  // Nor does it keep the log from signing after a restart.
  await place.stop();
  await place.start();
  expect(place.running!.output).not.toContain('signs nothing more');
  await place.log('submit').submit(await author.sign(author.next()));
});

/** The published head once it has so many entries. */
async function published(url: string, size: number): Promise<Note> {
  return await vi.waitFor(
    async () => {
      const note = parseNote(new Uint8Array(await (await fetch(url)).arrayBuffer()));
      expect(parseCheckpoint(note.text).size).toBeGreaterThanOrEqual(size);
      return note;
    },
    { timeout: 30_000, interval: 50 },
  );
}
