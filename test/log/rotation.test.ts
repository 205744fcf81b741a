/** A log changes its own keys: every head has the lines that its own records say, whatever was cut short. */
import { describe, expect, test } from 'vitest';
import { decodeEntry } from '../../server/core/entry.ts';
import type { LogKeyPurpose } from '../../server/core/log-key.ts';
import { parseNote } from '../../server/core/note.ts';
import { parseRecord } from '../../server/core/record.ts';
import type { Trust } from '../../server/core/trust.ts';
import { type LeafIndex, treeSize } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import type { StagedContent } from '../../server/log/append.ts';
import { audit } from '../../server/log/audit/audit.ts';
import { StoreReader } from '../../server/log/audit/store-reader.ts';
import { Log, type LogOptions } from '../../server/log/log.ts';
import { OVERLAP_MS_MIN } from '../../server/log/rotation.ts';
import { MemoryStore } from '../../server/storage/memory.ts';
import { verifyReceipt } from '../../server/verify/verify.ts';
import { temporaryFolder } from '../temporary.ts';
import { Faults, faulty, type Moment } from './fail.ts';
import {
  append,
  checker,
  Gateway,
  logOptions,
  startLog,
  submit,
  TestClock,
  TestKeys,
  wrappedKeys,
} from './make.ts';
import { TestSigner, withSigner } from './test-signer.ts';

const OVERLAP = OVERLAP_MS_MIN.identity;

function world(more: Partial<LogOptions<StagedContent>> = {}) {
  const clock = new TestClock();
  const keys = new TestKeys();
  const options = logOptions({ stateFolder: temporaryFolder(), clock, keys, ...more });
  return { clock, keys, options };
}

/** The key IDs on the lines of a note, with the log's name. */
function linesOf(checkpoint: string): string[] {
  return parseNote(new TextEncoder().encode(checkpoint)).signatures.map(({ keyId }) => keyId);
}

/** The IDs that the log itself says a head has. */
function dueAt(log: Log, size: number, purpose: LogKeyPurpose = 'identity'): string[] {
  return log
    .ownKeys()
    .filter(
      (key) =>
        key.purpose === purpose &&
        key.announced < size &&
        size <= (key.ended?.lastSize ?? Number.POSITIVE_INFINITY),
    )
    .map(({ key }) => key.keyId);
}

/** What the log's own records make of a trust file. */
function trustOf(log: Log): Trust {
  const keys = log
    .ownKeys()
    .map(({ key, ended }) => (ended === undefined ? { key } : { key, untilSize: ended.lastSize }));
  return { logs: [{ origin: log.origin, keys, gateways: [] }] };
}

/** The newest head has its lines, every receipt holds for who knows all keys, and an audit finds nothing. */
async function checkAll(log: Log, { store }: LogOptions<StagedContent>): Promise<void> {
  const head = log.head();
  expect(linesOf(head.checkpoint).sort()).toEqual(dueAt(log, head.size).sort());
  const trust = trustOf(log);
  for (let index = 0; index < head.size; index++) {
    const receipt = await log.receipt(index as LeafIndex, { head });
    const { holds, steps } = verifyReceipt(receipt, trust, { check: checkSignatureNative });
    expect({ index, holds, steps: steps.filter(({ status }) => status === 'invalid') }).toEqual({
      index,
      holds: true,
      steps: [],
    });
  }
  const { origin, size, root } = { origin: log.origin, ...head };
  const known = [{ from: 'here', origin, size, root }];
  for (const keys of [undefined, trust.logs[0]?.keys]) {
    const report = await audit({ reader: new StoreReader(store), known, checker, keys });
    expect(report.findings.filter(({ severity }) => severity === 'fail')).toEqual([]);
    expect(report.holds).toBe(true);
  }
}

