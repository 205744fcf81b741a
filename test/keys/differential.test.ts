/**
 * All engines give one verdict on signatures that are nearly right.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { Point } from '@noble/ed25519';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat, parseHex } from '../../server/core/bytes.ts';
import { type PublicKey, parsePublicKey } from '../../server/core/keys.ts';
import { KeyObjectSigner } from '../../server/keys/key-object.ts';
import { enginesFor, holds } from './engines.ts';

function made(alg: string, pair: { publicKey: KeyObject; privateKey: KeyObject }) {
  const spki = new Uint8Array(pair.publicKey.export({ format: 'der', type: 'spki' }));
  return new KeyObjectSigner(pair.privateKey, parsePublicKey(alg, spki));
}

const signers = [
  made('ed25519', generateKeyPairSync('ed25519')),
  made('ecdsa-p256', generateKeyPairSync('ec', { namedCurve: 'prime256v1' })),
  made('ecdsa-p384', generateKeyPairSync('ec', { namedCurve: 'secp384r1' })),
  made('rsa-pss', generateKeyPairSync('rsa', { modulusLength: 2048 })),
];

function verdicts(key: PublicKey, message: Uint8Array, signature: Uint8Array): Set<boolean> {
  return new Set(enginesFor(key.alg).map((engine) => holds(engine, key, message, signature)));
}

/** Overwrites, cuts or lengthens: what a careless encoder or an attacker would do. */
function spoil(bytes: Uint8Array, at: number, value: number, how: string): Uint8Array {
  const i = at % bytes.length;
  if (how === 'write') return bytes.with(i, value);
  if (how === 'flip') return bytes.with(i, (bytes[i] ?? 0) ^ (1 << (value % 8)));
  if (how === 'cut') return concat(bytes.subarray(0, i), bytes.subarray(i + 1));
  if (how === 'put') return concat(bytes.subarray(0, i), Uint8Array.of(value), bytes.subarray(i));
  return bytes;
}

test.each(signers)('on $publicKey.alg signatures with changed bytes', async (signer) => {
  const byte = fc.oneof(fc.constantFrom(0, 1, 2, 0x30, 0x7f, 0x80, 0x81, 0xff), fc.nat(255));
  const how = fc.constantFrom('write', 'flip', 'cut', 'put', 'nothing');
  let good = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 40 }),
      fc.oneof(fc.nat(8), fc.nat(511)),
      byte,
      how,
      async (message, at, value, change) => {
        const signature = spoil(await signer.sign(message), at, value, change);
        const got = verdicts(signer.publicKey, message, signature);
        expect(got.size).toBe(1);
        if (got.has(true)) good++;
      },
    ),
    { numRuns: 150 },
  );
  expect(good).toBeGreaterThan(0);
});

test('on Ed25519 signatures put together from edges', async () => {
  const [signer] = signers;
  if (signer === undefined) throw new Error('no signer');
  const message = Uint8Array.of(1, 2, 3);
  const honest = await signer.sign(message);
  const order = parseHex('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'L');
  const plusOrder = (s: Uint8Array): Uint8Array => {
    let carry = 0;
    return s.map((value, i) => {
      const sum = value + (order[i] ?? 0) + carry;
      carry = sum >> 8;
      return sum & 0xff;
    });
  };
  const minusOne = parseHex(`ec${'ff'.repeat(30)}7f`, 'y');
  const torsion = Point.fromBytes(minusOne);
  const shifted = Point.fromBytes(honest.subarray(0, 32)).add(torsion).toBytes();
  const points = [
    honest.subarray(0, 32),
    shifted,
    minusOne,
    minusOne.with(31, 0xff),
    new Uint8Array(32),
    new Uint8Array(32).with(0, 1),
    new Uint8Array(32).fill(0xff),
    parseHex(`f0${'ff'.repeat(30)}7f`, 'y'),
    Point.BASE.toBytes(),
  ];
  const s = honest.subarray(32);
  const scalars = [s, plusOrder(s), new Uint8Array(32), order, order.with(0, 0xec)];
  let good = 0;
  for (const r of points) {
    for (const scalar of scalars) {
      const got = verdicts(signer.publicKey, message, concat(r, scalar));
      expect(got.size).toBe(1);
      if (got.has(true)) good++;
    }
  }
  expect(good).toBe(1);
});
