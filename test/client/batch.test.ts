/** Many entries at once: each has its outcome, and none is taken on a server's word. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { framedBytes, partsOf } from '../../server/client/batch.ts';
import type { Outcome } from '../../server/client/batches.ts';
import { LogClient } from '../../server/client/client.ts';
import { BadAnswer } from '../../server/client/problem.ts';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { BATCH_BYTES_MAX, BATCH_ENTRIES_MAX } from '../../server/core/limits.ts';
import { leafHash } from '../../server/core/merkle.ts';
import { parseNote } from '../../server/core/note.ts';
import { checkInclusion } from '../../server/core/proof.ts';
import { parseReceipt } from '../../server/core/receipt.ts';
import { parseCheckpoint } from '../../server/core/tree-head.ts';
import { leafIndex } from '../../server/core/units.ts';
import type { Signer } from '../../server/keys/signer.ts';
import { useNativePrimitives } from '../../server/native.ts';
import { makeSigner } from '../log/make.ts';
import { BATCH_LIES, busy, framed, framesOf, lying, note, start } from './served.ts';

beforeAll(() => useNativePrimitives());

/** Attempts follow each other at once. */
const HURRY = { wait: async () => undefined };

function notes(count: number, gateway: Signer, prefix = 'note'): Promise<Uint8Array[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => note(`${prefix} ${i}`, gateway)));
}

function indexes(outcomes: readonly Outcome[]): (number | string)[] {
  return outcomes.map((one) => (one instanceof SteleError ? one.code : one.index));
}

/** Holds a proven place to what was logged there. */
function checkProven(outcome: Outcome | undefined, entry: Uint8Array): void {
  if (outcome === undefined || outcome instanceof SteleError) throw outcome;
  const { size, root } = parseCheckpoint(parseNote(utf8(outcome.checkpoint)).text);
  const { index, proof } = outcome;
  checkInclusion({ index, size, leafHash: leafHash(entry), proof, root });
}

