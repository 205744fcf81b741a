/** All logs of an instance: creation that survives being cut short, and the guard at the door. */
import { copyFileSync, cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { toHex } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { hasCode, SteleError } from '../../server/core/errors.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, treeSize } from '../../server/core/units.ts';
import { createKeyFile } from '../../server/keys/file.ts';
import { LogKeyFiles } from '../../server/keys/log-keyring.ts';
import { acceptPlace, checkPlace, lockFolder, placeOf } from '../../server/log/guard.ts';
import { DEFAULT_RULES, type Logs, type LogsOptions } from '../../server/log/logs.ts';
import { InstanceStore } from '../../server/storage/instance.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { temporaryFolder } from '../temporary.ts';
import { leased, openInstance, openKey, writers } from './instance.ts';
import { append, checkWhole, createLog, Gateway, logOptions, submit } from './make.ts';

function openLogs(folder: string, more: Partial<LogsOptions> = {}): Logs {
  return openInstance(folder, more).logs;
}

describe('creating a log', () => {
  test('makes it and its access log, each with a genesis of its own', async () => {
    const logs = openLogs(temporaryFolder());
    await logs.create({ name: 'team-a' });
    const log = await leased(logs, 'team-a');
    expect(log).toMatchObject({ origin: 'log.example/logs/team-a', visibility: 'proofs' });
    expect(log.head().size).toBe(1);
    const access = await leased(logs, 'team-a.access');
    expect(access).toMatchObject({
      origin: 'log.example/logs/team-a.access',
      visibility: 'private',
    });
    expect(access.head().size).toBe(2);
    expect(access.verifierKeys().identity.text).not.toBe(log.verifierKeys().identity.text);
    expect(logs.list().map(({ name }) => name)).toEqual(['team-a']);
    await logs.close();
  });

  test.each(['', 'A', '-a', 'a_b', '_admin', 'a.access', 'a/b', '..', 'a'.repeat(64), 'ä'])(
    'refuses the name %j',
    async (name) => {
      const logs = openLogs(temporaryFolder());
      await expect(logs.create({ name })).rejects.toMatchObject({ code: 'malformed' });
      await expect(leased(logs, name)).rejects.toMatchObject({ code: 'not_found' });
    },
  );

  test('refuses a name that is taken', async () => {
    const logs = openLogs(temporaryFolder());
    await logs.create({ name: 'a' });
    await expect(logs.create({ name: 'a' })).rejects.toMatchObject({ code: 'conflict' });
    await logs.close();
  });

  test('cut short at any step is completed by the next start, under the same origin', async () => {
    let steps = 1;
    for (let at = 0; at < steps && at < 60; at++) {
      const folder = temporaryFolder();
      let step = 0;
      const cut = <T>(work: () => Promise<T>): Promise<T> => {
        if (step++ === at) return Promise.reject(new Error('cut'));
        return work();
      };
      const logs = openLogs(folder, {
        openStore: (path) =>
          cut(async () => {
            const store = await SqliteStore.open(path, writers);
            return new Proxy(store, {
              get(target, name: keyof SqliteStore) {
                const method = target[name] as (...args: unknown[]) => Promise<unknown>;
                // A promise asks what it is given for `then`.
                if (typeof method !== 'function') return method;
                return (...args: unknown[]) =>
                  name === 'commit'
                    ? cut(() => method.apply(target, args)).then(() => cut(async () => {}))
                    : method.apply(target, args);
              },
            });
          }),
        openKey: (path, alg) => cut(() => openKey(path, alg)).then((key) => cut(async () => key)),
        fatal: () => {},
      });
      const failed = await logs.create({ name: 'a' }).then(
        () => false,
        () => true,
      );
      if (failed) steps = at + 2;
      expect(failed || at > 5).toBe(true);
      await logs.close();

      const again = openLogs(folder, { originBase: 'elsewhere.example' });
      await again.recover();
      const log = await leased(again, 'a');
      expect(log.origin).toBe('log.example/logs/a');
      await checkWhole(log);
      expect((await leased(again, 'a.access')).keys()).toMatchObject([{ purpose: 'gateway' }]);
      const gateway = new Gateway();
      await log.registerGateway(gateway.signer.publicKey);
      expect(await append(log, await gateway.next({}, log.origin))).toEqual([2]);
      await again.close();
    }
    expect(steps).toBeGreaterThan(5);
    expect(steps).toBeLessThan(60);
  });
});

describe('a log whose database vanished', () => {
  test('is never begun again', async () => {
    const folder = temporaryFolder();
    const logs = openLogs(folder);
    await logs.create({ name: 'a' });
    await logs.close();
    rmSync(join(folder, 'data', 'logs', 'a.db'));
    const again = openLogs(folder);
    await again.recover();
    await expect(leased(again, 'a')).rejects.toMatchObject({ code: 'split_view' });
    await again.close();
  });
});

describe('a log that an earlier build made, without a key for tree heads', () => {
  /** As the server does it: a key is made only for a log that is being created, or that never had it. */
  const openOnly: LogsOptions['openKey'] = async (path, alg, mayCreate) => {
    if (!existsSync(path) && mayCreate !== true) {
      throw new SteleError('not_found', `${path}: it is missing`);
    }
    return openKey(path, alg);
  };

  /** Makes the log, and says how to open it. */
  async function earlier(folder: string): Promise<Partial<LogsOptions>> {
    const keyFolder = join(folder, 'data', 'keys', 'logs', 'old');
    const logs = openLogs(folder);
    const base = logOptions({ stateFolder: join(folder, 'state') });
    const options = {
      ...base,
      name: 'old',
      origin: 'log.example/logs/old',
      store: await SqliteStore.open(join(folder, 'data', 'logs', 'old.db'), writers),
      keys: new LogKeyFiles(keyFolder, async (path, alg) => {
        if (path.endsWith('sth.pem')) throw new SteleError('not_found', `${path}: there is none`);
        return openKey(path, alg);
      }),
    };
    await (await createLog(options)).close();
    const instance = new InstanceStore(join(folder, 'data', 'stele.db'));
    instance.insertLog({
      name: 'old',
      origin: options.origin,
      visibility: 'proofs',
      rules: JSON.stringify(DEFAULT_RULES),
      state: 'active',
      createdMs: 0,
    });
    instance.close();
    await logs.close();
    return { operator: base.operator };
  }

  test('gets one when it is opened, says so in a record, and keeps it', async () => {
    const folder = temporaryFolder();
    const own = await earlier(folder);
    const keys = [];
    for (let i = 0; i < 2; i++) {
      const logs = openLogs(folder, { ...own, openKey: openOnly });
      const log = await leased(logs, 'old');
      expect(log.head().size).toBe(2);
      const [entry] = await log.entries(leafIndex(1), treeSize(2));
      expect(parseRecord(decodeEntry(entry!).payload)).toMatchObject({
        key: { action: 'rotate', purpose: 'sth' },
      });
      keys.push(log.verifierKeys().sth?.text);
      expect((await log.treeHead()).size).toBe(2);
      await checkWhole(log);
      await logs.close();
    }
    expect(keys[0]).toMatch(/^log.example/);
    expect(keys[1]).toBe(keys[0]);
  });

  test('cut short after the key was made, announces that key with the next start', async () => {
    const folder = temporaryFolder();
    const own = await earlier(folder);
    const path = join(folder, 'data', 'keys', 'logs', 'old', 'sth.pem');
    const { publicKey } = await createKeyFile(path, 'ecdsa-p256');
    const logs = openLogs(folder, { ...own, openKey: openOnly });
    const log = await leased(logs, 'old');
    expect(log.head().size).toBe(2);
    expect(toHex((await log.treeHead()).root)).toBe(toHex(log.head().root));
    expect(Buffer.from(log.verifierKeys().sth!.key)).toEqual(Buffer.from(publicKey.spki));
    await logs.close();
  });

  test('signs nothing with a new one where the one that it announced is missing', async () => {
    const folder = temporaryFolder();
    const own = await earlier(folder);
    const logs = openLogs(folder, own);
    await leased(logs, 'old');
    await logs.create({ name: 'new' });
    await logs.close();
    const again = openLogs(folder, { ...own, openKey: openOnly });
    for (const name of ['old', 'new']) {
      rmSync(join(folder, 'data', 'keys', 'logs', name, 'sth.pem'));
      const log = await leased(again, name);
      expect(log.stopped?.message).toContain('sth.pem: it is missing');
      await expect(log.treeHead()).rejects.toThrow('sth.pem: it is missing');
    }
    await again.close();
  });
});

describe('yesterday’s copy of a log', () => {
  test('reads, says what was signed since, and signs nothing (P2)', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'data', 'logs', 'a.db');
    const logs = openLogs(folder);
    const gateway = new Gateway();
    await logs.create({ name: 'a' });
    const log = await leased(logs, 'a');
    await log.registerGateway(gateway.signer.publicKey);
    await logs.close();
    copyFileSync(path, `${path}.yesterday`);

    const today = openLogs(folder);
    await append(await leased(today, 'a'), await gateway.next({}, log.origin));
    await today.close();
    renameSync(`${path}.yesterday`, path);

    const restored = openLogs(folder);
    const old = await leased(restored, 'a');
    expect(old.head().size).toBe(2);
    expect(await submit(old, await gateway.next({}, log.origin))).toMatchObject([
      { code: 'split_view', message: expect.stringContaining('a head of 3 was signed before') },
    ]);
    await restored.close();
  });
});

