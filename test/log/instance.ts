/** All logs of an instance to test with: real files, keys made on demand, a clock that the test moves. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, onTestFinished } from 'vitest';
import { createKeyFile, openKeyFile } from '../../server/keys/file.ts';
import { DEFAULT_APPEND_LIMITS } from '../../server/log/append.ts';
import { placeOf } from '../../server/log/guard.ts';
import { HighWater } from '../../server/log/high-water.ts';
import type { Log } from '../../server/log/log.ts';
import { Logs, type LogsOptions } from '../../server/log/logs.ts';
import { Memories } from '../../server/log/memories.ts';
import { removeLogFiles } from '../../server/main/removal.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { WriterPool } from '../../server/storage/sqlite/writer-pool.ts';
import type { LogStore } from '../../server/storage/store.ts';
import { TestGatewayKeys } from '../gateway-keys.ts';
import { checker, makeSigner, TestClock } from './make.ts';

export const writers = new WriterPool();
afterAll(() => writers.close());

const shared = { operator: makeSigner(), access: new TestGatewayKeys(makeSigner) };

/** Opens a key file, or makes it. */
export async function openKey(path: string, alg: 'ed25519' | 'ecdsa-p256') {
  if (existsSync(path)) return openKeyFile(path);
  mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
  return createKeyFile(path, alg);
}

export interface Opened {
  readonly logs: Logs;
  readonly instance: InstanceStore;
  readonly clock: TestClock;
  readonly warnings: string[];
  /** Paths of stores that were opened and not closed. */
  readonly stores: string[];
}

export function openInstance(folder: string, more: Partial<LogsOptions> = {}): Opened {
  const data = join(folder, 'data');
  mkdirSync(join(data, 'logs'), { recursive: true });
  const instance = new InstanceStore(join(data, 'stele.db'));
  onTestFinished(() => instance.close());
  if (instance.identity() === undefined) {
    instance.setIdentity({ originBase: 'log.example', ...placeOf(instance.path) });
  }
  const warnings: string[] = [];
  const stores: string[] = [];
  const clock = new TestClock();
  const logs = new Logs({
    data,
    memories: new Memories([new HighWater(join(folder, 'state'))]),
    originBase: 'log.example',
    instance,
    openStore: async (path) => counted(await SqliteStore.open(path, writers), path, stores),
    openKey,
    ...shared,
    commitContent: async () => {},
    checker,
    clock,
    random: (bytes) => new Uint8Array(randomBytes(bytes)),
    instanceId: 'test',
    software: 'stele-test/0',
    limits: DEFAULT_APPEND_LIMITS,
    openMax: 64,
    coolingMs: 7 * 86_400_000,
    closed: async () => {},
    removeFiles: (name) => removeLogFiles(data, name),
    checkSpace: () => {},
    fatal: (error) => {
      throw error;
    },
    warn: (message) => warnings.push(message),
    ...more,
  });
  return { logs, instance, clock, warnings, stores };
}

/** Says which stores are open. */
export function counted(store: LogStore, path: string, open: string[]): LogStore {
  open.push(path);
  const close = async () => {
    const at = open.indexOf(path);
    if (at >= 0) open.splice(at, 1);
    await store.close();
  };
  return new Proxy(store, {
    get(target, name) {
      if (name === 'close') return close;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A log of an instance, held for the rest of the test. */
export async function leased(logs: Logs, name: string): Promise<Log> {
  return (await logs.lease(name)).log;
}