describe('a batch', () => {
  test('is logged in order, each entry with its proof; sent again it repeats', async () => {
    const { client, gateway } = await start();
    const entries = await notes(40, gateway);
    const outcomes = await client.submitBatch(entries);
    expect(indexes(outcomes)).toEqual(entries.map((_, i) => i + 2));
    for (const [i, entry] of entries.entries()) {
      checkProven(outcomes[i], entry);
      expect(outcomes[i]).toMatchObject({ repeat: false });
      expect(await client.entry(leafIndex(i + 2))).toEqual(entry);
    }
    const again = await client.submitBatch([...entries.slice(10, 20), await note('new', gateway)]);
    expect(indexes(again)).toEqual([...entries.keys()].slice(12, 22).concat(42));
    expect(again.map((one) => 'repeat' in one && one.repeat)).toEqual(again.map((_, i) => i < 10));
    expect(await client.submitBatch([])).toEqual([]);
  });

  test('has an error of its own for each entry that is refused', async () => {
    const { client, gateway } = await start();
    const good = await notes(3, gateway);
    const entries = [
      good[0]!,
      await note('by a stranger', makeSigner()),
      good[1]!.with(-80, good[1]!.at(-80)! ^ 1),
      new Uint8Array(0),
      new Uint8Array(65_536),
      good[2]!,
    ];
    const outcomes = await client.submitBatch(entries);
    expect(indexes(outcomes)).toEqual([
      2,
      'forbidden',
      expect.stringMatching(/malformed|unverified/),
      'malformed',
      'too_large',
      3,
    ]);
    expect(outcomes.every((one) => !(one instanceof BadAnswer))).toBe(true);
  });

  test('tells the repeat of a statement that was signed otherwise, and proves it', async () => {
    const { client, log } = await start();
    const gateway = makeSigner('ecdsa-p256');
    await log.registerGateway(gateway.publicKey);
    const first = await notes(3, gateway);
    await client.submitBatch(first);
    const outcomes = await client.submitBatch(await notes(3, gateway));
    expect(outcomes.map((one) => 'entry' in one && one.entry)).toEqual(first);
    for (const [i, outcome] of outcomes.entries()) checkProven(outcome, first[i]!);
    expect(indexes(outcomes)).toEqual([3, 4, 5]);
  });

  test('larger than one request is sent in several', async () => {
    const { client, gateway, token } = await start();
    const entries = await notes(300, gateway, 'x'.repeat(60_000));
    const asked: number[] = [];
    const fetching: typeof fetch = (input, init) => {
      asked.push((init as { body: Uint8Array }).body.length);
      return fetch(input, init);
    };
    const log = new LogClient({ base: client.base, token, fetch: fetching });
    const outcomes = await log.submitBatch(entries);
    expect(indexes(outcomes)).toEqual(entries.map((_, i) => i + 2));
    expect(asked.length).toBe(2);
    expect(Math.max(...asked)).toBeLessThanOrEqual(BATCH_BYTES_MAX);
  });

  test('whose request fails as a whole has that error for each', async () => {
    const { client, gateway } = await start();
    const entries = await notes(3, gateway);
    const blind = new LogClient({ base: client.base });
    expect(indexes(await blind.submitBatch(entries))).toEqual([
      'unauthenticated',
      'unauthenticated',
      'unauthenticated',
    ]);
    const gone = new LogClient({ base: 'http://127.0.0.1:9/logs/notes' });
    const retry = { attempts: 2, ...HURRY };
    expect(indexes(await gone.submitBatch(entries, retry))).toEqual([
      'storage',
      'storage',
      'storage',
    ]);
  });

  test('to a log that has ended says so for what was not logged before', async () => {
    const { client, gateway, instance } = await start();
    const [before, ...after] = await notes(3, gateway);
    await client.submitBatch([before!]);
    await instance.logs.roll('notes', 'next');
    const outcomes = await client.submitBatch([before!, ...after]);
    expect(indexes(outcomes)).toEqual([2, 'frozen', 'frozen']);
    expect(indexes(await client.submitBatch(after))).toEqual(['frozen', 'frozen']);
    checkProven(outcomes[0], before!);
  });
});

describe('parts', () => {
  test('hold as much as a request may, and keep the order', () => {
    const many = Array.from({ length: 2 * BATCH_ENTRIES_MAX + 1 }, (_, i) => i);
    const parts = partsOf(many, () => 1);
    expect(parts.map(({ length }) => length)).toEqual([BATCH_ENTRIES_MAX, BATCH_ENTRIES_MAX, 1]);
    expect(parts.flat()).toEqual(many);
    const large = Array.from({ length: 600 }, (_, i) => 65_535 - i);
    const byBytes = partsOf(large, (length) => length);
    expect(byBytes.flat()).toEqual(large);
    for (const [i, part] of byBytes.entries()) {
      const bytes = part.reduce((sum, length) => sum + framedBytes(length), 0);
      expect(bytes).toBeLessThanOrEqual(BATCH_BYTES_MAX);
      const next = byBytes[i + 1]?.[0];
      if (next !== undefined) expect(bytes + framedBytes(next)).toBeGreaterThan(BATCH_BYTES_MAX);
    }
    expect(partsOf([], () => 1)).toEqual([]);
  });
});