describe('an identity key', () => {
  test('is followed by another: old heads, then both, then the new one', async () => {
    const { options, clock, keys } = world();
    const { log, gateway } = await startLog(options);
    const seen: number[] = [];
    const look = async () => {
      seen.push(linesOf(log.head().checkpoint).length);
      await checkAll(log, options);
    };
    await append(log, await gateway.next());
    await look();
    const announced = await log.rotateKey('identity');
    expect(announced).toMatchObject({ announced: 3, purpose: 'identity' });
    expect(announced.publicKey.keyid).toBe(keys.key('identity', 2).publicKey.keyid);
    // The head that integrates the announcement has both lines already.
    await look();
    await append(log, await gateway.next());
    await look();
    clock.ms += OVERLAP;
    const ended = await log.retireKey('identity', { overlapMs: OVERLAP });
    expect(ended.ended).toEqual({ index: 5, lastSize: 6 });
    // As is the head that integrates the end the last one with both.
    expect(log.head().size).toBe(6);
    await look();
    await append(log, await gateway.next());
    await look();
    expect(seen).toEqual([1, 2, 2, 2, 1]);
    expect(linesOf(log.head().checkpoint)).toEqual([announced.key.keyId]);
    expect(log.verifierKeys().identity).toEqual(announced.key);
    const record = parseRecord(decodeEntry(await log.entry(5 as LeafIndex)).payload);
    expect(record).toMatchObject({
      kind: 'key',
      key: { action: 'revoke', purpose: 'identity', last_size: 6 },
    });
  });

  test('signs on after a restart in every phase, and the log says itself which keys do', async () => {
    const { options, clock } = world();
    const first = await startLog(options);
    let { log } = first;
    const steps: ((log: Log) => Promise<unknown>)[] = [
      (now) => now.rotateKey('identity'),
      async (now) => append(now, await first.gateway.next()),
      (now) => {
        clock.ms += OVERLAP;
        return now.retireKey('identity', { overlapMs: OVERLAP });
      },
      async (now) => append(now, await first.gateway.next()),
      (now) => now.rotateKey('identity'),
      async (now) => append(now, await first.gateway.next()),
    ];
    for (const step of steps) {
      await step(log);
      await log.close();
      log = await Log.open(options);
      await checkAll(log, options);
      await append(log, await first.gateway.next());
      await checkAll(log, options);
    }
    expect(log.ownKeys().filter(({ purpose }) => purpose === 'identity')).toHaveLength(3);
  });

  test('ends at the size of the head that integrates its end, whatever else is under way', async () => {
    const { options, clock } = world();
    const { log, gateway } = await startLog(options);
    await log.rotateKey('identity');
    clock.ms += OVERLAP;
    const crowd = await gateway.many(40);
    const [answers, ended] = await Promise.all([
      Promise.all(crowd.map(async (entry) => submit(log, entry))),
      log.retireKey('identity', { overlapMs: OVERLAP }),
    ]);
    expect(answers.flat().every((answer) => !(answer instanceof Error))).toBe(true);
    const { index, lastSize } = ended.ended ?? { index: -1, lastSize: -1 };
    expect(lastSize).toBe(index + 1);
    for (const answer of answers.flat()) {
      if (answer instanceof Error) continue;
      const { checkpoint, size } = answer.head;
      expect(linesOf(checkpoint).length, `size ${size}`).toBe(size <= lastSize ? 2 : 1);
    }
    await checkAll(log, options);
  });

  test('is not followed twice at once, nor ended without or before its time', async () => {
    const { options, clock } = world();
    const { log } = await startLog(options);
    await expect(log.retireKey('identity', { overlapMs: OVERLAP })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('has no identity key but'),
    });
    const [one, two] = await Promise.allSettled([
      log.rotateKey('identity'),
      log.rotateKey('identity'),
    ]);
    expect([one.status, two.status]).toEqual(['fulfilled', 'rejected']);
    expect((two as PromiseRejectedResult).reason).toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('changes its identity key already'),
    });
    clock.ms += OVERLAP - 1;
    await expect(log.retireKey('identity', { overlapMs: OVERLAP })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('signs until 2026-01-31T00:00:00.000000Z'),
    });
    clock.ms += 1;
    const { size } = log.head();
    const [a, b] = await Promise.all([
      log.retireKey('identity', { overlapMs: OVERLAP }),
      log.retireKey('identity', { overlapMs: OVERLAP }).catch((error: unknown) => error),
    ]);
    expect(a.ended?.index).toBe(size);
    // The second one asked for the oldest of one key, which nothing follows.
    expect(b).toMatchObject({ code: 'conflict' });
    // By its name, it is ended once.
    const { keyid } = a.publicKey;
    expect(await log.retireKey('identity', { keyid, overlapMs: OVERLAP })).toEqual(a);
    expect(log.head().size).toBe(size + 1);
    await checkAll(log, options);
  });

  test('that others may have ends at once; and so may the one that followed it', async () => {
    const { options } = world();
    const { log, gateway } = await startLog(options);
    const old = log.verifierKeys().identity;
    const next = await log.rotateKey('identity', { compromised: true });
    // While both sign the second is lost as well: a third follows, and both end.
    const third = await log.rotateKey('identity', { compromised: true });
    expect(linesOf(log.head().checkpoint)).toHaveLength(3);
    for (const { keyid } of [next.publicKey, log.ownKeys()[0]!.publicKey]) {
      await log.retireKey('identity', { keyid, overlapMs: OVERLAP, compromised: true });
    }
    await append(log, await gateway.next());
    expect(linesOf(log.head().checkpoint)).toEqual([third.key.keyId]);
    expect(log.ownKeys()[0]?.key).toEqual(old);
    await checkAll(log, options);
    await checkAll(await Log.open(options), options);
  });

  test('of a stranger, or of another purpose, does not end', async () => {
    const { options } = world();
    const { log } = await startLog(options);
    const { keyid } = log.ownKeys().find(({ purpose }) => purpose === 'anchor')!.publicKey;
    for (const one of ['0'.repeat(64), keyid]) {
      await expect(
        log.retireKey('identity', { keyid: one, overlapMs: 0, compromised: true }),
      ).rejects.toMatchObject({ code: 'not_found' });
    }
  });

  test('is never a gateway’s, nor a gateway’s key the log’s', async () => {
    const { options, keys } = world();
    const { log, gateway } = await startLog(options);
    const next = await log.rotateKey('identity');
    await expect(log.registerGateway(next.publicKey)).rejects.toMatchObject({ code: 'forbidden' });
    keys.made.set('anchor 2', gateway.signer);
    keys.made.set('identity 3', gateway.signer);
    const { size } = log.head();
    await expect(log.rotateKey('identity', { compromised: true })).rejects.toMatchObject({
      code: 'unverified',
      message: expect.stringContaining("is the log's gateway key"),
    });
    expect(log.head().size).toBe(size);
    await checkAll(log, options);
  });
});

