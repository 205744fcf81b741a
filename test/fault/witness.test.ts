/**
 * A witness that is killed between its commit and its answer, and one whose database is put back: no two
 * checkpoints that left it ever contradict one another, and none is older than one before it (P2).
 */
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { openCheckpoint } from '../../server/core/checkpoint.ts';
import { parseVerifierKey, type VerifierKey } from '../../server/core/note.ts';
import { checkpointPathOf, openCosignatures } from '../../server/core/tlog-witness.ts';
import { OtherLog } from '../witness/other-log.ts';
import { Place } from './process.ts';

const log = new OtherLog();
const order = (place: Place) => join(place.folder, 'kill');
const PRELOAD = new URL('./kill-witness.ts', import.meta.url).href;

let place: Place;
/** What left the witness, in the order in which it did. */
const cosigned: { readonly size: number; readonly text: string }[] = [];
let keys: readonly VerifierKey[] = [];

beforeAll(() => {
  place = new Place(
    {
      NODE_OPTIONS: `--import ${PRELOAD}`,
      STELE_WITNESS_NAME: 'witness.example/w1',
      STELE_WITNESSED_OTHER: log.key.key.text,
      STELE_WITNESSED_OTHER_PER_DAY: '1000000',
    },
    ['serve'],
  );
  Object.assign(place.env, { KILL_WITNESS: order(place) });
});

afterAll(() => place.close());

async function start(): Promise<void> {
  await place.start();
  const answer = await fetch(`${place.addresses().server}/v1/witness`);
  keys = ((await answer.json()) as { keys: string[] }).keys.map(parseVerifierKey);
}

/** Asks, and takes down what comes out; nothing where no answer came. */
async function ask(side: OtherLog, size: number, old: number): Promise<number | undefined> {
  let answer: Response;
  let bytes: Uint8Array;
  try {
    const url = `${place.addresses().server}/witness/add-checkpoint`;
    answer = await fetch(url, { method: 'POST', body: side.ask(size, { old }) });
    bytes = new Uint8Array(await answer.arrayBuffer());
  } catch {
    return undefined;
  }
  if (answer.status === 200) {
    const latest = Date.now() / 1_000 + 1;
    expect(openCosignatures(bytes, side.text(size), keys, { latest })).toHaveLength(2);
    cosigned.push({ size, text: side.text(size) });
  }
  return answer.status;
}

async function newest(): Promise<number> {
  const { server } = place.addresses();
  const answer = await fetch(`${server}/witness/${checkpointPathOf(log.origin)}`);
  const note = utf8(await answer.text());
  return openCheckpoint(note, log.origin, [log.key.key, ...keys]).checkpoint.size;
}

async function untilKilled(begin: number): Promise<number> {
  const { ended } = place.running!;
  for (let size = begin; size < 60; size++) {
    if ((await ask(log, size, size - 1)) === undefined) {
      expect((await ended).signal).toBe('SIGKILL');
      // A killed process leaves the file that says where it was.
      rmSync(join(place.data, 'running.json'), { force: true });
      return size;
    }
  }
  throw new Error('it was not killed');
}

test('killed between commit and answer, it goes on from what it had written', async () => {
  let size = 1;
  for (const when of ['before', 'after']) {
    writeFileSync(order(place), `${when} 3`);
    await start();
    if (size > 1) {
      // The one whose answer was lost is what it has now, and the other side of a fork is refused.
      expect(await newest()).toBe(size);
      const forked = log.forkedAt(size - 1);
      expect(await ask(forked, size, size - 1)).toBe(409);
      expect(await ask(forked, size, size)).toBe(422);
      expect(await ask(forked, size + 4, size)).toBe(422);
    }
    size = await untilKilled(size + (size > 1 ? 1 : 0));
  }
  rmSync(order(place));
  await start();
  expect(await newest()).toBe(size);
  expect(await ask(log, size, size)).toBe(200);
  const sizes = cosigned.map((one) => one.size);
  expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
  for (const one of cosigned) expect(one.text).toBe(log.text(one.size));
  expect(cosigned.length).toBeGreaterThanOrEqual(4);
}, 240_000);

test('put back to an earlier state, it cosigns nothing, and shows what it has', async () => {
  const path = join(place.data, 'stele.db');
  const kept = join(place.folder, 'yesterday.db');
  const before = await newest();
  await place.stop();
  copyFileSync(path, kept);
  await start();
  expect(await ask(log, before + 2, before)).toBe(200);
  await place.stop();
  copyFileSync(kept, path);
  for (const end of ['-wal', '-shm']) rmSync(`${path}${end}`, { force: true });
  await start();
  expect(await newest()).toBe(before);
  expect(await ask(log.forkedAt(before), before + 1, before)).toBe(503);
  expect(place.running!.output).toContain('the witness cosigns nothing');
  await place.stop();
}, 240_000);
