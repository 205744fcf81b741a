/** Keys that come and go: what was admitted under each registration verifies for good (P5). */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parseTrust } from '../../server/core/trust.ts';
import type { LeafIndex } from '../../server/core/units.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import { Log } from '../../server/log/log.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { temporaryFolder } from '../temporary.ts';
import {
  append,
  createLog,
  Gateway,
  logOptions,
  makeSigner,
  startLog,
  submit,
  TestClock,
  TestKeys,
} from './make.ts';

async function checkAll(log: Log): Promise<void> {
  const { identity } = log.verifierKeys();
  const logs = [{ origin: log.origin, keys: [{ vkey: identity.text }] }];
  const trust = parseTrust(utf8(JSON.stringify({ format: 'stele.trust/1', logs })));
  for (let index = 0; index < log.head().size; index++) {
    const { holds, steps } = verifyReceipt(await log.receipt(index as LeafIndex), trust);
    expect({ index, holds, wrong: steps.filter(({ status }) => status === 'invalid') }).toEqual({
      index,
      holds: true,
      wrong: [],
    });
  }
}

describe('a gateway key', () => {
  test('that was revoked and registered again leaves every receipt good', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const { log, gateway } = await startLog(options);
    const key = gateway.signer.publicKey;
    for (let round = 0; round < 3; round++) {
      await append(log, await gateway.next(), await gateway.next());
      await log.revokeGateway(key.keyid);
      await log.registerGateway(key);
    }
    await append(log, await gateway.next());
    await checkAll(log);
    await checkAll(await Log.open(options));
  });

  test('that two registrations ask for at once is registered once', async () => {
    const { log } = await startLog(logOptions({ stateFolder: temporaryFolder() }));
    const { publicKey } = new Gateway('other').signer;
    const places = await Promise.all([
      log.registerGateway(publicKey),
      log.registerGateway(publicKey),
    ]);
    expect(places).toEqual([2, 2]);
    const ends = await Promise.all([
      log.revokeGateway(publicKey.keyid),
      log.revokeGateway(publicKey.keyid),
    ]);
    expect(ends).toEqual([3, 3]);
    expect(log.head().size).toBe(4);
  });

  test('is none of the log’s own: each of those has one purpose', async () => {
    const keys = new TestKeys();
    const operator = makeSigner();
    const options = logOptions({ stateFolder: temporaryFolder(), keys, operator });
    const { log } = await startLog(options);
    for (const { publicKey } of [
      operator,
      keys.key('identity'),
      keys.key('anchor'),
      keys.key('sth'),
    ]) {
      await expect(log.registerGateway(publicKey)).rejects.toMatchObject({ code: 'forbidden' });
    }
    await log.registerGateway(makeSigner().publicKey);
    await checkAll(log);
  });

  test('is never given a source of the log’s own, which would lock the log out of it', async () => {
    const { log } = await startLog(logOptions({ stateFolder: temporaryFolder() }));
    const { publicKey } = new Gateway('other').signer;
    await expect(log.registerGateway(publicKey, { source: '_log' })).rejects.toMatchObject({
      code: 'forbidden',
    });
    expect(await log.registerGateway(publicKey)).toBe(2);
  });
});

