/** A window has one signature, however many entries come under it, and in whatever order: it is checked once. */
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { signWindow } from '../../server/client/sign.ts';
import { decodeEntry, type Entry, encodeEntry } from '../../server/core/entry.ts';
import type { SignatureChecker } from '../../server/log/admit.ts';
import { temporaryFolder } from '../temporary.ts';
import { append, checker, Gateway, logOptions, startLog } from './make.ts';

/** Checks, and counts what it was asked. */
class Counting implements SignatureChecker {
  asked = 0;

  check(jobs: Parameters<SignatureChecker['check']>[0]) {
    this.asked += jobs.length;
    return checker.check(jobs);
  }
}

async function start() {
  const counting = new Counting();
  const options = logOptions({ stateFolder: temporaryFolder(), checker: counting });
  const { log, gateway } = await startLog(options);
  /** Records of a source of its own, under one signature. */
  const window = async (size: number, signer = gateway.signer) => {
    const source = new Gateway(`source-${randomBytes(4).toString('hex')}`, signer);
    const records = await source.many(size);
    return (await signWindow(signer, log.origin, records)).map((bytes) => decodeEntry(bytes));
  };
  const asked = async (work: () => Promise<unknown>) => {
    const before = counting.asked;
    await work();
    return counting.asked - before;
  };
  return { log, gateway, window, asked };
}

test('all at once, one after the other, or again', async () => {
  const { log, window, asked } = await start();
  const entries = await window(200);
  expect(await asked(() => append(log, ...entries.slice(0, 100)))).toBe(1);
  expect(
    await asked(async () => {
      for (const entry of entries.slice(100)) await append(log, entry);
    }),
  ).toBe(0);
  expect(await asked(() => append(log, ...entries))).toBe(0);
  expect(await asked(async () => append(log, ...(await window(10)), ...(await window(10))))).toBe(
    2,
  );
});

test('and what is not under it is', async () => {
  const { log, gateway, window, asked } = await start();
  const [first, second] = (await window(2)) as [Entry, Entry];
  await append(log, first);
  const [signature] = second.signatures;
  if (signature?.window === undefined) throw new Error('it has a window');
  const spoiled = (how: Partial<typeof signature>) =>
    decodeEntry(encodeEntry({ ...second, signatures: [{ ...signature, ...how }] }));
  const other = new Uint8Array(signature.sig);
  other[0] = (other[0] ?? 0) ^ 1;
  const [stranger] = (await window(1)) as [Entry];
  const bad: Record<string, Entry> = {
    'another signature': spoiled({ sig: other }),
    'another place': spoiled({ window: { ...signature.window, index: 0 } }),
    'another path': spoiled({
      window: { ...signature.window, hashes: [new Uint8Array(32) as never] },
    }),
    'the signature of another window': spoiled({ sig: stranger.signatures[0]?.sig ?? other }),
  };
  for (const [how, entry] of Object.entries(bad)) {
    // What was refused is not remembered as good, nor as bad.
    for (const _ of [1, 2]) {
      expect(
        await asked(() =>
          expect(log.admit(entry), how).rejects.toMatchObject({ code: 'unverified' }),
        ),
        how,
      ).toBe(1);
    }
  }
  expect(await asked(() => append(log, second))).toBe(0);
  // The key is looked at each time: one that was revoked signs nothing more, known window or not.
  const later = await window(2);
  await append(log, later[0] as Entry);
  await log.revokeGateway(gateway.signer.publicKey.keyid);
  await expect(log.admit(later[1] as Entry)).rejects.toMatchObject({ code: 'forbidden' });
});
