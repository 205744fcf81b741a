/** The server gives itself other gateway keys, and nothing that it has to say is lost or said twice. */
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { SteleError } from '../../server/core/errors.ts';
import type { JsonObject } from '../../server/core/json.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import { ADMIN_LOG } from '../../server/log/names.ts';
import { OwnGateways, type OwnPurpose, type Recorded } from '../../server/log/own-gateways.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { TestGatewayKeys } from '../gateway-keys.ts';
import { temporaryFolder } from '../temporary.ts';
import { openInstance } from './instance.ts';
import { append, checker, Gateway, makeSigner, TestClock } from './make.ts';

const DAY_MS = 86_400_000;

const plain: Recorded = (_, __, work) => work();

function open(folder = temporaryFolder(), keys = new Keys()) {
  const { access, proxy, ingest } = keys;
  const opened = openInstance(folder, { access, clock: keys.clock });
  const { logs, instance } = opened;
  const failures: string[] = [];
  const failed = (log: string, error: SteleError) => failures.push(`${log}: ${error.message}`);
  const own = new OwnGateways({
    logs,
    instance,
    clock: keys.clock,
    access,
    proxy: async () => proxy,
    ingest: async () => ingest,
    changed: () => {},
    failed,
  });
  const read = (name: string) =>
    logs.recordAccess(name, {
      record_id: '01890a5d-ac96-774b-bcce-b302099a8057',
      fields: ['request.body'],
      reason: 'a question',
      holder: 'somebody',
    });
  /** What a log says of a key. */
  const stateOf = (name: string, keyid: string) =>
    logs.use(name, (log) => {
      const key = log.keys().find((known) => known.keyid === keyid);
      if (key === undefined) return 'unknown';
      return key.revoked === undefined ? 'good' : 'revoked';
    });
  return { ...opened, folder, keys, own, failures, read, stateOf };
}

class Keys {
  readonly clock = new TestClock();
  readonly access = new TestGatewayKeys(makeSigner);
  readonly proxy = new TestGatewayKeys(makeSigner);
  readonly ingest = new TestGatewayKeys(makeSigner);

  id(purpose: OwnPurpose, number: number): string {
    return this[purpose].all[number - 1]?.publicKey.keyid ?? '';
  }
}

const othersOf = ({ others }: JsonObject) => others as readonly JsonObject[];

/** Nothing is wrong with a log, as an audit of its file sees it. */
async function checkWhole(folder: string, name: string): Promise<void> {
  const store = SqliteStore.openReadOnly(`${folder}/data/logs/${name}.db`);
  const report = await audit({ reader: new StoreReader(store), known: [], checker });
  await store.close();
  expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
}