describe('what is pushed back', () => {
  test('is sent again, alone, after the time that was asked for', async () => {
    const { client, gateway, token } = await start();
    const seen: number[] = [];
    const waits: number[] = [];
    const log = new LogClient({ base: client.base, token, fetch: busy(2, seen) });
    const entries = await notes(10, gateway);
    const wait = async (ms: number) => void waits.push(ms);
    const outcomes = await log.submitBatch(entries, { wait });
    expect(seen).toEqual([10, 4, 2]);
    expect(waits).toEqual([7_000, 7_000]);
    for (const [i, entry] of entries.entries()) checkProven(outcomes[i], entry);
    expect(new Set(indexes(outcomes)).size).toBe(10);
  });

  test('for too long comes back as pushed back, beside what was logged', async () => {
    const { client, gateway, token } = await start();
    const seen: number[] = [];
    const log = new LogClient({ base: client.base, token, fetch: busy(99, seen) });
    const entries = await notes(4, gateway);
    const outcomes = await log.submitBatch(entries, { attempts: 2, ...HURRY });
    expect(indexes(outcomes)).toEqual(['pushback', 2, 3, 4]);
    expect(outcomes[0]).toMatchObject({ retryAfterS: 7 });
  });
});

describe('a server that lies', () => {
  let client: LogClient;
  let gateway: Signer;
  let token: string;
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const atEnd = (close: () => Promise<void>) => void closing.unshift(close);
    ({ client, gateway, token } = await start(undefined, {}, atEnd));
  });

  afterAll(async () => {
    for (const close of closing) await close();
  });

  test.each(Object.entries(BATCH_LIES))('and %s is not believed', async (name, spoil) => {
    const fetch = lying(({ bytes }) =>
      framed(spoil(framesOf(bytes).map((f) => new Uint8Array(f)))),
    );
    const liar = new LogClient({ base: client.base, token, fetch });
    const entries = await notes(4, gateway, name);
    const outcomes = await liar.submitBatch(entries);
    expect(outcomes.map((one) => one instanceof BadAnswer)).toEqual([true, true, true, true]);
    // It was logged all the same, and whoever asks again is told where.
    for (const one of await client.submitBatch(entries))
      expect(one).toMatchObject({ repeat: true });
  });

  test('that breaks off, or adds bytes, is not believed', async () => {
    const entries = await notes(2, gateway, 'cut');
    for (const spoil of [
      (bytes: Buffer) => bytes.subarray(0, -1),
      (bytes: Buffer) => Buffer.concat([bytes, Buffer.from([5])]),
      () => Buffer.from('<html>'),
    ]) {
      const liar = new LogClient({
        base: client.base,
        token,
        fetch: lying(({ bytes }) => new Uint8Array(spoil(bytes))),
      });
      const outcomes = await liar.submitBatch(entries);
      expect(outcomes.every((one) => one instanceof BadAnswer)).toBe(true);
    }
  });

  test('that calls an entry the repeat of another has to show that receipt', async () => {
    const [one, two] = await notes(2, gateway, 'other');
    const { receipt } = await client.submit(one!);
    // The place of the first, given for the second as its repeat.
    const { index, proof, checkpoint } = parseReceipt(receipt);
    const { size } = parseCheckpoint(parseNote(utf8(checkpoint)).text);
    const head = Buffer.concat([
      Buffer.from([10, ...varint(Buffer.byteLength(checkpoint))]),
      Buffer.from(checkpoint),
      Buffer.from([16, ...varint(size)]),
    ]);
    const result = Buffer.concat([
      Buffer.from([8, ...varint(index), 18, 32]),
      leafHash(one!),
      ...proof.flatMap((hash) => [Buffer.from([26, 32]), hash]),
      Buffer.from([32, 1]),
    ]);
    const batchOnly = new LogClient({
      base: client.base,
      token,
      fetch: lying(({ path }) => (path.endsWith('/batch') ? framed([head, result]) : undefined)),
    });
    // Asked for the receipt, the server tells the truth, and that is what counts.
    const [told] = await batchOnly.submitBatch([two!]);
    checkProven(told, two!);
    const inAll = new LogClient({
      base: client.base,
      token,
      fetch: lying(({ path }) => (path.endsWith('/batch') ? framed([head, result]) : receipt)),
    });
    expect((await inAll.submitBatch([two!]))[0]).toBeInstanceOf(BadAnswer);
  });
});

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, Math.floor(value / 128)];
}
