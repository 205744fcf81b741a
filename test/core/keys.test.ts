/**
 * One spelling per key: what is accepted is what the algorithm's SubjectPublicKeyInfo prints.
 */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, parseHex, toHex } from '../../server/core/bytes.ts';
import { ALGORITHMS, ed25519Spki, parsePublicKey } from '../../server/core/keys.ts';

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
}

const keys = {
  ed25519: spkiOf(generateKeyPairSync('ed25519').publicKey),
  'ecdsa-p256': spkiOf(generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).publicKey),
  'ecdsa-p384': spkiOf(generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).publicKey),
  'rsa-pss': spkiOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey),
};

describe.each(ALGORITHMS)('%s', (alg) => {
  const spki = keys[alg];

  test('is accepted as OpenSSL writes it, under the hash of what it wrote', () => {
    const key = parsePublicKey(alg, spki);
    expect(key.spki).toEqual(spki);
    expect(key.alg).toBe(alg);
    expect(key.keyid).toBe(createHash('sha256').update(spki).digest('hex'));
  });

  test('keeps bytes of its own', () => {
    const given = Uint8Array.from(spki);
    const key = parsePublicKey(alg, given);
    given.fill(0);
    expect(key.spki).toEqual(spki);
  });

  test('is refused under every other algorithm', () => {
    for (const other of ALGORITHMS) {
      if (other !== alg) expect(() => parsePublicKey(other, spki)).toThrow(`${other} key: `);
    }
  });

  test('is refused with a byte more or less, and with any byte of its head changed', () => {
    expect(() => parsePublicKey(alg, spki.subarray(0, -1))).toThrow(`${alg} key: `);
    expect(() => parsePublicKey(alg, concat(spki, Uint8Array.of(0)))).toThrow(`${alg} key: `);
    for (let i = 0; i < 12; i++) {
      expect(() => parsePublicKey(alg, spki.with(i, (spki[i] ?? 0) ^ 1))).toThrow(`${alg} key: `);
    }
  });
});

describe.each(['ecdsa-p256', 'ecdsa-p384'] as const)('%s', (alg) => {
  const spki = keys[alg];
  const width = alg === 'ecdsa-p256' ? 32 : 48;

  test('is refused when the point is not on the curve', () => {
    expect(() => parsePublicKey(alg, spki.with(-1, (spki.at(-1) ?? 0) ^ 1))).toThrow(
      `${alg} key: not a point of the curve`,
    );
    const zeros = Uint8Array.from(spki).fill(0, spki.length - 2 * width);
    expect(() => parsePublicKey(alg, zeros)).toThrow('not a point of the curve');
    const ones = Uint8Array.from(spki).fill(0xff, spki.length - 2 * width);
    expect(() => parsePublicKey(alg, ones)).toThrow('not a point of the curve');
  });

  test('is refused in its compressed and hybrid forms', () => {
    const at = spki.length - 2 * width - 1;
    const parity = (spki.at(-1) ?? 0) & 1;
    expect(() => parsePublicKey(alg, spki.with(at, 6 + parity))).toThrow(`${alg} key: `);
    const compressed = Uint8Array.from(spki.subarray(0, spki.length - width)).with(at, 2 + parity);
    compressed[1] = compressed.length - 2;
    compressed[at - 2] = width + 2;
    expect(() => parsePublicKey(alg, compressed)).toThrow(`${alg} key: `);
  });
});

test('a curve that is not named is refused', () => {
  const explicit = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    paramEncoding: 'explicit',
  });
  expect(() => parsePublicKey('ecdsa-p256', spkiOf(explicit.publicKey))).toThrow('ecdsa-p256 key');
});

test('an algorithm of another name is refused, as are names of the language itself', () => {
  for (const alg of ['', 'ED25519', 'ed448', 'rsa', 'ml-dsa-44', 'constructor', '__proto__']) {
    expect(() => parsePublicKey(alg, keys.ed25519)).toThrow('public key: algorithm ');
  }
});

test('an ed25519 key is wrapped as its RFC prints it', () => {
  // [RFC 8410 §10.1]
  const raw = parseHex('19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1', 'key');
  expect(toHex(ed25519Spki(raw))).toBe(
    '302a300506032b657003210019bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1',
  );
  expect(() => ed25519Spki(raw.subarray(1))).toThrow('31 bytes where a key has 32');
});
