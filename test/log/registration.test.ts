/** Keys that come and go: what was admitted under each registration verifies for good (P5). */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parseTrust } from '../../server/core/trust.ts';
import type { LeafIndex } from '../../server/core/units.ts';
import { Log } from '../../server/log/log.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, Gateway, logOptions, makeSigner, startLog } from './make.ts';

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
    const keys = { identity: makeSigner(), anchor: makeSigner('ecdsa-p256') };
    const operator = makeSigner();
    const options = logOptions({ stateFolder: temporaryFolder(), keys, operator });
    const { log } = await startLog(options);
    for (const { publicKey } of [operator, keys.identity, keys.anchor]) {
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