describe('an anchor key', () => {
  test('is followed by another: published heads have the lines of both for a while', async () => {
    const { options, clock } = world();
    const first = await startLog(options);
    const identity = first.log.verifierKeys().identity.keyId;
    /** Closing publishes what is newest; opened again, it is held to the keys of its size. */
    const published = async (log: Log) => {
      await append(log, await first.gateway.next());
      await log.close();
      const { checkpoint, size } = log.published();
      expect(size).toBe(log.head().size);
      expect(linesOf(checkpoint)).toEqual([identity, ...dueAt(log, size, 'anchor')]);
      const again = await Log.open(options);
      expect(again.published().checkpoint).toBe(checkpoint);
      await checkAll(again, options);
      return { log: again, lines: linesOf(checkpoint).length - 1 };
    };
    const before = await published(first.log);
    await before.log.rotateKey('anchor');
    const during = await published(before.log);
    const early = during.log.retireKey('anchor', { overlapMs: OVERLAP_MS_MIN.anchor });
    await expect(early).rejects.toMatchObject({ code: 'conflict' });
    clock.ms += OVERLAP_MS_MIN.anchor;
    await during.log.retireKey('anchor', { overlapMs: OVERLAP_MS_MIN.anchor });
    const after = await published(during.log);
    expect([before, during, after].map(({ lines }) => lines)).toEqual([1, 2, 1]);
  });

  test('and an identity key may change at the same time', async () => {
    const { options, clock } = world();
    const { log, gateway } = await startLog(options);
    await Promise.all([log.rotateKey('identity'), log.rotateKey('anchor')]);
    clock.ms += OVERLAP;
    await append(log, await gateway.next());
    await Promise.all([
      log.retireKey('anchor', { overlapMs: OVERLAP }),
      log.retireKey('identity', { overlapMs: OVERLAP }),
    ]);
    await append(log, await gateway.next());
    await checkAll(log, options);
    await log.close();
    expect(linesOf(log.published().checkpoint)).toHaveLength(2);
  });
});

