/** The life of a log: what it admits changes, it ends, it is followed, it is removed. */
import { cpSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseBase64, toBase64 } from '../../server/core/bytes.ts';
import { decodeEntry } from '../../server/core/entry.ts';
import { parseRecord } from '../../server/core/record.ts';
import { leafIndex, type TreeSize, treeSize } from '../../server/core/units.ts';
import { type AuditReport, audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import type { Log } from '../../server/log/log.ts';
import type { Logs } from '../../server/log/logs.ts';
import { SqliteStore } from '../../server/storage/sqlite/log-store.ts';
import { temporaryFolder } from '../temporary.ts';
import { leased, openInstance, openKey, writers } from './instance.ts';
import {
  append,
  checker,
  checkWhole,
  Gateway,
  logOptions,
  startLog,
  submit,
  TestClock,
} from './make.ts';

const DAY_MS = 86_400_000;

async function registered(log: Log): Promise<Gateway> {
  const gateway = new Gateway();
  await log.registerGateway(gateway.signer.publicKey);
  return gateway;
}

async function recordAt(log: Log, index: number) {
  return parseRecord(decodeEntry(await log.entry(leafIndex(index))).payload, log.origin);
}

async function checkAudit(folder: string, name: string, size: TreeSize): Promise<AuditReport> {
  const store = SqliteStore.openReadOnly(join(folder, 'data', 'logs', `${name}.db`));
  try {
    const report = await audit({
      reader: new StoreReader(store),
      known: [],
      checker,
    });
    expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
    expect(report.size).toBe(size);
    return report;
  } finally {
    await store.close();
  }
}

describe('rules', () => {
  test('change from the next entry on, by an entry that says so', async () => {
    const { log, gateway } = await startLog(logOptions({ stateFolder: temporaryFolder() }));
    const plain = await gateway.sign('text/plain', new TextEncoder().encode('a'));
    await expect(log.admit(plain)).rejects.toMatchObject({ code: 'forbidden' });
    const rules = { ...log.rules, payload_types: [...log.rules.payload_types, 'text/plain'] };
    await log.changeRules(rules);
    expect(await recordAt(log, 2)).toMatchObject({ kind: 'policy', policy: { rules } });
    expect(await append(log, plain)).toEqual([3]);
    await log.changeRules(rules);
    expect(log.head().size).toBe(4);
    await checkWhole(log);
  });

  test('are those of the last change after a restart', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder);
    await first.logs.create({ name: 'a', rules: { continuity: 'require' } });
    await first.logs.use('a', (log) =>
      log.changeRules({ ...log.rules, continuity: 'flag', entries_per_second: 7 }),
    );
    await first.logs.close();
    const again = openInstance(folder);
    expect((await leased(again.logs, 'a')).rules).toMatchObject({
      continuity: 'flag',
      entries_per_second: 7,
    });
    await again.logs.close();
  });
});

