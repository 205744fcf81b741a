/**
 * One instance, several teams: 20 logs, 20 gateways that submit as fast as they are answered, 200
 * monitors that wait for every head. Every answer is verified, and memory stays flat.
 *
 * `STELE_SOAK_SECONDS` says for how long, 20 if nothing does; `npm run soak` takes 5 minutes.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { list, text } from '../../server/client/client.ts';
import type { InstanceClient } from '../../server/client/instance.ts';
import { proofFor } from '../../server/client/possession.ts';
import { toBase64 } from '../../server/core/bytes.ts';
import { parseVerifierKey } from '../../server/core/verifier-key.ts';
import { Author } from '../fault/author.ts';
import { Ledger } from '../fault/ledger.ts';
import { Gate, type Load, submitInBatches, submitInWindows, submitSingly } from '../fault/load.ts';
import type { Place } from '../fault/process.ts';
import type { Random } from '../fault/random.ts';
import { expectAudit, newPlace, newRandom } from '../fault/world.ts';
import { watch } from './monitors.ts';

const SECONDS = Number(process.env.STELE_SOAK_SECONDS ?? 20);

const LOGS = 20;
const MONITORS = 200;
/** Monitors of one log, each on a connection of its own. */
const MONITORS_OF_LOG = MONITORS / LOGS;

/** Bytes of memory that a server with this many logs and waiting readers may take in all. */
const RSS_BYTES_MAX = 800_000_000;
/** How much what is used may grow from the second third of a long run to the last. */
const GROWTH_MAX = 1.2;
/** A shorter run is not over with its beginning. */
const LONG_SECONDS = 120;

const SUBMITTERS = [submitSingly, submitInBatches, submitInWindows, submitSingly] as const;
const VISIBILITIES = ['public', 'proofs', 'private', 'public'] as const;

interface Team {
  readonly name: string;
  readonly load: Load;
  readonly gateway: Author;
  readonly submit: (typeof SUBMITTERS)[number];
}

test(`20 logs, 20 gateways and 200 monitors for ${SECONDS} s: every answer holds, memory is flat`, {
  timeout: (SECONDS * 3 + 240) * 1_000,
}, async () => {
  const random = newRandom();
  const place = newPlace({ STELE_LIMITS_ADDRESS_RATE: '0', STELE_LIMITS_TOKEN_RATE: '0' });
  await place.start();
  const teams = await makeTeams(place, random);
  const over = new AbortController();
  onTestFinished(() => over.abort());
  const memory = new Memory(place);
  const watching = teams.flatMap(({ name, load: { ledger } }) => {
    const log = place.log('read', name);
    const { signal } = over;
    return Array.from({ length: MONITORS_OF_LOG }, () => watch({ log, ledger, random, signal }));
  });
  const submitting = teams.map(({ submit, load, gateway }) => submit(load, gateway));
  // Whoever fails ends the run at once, with its own error.
  await Promise.race([memory.watch(SECONDS), allOrNone([...watching, ...submitting])]);
  for (const { load } of teams) load.ending = true;
  await Promise.all(submitting);
  over.abort();
  const heads = (await Promise.all(watching)).reduce((sum, one) => sum + one, 0);

  let entries = 0;
  let answered = 0;
  for (const { name, load } of teams) {
    const log = place.log('read', name);
    entries += (await load.ledger.checkAll(log)).length;
    answered += load.ledger.answered;
    const [source] = await log.sources();
    expect({ name, holes: source?.holes, forks: source?.forks }).toEqual({
      name,
      holes: [],
      forks: 0,
    });
  }
  const pushedBack = teams.reduce((sum, { load }) => sum + load.unanswered, 0);
  console.log(
    `${entries} entries, ${answered} answered, ${pushedBack} pushed back, ${heads} heads held to the ` +
      `one before; memory ${memory}`,
  );
  expect(answered).toBeGreaterThan(teams.length);
  expect(heads).toBeGreaterThan(MONITORS);
  expect(memory.highest).toBeLessThan(RSS_BYTES_MAX);
  if (SECONDS >= LONG_SECONDS) expect(memory.growth).toBeLessThan(GROWTH_MAX);
  for (const { name } of teams.slice(0, SECONDS >= LONG_SECONDS ? LOGS : 2)) {
    await expectAudit(place, name);
  }
});

