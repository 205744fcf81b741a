/**
 * RFC 6962 tree heads: the bytes that are signed, and the signature around them. One head was signed by
 * openssl for this; the published ones are of real logs.
 */
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, parseBase64, parseHex, toBase64, toHex } from '../../server/core/bytes.ts';
import {
  checkTreeHead,
  decodeDigitallySigned,
  decodeTreeHead,
  encodeDigitallySigned,
  encodeTreeHead,
  logIdOf,
  type SignedTreeHead,
} from '../../server/core/ct.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { hash, treeSize } from '../../server/core/units.ts';
import { checkSignatureNative } from '../../server/keys/engine.ts';
import { sharedJson, sharedMissing } from '../shared.ts';
import { expectOneSpelling } from './near-miss.ts';

const spki = parseBase64(
  'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEkDtpmIXdfAApnwyMTokZFw6Ye6jgx0qWf2wzkAc5OBdEn4/rhikW4VP/oBDBsG93M7HSBXQhXFbpbs0BKSLJ8Q==',
  'spki',
);
const key = parsePublicKey('ecdsa-p256', spki);
const head: SignedTreeHead = {
  timeMs: 1_767_225_600_123,
  size: treeSize(70_000),
  root: hash(parseBase64('SBNJTRN+FjG7owHVrKtue7eqdM4RhdRWVl71HXN2d7I=', 'root')),
  signature: parseBase64(
    'BAMASDBGAiEAv2/5DzH8ndr+Uf/NgW5Z/y0JFIVUzQyoezL/LXwYUWQCIQC114Nt7LQxSgI2FEz8d01uY4JtkqsSSYXCgMwi0Vc91Q==',
    'signature',
  ),
};
const message = parseHex(
  '00010000019b76daa87b00000000000111704813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2',
  'message',
);

describe('a tree head', () => {
  test('is the 50 bytes that the RFC says, and is read back', () => {
    expect(toHex(encodeTreeHead(head))).toBe(toHex(message));
    const { signature, ...unsigned } = head;
    expect(decodeTreeHead(message)).toEqual(unsigned);
  });

  test('signed by openssl holds on either engine', () => {
    checkTreeHead(head, key);
    checkTreeHead(head, key, checkSignatureNative);
  });

  test('signed here is taken by node:crypto', () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signature = encodeDigitallySigned(sign('sha256', message, privateKey));
    // Written down once more, so that one mistake is not made twice.
    expect([...signature.subarray(0, 3)]).toEqual([4, 3, 0]);
    expect(signature[3]).toBe(signature.length - 4);
    expect(verify('sha256', message, publicKey, signature.subarray(4))).toBe(true);
    const own = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
    checkTreeHead({ ...head, signature }, parsePublicKey('ecdsa-p256', own));
  });

  const other = parsePublicKey(
    'ecdsa-p256',
    new Uint8Array(
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
        format: 'der',
        type: 'spki',
      }),
    ),
  );
  const { signature } = head;
  const spoiled: Record<string, [SignedTreeHead, typeof key]> = {
    'another time': [{ ...head, timeMs: head.timeMs + 1 }, key],
    'another size': [{ ...head, size: treeSize(head.size + 1) }, key],
    'another root': [{ ...head, root: hash(head.root.with(31, 0)) }, key],
    'another key': [head, other],
    'a bit of the signature changed': [
      { ...head, signature: signature.with(40, signature[40]! ^ 1) },
      key,
    ],
    'the signature of the root alone': [
      { ...head, signature: encodeDigitallySigned(parseHex('3006020101020101', 'der')) },
      key,
    ],
  };

  test.each(Object.entries(spoiled))('does not hold with %s', (_, [spoiledHead, by]) => {
    for (const check of [undefined, checkSignatureNative]) {
      expect(() => checkTreeHead(spoiledHead, by, check)).toThrow(
        expect.objectContaining({ code: 'unverified' }) as Error,
      );
    }
  });

  test('is not checked with a key of another algorithm', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const der = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
    expect(() => checkTreeHead(head, parsePublicKey('ed25519', der))).toThrow('its key is ed25519');
  });

  test('has one spelling', () => {
    expectOneSpelling([message], (bytes) => encodeTreeHead(decodeTreeHead(bytes)));
  });

  test('of any size and time is read back', () => {
    const count = fc.maxSafeNat();
    fc.assert(
      fc.property(count, count, (timeMs, size) => {
        const one = { timeMs, size: treeSize(size), root: head.root };
        expect(decodeTreeHead(encodeTreeHead(one))).toEqual(one);
      }),
    );
  });

  test.each([
    ['a time', 2],
    ['a size', 10],
  ] as const)('with %s above 2^53 - 1 is malformed', (_, at) => {
    expect(() => decodeTreeHead(message.with(at + 1, 0x20))).toThrow('above 2^53 - 1');
    expect(() => decodeTreeHead(message.with(at, 0x01))).toThrow('above 2^53 - 1');
  });

  test.each([
    ['another version', message.with(0, 1)],
    ['the type of a certificate timestamp', message.with(1, 0)],
    ['a byte short', message.subarray(0, -1)],
    ['a byte extra', concat(message, Uint8Array.of(0))],
  ])('of %s is malformed', (_, bytes) => {
    expect(() => decodeTreeHead(bytes)).toThrow(
      expect.objectContaining({ code: 'malformed' }) as Error,
    );
  });
});

