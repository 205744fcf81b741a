/**
 * A log ends while its keys change: whichever of them somebody knows leads over the seam, both logs are whole,
 * and nobody waits for the end of a key that nothing can end any more.
 */
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import type { TrustedKey } from '../../server/core/trust.ts';
import { leafIndex } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import { seamOf } from '../../server/log/goes-on.ts';
import { KeyChanges } from '../../server/log/key-changes.ts';
import type { Log } from '../../server/log/log.ts';
import { OwnGateways } from '../../server/log/own-gateways.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { openSeam } from '../../server/verify/seam.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { TestGatewayKeys } from '../gateway-keys.ts';
import { temporaryFolder } from '../temporary.ts';
import { openInstance } from './instance.ts';
import { append, checker, Gateway, makeSigner, TestClock } from './make.ts';

const DAY_MS = 86_400_000;
const check = checkSignatureNative;

function open() {
  const clock = new TestClock();
  const access = new TestGatewayKeys(makeSigner);
  const stores = new Map<string, MemoryStore>();
  const storeOf = (path: string) => {
    const store = stores.get(path) ?? new MemoryStore();
    stores.set(path, store);
    return store;
  };
  const folder = temporaryFolder();
  const openStore = async (path: string) => storeOf(path);
  const opened = openInstance(folder, { clock, access, openStore });
  const { logs, instance } = opened;
  const changes = new KeyChanges({
    ...{ logs, instance, clock, changed: () => {} },
    identityOverlapMs: 30 * DAY_MS,
  });
  const own = new OwnGateways({
    ...{ logs, instance, clock, access, changed: () => {}, failed: () => {} },
    proxy: async () => undefined,
    ingest: async () => undefined,
  });
  const reader = (name: string) =>
    new StoreReader(storeOf(join(folder, 'data', 'logs', `${name}.db`)));
  const finished: object[] = [];
  const failures: string[] = [];
  const finishDue = () =>
    changes.finishDue({
      recorded: (log, details, work) => {
        finished.push({ log, ...details });
        return work();
      },
      failed: (log, error) => failures.push(`${log}: ${error.message}`),
    });
  return { ...opened, reader, clock, access, changes, own, finished, failures, finishDue };
}

/** The identity keys that a reader knows who asked at this moment. */
const identities = (log: Log): readonly TrustedKey[] =>
  log
    .ownKeys()
    .filter(({ purpose }) => purpose === 'identity')
    .map(({ key, ended }) => (ended === undefined ? { key } : { key, untilSize: ended.lastSize }));

/** Nothing is wrong with a log, as an audit sees it by keys that are known from elsewhere. */
async function checkWhole(reader: StoreReader, keys?: readonly TrustedKey[]) {
  const report = await audit({ reader, known: [], keys, checker });
  expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
}

