/** What witnesses remember keeps an older copy of a log from signing (P2), and logs open without waiting for them (P9). */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parseNote } from '../../server/core/note.ts';
import { formatCosignatures, parseAddCheckpoint } from '../../server/core/tlog-witness.ts';
import { type Hash, hash } from '../../server/core/units.ts';
import { WitnessMemory } from '../../server/main/witness-memory.ts';
import type { SeenRow } from '../../server/storage/witnesses.ts';
import { type Instead, SILENCE, WitnessDouble } from '../witness/double.ts';
import { OtherLog } from '../witness/other-log.ts';

const log = new OtherLog();
const { origin } = log;

function make({ seen = 0, has = seen }: { readonly seen?: number; readonly has?: number } = {}) {
  const clock = { now: 1_800_000_000_000 };
  const double = new WitnessDouble({ now: () => clock.now });
  double.knows(origin, [log.key.key]);
  if (has > 0) double.keep(origin, log.note(has));
  let asked = 0;
  const row: Partial<SeenRow> =
    seen === 0 ? {} : { size: seen, root: log.root(seen), note: log.note(seen) };
  const memory = new WitnessMemory({
    witness: { name: double.name, url: double.url, keys: double.keys().map(({ key }) => key) },
    outbound: {
      ask: (url, how) => {
        asked++;
        return double.ask(url, how);
      },
    },
    timeoutMs: 1_000,
    seen: (of) => (of === origin ? row : undefined),
    now: () => clock.now,
  });
  return { clock, double, memory, asked: () => asked };
}

const root = (size: number): Hash => hash(new Uint8Array(log.root(size)));

describe('a witness that serves checkpoints', () => {
  test('is known by the newest, with the note that proves it', async () => {
    const { memory, double } = make({ seen: 3, has: 5 });
    const known = await memory.recall(origin);
    expect(known).toMatchObject({ origin, size: 5, root: root(5) });
    expect(known?.note).toBe(double.kept.get(origin)?.note);
    expect(double.asked).toEqual([]);
  });

  test('has never seen the log', async () => {
    expect(await make().memory.recall(origin)).toBeUndefined();
  });

  test('concerns the logs that it is shown, and says what it cosigned last', () => {
    const { memory } = make({ seen: 3 });
    expect([memory.concerns(origin), memory.concerns('another')]).toEqual([true, false]);
    expect(memory.last(origin)).toMatchObject({ size: 3, root: root(3) });
    expect(memory.last('another')).toBeUndefined();
    expect(memory.placeOf()).toBe('w.example at https://w.example');
  });

  test.each<[string, string]>([
    ['a page', '<html>'],
    ['a checkpoint that it did not cosign', log.note(9)],
    ['one of another log', new OtherLog('elsewhere.example', 7).note(9)],
  ])('is not believed with %s, and is asked by what it cosigned', async (_, body) => {
    const { memory, double } = make({ seen: 3 });
    const handle = double.handle.bind(double);
    double.handle = async (method, path, sent) =>
      method === 'GET' ? { status: 200, body } : handle(method, path, sent);
    expect(await memory.recall(origin)).toMatchObject({ size: 3, root: root(3) });
    const fresh = make();
    fresh.double.handle = double.handle;
    await expect(fresh.memory.recall(origin)).rejects.toMatchObject({
      code: expect.stringMatching(/malformed|unverified/),
    });
  });
});

describe('a witness that serves none', () => {
  const silent = (how: Parameters<typeof make>[0]) => {
    const made = make(how);
    made.double.serves = false;
    return made;
  };

  test('is shown again what it cosigned last, and nothing else', async () => {
    const { memory, double } = silent({ seen: 3 });
    expect(await memory.recall(origin)).toMatchObject({ size: 3, root: root(3) });
    const [body] = double.asked.map((bytes) => parseAddCheckpoint(bytes));
    expect(body).toMatchObject({ old: 3, proof: [] });
    expect(parseNote(body!.checkpoint).text).toBe(log.text(3));
  });

  test('tells its size where it has seen more', async () => {
    const { memory } = silent({ seen: 3, has: 9 });
    await expect(memory.recall(origin)).rejects.toMatchObject({ name: 'KnowsSize', size: 9 });
  });

  test('has another root than the one that it cosigned', async () => {
    const { memory, double } = silent({ seen: 3 });
    double.keep(origin, log.forkedAt(1).note(3));
    await expect(memory.recall(origin)).rejects.toMatchObject({ code: 'split_view' });
  });

  test('is not asked about a log that it never cosigned', async () => {
    const { memory, double } = silent({ has: 9 });
    expect(await memory.recall(origin)).toBeUndefined();
    expect(double.asked).toEqual([]);
  });

  const stranger = new OtherLog('w.example', 5);
  test.each<[string, Instead, object | undefined]>([
    ['no answer', () => SILENCE, { code: 'storage' }],
    ['404', () => ({ status: 404 }), { code: 'storage' }],
    ['500', () => ({ status: 500 }), { code: 'storage' }],
    ['no lines', () => ({ status: 200, body: '' }), { code: 'malformed' }],
    [
      'lines by somebody else',
      () => ({ status: 200, body: formatCosignatures([stranger.key.line('x')]) }),
      undefined,
    ],
  ])('has not answered with %s', async (_, instead, error) => {
    const { memory, double } = silent({ seen: 3 });
    double.plan.push(instead);
    const recalled = memory.recall(origin);
    if (error !== undefined) await expect(recalled).rejects.toMatchObject(error);
    // It says nothing; what it said before is known all the same.
    else expect(await recalled).toMatchObject({ size: 3 });
  });
});

describe('logs that are opened', () => {
  test('ask a witness once in the life of a process', async () => {
    const { memory, asked } = make({ seen: 3 });
    for (let i = 0; i < 5; i++) expect((await memory.recall(origin))?.size).toBe(3);
    expect(asked()).toBe(1);
  });

  test('leave one that is away alone for a minute, and ask it again then', async () => {
    const { memory, double, clock, asked } = make({ seen: 3 });
    const handle = double.handle.bind(double);
    double.handle = async () => SILENCE;
    for (let i = 0; i < 5; i++) {
      await expect(memory.recall(origin)).rejects.toMatchObject({ code: 'storage' });
    }
    expect(asked()).toBe(1);
    double.handle = handle;
    clock.now += 60_000;
    expect(await memory.recall(origin)).toMatchObject({ size: 3 });
    expect(asked()).toBe(2);
  });
});

test('the log of these tests is the one that the double knows', () => {
  expect(parseNote(utf8(log.note(3))).signatures).toHaveLength(1);
});