describe('reads of content', () => {
  test('are recorded in the access log, each continuing its chain (P11)', async () => {
    const logs = openLogs(temporaryFolder());
    await logs.create({ name: 'a' });
    const note = {
      record_id: '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f',
      fields: ['request.body'],
      reason: 'complaint 7',
      holder: 'auditor',
    };
    await Promise.all([logs.recordAccess('a', note), logs.recordAccess('a', note)]);
    const access = await leased(logs, 'a.access');
    expect(access.head().size).toBe(4);
    const source = (await access.sources()).find(({ id }) => id === 'access');
    expect(source).toMatchObject({ next: 2, holes: [], forks: 0 });
    await logs.close();
  });
});

describe('the guard', () => {
  test('lets one process in, and the next when that one is gone', () => {
    const folder = temporaryFolder();
    const first = lockFolder(folder);
    expect(() => lockFolder(folder)).toThrowError(/another process is using/);
    first.release();
    lockFolder(folder).release();
  });

  test('refuses a copied folder until the copy is accepted (P2)', () => {
    const folder = temporaryFolder();
    const original = new InstanceStore(join(folder, 'stele.db'));
    original.setIdentity({ originBase: 'log.example', ...placeOf(original.path) });
    expect(() => checkPlace(original)).not.toThrow();
    original.close();
    const copy = temporaryFolder();
    cpSync(folder, copy, { recursive: true });
    const copied = new InstanceStore(join(copy, 'stele.db'));
    expect(() => checkPlace(copied)).toThrowError(/is a copy.*stele restore --accept/s);
    acceptPlace(copied);
    expect(() => checkPlace(copied)).not.toThrow();
    copied.close();
  });

  test('refuses a folder of another machine, but not one whose device was renumbered', () => {
    const instance = new InstanceStore(join(temporaryFolder(), 'stele.db'));
    const here = { originBase: 'log.example', ...placeOf(instance.path) };
    instance.setIdentity({ ...here, device: '1' });
    expect(() => checkPlace(instance)).not.toThrow();
    instance.setIdentity({ ...here, machine: '0'.repeat(32) });
    expect(() => checkPlace(instance)).toThrowError(/another machine/);
    instance.close();
  });

  test('accepts nothing that was never set up', () => {
    const instance = new InstanceStore(join(temporaryFolder(), 'stele.db'));
    try {
      acceptPlace(instance);
      expect.unreachable();
    } catch (error) {
      expect(hasCode(error, 'not_found')).toBe(true);
    }
    instance.close();
  });
});
