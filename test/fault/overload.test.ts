/**
 * More than the log can take: it says so in time, with a word when to come back, and takes no more
 * memory than it may. Whoever comes back is served.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { Author } from './author.ts';
import { Ledger } from './ledger.ts';
import { Place } from './process.ts';

const CLIENTS = 64;
const BATCH = 250;

/** Well above what an idle server has, well below what all that is sent would come to. */
const GROWTH_BYTES_MAX = 400 * 1_048_576;

test('pushes back what it cannot take, in bounded memory, and takes it later', async () => {
  const place = new Place({
    STELE_LIMITS_QUEUE_BYTES: '1048576',
    STELE_LIMITS_QUEUE_AGE_MS: '10',
  });
  onTestFinished(() => place.close());
  await place.start();
  const { origin } = await place.log('read').head();
  const ledger = new Ledger(place.trust());
  const author = new Author(origin, 'crowd');
  await place.register(author.signer);
  const batches: Buffer[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const drafts = Array.from({ length: BATCH }, () => author.next());
    const entries = await Promise.all(drafts.map((draft) => author.sign(draft)));
    batches.push(Buffer.concat(entries.flatMap((entry) => [lengthOf(entry), entry])));
  }
  const memory = new Memory(place.running!.pid);
  const before = memory.now();
  // The disk stands still until the first of the crowd was sent away.
  const stand = new Standstill(join(place.data, 'logs', 'default.db'));
  let pushedBack = 0;
  let waiting = batches;
  for (let round = 0; waiting.length > 0; round++) {
    expect(round, 'the crowd is served in the end').toBeLessThan(200);
    const posted = waiting.map((batch) => post(place, batch));
    for (const one of posted)
      one.then(
        (outcome) => outcome === 'pushback' && stand.end(),
        () => {},
      );
    // Nobody who only reads has to wait for the crowd.
    expect((await place.log('read').checkpoint()).length).toBeGreaterThan(0);
    const outcomes = await Promise.all(posted);
    memory.look();
    waiting = waiting.filter((_, i) => outcomes[i] === 'pushback');
    pushedBack += waiting.length;
    if (waiting.length > 0) await pause(50);
  }
  expect(pushedBack).toBeGreaterThan(0);
  expect(memory.most - before).toBeLessThan(GROWTH_BYTES_MAX);
  await ledger.checkAll(place.log('read'));
  const [source] = (await place.log('read').sources()).filter(({ id }) => id === 'crowd');
  expect(source).toMatchObject({ next: CLIENTS * BATCH, holes: [], forks: 0 });
}, 180_000);

/** Sends a batch. What is refused must be refused as the rules say. */
async function post(place: Place, body: Buffer): Promise<'taken' | 'pushback'> {
  const answer = await fetch(`${place.addresses().server}/logs/default/v1/entries/batch`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${place.token('submit')}`,
      'content-type': 'application/protobuf',
    },
    body,
  });
  const bytes = Buffer.from(await answer.arrayBuffer());
  if (answer.status === 200) {
    // In a batch of which only a part was taken, each of the others has its own refusal.
    return bytes.includes('"code":"pushback"') ? 'pushback' : 'taken';
  }
  expect(answer.status, bytes.toString()).toBe(429);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(answer.headers.get('content-type')).toContain('application/problem+json');
  expect(JSON.parse(bytes.toString())).toMatchObject({ code: 'pushback', status: 429 });
  return 'pushback';
}

/** Holds the database's write lock: no commit goes on before `end`. */
class Standstill {
  readonly #db: Database.Database;

  constructor(path: string) {
    this.#db = new Database(path);
    this.#db.exec('BEGIN IMMEDIATE');
  }

  end(): void {
    this.#db.close();
  }
}

function lengthOf(entry: Uint8Array): Buffer {
  const bytes: number[] = [];
  let left = entry.length;
  for (; left > 0x7f; left >>>= 7) bytes.push((left & 0x7f) | 0x80);
  return Buffer.from([...bytes, left]);
}

/** Bytes of memory that a process has now, and the most it had when somebody looked. */
class Memory {
  readonly #path: string;
  most = 0;

  constructor(pid: number) {
    this.#path = `/proc/${pid}/status`;
  }

  now(): number {
    const [, kib] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(this.#path, 'utf8')) ?? [];
    return Number(kib) * 1024;
  }

  /** The system itself keeps the highest mark. */
  look(): void {
    const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(this.#path, 'utf8')) ?? [];
    this.most = Math.max(this.most, Number(kib) * 1024);
  }
}
