/**
 * A backup taken while gateways submit, restored elsewhere: it has every entry that was answered before it
 * began, and the content of every entry that it has (P1, P2, P4).
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { Author, type Draft } from '../fault/author.ts';
import { Evidence, recordsOf } from '../fault/evidence.ts';
import { Ledger } from '../fault/ledger.ts';
import { Gate, poll, submitContent, submitInBatches, submitSingly } from '../fault/load.ts';
import { newLoad, newPlace, newRandom } from '../fault/world.ts';

/** A ledger that keeps the receipts themselves. */
class Kept extends Ledger {
  readonly receipts: Uint8Array[] = [];

  override receipt(bytes: Uint8Array): number {
    this.receipts.push(bytes);
    return super.receipt(bytes);
  }
}

/** Answers that there are before a backup begins, and between two. */
const SOME = 60;

test('a backup under load has all that was answered before it, with its content', async () => {
  const random = newRandom();
  const place = newPlace({});
  await place.start();
  const { origin } = await place.log('read').head();
  const authors = {
    singly: new Author(origin, 'singly'),
    batches: new Author(origin, 'batches'),
    contents: new Author(origin, 'contents'),
  };
  for (const { signer } of Object.values(authors)) await place.register(signer);
  const gate = new Gate();
  gate.open();
  const ledger = new Kept(place.trust());
  const load = { ...newLoad(random, place, gate, { place, gate }), ledger };
  const clients = Promise.all([
    submitContent(load, authors.contents),
    submitSingly(load, authors.singly),
    submitInBatches(load, authors.batches),
    poll(load),
  ]);
  const grown = async () => {
    for (const from = ledger.receipts.length; ledger.receipts.length < from + SOME; ) {
      await Promise.race([pause(20), clients]);
    }
  };

  const folders = (name: string) => ({
    data: join(place.folder, `${name}-data`),
    keys: join(place.folder, `${name}-keys`),
    vaultKeys: join(place.folder, `${name}-vault-keys`),
  });
  const last = folders('second');
  let answered: readonly Uint8Array[] = [];
  for (const to of [folders('first'), last]) {
    await grown();
    answered = [...ledger.receipts];
    const taken = await place.stele(
      ...['backup', to.data, '--data', place.data],
      ...['--keys', to.keys, '--vault-keys', to.vaultKeys],
    );
    expect(taken.output).toContain('VERIFIED');
    expect(taken.code).toBe(0);
  }
  // It went on meanwhile: nobody waited for the backup.
  await grown();
  load.ending = true;
  const [drafts] = await clients;
  expect(load.unanswered).toBe(0);
  await place.stop();
  expect(existsSync(join(last.data, 'proxy'))).toBe(false);

  // Elsewhere, where nothing remembers that the log went on.
  const other = newPlace({});
  const restored = await other.stele(
    ...['restore', '--from', last.data, '--keys', last.keys, '--vault-keys', last.vaultKeys],
    ...['--data', other.data],
  );
  expect(restored.output).toContain('the only place where its logs sign');
  expect(restored.code).toBe(0);
  await other.start();
  const before = new Ledger(place.trust());
  for (const receipt of answered) before.receipt(receipt);
  const entries = await before.checkAll(other.log('read'));
  expect(before.answered).toBeGreaterThanOrEqual(SOME);
  await checkContent(entries, drafts, new Evidence(other.log('content'), recordsOf(entries)));

  // Whoever was answered after the copy was made sends again, and it goes on as if nothing had been.
  const author = new Author(origin, 'afterwards');
  await other.register(author.signer);
  before.receipt((await other.log('submit').submit(await author.sign(author.next()))).receipt);
  await before.checkAll(other.log('read'));
  await other.stop();
  const audit = await other.stele('audit', '--files', '--data', other.data);
  expect(audit.output).toContain('HOLDS');
  expect(audit.code).toBe(0);
  console.log(`${answered.length} answered before, ${entries.length} entries in the copy`);
}, 120_000);

/** Every record of the copy has its content, and among them is what was answered before. */
async function checkContent(
  entries: readonly Uint8Array[],
  drafts: readonly Draft[],
  evidence: Evidence,
): Promise<void> {
  const sent = new Map(drafts.map((draft) => [draft.recordId, draft]));
  let checked = 0;
  for (const entry of entries) {
    const record = parseRecord(decodeEntry(entry).payload);
    if (record.source.id !== 'contents') continue;
    const draft = sent.get(record.record_id);
    if (draft === undefined) throw new Error(`${record.record_id} was never sent`);
    await evidence.checkContent(draft);
    checked += 1;
  }
  expect(checked).toBeGreaterThan(5);
}