describe('entries a second', () => {
  test('are taken up to the limit, the rest is pushed back, and time brings room', async () => {
    const clock = new TestClock();
    const options = logOptions({ stateFolder: temporaryFolder(), clock });
    const { log, gateway } = await startLog(options, { entries_per_second: 3 });
    const entries = await gateway.many(5);
    const answers = await submit(log, ...entries);
    expect(answers.slice(0, 3)).toMatchObject([{ index: 2 }, { index: 3 }, { index: 4 }]);
    expect(answers.slice(3)).toMatchObject([{ code: 'pushback' }, { code: 'pushback' }]);
    expect(() => log.checkRoom()).toThrow('the log takes 3 entries a second');
    clock.ms += 400;
    expect(await submit(log, ...entries.slice(3))).toMatchObject([
      { index: 5 },
      { code: 'pushback' },
    ]);
    clock.ms += 10_000;
    log.checkRoom();
    expect(await append(log, entries[4]!)).toEqual([6]);
    // However long it was quiet, a second's worth is all that may come at once.
    expect((await submit(log, ...(await gateway.many(4)))).map((one) => 'index' in one)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test('do not count repeats, refusals, or what the log itself has to say', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const { log, gateway } = await startLog(options, { entries_per_second: 2 });
    const entry = await gateway.next();
    await append(log, entry);
    for (let i = 0; i < 5; i++) expect(await append(log, entry)).toEqual([2]);
    const stranger = new Gateway('gateway-1');
    await log.registerGateway(stranger.signer.publicKey);
    for (let i = 0; i < 5; i++) {
      expect(await submit(log, await stranger.next())).toMatchObject([{ code: 'forbidden' }]);
    }
    for (let i = 0; i < 5; i++) await log.registerGateway(new Gateway().signer.publicKey);
    expect(await append(log, await gateway.next())).toEqual([9]);
    expect(await submit(log, await gateway.next())).toMatchObject([{ code: 'pushback' }]);
  });
});

describe('bytes a day', () => {
  test('are counted by days of UTC, also over a restart, and a clock set back opens no day again', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder);
    await first.logs.create({ name: 'a', rules: { bytes_per_day: 65_535 } });
    const log = await leased(first.logs, 'a');
    const gateway = await registered(log);
    const large = () => gateway.next({ heartbeat: { seq: gateway.seq } }, log.origin);
    let taken = 0;
    for (; taken < 1_000; taken++) {
      const [answer] = await submit(log, await large());
      if (answer !== undefined && !('index' in answer)) {
        expect(answer).toMatchObject({ code: 'pushback', retryAfterS: DAY_MS / 1_000 });
        break;
      }
    }
    expect(taken).toBeGreaterThan(10);
    const stats = await log.stats();
    expect(stats.dayBytes).toBeLessThanOrEqual(65_535);
    expect(stats).toMatchObject({ entries: taken + 2, dayEntries: taken + 2, gateways: 1 });
    await first.logs.close();

    const again = openInstance(folder);
    const reopened = await leased(again.logs, 'a');
    expect(await submit(reopened, await large())).toMatchObject([{ code: 'pushback' }]);
    again.clock.ms -= DAY_MS;
    expect(await submit(reopened, await large())).toMatchObject([{ code: 'pushback' }]);
    again.clock.ms += 2 * DAY_MS;
    expect(await submit(reopened, await large())).toMatchObject([{ index: taken + 2 }]);
    expect(await reopened.stats()).toMatchObject({ dayEntries: 1, entries: taken + 3 });
    await again.logs.close();
    await checkAudit(folder, 'a', treeSize(taken + 3));
  });
});