describe('a signature around its algorithms and length', () => {
  test('has one spelling', () => {
    expectOneSpelling([head.signature, encodeDigitallySigned(new Uint8Array(300))], (bytes) =>
      encodeDigitallySigned(decodeDigitallySigned(bytes)),
    );
  });

  const { signature } = head;
  test.each([
    ['nothing', new Uint8Array(0)],
    ['no length', signature.subarray(0, 3)],
    ['SHA-1', signature.with(0, 2)],
    ['RSA', signature.with(1, 1)],
    ['a byte short', signature.subarray(0, -1)],
    ['a byte extra', concat(signature, Uint8Array.of(0))],
    ['the length of another', signature.with(2, 1)],
  ])('of %s is malformed', (_, bytes) => {
    expect(() => decodeDigitallySigned(bytes)).toThrow(
      expect.objectContaining({ code: 'malformed' }) as Error,
    );
    expect(() => checkTreeHead({ ...head, signature: bytes }, key)).toThrow('tree head signature');
  });
});

test('the log ID is the SHA-256 of the key, as openssl prints it', () => {
  expect(toHex(logIdOf(key))).toBe(
    '8ba8890c93298d6ae6b5d1c25c8daa19cd26371305442caa90728c8388d320db',
  );
});

interface Published {
  readonly sth: {
    readonly tree_size: number;
    readonly timestamp: number;
    readonly sha256_root_hash: string;
    readonly tree_head_signature: string;
  };
  readonly publicKeySpkiB64: string;
  readonly signedMessageHex: string;
  readonly source: string;
}

describe.skipIf(sharedMissing)('published tree heads', () => {
  const { cases } = sharedMissing
    ? { cases: [] }
    : (sharedJson('vectors', 'tlog-notes', 'ct-sth.json') as { cases: Published[] });

  test.each(cases.map((one) => [one.source, one] as const))('%s', (_, one) => {
    const { tree_size, timestamp, sha256_root_hash, tree_head_signature } = one.sth;
    const published: SignedTreeHead = {
      timeMs: timestamp,
      size: treeSize(tree_size),
      root: hash(parseBase64(sha256_root_hash, 'root')),
      signature: parseBase64(tree_head_signature, 'signature'),
    };
    expect(toHex(encodeTreeHead(published))).toBe(one.signedMessageHex);
    const by = parsePublicKey('ecdsa-p256', parseBase64(one.publicKeySpkiB64, 'spki'));
    checkTreeHead(published, by);
    checkTreeHead(published, by, checkSignatureNative);
    const der = decodeDigitallySigned(published.signature);
    expect(toBase64(encodeDigitallySigned(der))).toBe(tree_head_signature);
    const object = createPublicKey({
      key: Buffer.from(one.publicKeySpkiB64, 'base64'),
      format: 'der',
      type: 'spki',
    });
    expect(verify('sha256', encodeTreeHead(published), object, der)).toBe(true);
    expect(() => checkTreeHead({ ...published, timeMs: timestamp + 1 }, by)).toThrow();
  });
});