describe('a period', () => {
  const noon = Date.UTC(2026, 0, 1, 12);
  const HOUR = 3_600_000;

  async function withPeriod(period: { notBeforeMs?: number; notAfterMs?: number }) {
    const clock = new TestClock(noon);
    const options = logOptions({ stateFolder: temporaryFolder(), clock });
    const log = await createLog(options);
    const gateway = new Gateway();
    await log.registerGateway(gateway.signer.publicKey, period);
    return { log, gateway, clock, options };
  }

  test('admits from its first to its last millisecond, and says both times else', async () => {
    const period = { notBeforeMs: noon + HOUR, notAfterMs: noon + 2 * HOUR };
    const { log, gateway, clock, options } = await withPeriod(period);
    const { keyid } = gateway.signer.publicKey;
    const refused = {
      code: 'forbidden',
      message: expect.stringMatching(
        `key ${keyid} is registered for 2026-01-01T13:00:00.000000Z to 2026-01-01T14:00:00.000000Z, and it is 20[0-9]{2}-`,
      ),
    };
    await expect(log.admit(await gateway.next())).rejects.toMatchObject(refused);
    clock.ms = noon + HOUR - 1;
    await expect(log.admit(await gateway.next())).rejects.toMatchObject(refused);
    const good = new Gateway('good', gateway.signer);
    for (const ms of [noon + HOUR, noon + 2 * HOUR]) {
      clock.ms = ms;
      await append(log, await good.next());
    }
    clock.ms = noon + 2 * HOUR + 1;
    await expect(log.admit(await good.next())).rejects.toMatchObject(refused);
    // What was admitted is good for ever, and whoever reads the log asks no clock.
    clock.ms = noon + 10_000 * HOUR;
    await checkAll(log);
    const again = await Log.open(options);
    await checkAll(again);
    await expect(again.admit(await good.next())).rejects.toMatchObject(refused);
  });

  test('may have one end only', async () => {
    const from = await withPeriod({ notBeforeMs: noon + HOUR });
    await expect(from.log.admit(await from.gateway.next())).rejects.toThrow(
      'for 2026-01-01T13:00:00.000000Z to no end',
    );
    const to = await withPeriod({ notAfterMs: noon });
    await append(to.log, await to.gateway.next());
    to.clock.ms++;
    await expect(to.log.admit(await to.gateway.next())).rejects.toThrow(
      'for the beginning to 2026-01-01T12:00:00.000000Z',
    );
  });

  test('is renewed by another registration, which is asked for once', async () => {
    const { log, gateway, clock } = await withPeriod({ notAfterMs: noon + HOUR });
    const key = gateway.signer.publicKey;
    await append(log, await gateway.next());
    clock.ms = noon + 2 * HOUR;
    const renewed = { notAfterMs: noon + 9 * HOUR };
    expect(await log.registerGateway(key, renewed)).toBe(3);
    expect(await log.registerGateway(key, renewed)).toBe(3);
    // Without a period nothing is asked for that is not there.
    expect(await log.registerGateway(key)).toBe(3);
    await append(log, await gateway.next());
    await checkAll(log);
  });

  test('that is over, or ends before it begins, is not registered', async () => {
    const { log } = await withPeriod({});
    const { publicKey } = new Gateway('late').signer;
    const { size } = log.head();
    for (const [period, reason] of [
      [{ notAfterMs: noon - 1 }, 'is past'],
      [{ notBeforeMs: noon + HOUR, notAfterMs: noon }, 'is before'],
    ] as const) {
      await expect(log.registerGateway(publicKey, period)).rejects.toMatchObject({
        code: 'malformed',
        message: expect.stringContaining(reason),
      });
    }
    expect(log.head().size).toBe(size);
  });
});

describe('a source that is handed over', () => {
  test('goes on with its chain under the new key, and no more under the old one', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const { log, gateway } = await startLog(options, { continuity: 'require' });
    const said = await gateway.next();
    const [place] = await append(log, said, await gateway.next());
    const next = new Gateway(gateway.source);
    // Both are registered at once, which is the overlap.
    await log.registerGateway(next.signer.publicKey);
    await append(log, await gateway.next());
    await expect(submit(log, await next.next())).resolves.toMatchObject([{ code: 'forbidden' }]);
    const handed = await log.registerGateway(next.signer.publicKey, { source: gateway.source });
    expect(await log.registerGateway(next.signer.publicKey, { source: gateway.source })).toBe(4);
    expect(handed).toBe(6);
    // The chain goes on where it was: number and hash are those after the old key's last record.
    Object.assign(next, { seq: gateway.seq, prev: gateway.prev });
    await append(log, await next.next());
    const late = await gateway.make({ seq: next.seq, prev: next.prev });
    const [refused] = await submit(log, late);
    expect(refused).toMatchObject({ code: 'forbidden' });
    expect((refused as Error).message).toContain(`belongs to key ${next.signer.publicKey.keyid}`);
    // What the old key said before, it may still ask for (P3); and it signs for sources of its own.
    await expect(submit(log, said)).resolves.toMatchObject([{ index: place, repeat: true }]);
    await append(log, await new Gateway('elsewhere', gateway.signer).next());
    await checkAll(log);
    await checkAll(await Log.open(options));
  });

  test('leaves what a revoked key signed good, in receipts and for an audit', async () => {
    const options = logOptions({ stateFolder: temporaryFolder() });
    const { log, gateway } = await startLog(options);
    await append(log, await gateway.next(), await gateway.next());
    const next = new Gateway(gateway.source);
    await log.registerGateway(next.signer.publicKey, { source: gateway.source });
    await log.revokeGateway(gateway.signer.publicKey.keyid);
    Object.assign(next, { seq: gateway.seq, prev: gateway.prev });
    await append(log, await next.next());
    await checkAll(log);
    const report = await audit({
      reader: new StoreReader(options.store),
      known: [],
      checker: options.checker,
    });
    expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
    expect(report.counts.signatures).toBe(log.head().size);
  });
});
