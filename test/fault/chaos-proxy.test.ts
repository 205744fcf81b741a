/**
 * Calls at full load through a proxy and into a log, each in a process of its own, both of which die at random
 * moments (P7): 1 % of the calls fail at the provider, 1 % are left by their clients.
 *
 * Afterwards the log itself says what it knows. Every attempt that reached the provider, and every answer that a
 * client has whole, has exactly one record, or a gap counts it; no attempt has two, and nothing else has one.
 *
 * `STELE_CALLS` says how many calls (300 unless given; `npm run chaos:proxy` makes 10,000), `STELE_SEED` makes fates and
 * moments come again: the choices do, the machine's own timing does not.
 */
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { InferenceRecord } from '../../server/core/record.ts';
import { type Attempt, makeCalls } from './chaos-calls.ts';
import { type Fate, startChaosProvider } from './chaos-provider.ts';
import { drained, recordsOf } from './evidence.ts';
import { freePort } from './ports.ts';
import type { Place } from './process.ts';
import { expectAudit, newPlace, newRandom } from './world.ts';

const CALLS = Number(process.env.STELE_CALLS ?? 300);
const CLIENTS = 48;
/** Attempts that reach the provider between a start and the next kill. */
const UNDER_WAY = 8;
/** Kills of each of the two. */
const KILLS = Math.max(2, Math.round(CALLS / 500));

/** What a record says of a call that ended as it was meant to. */
const OUTCOMES = {
  plain: ['ok'],
  stream: ['ok'],
  error: ['upstream-error'],
  'error-event': ['upstream-error'],
  cut: ['transport-error'],
  abort: ['client-abort', 'ok'],
} as const satisfies Record<Fate, readonly InferenceRecord['outcome']['status'][]>;

test(
  `${CALLS} calls, a proxy and a log killed ${KILLS} times each: as many records, no more and no less`,
  async () => {
    const random = newRandom();
    const provider = await startChaosProvider(random);
    onTestFinished(() => provider.close());
    const { log, proxy } = await apart(provider.url);
    const rounds = killRounds(CALLS, random);
    let killing: Promise<void> | undefined;
    let hasStruck = false;
    let killed = 0;
    const ended = Promise.withResolvers<void>();
    /** Kills whoever is next, while calls are on their way. */
    const killNext = async ({ victims, ms }: Round) => {
      await Promise.race([provider.untilMore(UNDER_WAY), ended.promise]);
      hasStruck = true;
      await kill(
        victims.map((victim) => (victim === 'log' ? log : proxy)),
        ms,
      );
      killing = undefined;
      hasStruck = false;
      killed++;
    };
    const attempts = await makeCalls({
      calls: CALLS,
      clients: CLIENTS,
      random,
      provider,
      proxy: () => proxy.addresses().proxy,
      over: async (done) => {
        // The work says when, and not a clock. Who is to be killed next must be there, so calls wait for that.
        while (rounds[0] !== undefined && rounds[0].after <= done) {
          if (killing === undefined) killing = killNext(rounds.shift() as Round);
          // Until it strikes, calls are what it waits for.
          else if (hasStruck) await killing;
          else return;
        }
      },
    });
    ended.resolve();
    await killing;
    expect(rounds, 'all were killed as often as they should be').toEqual([]);
    await drained(proxy.addresses().proxy);
    const { records, gaps, windows } = await readLog(log);
    const missing = check(attempts, records, provider.reached);
    expect(gaps, 'what is missing, a gap counts').toBe(missing.length);
    // A killed process loses nothing that it has written.
    expect(missing).toEqual([]);
    for (const { id, holes, forks } of await log.log('read').sources()) {
      expect({ id, holes, forks }).toEqual({ id, holes: [], forks: 0 });
    }
    const last = attempts.filter(({ isLast }) => isLast);
    expect(last).toHaveLength(CALLS);
    expect(attempts.length, 'a kill broke something off').toBeGreaterThan(CALLS);
    console.log(
      `${CALLS} calls in ${attempts.length} attempts, ${killed} rounds of kills, ${records.size} records, ` +
        `${windows} of them in windows, ${gaps} counted by gaps; ` +
        `${attempts.length - records.size} attempts had got nowhere`,
    );
    await proxy.stop();
    await expectAudit(log);
  },
  120_000 + CALLS * 120,
);