describe('a log that ends', () => {
  test('takes nothing more, answers repeats, and says so after a restart', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder);
    await first.logs.create({ name: 'a' });
    const log = await leased(first.logs, 'a');
    const gateway = await registered(log);
    const entry = await gateway.next({}, log.origin);
    await append(log, entry);
    const late = await log.admit(await gateway.next({}, log.origin));
    expect(await first.logs.freeze('a', { reason: 'done' })).toEqual({ index: 3, reason: 'done' });
    expect(await recordAt(log, 3)).toMatchObject({ policy: { end: { reason: 'done' } } });
    expect(log.published().size).toBe(4);
    expect(first.logs.listed('a').state).toBe('frozen');

    const check = async (one: Log) => {
      one.checkRoom();
      expect(await submit(one, entry)).toMatchObject([{ index: 2, repeat: true }]);
      expect(await one.submit([{ admitted: late }])).toMatchObject([
        { code: 'frozen', message: expect.stringContaining('ended with entry 3 (done)') },
      ]);
      await expect(one.registerGateway(new Gateway().signer.publicKey)).rejects.toMatchObject({
        code: 'frozen',
      });
      await expect(one.changeRules({ ...one.rules, continuity: 'require' })).rejects.toMatchObject({
        code: 'frozen',
      });
      expect(one.head().size).toBe(4);
    };
    await check(log);
    // The first end holds.
    expect(await first.logs.freeze('a', { reason: 'again' })).toMatchObject({ reason: 'done' });
    await first.logs.close();

    const again = openInstance(folder);
    await check(await leased(again.logs, 'a'));
    await again.logs.close();
    await checkAudit(folder, 'a', treeSize(4));
  });

  test('in the middle of a batch ends it: what comes behind is refused', async () => {
    const { log, gateway } = await startLog(logOptions({ stateFolder: temporaryFolder() }));
    const [before, behind] = await gateway.many(2);
    const [first, second] = [await log.admit(before!), await log.admit(behind!)];
    const [one, end, other] = await Promise.all([
      log.submit([{ admitted: first }]),
      log.finish({}),
      log.submit([{ admitted: second }]),
    ]);
    expect(one).toMatchObject([{ index: 2 }]);
    const place = end.index;
    const [answer] = other;
    if ('index' in answer!) expect(answer.index).toBeLessThan(place);
    else expect(answer).toMatchObject({ code: 'frozen' });
    expect(log.head().size).toBe(place + 1);
  });

  test('is listed as it is also where the row was not written: opening it mends the row', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder);
    await first.logs.create({ name: 'a' });
    await first.logs.use('a', (log) => log.finish({ next: 'log.example/logs/b' }));
    expect(first.logs.listed('a').state).toBe('active');
    await first.logs.close();
    const again = openInstance(folder);
    await again.logs.use('a', () => undefined);
    expect(again.logs.listed('a')).toMatchObject({ state: 'frozen', next: 'log.example/logs/b' });
    await again.logs.close();
  });
});

describe('a log that is retired', () => {
  async function retired(folder: string) {
    const opened = openInstance(folder);
    const { logs } = opened;
    await logs.create({ name: 'a' });
    await logs.create({ name: 'b' });
    const note = { record_id: '0197f1c2-5a3b-7c4d-8e5f-0a1b2c3d4e5f', fields: ['request.body'] };
    await logs.recordAccess('a', { ...note, reason: 'complaint 7', holder: 'auditor' });
    return opened;
  }

  const files = (folder: string) =>
    ['logs', 'keys/logs', 'vault-keys', 'vault'].flatMap((name) => {
      const path = join(folder, 'data', name);
      return existsSync(path) ? readdirSync(path).map((file) => `${name}/${file}`) : [];
    });

  test('is served until the cooling period is over, and then only its row and its access log are left', async () => {
    const folder = temporaryFolder();
    const { logs, clock, warnings } = await retired(folder);
    await expect(logs.retire('a', 'b')).rejects.toMatchObject({ code: 'malformed' });
    expect(logs.listed('a').state).toBe('active');
    await logs.retire('a', 'a');
    expect(logs.listed('a')).toMatchObject({ state: 'retiring', retireMs: clock.ms + 7 * DAY_MS });
    const { checkpoint } = await logs.use('a', (log) => log.published());
    clock.ms += 7 * DAY_MS - 1;
    await logs.removeDue();
    expect((await logs.use('a', (log) => log.head())).size).toBe(2);
    clock.ms += 1;
    await logs.removeDue();
    expect(warnings).toEqual([]);
    await expect(logs.lease('a')).rejects.toMatchObject({ code: 'not_found' });
    expect(files(folder).filter((file) => /\/a(\.db.*)?$/.test(file))).toEqual([]);
    expect(files(folder)).toContain('logs/b.db');
    expect(logs.list().map(({ name }) => name)).toEqual(['_admin', 'b']);
    expect(logs.listAll()[1]).toMatchObject({ name: 'a', state: 'retired', final: checkpoint });
    // Who read its content stays on record (P11).
    expect((await logs.use('a.access', (log) => log.head())).size).toBe(3);
    await expect(logs.create({ name: 'a' })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('was retired'),
    });
    await logs.close();
  });

  test('may be taken back, and stays ended', async () => {
    const { logs, clock } = await retired(temporaryFolder());
    await logs.retire('a', 'a');
    expect(logs.unretire('a')).toMatchObject({ state: 'frozen' });
    expect(() => logs.unretire('a')).toThrow('is not being retired');
    clock.ms += 30 * DAY_MS;
    await logs.removeDue();
    expect((await logs.use('a', (log) => log.end))?.reason).toBe('retired');
    await logs.close();
  });

  test('is not removed while somebody works on it', async () => {
    const { logs, clock, warnings } = await retired(temporaryFolder());
    await logs.retire('a', 'a');
    clock.ms += 8 * DAY_MS;
    const { log, release } = await logs.lease('a');
    await logs.removeDue();
    expect(warnings).toEqual([expect.stringContaining('its removal')]);
    expect(log.head().size).toBe(2);
    release();
    await logs.removeDue();
    expect(logs.list().map(({ name }) => name)).toEqual(['_admin', 'b']);
    await logs.close();
  });

  test('whose removal was cut short is removed by the next start', async () => {
    const folder = temporaryFolder();
    const first = openInstance(folder, {
      coolingMs: 0,
      removeFiles: async () => {
        throw new Error('cut');
      },
    });
    await first.logs.create({ name: 'a' });
    await first.logs.retire('a', 'a');
    await expect(first.logs.removeDue()).rejects.toThrow('cut');
    await first.logs.close();
    expect(files(folder)).toContain('logs/a.db');
    const again = openInstance(folder);
    await again.logs.recover();
    expect(files(folder)).not.toContain('logs/a.db');
    await expect(again.logs.lease('a')).rejects.toMatchObject({ code: 'not_found' });
    await again.logs.close();
  });
});

