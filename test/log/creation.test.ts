/** Logs that are asked for while they are made, or that cannot be opened: nobody else is harmed. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { temporaryFolder } from '../temporary.ts';
import { leased, type Opened, openInstance, openKey, writers } from './instance.ts';
import { append, checkWhole, Gateway } from './make.ts';

describe('a log that cannot be opened', () => {
  test('holds no file open, however often it is asked for (P8)', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder);
    await first.logs.create({ name: 'a' });
    await first.logs.close();
    expect(first.stores).toEqual([]);
    rmSync(join(folder, 'data', 'logs', 'a.db'));
    const { logs, stores } = openInstance(folder);
    for (let i = 0; i < 3; i++) {
      await expect(leased(logs, 'a')).rejects.toMatchObject({ code: 'split_view' });
    }
    expect(stores).toEqual([]);
  });
});

describe('a log that is created', () => {
  test('by two at once is made once, and works', async () => {
    const { logs } = openInstance(temporaryFolder());
    const outcomes = await Promise.allSettled([
      logs.create({ name: 'a' }),
      logs.create({ name: 'a' }),
      logs.create({ name: 'a' }),
    ]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
    ]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' });
    }
    const log = await leased(logs, 'a');
    const gateway = new Gateway();
    await log.registerGateway(gateway.signer.publicKey);
    expect(await append(log, await gateway.next({}, log.origin))).toEqual([2]);
    await checkWhole(log);
    await logs.close();
  });

  test('is not found before it is whole, and neither is its access log', async () => {
    const folder = temporaryFolder();
    const seen: unknown[] = [];
    const codeOf = (asked: Promise<unknown>) =>
      asked.then(
        () => 'found',
        (error: unknown) => (error as SteleError).code,
      );
    const { logs, instance }: Opened = openInstance(folder, {
      openKey: async (path, alg) => {
        if (instance.log('a')?.state === 'creating') {
          seen.push(await codeOf(leased(logs, 'a')), await codeOf(leased(logs, 'a.access')));
        }
        return openKey(path, alg);
      },
    });
    await logs.create({ name: 'a' });
    expect(seen.length).toBeGreaterThan(4);
    expect(new Set(seen)).toEqual(new Set(['not_found']));
    await logs.close();
  });

  test('under an origin that was used before is refused, and leaves nothing behind (P2)', async () => {
    const folder = temporaryFolder();
    const before = openInstance(folder);
    await before.logs.create({ name: 'a' });
    await before.logs.close();
    before.instance.close();
    rmSync(join(folder, 'data'), { recursive: true });

    const { logs, instance, stores } = openInstance(folder);
    await expect(logs.create({ name: 'a' })).rejects.toMatchObject({ code: 'conflict' });
    expect(instance.logs()).toEqual([]);
    expect(stores).toEqual([]);
    await logs.recover();
    await logs.create({ name: 'b' });
    await logs.close();
  });

  test('and cannot be completed does not keep the others from starting', async () => {
    const folder = temporaryFolder();
    const refuse = (name: string) => async (path: string) => {
      if (path.endsWith(`/${name}.db`)) throw new SteleError('storage', 'the disk is full');
      return SqliteStore.open(path, writers);
    };
    const first = openInstance(folder, { openStore: refuse('b') });
    await first.logs.create({ name: 'c' });
    await expect(first.logs.create({ name: 'b' })).rejects.toMatchObject({ code: 'storage' });
    await first.logs.close();

    const again = openInstance(folder, { openStore: refuse('b') });
    await again.logs.recover();
    expect(again.warnings).toEqual([expect.stringContaining('log b')]);
    expect((await leased(again.logs, 'c')).head().size).toBe(1);
    await expect(leased(again.logs, 'b')).rejects.toMatchObject({ code: 'not_found' });
    await again.logs.close();

    const whole = openInstance(folder);
    await whole.logs.recover();
    expect((await leased(whole.logs, 'b')).head().size).toBe(1);
    await whole.logs.close();
  });
});
