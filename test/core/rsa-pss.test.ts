/**
 * RSA-PSS: sizes, one spelling of a key, one salt length, on both engines.
 */
import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { concat, parseHex, toHex, utf8 } from '../../server/core/bytes.ts';
import { parsePublicKey } from '../../server/core/keys.ts';
import { parseRsaSpki } from '../../server/core/rsa-pss.ts';
import { enginesFor, holds } from '../keys/engines.ts';

const message = utf8('a leaf');

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
}

function pss(key: KeyObject, saltLength: number, digest = 'sha256'): Uint8Array {
  const padding = constants.RSA_PKCS1_PSS_PADDING;
  return new Uint8Array(sign(digest, message, { key, padding, saltLength }));
}

/** DER of one element. */
function tlv(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concat(...parts);
  if (body.length < 128) return concat(Uint8Array.of(tag, body.length), body);
  if (body.length < 256) return concat(Uint8Array.of(tag, 0x81, body.length), body);
  return concat(Uint8Array.of(tag, 0x82, body.length >> 8, body.length & 0xff), body);
}

const NULL = Uint8Array.of(0x05, 0);
const RSA_OID = parseHex('06092a864886f70d010101', 'OID');
const PSS_OID = parseHex('06092a864886f70d01010a', 'OID');

/** A key as others might spell it. `n` is the modulus in hex, with its sign byte. */
function spell(n: string, e = '010001', head = tlv(0x30, RSA_OID, NULL)): Uint8Array {
  const numbers = tlv(0x30, tlv(0x02, parseHex(n, 'n')), tlv(0x02, parseHex(e, 'e')));
  return tlv(0x30, head, tlv(0x03, Uint8Array.of(0), numbers));
}

/** A modulus of so many bits, all of them set: big enough, and odd. */
function ones(bits: number): string {
  const hex = (2n ** BigInt(bits) - 1n).toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  return Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even;
}

describe('a key', () => {
  test.each([2048, 2049, 2055, 3072, 4095, 4096])('of %i bits is accepted', (bits) => {
    expect(parseRsaSpki(spell(ones(bits))).n.toString(2)).toHaveLength(bits);
    expect(parsePublicKey('rsa-pss', spell(ones(bits))).alg).toBe('rsa-pss');
  });

  test.each([512, 1024, 2040, 2047, 4097, 4104, 8192])('of %i bits is refused', (bits) => {
    expect(() => parseRsaSpki(spell(ones(bits)))).toThrow(/rsa-pss key: .*2048 to 4096/);
  });

  const good = ones(2048);
  const spelled: Record<string, Uint8Array> = {
    'exponent 3': spell(good, '03'),
    'another exponent of the same length': spell(good, '010003'),
    'an exponent with a zero before it': spell(good, '00010001'),
    'an even modulus': spell(`${good.slice(0, -2)}fe`),
    'a modulus with a zero before it': spell(`00${ones(2049)}`),
    'a negative modulus': spell(`80${good.slice(2)}`),
    'the OID of RSASSA-PSS': spell(good, undefined, tlv(0x30, PSS_OID)),
    'the OID of RSASSA-PSS with NULL': spell(good, undefined, tlv(0x30, PSS_OID, NULL)),
    'no NULL': spell(good, undefined, tlv(0x30, RSA_OID)),
    'a trailing byte': concat(spell(good), Uint8Array.of(0)),
    'unused bits': spell(good).with(23, 1),
    'nothing at all': new Uint8Array(0),
  };

  test.each(Object.entries(spelled))('with %s is refused', (_, spki) => {
    expect(() => parsePublicKey('rsa-pss', spki)).toThrow('rsa-pss key: ');
  });

  test('is refused after any change of a byte that is not the modulus', () => {
    const spki = spell(good);
    const start = spki.length - 5 - 257;
    for (let i = 0; i < spki.length; i++) {
      if (i >= start && i < spki.length - 5) continue;
      expect(() => parseRsaSpki(spki.with(i, (spki[i] ?? 0) ^ 1)), `byte ${i}`).toThrow('rsa-pss');
    }
  });
});

// With 2049 bits the padded block is a byte shorter than the signature: both readings of the RFC's
// lengths are then at work.
describe.each([2048, 2049])('a signature by a key of %i bits', (bits) => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  const key = parsePublicKey('rsa-pss', spkiOf(publicKey));
  const { n, bytes } = parseRsaSpki(key.spki);
  const good = pss(privateKey, 32);
  const value = BigInt(`0x${toHex(good)}`);
  const spoiled: Record<string, Uint8Array> = {
    'no salt': pss(privateKey, 0),
    'a salt of 20 bytes': pss(privateKey, 20),
    'a salt of 33 bytes': pss(privateKey, 33),
    'the longest salt': pss(privateKey, constants.RSA_PSS_SALTLEN_MAX_SIGN),
    'SHA-384': pss(privateKey, 32, 'sha384'),
    'PKCS#1 v1.5': new Uint8Array(sign('sha256', message, privateKey)),
    'one bit changed': good.with(9, (good[9] ?? 0) ^ 1),
    'one byte short': good.subarray(1),
    'a zero before it': concat(Uint8Array.of(0), good),
    'the modulus itself': parseHex(n.toString(16).padStart(2 * bytes, '0'), 'n'),
    'one less than the modulus': parseHex((n - 1n).toString(16).padStart(2 * bytes, '0'), 'n'),
    zero: new Uint8Array(bytes),
    'nothing at all': new Uint8Array(0),
  };
  // The same residue, where it still has the same length.
  const above = (value + n).toString(16);
  if (above.length <= 2 * bytes) {
    spoiled['the modulus added'] = parseHex(above.padStart(2 * bytes, '0'), 's');
  }

  test.each(enginesFor('rsa-pss'))('on $name', (engine) => {
    expect(holds(engine, key, message, good)).toBe(true);
    expect(holds(engine, key, utf8('a leaf.'), good)).toBe(false);
    for (const [name, signature] of Object.entries(spoiled)) {
      expect(holds(engine, key, message, signature), name).toBe(false);
    }
  });
});
