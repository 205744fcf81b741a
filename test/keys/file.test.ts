/**
 * Key files: whole or absent, for their owner alone, and never a byte of them in an error (P10).
 */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { checkSignature } from '../../server/core/signature.ts';
import { createKeyFile, openKeyFile } from '../../server/keys/file.ts';
import { temporaryFolder } from '../temporary.ts';

const message = utf8('a head');

async function errorOf(promise: Promise<unknown>): Promise<SteleError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SteleError)) throw new Error(`no SteleError but ${String(error)}`);
  return error;
}

describe.each(['ed25519', 'ecdsa-p256'] as const)('a new %s key file', (alg) => {
  test('can be opened again and signs with the same key', async () => {
    const path = join(temporaryFolder(), 'key.pem');
    const made = await createKeyFile(path, alg);
    const opened = await openKeyFile(path);
    expect(opened.publicKey).toEqual(made.publicKey);
    expect(made.publicKey.alg).toBe(alg);
    for (const signer of [made, opened]) {
      const signature = await signer.sign(message);
      expect(() => checkSignature(made.publicKey, message, signature)).not.toThrow();
    }
  });

  test('is PKCS#8 in PEM with mode 0600, and nothing else is left in the folder', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'key.pem');
    await createKeyFile(path, alg);
    expect(readdirSync(folder)).toEqual(['key.pem']);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(path).nlink).toBe(1);
    expect(readFileSync(path, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  });

  test('never replaces a file', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'key.pem');
    await createKeyFile(path, alg);
    const before = readFileSync(path);
    expect((await errorOf(createKeyFile(path, alg))).code).toBe('conflict');
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(['key.pem']);
  });

  test('of two that are made at once, one is refused', async () => {
    const path = join(temporaryFolder(), 'key.pem');
    const outcomes = await Promise.allSettled([createKeyFile(path, alg), createKeyFile(path, alg)]);
    const made = outcomes.filter((outcome) => outcome.status === 'fulfilled');
    expect(made).toHaveLength(1);
    expect((await openKeyFile(path)).publicKey).toEqual(made[0]?.value.publicKey);
  });

  test('with a passphrase is encrypted and opens only with it', async () => {
    const path = join(temporaryFolder(), 'key.pem');
    const made = await createKeyFile(path, alg, { passphrase: 'correct horse' });
    const pem = readFileSync(path, 'utf8');
    expect(pem).toMatch(/^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
    expect(() => createPrivateKey(pem)).toThrow();
    const opened = await openKeyFile(path, { passphrase: 'correct horse' });
    expect(opened.publicKey).toEqual(made.publicKey);
    expect((await errorOf(openKeyFile(path))).message).toContain('no passphrase was given');
    const wrong = await errorOf(openKeyFile(path, { passphrase: 'incorrect horse' }));
    expect(wrong.message).toContain('the passphrase does not open it');
    expect(wrong.message).not.toContain('horse');
  });
});

describe('opening a key file', () => {
  function written(content: string, mode = 0o600): string {
    const path = join(temporaryFolder(), 'key.pem');
    writeFileSync(path, content, { mode });
    chmodSync(path, mode);
    return path;
  }

  function pemOf(pair: { privateKey: ReturnType<typeof createPrivateKey> }): string {
    return `${pair.privateKey.export({ format: 'pem', type: 'pkcs8' })}`;
  }

  const good = pemOf(generateKeyPairSync('ed25519'));

  test.each([0o640, 0o604, 0o644, 0o660, 0o620, 0o601, 0o700, 0o777])(
    'is refused with the mode and the rule at mode %o',
    async (mode) => {
      const error = await errorOf(openKeyFile(written(good, mode)));
      expect(error.code).toBe('forbidden');
      expect(error.message).toContain(`mode 0${mode.toString(8)} is looser than 0600`);
    },
  );

  test.each([0o600, 0o400])('is allowed at mode %o', async (mode) => {
    expect((await openKeyFile(written(good, mode))).publicKey.alg).toBe('ed25519');
  });

  test.each([
    ['ecdsa-p384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' })],
    ['rsa-pss', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ])('works for a key of algorithm %s that others made', async (alg, pair) => {
    const signer = await openKeyFile(written(pemOf(pair)));
    expect(signer.publicKey.alg).toBe(alg);
    const signature = await signer.sign(message);
    expect(() => checkSignature(signer.publicKey, message, signature)).not.toThrow();
  });

  test.each([
    ['a key of an algorithm that is not known', pemOf(generateKeyPairSync('ed448'))],
    ['another curve', pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }))],
    ['a weak key', pemOf(generateKeyPairSync('rsa', { modulusLength: 1024 }))],
    ['a public key', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'],
    ['half a file', good.slice(0, 60)],
    ['a damaged key', good.replace('MC4C', 'MC5C')],
    ['no file but a note', 'the key is in the safe\n'],
    ['nothing', ''],
    ['far too much', good + '\n'.repeat(20_000)],
  ])('with %s in it is malformed, and the error has none of it', async (_, content) => {
    const error = await errorOf(openKeyFile(written(content)));
    expect(error.code).toBe('malformed');
    const told = `${error.message} ${String(error.cause)}`;
    for (const line of content.split('\n')) {
      if (line.length >= 8) expect(told).not.toContain(line.slice(0, 8));
    }
  });

  test('tells a missing file from one that cannot be read', async () => {
    const folder = temporaryFolder();
    expect((await errorOf(openKeyFile(join(folder, 'none.pem')))).code).toBe('not_found');
    mkdirSync(join(folder, 'folder.pem'), { mode: 0o600 });
    expect((await errorOf(openKeyFile(join(folder, 'folder.pem')))).code).toMatch(
      /^(storage|forbidden)$/,
    );
  });
});

test('a key file is refused an empty passphrase and a folder that is not there', async () => {
  const path = join(temporaryFolder(), 'key.pem');
  const error = await errorOf(createKeyFile(path, 'ed25519', { passphrase: '' }));
  expect(error.message).toContain('the passphrase is empty');
  expect(existsSync(path)).toBe(false);
  const lost = join(temporaryFolder(), 'none', 'key.pem');
  expect((await errorOf(createKeyFile(lost, 'ed25519'))).code).toBe('storage');
});

test('a closed signer signs no more, and may be closed twice', async () => {
  const signer = await createKeyFile(join(temporaryFolder(), 'key.pem'), 'ed25519');
  const open = signer.sign(message);
  await signer.close();
  await signer.close();
  expect(await open).toHaveLength(64);
  expect((await errorOf(signer.sign(message))).code).toBe('storage');
});
