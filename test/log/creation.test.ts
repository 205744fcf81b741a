/** Logs that are asked for while they are made, or that cannot be opened: nobody else is harmed. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, onTestFinished, test } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import { createKeyFile, openKeyFile } from '../../server/keys/file.ts';
import { DEFAULT_APPEND_LIMITS } from '../../server/log/append.ts';
import { placeOf } from '../../server/log/guard.ts';
import { HighWater } from '../../server/log/high-water.ts';
import { Logs, type LogsOptions } from '../../server/log/logs.ts';
import { Memories } from '../../server/log/memories.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import type { LogStore } from '../../server/storage/store.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, checker, checkWhole, Gateway, makeSigner, TestClock } from './make.ts';

const writers = new WriterPool();
afterAll(() => writers.close());

const shared = { operator: makeSigner(), access: makeSigner() };

async function openKey(path: string, alg: 'ed25519' | 'ecdsa-p256') {
  if (existsSync(path)) return openKeyFile(path);
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  return createKeyFile(path, alg);
}

interface World {
  readonly logs: Logs;
  readonly instance: InstanceStore;
  readonly warnings: string[];
  /** Paths of stores that were opened and not closed. */
  readonly held: string[];
}

function open(folder: string, more: Partial<LogsOptions> = {}): World {
  mkdirSync(join(folder, 'data', 'logs'), { recursive: true });
  const instance = new InstanceStore(join(folder, 'data', 'stele.db'));
  onTestFinished(() => instance.close());
  if (instance.identity() === undefined) {
    instance.setIdentity({ originBase: 'log.example', ...placeOf(instance.path) });
  }
  const warnings: string[] = [];
  const held: string[] = [];
  const logs = new Logs({
    data: join(folder, 'data'),
    memories: new Memories([new HighWater(join(folder, 'state'))]),
    originBase: 'log.example',
    instance,
    openStore: async (path) => counted(await SqliteStore.open(path, writers), path, held),
    openKey,
    ...shared,
    commitContent: async () => {},
    checker,
    clock: new TestClock(),
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    instanceId: 'test',
    software: 'stele-test/0',
    limits: DEFAULT_APPEND_LIMITS,
    checkSpace: () => {},
    fatal: (error) => {
      throw error;
    },
    warn: (message) => warnings.push(message),
    ...more,
  });
  return { logs, instance, warnings, held };
}

function counted(store: LogStore, path: string, held: string[]): LogStore {
  held.push(path);
  return new Proxy(store, {
    get(target, name: keyof LogStore) {
      const method = target[name] as (...args: unknown[]) => Promise<unknown>;
      if (typeof method !== 'function') return method;
      return (...args: unknown[]) => {
        if (name === 'close') held.splice(held.indexOf(path), 1);
        return method.apply(target, args);
      };
    },
  });
}

describe('a log that cannot be opened', () => {
  test('holds no file open, however often it is asked for (P8)', async () => {
    const folder = temporaryFolder();
    const first = open(folder);
    await first.logs.create({ name: 'a' });
    await first.logs.close();
    expect(first.held).toEqual([]);
    rmSync(join(folder, 'data', 'logs', 'a.db'));
    const { logs, held } = open(folder);
    for (let i = 0; i < 3; i++) {
      await expect(logs.get('a')).rejects.toMatchObject({ code: 'split_view' });
    }
    expect(held).toEqual([]);
  });
});

describe('a log that is created', () => {
  test('by two at once is made once, and works', async () => {
    const { logs } = open(temporaryFolder());
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
    const log = await logs.get('a');
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
    const { logs, instance }: World = open(folder, {
      openKey: async (path, alg) => {
        if (instance.log('a')?.state === 'creating') {
          seen.push(await codeOf(logs.get('a')), await codeOf(logs.access('a')));
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
    const before = open(folder);
    await before.logs.create({ name: 'a' });
    await before.logs.close();
    before.instance.close();
    rmSync(join(folder, 'data'), { recursive: true });

    const { logs, instance, held } = open(folder);
    await expect(logs.create({ name: 'a' })).rejects.toMatchObject({ code: 'conflict' });
    expect(instance.logs()).toEqual([]);
    expect(held).toEqual([]);
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
    const first = open(folder, { openStore: refuse('b') });
    await first.logs.create({ name: 'c' });
    await expect(first.logs.create({ name: 'b' })).rejects.toMatchObject({ code: 'storage' });
    await first.logs.close();

    const again = open(folder, { openStore: refuse('b') });
    await again.logs.recover();
    expect(again.warnings).toEqual([expect.stringContaining('log b')]);
    expect((await again.logs.get('c')).head().size).toBe(1);
    await expect(again.logs.get('b')).rejects.toMatchObject({ code: 'not_found' });
    await again.logs.close();

    const whole = open(folder);
    await whole.logs.recover();
    expect((await whole.logs.get('b')).head().size).toBe(1);
    await whole.logs.close();
  });
});