describe('a log that ends while two identity keys sign', () => {
  async function rolled() {
    const opened = open();
    const { logs, changes } = opened;
    await logs.create({ name: 'a', rules: { payload_types: ['text/plain'] } });
    const before = await logs.use('a', identities);
    const gateway = new Gateway();
    const entry = (text: string) => gateway.sign('text/plain', utf8(text));
    await logs.use('a', async (log) => {
      await log.registerGateway(gateway.signer.publicKey);
      await append(log, await entry('before'));
    });
    await changes.rotate('a', { purpose: 'identity', finish: true });
    await logs.use('a', async (log) => append(log, await entry('during')));
    await logs.roll('a', 'b');
    await logs.use('b', async (log) => append(log, await entry('behind')));
    const during = await logs.use('a', identities);
    return { ...opened, before, during, entry };
  }

  test('leads whoever knows either of them to the next', async () => {
    const { logs, before, during, reader, changes } = await rolled();
    const [old, next] = during;
    if (old === undefined || next === undefined) throw new Error('two keys sign');
    const origin = 'log.example/logs/a';
    const readers = { before, during, 'the new one alone': [next], 'the old one alone': [old] };
    const follow = async () => {
      const { last, genesis } = await seamOf(logs, 'a', 'b');
      for (const [who, keys] of Object.entries(readers)) {
        const trust = { logs: [{ origin, keys, gateways: [] }] };
        const { next: learned } = openSeam(last, genesis, trust, check);
        expect(learned.origin, who).toBe('log.example/logs/b');
        const { size } = await logs.use('a', (log) => log.head());
        for (let i = 0; i < size; i++) {
          const receipt = await logs.use('a', (log) => log.receipt(leafIndex(i)));
          expect(verifyReceipt(receipt, trust, { check }).holds, `${who}, entry ${i}`).toBe(true);
        }
        const behind = await logs.use('b', (log) => log.receipt(leafIndex(2)));
        const after = { logs: [...trust.logs, learned] };
        if (!isChanged) expect(verifyReceipt(behind, after, { check }).holds, who).toBe(true);
      }
    };
    let isChanged = false;
    await follow();
    // Also once the next log has another key, and when it has ended in its turn.
    await changes.rotate('b', { purpose: 'identity', compromised: true });
    isChanged = true;
    await follow();
    await logs.roll('b', 'c');
    await follow();
    const b = await logs.use('b', identities);
    await logs.close();
    for (const keys of Object.values(readers)) await checkWhole(reader('a'), keys);
    await checkWhole(reader('b'), b);
    await checkWhole(reader('c'));
  });

  test('is not asked for the end of the old one any more', async () => {
    const { instance, clock, finishDue, finished, failures, logs, changes } = await rolled();
    expect(instance.endingKeys()).toHaveLength(1);
    clock.ms += 31 * DAY_MS;
    await finishDue();
    expect(instance.endingKeys()).toEqual([]);
    expect([finished, failures]).toEqual([[], []]);
    for (const compromised of [false, true]) {
      await expect(changes.retire('a', { purpose: 'identity', compromised })).rejects.toMatchObject(
        { code: 'frozen' },
      );
      await expect(changes.rotate('a', { purpose: 'anchor', compromised })).rejects.toMatchObject({
        code: 'frozen',
      });
    }
    expect(instance.endingKeys()).toEqual([]);
    expect(await logs.use('a', (log) => log.stopped)).toBeUndefined();
  });

  test('gives back what it took before, under a head that either signs', async () => {
    const { logs, entry, during } = await rolled();
    const again = await entry('before');
    await logs.use('a', async (log) => {
      const [index] = await append(log, again);
      const receipt = await log.receipt(leafIndex(index ?? 0));
      for (const key of during) {
        const trust = { logs: [{ origin: log.origin, keys: [key], gateways: [] }] };
        expect(verifyReceipt(receipt, trust, { check }).holds).toBe(true);
      }
    });
  });
});

describe('whatever comes first', () => {
  const changesOf = {
    'an identity key is announced': ({ changes }: ReturnType<typeof open>) =>
      changes.rotate('a', { purpose: 'identity' }),
    'an identity key is replaced at once': ({ changes }: ReturnType<typeof open>) =>
      changes.rotate('a', { purpose: 'identity', compromised: true }),
    'an anchor key is announced': ({ changes }: ReturnType<typeof open>) =>
      changes.rotate('a', { purpose: 'anchor' }),
    'the key of access records is another': ({ own }: ReturnType<typeof open>) =>
      own.rotate({ purpose: 'access' }),
    'the key of access records is replaced at once': ({ own }: ReturnType<typeof open>) =>
      own.rotate({ purpose: 'access', compromised: true }),
  };

  test.each(Object.entries(changesOf))(
    '%s while the log rolls over: both logs are whole',
    async (_, change) => {
      // The two meet at another step each time.
      for (const turns of [0, 4, 16]) {
        const opened = open();
        const { logs, reader } = opened;
        await logs.create({ name: 'a' });
        const read = (name: string) =>
          logs.recordAccess(name, {
            record_id: '01890a5d-ac96-774b-bcce-b302099a8057',
            ...{ fields: ['request.body'], reason: 'a question', holder: 'somebody' },
          });
        await read('a');
        const roll = logs.roll('a', 'b');
        for (let i = 0; i < turns; i++) await turn();
        const changed = await Promise.allSettled([change(opened)]);
        await roll;
        for (const one of changed) {
          // Too late is the only reason.
          if (one.status === 'rejected') expect(one.reason).toMatchObject({ code: 'frozen' });
        }
        for (const name of ['a', 'b']) await read(name);
        const { last, genesis } = await seamOf(logs, 'a', 'b');
        const keys = await logs.use('a', identities);
        const trust = { logs: [{ origin: 'log.example/logs/a', keys, gateways: [] }] };
        expect(openSeam(last, genesis, trust, check).next.origin).toBe('log.example/logs/b');
        const b = await logs.use('b', identities);
        await logs.close();
        await checkWhole(reader('a'), keys);
        await checkWhole(reader('b'), b);
        for (const name of ['a.access', 'b.access']) await checkWhole(reader(name));
      }
    },
  );
});