describe('a log that is followed', () => {
  async function checkSeam(logs: Logs, old: string, next: string): Promise<void> {
    const { head, end } = await logs.use(old, (log) => ({ head: log.head(), end: log.end }));
    const row = logs.listed(next);
    expect(end).toMatchObject({ index: head.size - 1, next: row.origin });
    await logs.use(next, async (log) => {
      expect(await recordAt(log, 0)).toMatchObject({
        genesis: {
          previous: {
            origin: logs.listed(old).origin,
            size: head.size,
            root: toBase64(head.root),
          },
        },
      });
      expect(parseBase64(log.previous?.root ?? '', 'root')).toEqual(new Uint8Array(head.root));
    });
  }

  test('names the next one, whose genesis names its last head, with the same rules and gateways', async () => {
    const folder = temporaryFolder();
    const { logs, clock } = openInstance(folder);
    clock.ms = Date.UTC(2027, 0, 1);
    const rules = { continuity: 'require' as const };
    await logs.create({ name: 'a', visibility: 'public', rules });
    const gateway = await logs.use('a', registered);
    const revoked = await logs.use('a', registered);
    const owner = await logs.use('a', registered);
    await logs.use('a', async (log) => {
      await log.revokeGateway(revoked.signer.publicKey.keyid);
      await log.registerGateway(owner.signer.publicKey, { source: 'bound' });
      await append(log, ...(await Promise.all([gateway.next({}, log.origin)])));
      await append(log, await gateway.next({}, log.origin));
    });
    expect(await logs.roll('a')).toBe('a-2027');
    await checkSeam(logs, 'a', 'a-2027');
    expect(logs.listed('a-2027')).toMatchObject({ visibility: 'public', state: 'active' });
    await logs.use('a-2027', async (log) => {
      expect(log.rules.continuity).toBe('require');
      const keyids = log.keys().map(({ keyid }) => keyid);
      expect(keyids).toEqual([gateway.signer.publicKey.keyid, owner.signer.publicKey.keyid]);
      expect(log.owners()).toEqual([['bound', owner.signer.publicKey.keyid]]);
      // The chain goes on where it was, also where holes are refused.
      const { size } = log.head();
      expect(await append(log, await gateway.next({}, log.origin))).toEqual([size]);
      const skipping = await gateway.make({ seq: 9, prev: null }, {}, log.origin);
      expect(await submit(log, skipping)).toMatchObject([{ code: 'conflict' }]);
      expect(await append(log, await gateway.next({}, log.origin))).toEqual([size + 1]);
      const source = (await log.sources()).find(({ id }) => id === 'gateway-1');
      expect(source).toMatchObject({ begin: 2, next: 4, holes: [], forks: 0 });
    });
    await expect(logs.roll('a')).rejects.toMatchObject({ code: 'frozen' });
    expect(await logs.roll('a-2027')).toBe('a-2027-01');
    await checkSeam(logs, 'a-2027', 'a-2027-01');
    const size = await logs.use('a-2027', (log) => log.head().size);
    await logs.close();
    const { findings } = await checkAudit(folder, 'a-2027', size);
    expect(findings.filter(({ what }) => what.includes('not in the log'))).toEqual([]);
  });

  test('is not ended where the next one cannot be begun', async () => {
    const { logs } = openInstance(temporaryFolder());
    await logs.create({ name: 'a' });
    await logs.create({ name: 'b' });
    await expect(logs.roll('a', 'b')).rejects.toMatchObject({ code: 'conflict' });
    await expect(logs.roll('a', 'B')).rejects.toMatchObject({ code: 'malformed' });
    await expect(logs.roll('c', 'd')).rejects.toMatchObject({ code: 'not_found' });
    expect(await logs.use('a', (log) => log.end)).toBeUndefined();
    await logs.close();
  });

  test('cut short at any step is completed by the next start', async () => {
    const prepared = temporaryFolder();
    const before = openInstance(prepared);
    await before.logs.create({ name: 'a' });
    const { signer } = await before.logs.use('a', registered);
    await before.logs.close();
    let steps = 1;
    for (let at = 0; at < steps && at < 80; at++) {
      const folder = temporaryFolder();
      cpSync(prepared, folder, { recursive: true });
      let step = 0;
      const cut = <T>(work: () => Promise<T>): Promise<T> =>
        step++ === at ? Promise.reject(new Error('cut')) : work();
      const { logs } = openInstance(folder, {
        openStore: (path) =>
          cut(async () => {
            const store = await SqliteStore.open(path, writers);
            return new Proxy(store, {
              get(target, name) {
                const value: unknown = Reflect.get(target, name, target);
                if (typeof value !== 'function') return value;
                const method = value.bind(target) as (...args: unknown[]) => Promise<unknown>;
                if (name !== 'commit') return method;
                return (...args: unknown[]) =>
                  cut(() => method(...args)).then(() => cut(async () => {}));
              },
            });
          }),
        openKey: (path, alg) => cut(() => openKey(path, alg)).then((key) => cut(async () => key)),
        fatal: () => {},
      });
      const failed = await logs.roll('a', 'b').then(
        () => false,
        () => true,
      );
      if (failed) steps = at + 2;
      await logs.close();

      const again = openInstance(folder);
      await again.logs.recover();
      expect(again.warnings).toEqual([]);
      const begun = again.logs.listAll().some(({ name }) => name === 'b');
      if (!begun) {
        // Nothing of it was on disk: the old log goes on as if nobody had asked.
        await again.logs.roll('a', 'b');
      }
      await checkSeam(again.logs, 'a', 'b');
      await again.logs.use('b', async (log) => {
        const gateway = new Gateway('gateway-1', signer);
        expect(await append(log, await gateway.next({}, log.origin))).toEqual([2]);
        await checkWhole(log);
      });
      await again.logs.close();
    }
    expect(steps).toBeGreaterThan(12);
    expect(steps).toBeLessThan(80);
  });
});
