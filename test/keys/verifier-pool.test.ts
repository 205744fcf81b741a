/**
 * The pool of verifying threads: the engine's verdicts, in order, whatever dies.
 */
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { concat, toHex, utf8 } from '../../server/core/bytes.ts';
import { hasCode } from '../../server/core/errors.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import {
  packedBytes,
  packJobs,
  unpackJobs,
  type VerifierJob,
} from '../../server/keys/verifier-batch.ts';
import { VerifierPool, type VerifierPoolOptions } from '../../server/keys/verifier-pool.ts';
import { temporaryFolder } from '../temporary.ts';

function signerOf(alg: string, pair: { publicKey: KeyObject; privateKey: KeyObject }) {
  const spki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  return new KeyObjectSigner(pair.privateKey, parsePublicKey(alg, spki));
}

const signers = [
  signerOf('ed25519', generateKeyPairSync('ed25519')),
  signerOf('ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' })),
  signerOf('ecdsa-p384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' })),
  signerOf('rsa-pss', generateKeyPairSync('rsa', { modulusLength: 2048 })),
];

const otherSigner = signerOf('ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' }));

async function jobOf(message: Uint8Array, signer = signers[0]): Promise<VerifierJob> {
  if (signer === undefined) throw new Error('no such signer');
  return { key: signer.publicKey, message, signature: await signer.sign(message) };
}

function spoiled(job: VerifierJob): VerifierJob {
  return { ...job, message: concat(job.message, utf8('.')) };
}

/** A pool that is closed when the test ends, whether or not the test did. */
function poolOf(options: VerifierPoolOptions = {}): VerifierPool {
  const pool = new VerifierPool({ threads: 2, ...options });
  onTestFinished(() => pool.close());
  return pool;
}

function moduleOf(path: string): string {
  return new URL(`../../${path}`, import.meta.url).href;
}

const mortal = new URL('./workers/mortal.ts', import.meta.url);

function mortalPool(options: VerifierPoolOptions = {}): VerifierPool {
  // Threads get a copy of the environment when they start.
  process.env.STELE_MORTAL = join(temporaryFolder(), 'memory');
  return poolOf({ worker: mortal, ...options });
}

/** How many threads the last mortal pool started. */
function startsOf(): number {
  return readFileSync(`${process.env.STELE_MORTAL}.starts`).length;
}

afterEach(() => {
  delete process.env.STELE_MORTAL;
});

describe('a batch', () => {
  test('is unpacked as it was packed, in a buffer that can be transferred', async () => {
    const jobs = [
      await jobOf(new Uint8Array(0)),
      await jobOf(utf8('two'), signers[1]),
      await jobOf(new Uint8Array(3000).fill(3)),
    ];
    const packed = packJobs(jobs, (key) => (key.alg === 'ed25519' ? 5 : 6));
    expect(packed.byteLength).toBe(jobs.reduce((sum, job) => sum + packedBytes(job), 0));
    const copy = structuredClone(packed, { transfer: [packed] });
    expect(packed.byteLength).toBe(0);
    expect([...unpackJobs(copy)]).toEqual(
      jobs.map(({ key, message, signature }) => ({
        number: key.alg === 'ed25519' ? 5 : 6,
        message,
        signature,
      })),
    );
  });
});

describe('the pool', () => {
  let jobs: VerifierJob[] = [];

  beforeAll(async () => {
    const all = Array.from({ length: 400 }, (_, i) => jobOf(utf8(`${i}`), signers[i % 4]));
    jobs = await Promise.all(all);
  });

  test('gives each job its verdict, in order, for every algorithm', async () => {
    const pool = poolOf();
    const mixed = jobs.map((job, i) => (i % 7 === 3 ? spoiled(job) : job));
    const verdicts = await pool.check(mixed);
    expect(verdicts).toHaveLength(mixed.length);
    verdicts.forEach((verdict, i) => {
      if (i % 7 !== 3) expect(verdict, `job ${i}`).toBeUndefined();
      else {
        expect(verdict?.code).toBe('unverified');
        expect(verdict?.message).toContain(`${mixed[i]?.key.alg} signature`);
      }
    });
  });

  test('answers many calls at once, each with its own', async () => {
    const pool = poolOf();
    const calls = jobs.map((job, i) => pool.check([i % 5 === 0 ? spoiled(job) : job]));
    const answers = await Promise.all(calls);
    answers.forEach(([verdict], i) => {
      expect(verdict?.code, `call ${i}`).toBe(i % 5 === 0 ? 'unverified' : undefined);
    });
  });

  test('leaves the bytes that it was given as they were', async () => {
    const pool = poolOf();
    const [job] = jobs;
    if (job === undefined) throw new Error('no job');
    const before = { message: Uint8Array.from(job.message), signature: job.signature.slice() };
    expect(await pool.check([job, job])).toEqual([undefined, undefined]);
    expect([job.message, job.signature]).toEqual([before.message, before.signature]);
  });

  test('answers nothing to nothing', async () => {
    expect(await poolOf().check([])).toEqual([]);
  });

  test('tells more keys apart than a thread remembers, on the thread that it has', async () => {
    const pool = mortalPool({ threads: 1 });
    // Two keys under 2,100 IDs each, without the cost of making so many.
    const made = [await jobOf(utf8('one'), signers[1]), await jobOf(utf8('two'), otherSigner)];
    const many = Array.from({ length: 2100 }, (_, i) =>
      made.map((job, n) => ({ ...job, key: { ...job.key, keyid: `key ${i} ${n}` } })),
    ).flat();
    for (const _ of ['first', 'again']) {
      const verdicts = await pool.check(many);
      expect(verdicts.filter((verdict) => verdict !== undefined)).toEqual([]);
    }
    const crossed = many.slice(0, 2).map((job) => ({ ...job, message: utf8('three') }));
    const verdicts = await pool.check(crossed);
    expect(verdicts.map((verdict) => verdict?.code)).toEqual(['unverified', 'unverified']);
    expect(startsOf()).toBe(1);
  });

  test('refuses with pushback what it has no room for, and takes it later', async () => {
    const job = await jobOf(new Uint8Array(10_000));
    const pool = poolOf({ queueBytes: 3 * (packedBytes(job) + 256) });
    const taken = pool.check([job, job]);
    await expect(pool.check([job, job])).rejects.toThrow(
      expect.objectContaining({ code: 'pushback', retryAfterS: 1 }) as Error,
    );
    const third = pool.check([job]);
    expect(await taken).toEqual([undefined, undefined]);
    expect(await third).toEqual([undefined]);
    expect(await pool.check([job, job, job])).toEqual([undefined, undefined, undefined]);
    // A call that is alone is never pushed back for its size: it would be for ever.
    const large = pool.check([job, job, job, job]);
    await expect(pool.check([job])).rejects.toThrow('bytes already wait');
    expect(await large).toHaveLength(4);
  });

  test('finishes what was asked before it closes, and takes no more', async () => {
    const pool = poolOf();
    const asked = pool.check(jobs);
    const closed = pool.close();
    await expect(pool.check(jobs)).rejects.toThrow(
      expect.objectContaining({ code: 'pushback' }) as Error,
    );
    expect((await asked).every((verdict) => verdict === undefined)).toBe(true);
    await closed;
    await pool.close();
  });
});

