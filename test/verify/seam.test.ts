/** The seam between two logs: proven by two receipts, and by nothing that only looks like them. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { canonicalize, parseCanonical } from '../../server/core/canonical.ts';
import type { Json } from '../../server/core/json.ts';
import type { Trust } from '../../server/core/trust.ts';
import { leafIndex } from '../../server/core/units.ts';
import { seamOf } from '../../server/log/goes-on.ts';
import type { Logs } from '../../server/log/logs.ts';
import { openSeam } from '../../server/verify/seam.ts';
import { openInstance } from '../log/instance.ts';
import { makeSigner } from '../log/make.ts';
import { temporaryFolder } from '../temporary.ts';

async function receiptOf(logs: Logs, name: string, index: number): Promise<Uint8Array> {
  return logs.use(name, (log) => log.receipt(leafIndex(index)));
}

async function rolled(operator = makeSigner()) {
  const { logs } = openInstance(temporaryFolder(), { operator });
  await logs.create({ name: 'a' });
  await logs.create({ name: 'other' });
  const early = await receiptOf(logs, 'a', 0);
  await logs.roll('a', 'b');
  await logs.roll('other', 'c');
  const trust: Trust = await logs.use('a', (log) => ({
    logs: [
      {
        origin: log.origin,
        keys: Object.values(log.verifierKeys()).map((key) => ({ key })),
        gateways: [],
      },
    ],
  }));
  const [last, genesis] = [await receiptOf(logs, 'a', 1), await receiptOf(logs, 'b', 0)];
  return { logs, trust, early, last, genesis };
}

describe('a seam', () => {
  test('holds, and tells the keys of the log that follows', async () => {
    const { logs, trust, last, genesis } = await rolled();
    const seam = openSeam(last, genesis, trust);
    expect(seam.last).toMatchObject({ origin: 'log.example/logs/a', size: 2 });
    expect(seam.next.origin).toBe('log.example/logs/b');
    const keys = await logs.use('b', (log) => Object.values(log.verifierKeys()));
    expect(seam.next.keys.map(({ key }) => key.text)).toEqual(keys.map(({ text }) => text));
    await logs.close();
  });

  test('holds under the first head that was kept, whatever keys the next log has now', async () => {
    const { logs, clock } = openInstance(temporaryFolder());
    await logs.create({ name: 'a' });
    const trust: Trust = await logs.use('a', (log) => ({
      logs: [
        {
          origin: log.origin,
          keys: Object.values(log.verifierKeys()).map((key) => ({ key })),
          gateways: [],
        },
      ],
    }));
    await logs.roll('a', 'b');
    const month = 31 * 86_400_000;
    await logs.use('b', async (log) => {
      await log.rotateKey('identity');
      clock.ms += month;
      await log.retireKey('identity', { overlapMs: month });
      await log.registerGateway(makeSigner().publicKey);
    });
    const { last, genesis } = await seamOf(logs, 'a', 'b');
    expect(openSeam(last, genesis, trust).next.origin).toBe('log.example/logs/b');
    // Its newest head is signed by a key that genesis does not list.
    const newest = await logs.use('b', (log) => log.receipt(leafIndex(0), { head: log.head() }));
    expect(() => openSeam(last, newest, trust)).toThrow('unknown key ID');
    await logs.close();
  });

  test.each([
    ['the log that follows another', 'c', 0],
    ['another entry of the log that follows', 'b', 1],
    ['the log itself', 'a', 0],
  ])('does not hold with %s', async (_, name, index) => {
    const { logs, trust, last } = await rolled();
    if (name === 'b') {
      await logs.use('b', (log) => log.registerGateway(makeSigner().publicKey));
    }
    const wrong = await receiptOf(logs, name, index);
    expect(() => openSeam(last, wrong, trust)).toThrow();
    await logs.close();
  });

  test('does not hold where the entry is not the one that ends the log', async () => {
    const { logs, trust, early, genesis } = await rolled();
    expect(() => openSeam(early, genesis, trust)).toThrow('does not end its log');
    await logs.close();
  });

  test('does not hold for a reader who does not trust the old log', async () => {
    const { logs, last, genesis } = await rolled();
    expect(() => openSeam(last, genesis, { logs: [] })).toThrow('does not know this log');
    await logs.close();
  });

  test('does not hold with the genesis that another operator made', async () => {
    const { logs, trust, last } = await rolled();
    const stranger = openInstance(temporaryFolder());
    await stranger.logs.create({
      name: 'b',
      previous: { origin: 'log.example/logs/a', size: 2, root: rootOf(last) },
    });
    const genesis = await receiptOf(stranger.logs, 'b', 0);
    await stranger.logs.close();
    expect(() => openSeam(last, genesis, trust)).toThrow('its operator is');
    await logs.close();
  });

  test('does not hold where genesis names another head', async () => {
    const operator = makeSigner();
    const { logs, trust, last } = await rolled(operator);
    for (const [previous, what] of [
      [undefined, 'nothing'],
      [{ origin: 'log.example/logs/a', size: 1, root: rootOf(last) }, 'another size'],
      [{ origin: 'log.example/logs/x', size: 2, root: rootOf(last) }, 'another log'],
      [{ origin: 'log.example/logs/a', size: 2, root: `${'A'.repeat(43)}=` }, 'another root'],
    ] as const) {
      const forged = openInstance(temporaryFolder(), { operator });
      await forged.logs.create({ name: 'b', ...(previous === undefined ? {} : { previous }) });
      const genesis = await receiptOf(forged.logs, 'b', 0);
      await forged.logs.close();
      expect(() => openSeam(last, genesis, trust), what).toThrow('it does not name the head of 2');
    }
    await logs.close();
  });

  test('does not hold with any part of either receipt changed', async () => {
    const { logs, trust, last, genesis } = await rolled();
    for (const [receipt, other] of [
      [last, genesis],
      [genesis, last],
    ] as const) {
      const json = parseCanonical(receipt, 'receipt', { tail: '\n' }) as { [name: string]: Json };
      const changes: { [name: string]: Json } = {
        index: Number(json.index) + 1,
        origin: 'log.example/logs/z',
        checkpoint: String(json.checkpoint).replace(/\n2\n|\n1\n/, '\n9\n'),
        proof: [`${'A'.repeat(43)}=`],
        entry: `${String(json.entry).slice(0, -8)}AAAAAAA=`,
      };
      for (const [name, value] of Object.entries(changes)) {
        const changed = utf8(`${canonicalize({ ...json, [name]: value })}\n`);
        const pair = receipt === last ? ([changed, other] as const) : ([other, changed] as const);
        expect(() => openSeam(...pair, trust), name).toThrow();
      }
    }
    await logs.close();
  });
});

function rootOf(receipt: Uint8Array): string {
  const { checkpoint } = parseCanonical(receipt, 'receipt', { tail: '\n' }) as {
    checkpoint: string;
  };
  return checkpoint.split('\n')[2] ?? '';
}