describe('a key file that is missing', () => {
  test.each(['identity', 'anchor'] as const)(
    'stops a log that signs with it (%s), which is read as before',
    async (purpose) => {
      const { options, keys } = world();
      const { log, gateway } = await startLog(options);
      await log.rotateKey(purpose);
      await log.close();
      const second = keys.made.get(`${purpose} 2`)!;
      keys.made.delete(`${purpose} 2`);
      const stopped = await Log.open(options);
      expect(stopped.stopped).toMatchObject({
        code: 'storage',
        message: expect.stringContaining('log test signs nothing: '),
      });
      await expect(stopped.entry(2 as LeafIndex)).resolves.toBeDefined();
      expect(await submit(stopped, await gateway.next())).toMatchObject([{ code: 'storage' }]);
      expect(linesOf(stopped.head().checkpoint)).toEqual(linesOf(log.head().checkpoint));
      await stopped.close();
      // Another key under that name is not the one that was announced.
      keys.made.delete(`${purpose} 2`);
      keys.key(purpose, 2);
      expect((await Log.open(options)).stopped).toMatchObject({ code: 'storage' });
      keys.made.set(`${purpose} 2`, second);
      const whole = await Log.open(options);
      expect(whole.stopped).toBeUndefined();
      await append(whole, await gateway.next());
      await checkAll(whole, options);
    },
  );

  test('of a key that has ended is missed by nobody', async () => {
    const { options, keys, clock } = world();
    const { log, gateway } = await startLog(options);
    await log.rotateKey('identity');
    clock.ms += OVERLAP;
    await log.retireKey('identity', { overlapMs: OVERLAP });
    await log.close();
    keys.made.delete('identity 1');
    const again = await Log.open(options);
    await append(again, await gateway.next());
    await again.rotateKey('identity');
    expect(keys.made.has('identity 3')).toBe(true);
    await checkAll(again, options);
  });
});

const MOMENTS: readonly Moment[] = ['before', 'after', 'after, reporting failure'];