describe('the key of access records', () => {
  test('is another from the next record on, in each log when it has something to say', async () => {
    const { logs, own, keys, read, stateOf, folder, instance } = open();
    for (const name of ['a', 'b']) await logs.create({ name });
    await read('a');
    const rotated = await own.rotate({ purpose: 'access' });
    const [first, second] = [keys.id('access', 1), keys.id('access', 2)];
    expect(rotated).toMatchObject({ keyid: second, waiting: [] });
    expect(othersOf(rotated)).toMatchObject([{ keyid: first }]);
    const before = await logs.use('a.access', (log) => log.head().size);
    await read('a');
    // The key and its source, and then the record.
    expect(await logs.use('a.access', (log) => log.head().size)).toBe(before + 2);
    await read('a');
    expect(await logs.use('a.access', (log) => log.head().size)).toBe(before + 3);
    expect(await logs.use('a.access', (log) => log.ownerOf('access'))).toBe(second);
    expect(await logs.use('b.access', (log) => log.ownerOf('access'))).toBe(first);
    keys.clock.ms += DAY_MS - 1;
    await own.finishDue(plain);
    expect(await stateOf('a.access', first)).toBe('good');
    keys.clock.ms += 1;
    await own.finishDue(plain);
    for (const name of ['a.access', 'b.access']) {
      expect(await stateOf(name, first)).toBe('revoked');
      expect(await logs.use(name, (log) => log.ownerOf('access'))).toBe(second);
    }
    expect(instance.endingOwnKeys()).toEqual([]);
    await read('b');
    await logs.close();
    for (const name of ['a.access', 'b.access']) await checkWhole(folder, name);
  });

  test('is one chain in the log of administration, whoever signs it', async () => {
    const { logs, own, keys, folder } = open();
    const note = { act: 'test', holder: 'somebody', state: 'done' } as const;
    await logs.recordAdmin(note);
    await own.rotate({ purpose: 'access', compromised: true });
    await logs.recordAdmin(note);
    await logs.recordAdmin(note);
    const sources = await logs.use(ADMIN_LOG, (log) => log.sources());
    expect(sources.find(({ id }) => id === 'admin')).toMatchObject({
      id: 'admin',
      next: 3,
      forks: 0,
      keyid: keys.id('access', 2),
    });
    await logs.close();
    await checkWhole(folder, ADMIN_LOG);
  });

  test('that others may have is revoked with the same command, in the logs that are over as well', async () => {
    const { logs, own, keys, stateOf, failures } = open();
    for (const name of ['a', 'over', 'gone']) await logs.create({ name });
    await logs.freeze('over', {});
    await logs.retire('gone', 'gone');
    keys.clock.ms += 8 * DAY_MS;
    await logs.removeDue();
    const rotated = await own.rotate({ purpose: 'access', compromised: true });
    const revoked = othersOf(rotated)[0]?.revoked as readonly { log: string }[];
    const told = ['_admin', 'a.access', 'gone.access', 'over.access'];
    expect(revoked.map(({ log }) => log).sort()).toEqual(told);
    expect(failures).toEqual([]);
    for (const name of ['a.access', 'over.access', 'gone.access']) {
      expect(await stateOf(name, keys.id('access', 1))).toBe('revoked');
    }
  });

  test('that somebody revoked is not registered again by itself', async () => {
    const { logs, own, keys, read } = open();
    await logs.create({ name: 'a' });
    await read('a');
    await logs.use('a.access', (log) => log.revokeGateway(keys.id('access', 1)));
    await expect(read('a')).rejects.toThrow(/was revoked at entry 3.*stele key rotate-own/);
    await own.rotate({ purpose: 'access' });
    await read('a');
    await expect(read('a')).resolves.toMatchObject({ index: 6 });
  });

  test('of a log that cannot be told now is ended there later, and everywhere else at once', async () => {
    const { logs, own, keys, stateOf, failures, instance } = open();
    for (const name of ['a', 'b']) await logs.create({ name });
    const { log, release } = await logs.lease('a.access');
    const revokeGateway = log.revokeGateway.bind(log);
    let isFull = true;
    log.revokeGateway = async (keyid) => {
      if (isFull) throw new SteleError('storage', 'no room');
      return revokeGateway(keyid);
    };
    const rotated = await own.rotate({ purpose: 'access', compromised: true });
    expect(rotated.waiting).toEqual([{ log: 'a.access', detail: 'no room' }]);
    expect(failures).toEqual(['a.access: no room']);
    expect(await stateOf('b.access', keys.id('access', 1))).toBe('revoked');
    expect(instance.endingOwnKeys()).toHaveLength(1);
    isFull = false;
    await own.finishDue(plain);
    release();
    expect(await stateOf('a.access', keys.id('access', 1))).toBe('revoked');
    expect(instance.endingOwnKeys()).toEqual([]);
  });
});