interface Round {
  /** When so many calls are over. */
  readonly after: number;
  readonly victims: readonly ('log' | 'proxy')[];
  readonly ms: number;
}

/** Who is killed when: each of the two as often, sometimes both at once. */
function killRounds(calls: number, random: ReturnType<typeof newRandom>): Round[] {
  const rounds: Round[] = [];
  const step = calls / (KILLS + 1);
  for (let i = 1; i <= KILLS; i++) {
    const at = (offset: number) => Math.floor(i * step + offset * step * (random.next() - 0.5));
    const together = random.chance(0.2);
    const ms = random.int(0, 300);
    if (together) rounds.push({ after: at(0.4), victims: ['log', 'proxy'], ms });
    else {
      rounds.push({ after: at(0.4), victims: ['proxy'], ms });
      rounds.push({ after: at(0.4), victims: ['log'], ms });
    }
  }
  return rounds.sort((a, b) => a.after - b.after);
}

async function kill(victims: readonly Place[], ms: number): Promise<void> {
  await Promise.all(victims.map((place) => place.running?.kill()));
  await pause(ms);
  for (const place of victims) await place.start();
}

async function apart(model: string): Promise<{ readonly log: Place; readonly proxy: Place }> {
  // The proxy knows one address, so the log comes back where it was.
  const listen = `127.0.0.1:${await freePort()}`;
  const log = newPlace({ STELE_LISTEN: listen }, ['serve']);
  await log.start();
  const token = join(log.data, 'tokens', 'submit');
  const env = { STELE_UPSTREAM_OPENAI: `${model}/v1`, STELE_TOKEN: token };
  const proxy = newPlace(env, ['proxy', '--server', `http://${listen}`]);
  await proxy.start();
  const key = join(proxy.data, 'keys', 'proxy.pem');
  const pub = join(proxy.data, 'proxy.pub');
  const registered = await log.stele('gateway', 'register', pub, '--key', key, '--data', log.data);
  expect(registered.code, registered.output).toBe(0);
  return { log, proxy };
}

/** What the log itself says. */
async function readLog(place: Place) {
  const entries: Uint8Array[] = [];
  for await (const { entry } of place.log('read').feed(0)) entries.push(entry);
  const all = recordsOf(entries);
  const records = new Map<string, InferenceRecord>();
  let gaps = 0;
  for (const record of all.values()) {
    if (record.kind === 'gap') gaps += record.gap.count ?? 1;
    if (record.kind !== 'inference') continue;
    const name = record.ids.client_request ?? '';
    expect(records.has(name), `${name} has two records`).toBe(false);
    records.set(name, record);
  }
  const windows = entries.filter((entry) =>
    decodeEntry(entry).signatures.some(({ window }) => window !== undefined),
  ).length;
  return { records, gaps, windows };
}

/** Throws where the log says too much or something else; returns the attempts that it does not know and should. */
function check(
  attempts: readonly Attempt[],
  records: ReadonlyMap<string, InferenceRecord>,
  reached: ReadonlyMap<string, number>,
): string[] {
  const made = new Set(attempts.map(({ name }) => name));
  for (const name of records.keys()) expect(made.has(name), `${name} was never made`).toBe(true);
  for (const [name, times] of reached) expect(times, `${name} was sent twice`).toBe(1);
  const missing: string[] = [];
  for (const { name, fate, isLast, isWhole, recordId } of attempts) {
    const record = records.get(name);
    if (record === undefined) {
      if (isWhole || reached.has(name)) missing.push(name);
      continue;
    }
    if (recordId !== undefined) expect(record.record_id, name).toBe(recordId);
    // A client cannot tell an answer that was cut from one whose proxy died; to both there is no end.
    if (!isLast || (!isWhole && fate === 'abort')) continue;
    if (isWhole) expect(record.source.completeness, name).toBe('full');
    expect(OUTCOMES[fate], name).toContain(record.outcome.status);
  }
  return missing;
}
