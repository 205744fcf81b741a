/** An instance under load from all sides, whoever kills it and how; and what must be true at the end. */
import { expect, onTestFinished } from 'vitest';
import type { Replay } from '../replay/replay.ts';
import { Author } from './author.ts';
import { digest, drained, Evidence, recordsOf } from './evidence.ts';
import { Ledger } from './ledger.ts';
import {
  callProxy,
  type Gate,
  type Load,
  type ProxyCall,
  poll,
  pollTreeHeads,
  submitContent,
  submitInBatches,
  submitSingly,
} from './load.ts';
import { Place } from './process.ts';
import { KINDS } from './provider.ts';
import { Random } from './random.ts';

/** How often a process is killed in one run: `STELE_KILLS`, or 50. */
export const KILLS = Number(process.env.STELE_KILLS ?? 50);

/** What clients remember. */
interface Remembered {
  readonly contents: Awaited<ReturnType<typeof submitContent>>;
  readonly calls: readonly ProxyCall[];
}

/** Runs `kill` under load from all sides; then everything that was promised must have been kept. */
export async function underLoad(
  load: Load,
  provider: Replay,
  kill: () => Promise<void>,
): Promise<void> {
  const clients = await startClients(load);
  // A client that fails ends the run at once, with its own error.
  await Promise.race([kill(), clients.failed]);
  load.ending = true;
  const remembered = await clients.done;
  await drained(load.proxy.place.addresses().proxy);
  const entries = await load.ledger.checkAll(load.place.log('read'));
  const complete = await checkEvidence(load, provider, entries, remembered);
  const { answered, heads, treeHeads } = load.ledger;
  console.log(
    `${entries.length} entries, ${answered} answered, ${heads} heads, ${treeHeads} of them for RFC 6962, ` +
      `${load.unanswered} sent again, ` +
      `${remembered.calls.length} calls, ${complete} complete`,
  );
  expect(load.unanswered).toBeGreaterThan(0);
  expect(complete).toBeGreaterThan(0);
  expect(treeHeads).toBeGreaterThan(0);
  await checkSources(load);
}

async function startClients(load: Load) {
  const { origin } = await load.place.log('read').head();
  const one = new Author(origin, 'singly');
  const other = new Author(origin, 'singly-ecdsa', 'ecdsa-p256');
  const batches = new Author(origin, 'batches');
  const contents = new Author(origin, 'contents');
  for (const { signer } of [one, other, batches, contents]) {
    await load.place.register(signer);
  }
  load.gate.open();
  load.proxy.gate.open();
  const running = Promise.all([
    submitContent(load, contents),
    Promise.all([0, 1, 2].map((n) => callProxy(load, `caller ${n}`, KINDS))),
    submitSingly(load, one),
    submitSingly(load, other),
    submitInBatches(load, batches),
    poll(load),
    pollTreeHeads(load),
  ]);
  return {
    done: running.then(([drafts, called]) => ({ contents: drafts, calls: called.flat() })),
    failed: new Promise<never>((_, reject) => running.catch(reject)),
  };
}

async function checkEvidence(
  load: Load,
  provider: Replay,
  entries: readonly Uint8Array[],
  { contents, calls }: Remembered,
): Promise<number> {
  const records = recordsOf(entries);
  const gaps = [...records.values()].filter(({ kind }) => kind === 'gap');
  expect(gaps, 'a killed process loses nothing that was written').toEqual([]);
  const evidence = new Evidence(load.place.log('content'), records);
  for (const draft of contents) await evidence.checkContent(draft);
  let complete = 0;
  for (const call of calls) if (await evidence.checkCall(call)) complete++;
  // Nothing reached the model that is not on record, whatever its caller heard.
  const recorded = await evidence.requests();
  const unrecorded = provider.requests.filter(({ body }) => !recorded.has(digest(body)));
  expect(unrecorded.map(({ body }) => Buffer.from(body).toString())).toEqual([]);
  return complete;
}

async function checkSources({ place }: Load): Promise<void> {
  const sources = await place.log('read').sources();
  expect(sources.length).toBeGreaterThanOrEqual(5);
  for (const { id, holes, forks } of sources) {
    expect({ id, holes, forks }).toEqual({ id, holes: [], forks: 0 });
  }
}

export function newRandom(): Random {
  const random = new Random();
  console.log(`STELE_SEED=${random.seed}`);
  return random;
}

export function newPlace(
  env: Readonly<Record<string, string>>,
  command?: readonly string[],
): Place {
  const place = new Place(env, command);
  onTestFinished(() => place.close());
  return place;
}

export function newLoad(random: Random, place: Place, gate: Gate, proxy: Load['proxy']): Load {
  const ledger = new Ledger(place.trust());
  const door = () => ({
    base: `${place.addresses().server}/logs/default`,
    token: place.token('submit'),
  });
  return { place, door, ledger, gate, proxy, random, ending: false, unanswered: 0 };
}

/** Stops it, and has the whole log read and derived again. */
export async function expectAudit(place: Place, log = 'default'): Promise<void> {
  if (place.running?.isRunning === true) await place.stop();
  const audit = await place.stele('audit', '--files', '--data', place.data, '--log', log);
  expect(audit.output).toContain('HOLDS');
  expect(audit.code).toBe(0);
}