/** Rejects with the first that fails; never resolves before all have. */
async function allOrNone(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.all(work);
}

async function makeTeams(place: Place, random: Random): Promise<Team[]> {
  const admin = place.admin();
  const gate = new Gate();
  gate.open();
  const teams: Team[] = [];
  for (let i = 0; i < LOGS; i++) {
    const name = `team-${i}`;
    await admin.createLog({ name, visibility: VISIBILITIES[i % VISIBILITIES.length]! });
    const shown = await admin.showLog(name);
    const gateway = new Author(text(shown, 'origin'), `gateway-${i}`);
    await register(admin, name, gateway);
    const { token } = await admin.createToken({
      holder: name,
      roles: ['submit'],
      logs: [name],
    });
    const door = { base: `${place.addresses().server}/logs/${name}`, token: String(token) };
    const origin = text(shown, 'origin');
    const keys = list(shown.keys, 'keys').map((key) => ({
      key: parseVerifierKey(text(key, 'vkey')),
    }));
    const ledger = new Ledger({ logs: [{ origin, keys, gateways: [] }] });
    const load: Load = {
      place,
      door: () => door,
      ledger,
      gate,
      proxy: { place, gate },
      random,
      ending: false,
      unanswered: 0,
    };
    teams.push({ name, load, gateway, submit: SUBMITTERS[i % SUBMITTERS.length]! });
  }
  return teams;
}

async function register(admin: InstanceClient, name: string, { signer }: Author): Promise<void> {
  const key = toBase64(signer.publicKey.spki);
  await admin.registerGateway(name, { key, ...(await proofFor(admin, name, signer)) });
}

/** What the server takes, in bytes, once a second. */
class Memory {
  readonly #place: Place;
  /** All that the system has given it. */
  readonly #resident: number[] = [];
  /** What its program uses of that, garbage included. */
  readonly #used: number[] = [];

  constructor(place: Place) {
    this.#place = place;
  }

  async watch(seconds: number): Promise<void> {
    const url = `${this.#place.addresses().server}/metrics`;
    const headers = { authorization: `Bearer ${this.#place.token('admin')}` };
    for (const end = Date.now() + seconds * 1_000; Date.now() < end; await pause(1_000)) {
      const figures = await (await fetch(url, { headers })).text();
      this.#resident.push(figure(figures, 'stele_process_resident_memory_bytes'));
      this.#used.push(figure(figures, 'stele_nodejs_heap_size_used_bytes'));
    }
  }

  get highest(): number {
    return Math.max(...this.#resident);
  }

  /** The least that was used in the last third over that in the second: what no collection takes away. */
  get growth(): number {
    return least(third(this.#used, 2)) / least(third(this.#used, 1));
  }

  toString(): string {
    const used = [0, 1, 2].map((i) => megabytes(least(third(this.#used, i))));
    return `at most ${megabytes(this.highest)} MB, of which its program uses at least ${used.join(', ')} MB in each third`;
  }
}

function figure(figures: string, name: string): number {
  const line = figures.split('\n').find((one) => one.startsWith(`${name} `));
  if (line === undefined) throw new Error(`there is no figure ${name}`);
  return Number(line.slice(name.length + 1));
}

function third(samples: readonly number[], i: number): readonly number[] {
  return samples.slice((i * samples.length) / 3, ((i + 1) * samples.length) / 3);
}

function least(samples: readonly number[]): number {
  return Math.min(...samples);
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6);
}