describe('a process that ends in between', () => {
  test('before there is a next key, changes nothing', async () => {
    const { instance, own, keys, logs, stateOf } = open();
    await logs.create({ name: 'a' });
    instance.noteEndingOwnKey({ keyid: keys.id('access', 1), dueMs: 0 });
    await own.finishDue(plain);
    expect(await stateOf('a.access', keys.id('access', 1))).toBe('good');
    expect(instance.endingOwnKeys()).toEqual([]);
  });

  test('after that, is made up for by the next one', async () => {
    const folder = temporaryFolder();
    const keys = new Keys();
    const first = open(folder, keys);
    await first.logs.create({ name: 'a' });
    await first.read('a');
    first.instance.noteEndingOwnKey({ keyid: keys.id('access', 1), dueMs: keys.clock.ms });
    await keys.access.next();
    await first.logs.close();
    const second = open(folder, keys);
    const told: string[] = [];
    await second.own.finishDue((log, details, work) => {
      told.push(`${log} ${details.keyid}`);
      return work();
    });
    expect(told).toEqual([`a.access ${keys.id('access', 1)}`]);
    expect(await second.stateOf('a.access', keys.id('access', 1))).toBe('revoked');
    await second.read('a');
    await second.logs.close();
    await checkWhole(folder, 'a.access');
  });
});

describe('the key of a proxy', () => {
  test('is revoked only where it has no source any more', async () => {
    const { logs, own, keys, stateOf, failures } = open();
    await logs.create({ name: 'a' });
    const { log, release } = await logs.lease('a');
    const [signer] = keys.proxy.all;
    if (signer === undefined) throw new Error('there is one');
    const gateway = new Gateway('proxy-1', signer);
    await log.registerGateway(signer.publicKey);
    await append(log, await gateway.next({}, log.origin));
    // No proxy runs that could send what it may have signed.
    await own.rotate({ purpose: 'proxy', compromised: true });
    expect(await stateOf('a', keys.id('proxy', 1))).toBe('good');
    expect(failures.join()).toContain('still has source proxy-1 of log a');
    await append(log, await gateway.next({}, log.origin));
    await own.proxyRuns({
      changeSigner: (next, { handOver }) => {
        expect(next.publicKey.keyid).toBe(keys.id('proxy', 2));
        return handOver('log.example/logs/a', 'proxy-1');
      },
    });
    const next = new Gateway('proxy-1', keys.proxy.newest);
    Object.assign(next, { seq: gateway.seq, prev: gateway.prev });
    await append(log, await next.next({}, log.origin));
    await own.finishDue(plain);
    expect(await stateOf('a', keys.id('proxy', 1))).toBe('revoked');
    await append(log, await next.next({}, log.origin));
    release();
  });

  test('is registered before it signs, also for a source that said nothing yet', async () => {
    const { logs, own, keys, stateOf } = open();
    await logs.create({ name: 'a' });
    await own.proxyRuns({
      changeSigner: (_, { handOver }) => handOver('log.example/logs/a', 'proxy-1'),
    });
    await own.rotate({ purpose: 'proxy' });
    expect(await stateOf('a', keys.id('proxy', 2))).toBe('good');
    const { log, release } = await logs.lease('a');
    expect(await log.ownerOf('proxy-1')).toBeUndefined();
    const gateway = new Gateway('proxy-1', keys.proxy.newest);
    await append(log, await gateway.next({}, log.origin));
    const { size } = log.head();
    // What is so already is not said again.
    await own.handOver();
    expect(log.head().size).toBe(size);
    release();
  });

  test('is none where no proxy ever ran', async () => {
    const { logs, instance, keys } = open();
    const own = new OwnGateways({
      logs,
      instance,
      clock: keys.clock,
      access: keys.access,
      proxy: async () => undefined,
      ingest: async () => undefined,
      changed: () => {},
      failed: () => {},
    });
    expect(await own.has('proxy')).toBe(false);
    await expect(own.rotate({ purpose: 'proxy' })).rejects.toThrow('no proxy ever ran');
    expect(instance.endingOwnKeys()).toEqual([]);
  });

  test('lets nobody wait for a log that takes its time: the answer says which one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const { own, keys } = open();
    let isSlow = false;
    let end = () => {};
    await own.proxyRuns({
      changeSigner: () => {
        if (!isSlow) return Promise.resolve();
        return new Promise((resolve) => {
          end = resolve;
        });
      },
    });
    isSlow = true;
    const asked = own.rotate({ purpose: 'proxy' });
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await asked).toMatchObject({
      keyid: keys.id('proxy', 2),
      waiting: [{ detail: 'the logs are still being told' }],
    });
    end();
    await own.finishDue(plain);
  });
});
