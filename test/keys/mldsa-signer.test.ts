/** Key files of ML-DSA-44: the same key for every engine, for their owner alone, and never a byte in an error. */
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ml_dsa44 } from '@noble/post-quantum/ml-dsa.js';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import {
  createMldsaKeyFile,
  isNative,
  openMldsaKeyFile,
  PortableSigner,
} from '../../server/keys/mldsa.ts';
import { temporaryFolder } from '../temporary.ts';

const message = utf8('a checkpoint');
const HEAD_BYTES = 22;

function made(passphrase?: string): string {
  const path = join(temporaryFolder(), 'mldsa44.pem');
  createMldsaKeyFile(path, { passphrase });
  return path;
}

/** The seed in a file without a passphrase. */
function seedOf(path: string): Uint8Array {
  const base64 = readFileSync(path, 'utf8').replace(/-----[A-Z ]+-----|\n/g, '');
  return new Uint8Array(Buffer.from(base64, 'base64').subarray(HEAD_BYTES));
}

async function codeOf(promise: Promise<unknown>, secret = ''): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SteleError)) throw new Error(`no SteleError but ${String(error)}`);
  if (secret !== '') expect(`${error.message} ${String(error.cause)}`).not.toContain(secret);
  return error.code;
}

describe('a new file', () => {
  test('opens again with the same key, whose signatures hold for the portable code', async () => {
    const path = made();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const signers = [
      await openMldsaKeyFile(path),
      await openMldsaKeyFile(path),
      new PortableSigner(seedOf(path)),
    ];
    for (const signer of signers) {
      expect(signer.publicKey).toEqual(signers[0]!.publicKey);
      const signature = await signer.sign(message);
      expect(signature).toHaveLength(2_420);
      expect(ml_dsa44.verify(signature, message, signer.publicKey)).toBe(true);
      expect(ml_dsa44.verify(signature, utf8('another'), signer.publicKey)).toBe(false);
    }
  });

  test('is never written over another', () => {
    const path = made();
    const before = readFileSync(path, 'utf8');
    expect(() => createMldsaKeyFile(path)).toThrow(SteleError);
    expect(readFileSync(path, 'utf8')).toBe(before);
  });

  test.runIf(isNative())('with a passphrase opens with it, and with no other', async () => {
    const path = made('open sesame');
    expect(readFileSync(path, 'utf8')).toContain('BEGIN ENCRYPTED PRIVATE KEY');
    const signer = await openMldsaKeyFile(path, { passphrase: 'open sesame' });
    const signature = await signer.sign(message);
    expect(ml_dsa44.verify(signature, message, signer.publicKey)).toBe(true);
    expect(await codeOf(openMldsaKeyFile(path))).toBe('malformed');
    expect(await codeOf(openMldsaKeyFile(path, { passphrase: 'wrong' }), 'wrong')).toBe(
      'malformed',
    );
  });

  test('signs nothing after it was closed', async () => {
    const path = made();
    for (const signer of [await openMldsaKeyFile(path), new PortableSigner(seedOf(path))]) {
      await signer.close();
      await signer.close();
      expect(await codeOf(signer.sign(message))).toBe('storage');
    }
  });
});

describe('a file that is refused', () => {
  test('there is none; others may read it', async () => {
    expect(await codeOf(openMldsaKeyFile(join(temporaryFolder(), 'none.pem')))).toBe('not_found');
    const path = made();
    chmodSync(path, 0o640);
    expect(await codeOf(openMldsaKeyFile(path))).toBe('forbidden');
  });

  test('another kind of key, half of one, or none', async () => {
    const path = made();
    const pem = readFileSync(path, 'utf8');
    const { privateKey } = generateKeyPairSync('ed25519');
    const secret = pem.split('\n')[1] ?? '';
    const others = [
      privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      pem.slice(0, 90),
      pem.replace(secret, secret.slice(4)),
      pem.replaceAll('PRIVATE', 'PUBLIC'),
      '',
    ];
    for (const text of others) {
      writeFileSync(path, text);
      expect(await codeOf(openMldsaKeyFile(path), secret.slice(40)), text.slice(0, 40)).toBe(
        'malformed',
      );
    }
  });
});