describe.each([false, true])('cut short (a signer that remembers: %s)', (remembering) => {
  const steps = remembering
    ? ['next', 'stage', 'extend', 'sign', 'commit']
    : ['next', 'sign', 'commit'];
  const cases = steps.flatMap((step) => MOMENTS.map((moment) => [step, moment] as const));

  function broken() {
    const faults = new Faults();
    const { options: plain, clock } = world({ store: new MemoryStore() });
    const base = remembering ? withSigner(plain, new TestSigner(plain, faults)) : plain;
    const keys = wrappedKeys(base.keys, (signer, purpose) =>
      purpose === 'identity'
        ? { ...signer, sign: (message) => faults.around('sign', () => signer.sign(message)) }
        : signer,
    );
    const options: LogOptions<StagedContent> = {
      ...base,
      store: faulty(plain.store, faults),
      warn: () => {},
      keys: {
        open: (...which) => keys.open(...which),
        next: (...which) => faults.around('next', () => keys.next(...which)),
      },
    };
    return { options, faults, clock };
  }

  test.each(cases)('at %s, %s: a rotation is begun or not, and goes on', async (step, moment) => {
    const { options, faults, clock } = broken();
    const { log, gateway } = await startLog(options);
    await append(log, await gateway.next());
    faults.arm(step, moment);
    const failed = await log.rotateKey('identity').then(
      () => false,
      () => true,
    );
    faults.disarm();
    const next = await Log.open(options);
    await append(next, await gateway.next());
    await checkAll(next, options);
    const begun = next.ownKeys().filter(({ purpose }) => purpose === 'identity').length === 2;
    if (!failed) expect(begun).toBe(true);
    // Asked for again it is begun now, or it was: with the very key that was made then.
    if (!begun) await next.rotateKey('identity');
    else await expect(next.rotateKey('identity')).rejects.toMatchObject({ code: 'conflict' });
    clock.ms += OVERLAP;
    await next.retireKey('identity', { overlapMs: OVERLAP });
    await append(next, await gateway.next());
    expect(linesOf(next.head().checkpoint)).toHaveLength(1);
    await checkAll(next, options);
  });

  test.each(cases.filter(([step]) => step !== 'next'))(
    'at %s, %s: an end is there or not, and goes on',
    async (step, moment) => {
      const { options, faults, clock } = broken();
      const { log, gateway } = await startLog(options);
      await log.rotateKey('identity');
      await append(log, await gateway.next());
      clock.ms += OVERLAP;
      const { keyid } = log.ownKeys()[0]!.publicKey;
      faults.arm(step, moment);
      await log.retireKey('identity', { keyid, overlapMs: OVERLAP }).catch(() => {});
      faults.disarm();
      const next = await Log.open(options);
      await append(next, await gateway.next());
      await checkAll(next, options);
      const ended = await next.retireKey('identity', { keyid, overlapMs: OVERLAP });
      expect(ended.ended?.lastSize).toBe((ended.ended?.index ?? 0) + 1);
      await append(next, await gateway.next());
      expect(linesOf(next.head().checkpoint)).toHaveLength(1);
      await checkAll(next, options);
    },
  );
});

test('a stored head that lacks a line which it had to have is not signed on', async () => {
  const store = new MemoryStore();
  const { options } = world({ store });
  const { log } = await startLog(options);
  await log.rotateKey('identity');
  await log.close();
  const head = log.head();
  const [text = '', lines = ''] = head.checkpoint.split('\n\n');
  const [first = ''] = lines.split('\n');
  store.readHead = async () => ({ ...head, checkpoint: `${text}\n\n${first}\n` });
  await expect(Log.open(options)).rejects.toMatchObject({
    code: 'storage',
    message: expect.stringContaining('which the log announced'),
  });
});

test('a gateway’s records under heads of every phase verify for readers of their time', async () => {
  const { options, clock } = world();
  const { log, gateway } = await startLog(options);
  const before = trustOf(log);
  const gateways = new Gateway('second');
  await log.registerGateway(gateways.signer.publicKey);
  await append(log, await gateway.next());
  const early = await log.receipt(3 as LeafIndex, { head: log.head() });
  await log.rotateKey('identity');
  await append(log, await gateways.next());
  const during = await log.receipt(3 as LeafIndex, { head: log.head() });
  clock.ms += OVERLAP;
  await log.retireKey('identity', { overlapMs: OVERLAP });
  await append(log, await gateways.next());
  const late = await log.receipt(3 as LeafIndex, { head: log.head() });
  const holds = (receipt: Uint8Array, trust: Trust) => verifyReceipt(receipt, trust).holds;
  expect([early, during, late].map((receipt) => holds(receipt, before))).toEqual([
    true,
    true,
    false,
  ]);
  const all = trustOf(log);
  expect([early, during, late].map((receipt) => holds(receipt, all))).toEqual([true, true, true]);
  expect(await log.headAt(treeSize(3))).toMatchObject({ size: 3 });
});
