/**
 * A whole instance is killed at random moments under load and started again (P1, P2, P3, P7).
 *
 * `STELE_KILLS` says how often (50 unless given), `STELE_SEED` makes the moments come again: the choices
 * do, the machine's own timing does not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Replay } from '../replay/replay.ts';
import { Author } from './author.ts';
import { digest, drained, Evidence, recordsOf } from './evidence.ts';
import { Ledger } from './ledger.ts';
import {
  callProxy,
  Gate,
  type Load,
  poll,
  submitContent,
  submitInBatches,
  submitSingly,
} from './load.ts';
import { Place } from './process.ts';
import { KINDS, startProvider, upstreams } from './provider.ts';
import { Random } from './random.ts';

const KILLS = Number(process.env.STELE_KILLS ?? 50);

/** One kill in so many comes while the process starts. */
const EARLY = 0.3;

test(
  `a log that is killed ${KILLS} times under load keeps every promise`,
  async ({ onTestFinished }) => {
    const random = new Random();
    console.log(`STELE_SEED=${random.seed} STELE_KILLS=${KILLS}`);
    const provider = await startProvider(random);
    onTestFinished(() => provider.close());
    const place = new Place(upstreams(provider));
    onTestFinished(() => place.close());
    await firstRun(place, random);
    const load: Load = {
      place,
      ledger: new Ledger(place.trust()),
      gate: new Gate(),
      random,
      ending: false,
      unanswered: 0,
    };
    const clients = await startClients(load);
    // A client that fails ends the run at once, with its own error.
    await Promise.race([killAgainAndAgain(load), clients.failed]);
    load.ending = true;
    const { contents, calls } = await clients.done;
    await drained(place.addresses().proxy);
    const entries = await load.ledger.checkAll(place.log('read'));
    const complete = await checkEvidence(load, provider, entries, { contents, calls });
    const { answered, heads } = load.ledger;
    console.log(
      `${entries.length} entries, ${answered} answered, ${heads} heads, ${load.unanswered} sent again, ` +
        `${calls.length} calls, ${complete} complete`,
    );
    expect(load.unanswered).toBeGreaterThan(0);
    expect(complete).toBeGreaterThan(0);
    await checkSources(place);
    await place.stop();
    const audit = await place.stele('audit', '--files', '--data', place.data);
    expect(audit.output).toContain('HOLDS');
    expect(audit.code).toBe(0);
  },
  60_000 + KILLS * 10_000,
);

/** The first run itself is killed a few times before it may end. */
async function firstRun(place: Place, random: Random): Promise<void> {
  for (let i = 0; i < 4; i++) {
    const starting = place.spawn();
    await pause(random.int(150, 900));
    const { signal, output } = await starting.kill();
    expect(signal, output).toBe('SIGKILL');
  }
  await place.start();
}

async function startClients(load: Load) {
  const { origin } = await load.place.log('read').head();
  const one = new Author(origin, 'singly');
  const other = new Author(origin, 'singly-ecdsa', 'ecdsa-p256');
  const batches = new Author(origin, 'batches');
  const contents = new Author(origin, 'contents');
  for (const { signer } of [one, other, batches, contents]) {
    await load.place.register(signer.publicKey);
  }
  load.gate.open();
  const running = Promise.all([
    submitContent(load, contents),
    Promise.all([0, 1, 2].map((n) => callProxy(load, `caller ${n}`, KINDS))),
    submitSingly(load, one),
    submitSingly(load, other),
    submitInBatches(load, batches),
    poll(load),
  ]);
  return {
    done: running.then(([drafts, called]) => ({ contents: drafts, calls: called.flat() })),
    failed: new Promise<never>((_, reject) => running.catch(reject)),
  };
}

async function killAgainAndAgain({ place, gate, ledger, random }: Load): Promise<void> {
  for (let kill = 0; kill < KILLS; kill++) {
    // The first life began before; it is not checked, since it has no past.
    await pause(gate.isOpen ? random.int(0, 600) : random.int(100, 1_500));
    gate.shut();
    await place.running?.kill();
    const next = place.spawn();
    if (random.chance(EARLY)) continue;
    await next.ready;
    await ledger.checkNews(place.log('read'));
    gate.open();
  }
  if (!gate.isOpen) {
    await place.running?.kill();
    await place.start();
    await ledger.checkNews(place.log('read'));
    gate.open();
  }
}

async function checkEvidence(
  load: Load,
  provider: Replay,
  entries: readonly Uint8Array[],
  got: {
    readonly contents: Awaited<ReturnType<typeof submitContent>>;
    readonly calls: Awaited<ReturnType<typeof callProxy>>;
  },
): Promise<number> {
  const records = recordsOf(entries);
  const gaps = [...records.values()].filter(({ kind }) => kind === 'gap');
  expect(gaps, 'a killed process loses nothing that was written').toEqual([]);
  const evidence = new Evidence(load.place.log('content'), records);
  for (const draft of got.contents) await evidence.checkContent(draft);
  let complete = 0;
  for (const call of got.calls) if (await evidence.checkCall(call)) complete++;
  // Nothing reached the model that is not on record, whatever its caller heard.
  const recorded = await evidence.requests();
  const unrecorded = provider.requests.filter(({ body }) => !recorded.has(digest(body)));
  expect(unrecorded.map(({ body }) => Buffer.from(body).toString())).toEqual([]);
  return complete;
}

async function checkSources(place: Place): Promise<void> {
  const sources = await place.log('read').sources();
  expect(sources.length).toBeGreaterThanOrEqual(5);
  for (const { id, holes, forks } of sources)
    expect({ id, holes, forks }).toEqual({
      id,
      holes: [],
      forks: 0,
    });
}
