/**
 * A server and its signer, both real processes, killed at any moment under load, and the wire between them
 * cut after a signature and before its answer (P1, P2, P3). The log always comes back by itself, every
 * answered receipt holds, and whatever was ever signed is a head of the one log there is.
 *
 * `STELE_KILLS` and `STELE_SEED` are as in `crash.test.ts`.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { equalBytes } from '../../server/core/bytes.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { Tree } from '../../server/core/tree.ts';
import { Author } from './author.ts';
import { Evidence, recordsOf } from './evidence.ts';
import { Gate, type Load, poll, submitContent, submitInBatches, submitSingly } from './load.ts';
import type { Place } from './process.ts';
import type { Random } from './random.ts';
import { type SignerPlace, signerPlace } from './signer-place.ts';
import type { SignerTap } from './signer-tap.ts';
import { expectAudit, KILLS, newLoad, newPlace, newRandom } from './world.ts';

/** How often each of the three is done in one run. */
const TIMES = Math.max(4, Math.ceil(KILLS / 10));

async function startLoad(load: Load) {
  const { origin } = await load.place.log('read').head();
  const authors = ['one', 'two', 'batches', 'contents'].map((name) => new Author(origin, name));
  for (const { signer } of authors) await load.place.register(signer);
  const [one, two, batches, contents] = authors as [Author, Author, Author, Author];
  load.gate.open();
  const running = Promise.all([
    submitContent(load, contents),
    submitSingly(load, one),
    submitSingly(load, two),
    submitInBatches(load, batches),
    poll(load),
  ]);
  return { running, failed: new Promise<never>((_, reject) => running.catch(reject)) };
}

/** Waits until the log has grown by itself, or fails. */
async function grown(place: Place, size: number): Promise<void> {
  const until = Date.now() + 60_000;
  for (;;) {
    const head = await place
      .log('read')
      .head()
      .catch(() => undefined);
    if (head !== undefined && head.size > size) return;
    if (Date.now() > until) throw new Error(`the log does not grow beyond ${size}`);
    await pause(20);
  }
}

async function killSigner({ place, random }: Load, signer: SignerPlace): Promise<void> {
  await pause(random.int(0, 400));
  await signer.running.kill();
  await pause(random.int(0, 300));
  const { size } = await place.log('read').head();
  await signer.start();
  // Nothing is done to the server: it finds the signer, and goes on where it was.
  await grown(place, size);
}

async function killServer(load: Load, signer: SignerPlace): Promise<void> {
  const { place, gate, random } = load;
  await pause(random.int(0, 300));
  // At the moment in which the signer has signed and nobody else knows it.
  await new Promise<void>((resolve) => {
    signer.tap.judge(async (question) => {
      if (question.op !== 'sign' || question.purpose !== 'identity') return 'pass';
      signer.tap.judge(() => 'cut');
      gate.shut();
      await place.running?.kill();
      resolve();
      return 'cut';
    });
  });
  signer.tap.judge(() => 'pass');
  await place.start();
  await load.ledger.checkNews(place.log('read'));
  gate.open();
}

/** A power switch for both. */
async function killBoth(load: Load, signer: SignerPlace): Promise<void> {
  const { place, gate, random } = load;
  await pause(random.int(0, 300));
  gate.shut();
  await Promise.all([signer.running.kill(), place.running?.kill()]);
  // Whichever comes first: the server finds the signer later, or is found waiting.
  const starts = [() => place.start(), () => signer.start()];
  for (const start of random.chance(0.5) ? starts : starts.reverse()) await start();
  await load.ledger.checkNews(place.log('read'));
  gate.open();
}

async function cutWire({ place, random }: Load, signer: SignerPlace): Promise<void> {
  await pause(random.int(0, 300));
  const op = random.chance(0.5) ? 'extend' : 'sign';
  const { size } = await place.log('read').head();
  await new Promise<void>((resolve) => {
    signer.tap.judge((question) => {
      if (question.op !== op) return 'pass';
      signer.tap.judge(() => 'pass');
      resolve();
      return 'cut';
    });
  });
  await grown(place, size);
}

const FAULTS = [killSigner, killServer, cutWire, killBoth];

async function run(random: Random, signer: SignerPlace, place: Place): Promise<Load> {
  const gate = new Gate();
  const load = newLoad(random, place, gate, { place, gate });
  const { running, failed } = await startLoad(load);
  const faults = Array.from({ length: TIMES }, () => FAULTS).flat();
  const all = async () => {
    for (const fault of faults) await fault(load, signer);
  };
  await Promise.race([all(), failed]);
  load.ending = true;
  const [contents] = await running;
  const entries = await load.ledger.checkAll(place.log('read'));
  const evidence = new Evidence(place.log('content'), recordsOf(entries));
  for (const draft of contents) await evidence.checkContent(draft);
  for (const { id, holes, forks } of await place.log('read').sources()) {
    expect({ id, holes, forks }).toEqual({ id, holes: [], forks: 0 });
  }
  checkSigned(signer.tap, (await place.log('read').head()).origin, entries);
  const { answered } = load.ledger;
  console.log(
    `${entries.length} entries, ${answered} answered, ${signer.tap.signatures} signatures, ${load.unanswered} sent again`,
  );
  return load;
}

/** Every head that was ever signed, answered with or not, is a head of this log. */
function checkSigned(tap: SignerTap, origin: string, entries: readonly Uint8Array[]): void {
  const signed = tap.signed(origin);
  expect(signed.size).toBeGreaterThan(3 * TIMES);
  let tree = Tree.empty();
  let seen = 0;
  for (const entry of entries) {
    tree = tree.append([leafHash(entry)]).tree;
    const root = signed.get(tree.size);
    if (root === undefined) continue;
    seen++;
    expect(equalBytes(root, tree.root()), `the head of size ${tree.size}`).toBe(true);
  }
  expect(seen, 'heads beyond the log were signed').toBe(signed.size);
}

test(
  `signer and server killed and cut apart, ${TIMES} times each`,
  async () => {
    const random = newRandom();
    const signer = await signerPlace();
    const place = newPlace({ STELE_SIGNER_SOCKET: signer.tap.path });
    await place.start();
    const load = await run(random, signer, place);
    expect(load.unanswered).toBeGreaterThan(0);
    await expectAudit(place);
  },
  120_000 + TIMES * 60_000,
);