test('a pool that nobody closed does not keep a program alive, a waiting answer does', async () => {
  const job = await jobOf(utf8('last words'));
  const program = `
    import { VerifierPool } from ${JSON.stringify(moduleOf('server/keys/verifier-pool.ts'))};
    import { parsePublicKey } from ${JSON.stringify(moduleOf('server/core/keys.ts'))};
    const [spki, message, signature] = ${JSON.stringify(
      [job.key.spki, job.message, job.signature].map((bytes) => toHex(bytes)),
    )}.map((hex) => new Uint8Array(Buffer.from(hex, 'hex')));
    const key = parsePublicKey('ed25519', spki);
    new VerifierPool({ threads: 2 })
      .check([{ key, message, signature }])
      .then((verdicts) => console.log(JSON.stringify(verdicts)));
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program],
    { timeout: 30_000 },
  );
  expect(stdout).toBe('[null]\n');
});

describe('a thread that dies', () => {
  test('takes no verdict with it: its jobs are checked by another', async () => {
    const pool = mortalPool();
    const jobs = await Promise.all([
      jobOf(utf8('before')),
      jobOf(Uint8Array.of(0xd1)),
      jobOf(utf8('after')),
      jobOf(utf8('last'), signers[1]).then(spoiled),
    ]);
    const verdicts = await pool.check(jobs);
    expect(verdicts.map((verdict) => verdict?.code)).toEqual([
      undefined,
      undefined,
      undefined,
      'unverified',
    ]);
  });

  test('twice of one signature is not asked a third time, and spoils no other', async () => {
    const pool = mortalPool({ threads: 1 });
    // The second is in the batch after the first one's, where the first one's neighbors come again.
    const deadly = [50, 70, 150];
    const jobs = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        jobOf(deadly.includes(i) ? Uint8Array.of(0xdd, i) : utf8(`${i}`)),
      ),
    );
    const verdicts = await pool.check(jobs);
    verdicts.forEach((verdict, i) => {
      if (!deadly.includes(i)) expect(verdict, `job ${i}`).toBeUndefined();
      else {
        expect(hasCode(verdict, 'pushback')).toBe(true);
        expect(verdict?.message).toBe('two threads died of this signature');
        expect(String(verdict?.cause)).toContain('this thread dies of 0xdd');
      }
    });
    // And the pool goes on.
    expect(await pool.check([await jobOf(utf8('later'))])).toEqual([undefined]);
  });

  test('before it could start fails the jobs after a few tries, however many they are', async () => {
    const pool = poolOf({ worker: new URL('./workers/none.ts', import.meta.url) });
    const jobs = await Promise.all(Array.from({ length: 300 }, (_, i) => jobOf(utf8(`${i}`))));
    const verdicts = await pool.check(jobs);
    expect(new Set(verdicts.map((verdict) => verdict?.code))).toEqual(new Set(['pushback']));
    expect(verdicts.at(-1)?.message).toBe('no signature thread stays alive');
  });

  test('does not keep the pool from closing', async () => {
    const pool = mortalPool();
    const asked = pool.check([await jobOf(Uint8Array.of(0xdd)), await jobOf(utf8('good'))]);
    await pool.close();
    expect((await asked).map((verdict) => verdict?.code)).toEqual(['pushback', undefined]);
  });
});
