/** Which logs stay open: those that are held, and as many others as there is room for. */
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../temporary.ts';
import { leased, openInstance, openKey } from './instance.ts';
import { append, Gateway } from './make.ts';

/** Names of the logs whose files are open. */
function open(stores: readonly string[]): string[] {
  return stores.map((path) => path.replace(/^.*\/|\.db$/g, '')).sort();
}

async function withLogs(names: readonly string[], openMax: number) {
  const { logs, stores } = openInstance(temporaryFolder(), { openMax });
  for (const name of names) await logs.create({ name });
  return { logs, stores };
}

describe('logs that nobody holds', () => {
  test('stay open up to the limit, and those used longest ago are closed', async () => {
    const { logs, stores } = await withLogs(['a', 'b', 'c', 'd'], 2);
    expect(open(stores)).toEqual([]);
    for (const name of ['a', 'b', 'a', 'c']) await logs.use(name, () => undefined);
    await expect.poll(() => open(stores)).toEqual(['a', 'c']);
    await logs.use('a', () => undefined);
    await logs.use('d', () => undefined);
    await expect.poll(() => open(stores)).toEqual(['a', 'd']);
    await logs.close();
    expect(open(stores)).toEqual([]);
  });

  test('are opened again with all that was logged, also while they are being closed', async () => {
    const { logs, stores } = await withLogs(['a', 'b'], 1);
    const gateway = new Gateway();
    for (let round = 0; round < 20; round++) {
      await logs.use('a', async (log) => {
        if (round === 0) await log.registerGateway(gateway.signer.publicKey);
        expect(await append(log, await gateway.next({}, log.origin))).toEqual([2 + round]);
      });
      // Closing `a` has begun when `b` is given back, and is not waited for.
      await logs.use('b', () => undefined);
    }
    await logs.use('a', (log) => expect(log.published().size).toBe(22));
    await logs.close();
    expect(open(stores)).toEqual([]);
  });

  test('are told apart from what was open beside them', async () => {
    const closed: string[] = [];
    const { logs } = openInstance(temporaryFolder(), {
      openMax: 1,
      closed: async (name) => {
        closed.push(name);
      },
    });
    for (const name of ['a', 'b']) await logs.create({ name });
    await logs.use('a', () => undefined);
    await logs.use('b', () => undefined);
    await expect.poll(() => closed).toEqual(['a']);
    await logs.close();
  });
});

describe('a log that somebody holds', () => {
  test('is not closed, however many others are asked for', async () => {
    const { logs, stores } = await withLogs(['a', 'b', 'c'], 1);
    const { log, release } = await logs.lease('a');
    for (const name of ['b', 'c', 'b', 'c']) await logs.use(name, (one) => one.head());
    await expect.poll(() => open(stores)).toContain('a');
    expect(log.head().size).toBe(1);
    const gateway = new Gateway();
    await log.registerGateway(gateway.signer.publicKey);
    release();
    release();
    await logs.use('b', () => undefined);
    await expect.poll(() => open(stores)).toEqual(['b']);
    await logs.close();
  });

  test('by two is closed only after both', async () => {
    const { logs, stores } = await withLogs(['a', 'b'], 1);
    const [first, second] = [await logs.lease('a'), await logs.lease('a')];
    expect(first.log).toBe(second.log);
    first.release();
    first.release();
    await logs.use('b', () => undefined);
    await logs.use('b', () => undefined);
    expect(open(stores)).toContain('a');
    second.release();
    await logs.use('b', () => undefined);
    await expect.poll(() => open(stores)).toEqual(['b']);
    await logs.close();
  });

  test('that cannot be opened is not held, and the next one may try', async () => {
    let isBroken = false;
    const { logs, stores } = openInstance(temporaryFolder(), {
      openKey: async (path, alg) => {
        if (isBroken) throw new Error('made up');
        return openKey(path, alg);
      },
    });
    await logs.create({ name: 'a' });
    isBroken = true;
    await expect(logs.lease('a')).rejects.toThrow('made up');
    isBroken = false;
    expect((await leased(logs, 'a')).head().size).toBe(1);
    await logs.close();
    expect(open(stores)).toEqual([]);
  });
});
