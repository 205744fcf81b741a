/**
 * The native engine: core's verdicts, for more keys than it keeps ready.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { checkSignatureNative, ED25519_ENGINE } from '../../server/keys/engine.ts';
import { holds } from './engines.ts';

const native = { name: 'native', check: checkSignatureNative };
const message = utf8('a leaf');

function made(alg: string, pair: { publicKey: KeyObject; privateKey: KeyObject }) {
  const spki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  const digest = alg === 'ed25519' ? null : alg === 'ecdsa-p384' ? 'sha384' : 'sha256';
  const key =
    alg === 'rsa-pss' ? { key: pair.privateKey, padding: 6, saltLength: 32 } : pair.privateKey;
  return { key: parsePublicKey(alg, spki), signature: new Uint8Array(sign(digest, message, key)) };
}

describe('the native engine', () => {
  test.each([
    ['ed25519', generateKeyPairSync('ed25519')],
    ['ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' })],
    ['ecdsa-p384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' })],
    ['rsa-pss', generateKeyPairSync('rsa', { modulusLength: 3072 })],
  ])('checks %s', (alg, pair) => {
    const { key, signature } = made(alg, pair);
    expect(holds(native, key, message, signature)).toBe(true);
    expect(holds(native, key, message, signature.with(-1, (signature.at(-1) ?? 0) ^ 1))).toBe(
      false,
    );
    expect(holds(native, key, utf8('another'), signature)).toBe(false);
  });

  test('checks messages that are views, and empty ones', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const { key } = made('ed25519', { publicKey, privateKey });
    const bytes = new Uint8Array(100).map((_, i) => i);
    for (const view of [bytes.subarray(10, 60), bytes.subarray(5, 5), bytes]) {
      expect(holds(native, key, view, new Uint8Array(sign(null, view, privateKey)))).toBe(true);
    }
  });

  test('keeps its verdicts when it has seen more keys than it keeps', () => {
    // P-256, so that it is node:crypto whose keys are kept. Three keys under 3,000 IDs.
    const some = Array.from({ length: 3 }, () =>
      made('ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' })),
    );
    for (const round of [0, 1]) {
      for (let i = 0; i < 1500; i++) {
        const own = some[i % 3];
        const other = some[(i + 1) % 3];
        if (own === undefined || other === undefined) throw new Error('no key');
        const key = { ...own.key, keyid: `key ${i}` };
        expect(holds(native, key, message, own.signature), `${round} ${i}`).toBe(true);
        if (i % 100 === 0) expect(holds(native, key, message, other.signature)).toBe(false);
      }
    }
  });

  test('says which library it asks', () => {
    expect(['sodium', 'node']).toContain(ED25519_ENGINE);
  });
});

test('a key that OpenSSL takes and the rule does not is no key here', () => {
  // y = 1, the identity: every engine of some age accepts signatures by it.
  const spki = Buffer.from(`302a300506032b6570032100${'01'.padEnd(64, '0')}`, 'hex');
  expect(createPublicKey({ key: spki, format: 'der', type: 'spki' }).asymmetricKeyType).toBe(
    'ed25519',
  );
  expect(() => parsePublicKey('ed25519', new Uint8Array(spki))).toThrow('of small order');
});
