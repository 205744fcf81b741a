/** A log that does not tell the truth: nothing counts as on record, and nothing is on record twice in the end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { formatReceipt, parseReceipt, type Receipt } from '../../../server/core/receipt.ts';
import { leafIndex } from '../../../server/core/units.ts';
import { useNativePrimitives } from '../../../server/native.ts';
import { BATCH_LIES, framed, framesOf, lying, start } from '../served.ts';
import { annotation, checkChain, makeGateway, recordsIn, type Served, to } from './make.ts';

let served: Served;
let other: Served;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  useNativePrimitives();
  const begin = () => start(undefined, {}, (close) => closing.unshift(close));
  served = await begin();
  other = await begin();
});

afterAll(async () => {
  for (const close of closing) await close();
});

/** A gateway whose log lies in so many answers to POSTs at this path, and tells the truth from then on. */
async function lied(
  path: string,
  times: number,
  lie: (bytes: Buffer) => Uint8Array | Promise<Uint8Array>,
) {
  let lies = times;
  const fetch = lying((exchange) =>
    exchange.path.endsWith(path) && exchange.status < 300 && lies-- > 0
      ? lie(exchange.bytes)
      : undefined,
  );
  return makeGateway({ ...to(served), fetch });
}

/** Whatever was believed in the end is in the log, once. */
async function checkTruth(
  { gateway, troubles }: Awaited<ReturnType<typeof lied>>,
  times: number,
  count: number,
) {
  expect(troubles).toHaveLength(times);
  for (const trouble of troubles) expect(trouble).toMatchObject({ name: 'BadAnswer' });
  const all = await recordsIn(served.instance.logs, 'notes');
  const own = all.filter(({ source }) => source.id === gateway.status.source);
  expect(own).toHaveLength(count);
  checkChain(own);
}

describe('a receipt', () => {
  const spoiled: Record<string, (receipt: Receipt) => Receipt | Promise<Receipt>> = {
    'of another entry': async () => parseReceipt(await served.client.receipt('1')),
    'of another log': async () => parseReceipt(await other.client.receipt('1')),
    'that names another log': (receipt) => ({ ...receipt, origin: 'log.example/logs/x' }),
    'at another index': (receipt) => ({ ...receipt, index: leafIndex(receipt.index - 1) }),
    'whose proof is cut': (receipt) => ({ ...receipt, proof: receipt.proof.slice(1) }),
    'under the head of another log': async (receipt) => ({
      ...receipt,
      checkpoint: parseReceipt(await other.client.receipt('1')).checkpoint,
    }),
    'whose head is signed by nobody': (receipt) => ({
      ...receipt,
      checkpoint: receipt.checkpoint.replace(/ [A-Za-z0-9+/=]+\n$/, ` ${'A'.repeat(92)}\n`),
    }),
    'without the keys': (receipt) => ({ ...receipt, keys: [] }),
    'with another’s keys': async (receipt) => ({
      ...receipt,
      keys: parseReceipt(await other.client.receipt('1')).keys,
    }),
  };

  test.each(Object.entries(spoiled))('%s is not believed', async (_, spoil) => {
    const lie = async (bytes: Buffer) =>
      formatReceipt(await spoil(parseReceipt(new Uint8Array(bytes))));
    const made = await lied('/v1/entries', 2, lie);
    const logged = await made.gateway.submit(annotation());
    expect(logged.repeat).toBe(true);
    await checkTruth(made, 2, 1);
  });

  test('that was believed once spares no later one its check', async () => {
    let isLying = false;
    const fetch = lying(({ path, bytes }) => {
      if (!isLying || !path.endsWith('/v1/entries')) return undefined;
      isLying = false;
      const receipt = parseReceipt(new Uint8Array(bytes));
      const [genesis, key] = receipt.keys;
      const wrong = { ...key!, proof: key!.proof.with(0, genesis!.proof[0]!) };
      return formatReceipt({ ...receipt, keys: [genesis!, wrong] });
    });
    const { gateway, troubles } = await makeGateway({ ...to(served), fetch });
    await gateway.submit(annotation());
    isLying = true;
    await gateway.submit(annotation());
    expect(troubles).toMatchObject([{ name: 'BadAnswer' }]);
  });
});

describe('the answer to a batch', () => {
  test.each(Object.entries(BATCH_LIES))('that %s is not believed', async (_, spoil) => {
    const lie = (bytes: Buffer) => framed(spoil(framesOf(bytes).map((one) => new Uint8Array(one))));
    // Once: of repeats, which they are from then on, it is the receipt that counts.
    const made = await lied('/batch', 1, lie);
    await Promise.all(Array.from({ length: 4 }, () => made.gateway.submit(annotation())));
    await checkTruth(made, 1, 4);
  });

  test('under a head that nobody signed is not believed', async () => {
    const lie = (bytes: Buffer) => {
      const [head, ...results] = framesOf(bytes);
      const text = Buffer.from(head!).toString('latin1');
      const at = text.lastIndexOf('\n') - 10;
      return framed([head!.with(at, head![at]! === 65 ? 66 : 65), ...results]);
    };
    const made = await lied('/batch', 2, lie);
    await Promise.all(Array.from({ length: 4 }, () => made.gateway.submit(annotation())));
    await checkTruth(made, 2, 4);
  });
});

test('a head beyond the size that a key is good for is not believed', async () => {
  const { size } = await served.client.head();
  const [log] = served.trust.logs;
  const keys = log!.keys.map(({ key }) => ({ key, untilSize: size + 1 }));
  const trust = { ...served.trust, logs: [{ ...log!, keys }] };
  const { gateway, troubles } = await makeGateway({ ...to(served), trust });
  await gateway.submit(annotation());
  const late = gateway.submit(annotation()).catch((error: Error) => error);
  await expect.poll(() => troubles.length, { timeout: 30_000 }).toBeGreaterThan(1);
  expect(troubles[0]).toMatchObject({
    name: 'BadAnswer',
    message: expect.stringContaining(`good up to size ${size + 1}`),
  });
  await gateway.close({ ms: 0 });
  expect(String(await late)).toContain('it is signed');
});

test('the receipt that is put together for a batch is held to what it is made of', async () => {
  let isLying = true;
  const fetch = lying(({ path, bytes }) => {
    if (!isLying || !path.includes('/proofs/inclusion/0/')) return undefined;
    const { proof, ...rest } = JSON.parse(bytes.toString()) as { proof: string[] };
    return utf8(JSON.stringify({ ...rest, proof: proof.slice(1) }));
  });
  const { gateway } = await makeGateway({ ...to(served), fetch });
  await gateway.submit(annotation());
  const logged = await Promise.all(Array.from({ length: 4 }, () => gateway.submit(annotation())));
  await expect(logged[1]!.receipt()).rejects.toMatchObject({ name: 'BadAnswer' });
  isLying = false;
  expect(parseReceipt(await logged[1]!.receipt()).index).toBe(logged[1]!.index);
});
