/**
 * A public key in whatever form somebody has it: made by openssl and by WebCrypto, read by hand, and
 * every way of spoiling one refused with its reason.
 */
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { concat, parseHex, toBase64, toBase64url } from '../../server/core/bytes.ts';
import { readCertificate } from '../../server/core/certificate.ts';
import { DerReader, oidText } from '../../server/core/der.ts';
import { SteleError } from '../../server/core/errors.ts';
import { KEY_TEXT_MAX, parseKeyText } from '../../server/core/key-text.ts';
import { ed25519Spki, parsePublicKey } from '../../server/core/keys.ts';
import { expectOneSpelling } from './near-miss.ts';

const folder = mkdtempSync(join(tmpdir(), 'stele-keys-'));
afterAll(() => rmSync(folder, { recursive: true }));

function openssl(...args: readonly string[]): string {
  return execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
}

/** What openssl makes a key of, and which of our algorithms that is. */
const KINDS = {
  ed25519: ['-algorithm', 'ed25519'],
  'ecdsa-p256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'ecdsa-p384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'rsa-pss': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
} as const;

type Kind = keyof typeof KINDS;
const kinds = Object.keys(KINDS) as Kind[];

const privatePem = {} as Record<Kind, string>;
const publicPem = {} as Record<Kind, string>;
const certificate = {} as Record<Kind, string>;
for (const kind of kinds) {
  openssl('genpkey', ...KINDS[kind], '-out', `${kind}.key`);
  privatePem[kind] = readFileSync(join(folder, `${kind}.key`), 'utf8');
  publicPem[kind] = openssl('pkey', '-in', `${kind}.key`, '-pubout');
  certificate[kind] = openssl(
    ...['req', '-x509', '-key', `${kind}.key`, '-subj', '/CN=gateway', '-days', '90'],
    ...['-addext', 'subjectAltName=DNS:gateway.example'],
  );
}

const spkiOf = (key: KeyObject) => new Uint8Array(key.export({ format: 'der', type: 'spki' }));
const spki = (kind: Kind) => spkiOf(createPublicKey(publicPem[kind]));
const jwk = (kind: Kind) => createPublicKey(publicPem[kind]).export({ format: 'jwk' });
const pemOf = (der: Uint8Array, label = 'PUBLIC KEY') =>
  `-----BEGIN ${label}-----\n${toBase64(der).replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`;

describe.each(kinds)('%s', (kind) => {
  const key = parsePublicKey(kind, spki(kind));

  test('is the same key in every form', () => {
    expect(parseKeyText(publicPem[kind])).toEqual({ key, form: 'pem' });
    expect(parseKeyText(publicPem[kind].replaceAll('\n', '\r\n'))).toEqual({ key, form: 'pem' });
    expect(parseKeyText(`  ${toBase64(spki(kind))}\n`)).toEqual({ key, form: 'der' });
    expect(parseKeyText(JSON.stringify(jwk(kind)))).toEqual({ key, form: 'jwk' });
    const spread = JSON.stringify({ kid: 'gateway-1', use: 'sig', ...jwk(kind) }, undefined, 2);
    expect(parseKeyText(`\n${spread}\n`)).toEqual({ key, form: 'jwk' });
  });

  test('is taken from a certificate, with the period that it has', () => {
    const given = parseKeyText(certificate[kind]);
    expect(given).toMatchObject({ key, form: 'certificate' });
    const path = join(folder, `${kind}.crt`);
    const dates = openssl('x509', '-noout', '-dates', '-in', writtenTo(path, certificate[kind]));
    const [, from = '', to = ''] = /notBefore=(.*)\nnotAfter=(.*)\n/.exec(dates) ?? [];
    expect(given.notBeforeMs).toBe(Date.parse(from));
    expect(given.notAfterMs).toBe(Date.parse(to));
    // What people copy has the certificate's text before its block.
    const explained = openssl('x509', '-text', '-in', path);
    expect(parseKeyText(explained)).toEqual(given);
  });

  test('is refused as a private key, without a word of it', () => {
    const secret = createPrivate(kind);
    for (const text of [privatePem[kind], secret.jwk, secret.pkcs8]) {
      const error = refusal(text);
      expect(error.code).toBe('malformed');
      expect(error.message).toMatch(/private/);
      for (const part of secret.parts) expect(error.message).not.toContain(part);
    }
  });
});

function writtenTo(path: string, text: string): string {
  execFileSync('/bin/sh', ['-c', 'cat > "$0"', path], { input: text });
  return path;
}

function createPrivate(kind: Kind) {
  const { privateKey } =
    kind === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : kind === 'rsa-pss'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : generateKeyPairSync('ec', { namedCurve: kind === 'ecdsa-p256' ? 'P-256' : 'P-384' });
  const members = privateKey.export({ format: 'jwk' });
  const der = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
  return {
    jwk: JSON.stringify(members),
    pkcs8: toBase64(der),
    parts: [members.d, members.p, members.q, toBase64(der).slice(8, 40)].filter(
      (part) => part !== undefined,
    ),
  };
}

function refusal(text: string): SteleError {
  try {
    parseKeyText(text);
  } catch (error) {
    if (error instanceof SteleError) return error;
    throw error;
  }
  throw new Error(`it was taken: ${text.slice(0, 200)}`);
}

test('a key as WebCrypto exports it is taken', async () => {
  for (const [alg, params] of [
    ['ed25519', { name: 'Ed25519' }],
    ['ecdsa-p256', { name: 'ECDSA', namedCurve: 'P-256' }],
    ['ecdsa-p384', { name: 'ECDSA', namedCurve: 'P-384' }],
    [
      'rsa-pss',
      {
        name: 'RSA-PSS',
        modulusLength: 2048,
        publicExponent: Uint8Array.of(1, 0, 1),
        hash: 'SHA-256',
      },
    ],
  ] as const) {
    // The types know each call of its own, and not of any of them.
    const made = webcrypto.subtle.generateKey(params as webcrypto.EcKeyGenParams, true, ['sign']);
    const pair = (await made) as webcrypto.CryptoKeyPair;
    const text = JSON.stringify(await webcrypto.subtle.exportKey('jwk', pair.publicKey));
    const der = new Uint8Array(await webcrypto.subtle.exportKey('spki', pair.publicKey));
    expect(parseKeyText(text).key).toEqual(parsePublicKey(alg, der));
  }
});

const { x, y } = jwk('ecdsa-p256');
const { n } = jwk('rsa-pss');
const ed = jwk('ed25519');
const EC = { kty: 'EC', crv: 'P-256', x, y };

describe('a JWK', () => {
  test.each<[string, unknown, string]>([
    ['of another kind', { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA' }, 'jwk: kty: not one of'],
    ['without a kind', { crv: 'Ed25519', x: ed.x }, 'jwk: kty: not one of'],
    ['that is symmetric', { kty: 'oct', k: 'c2VjcmV0' }, 'the member k, which only private'],
    ['for encryption', { ...ed, use: 'enc' }, 'jwk: use: "enc" is not "sig"'],
    ['for more than verifying', { ...ed, key_ops: ['verify', 'sign'] }, 'jwk: key_ops: 2 items'],
    ['for signing', { ...ed, key_ops: ['sign'] }, 'jwk: key_ops[0]: "sign" is not "verify"'],
    ['for another algorithm', { ...EC, alg: 'ES384' }, 'jwk: alg: "ES384" is not "ES256"'],
    [
      'for PKCS#1 signatures',
      { kty: 'RSA', n, e: 'AQAB', alg: 'RS256' },
      'jwk: alg: "RS256" is not "PS256"',
    ],
    ['with a member nobody knows', { ...ed, x5u: 'http://a.example' }, 'jwk: x5u: no such member'],
    ['of X25519', { ...ed, crv: 'X25519' }, 'jwk: crv: "X25519" is not "Ed25519"'],
    ['of P-521', { ...EC, crv: 'P-521' }, 'jwk: crv: not one of P-256, P-384'],
    ['of secp256k1', { ...EC, crv: 'secp256k1' }, 'jwk: crv: not one of P-256, P-384'],
    ['without a coordinate', { kty: 'EC', crv: 'P-256', x }, 'jwk: y: it is required'],
    ['with a short coordinate', { ...EC, x: 'AAAA' }, 'is not 32 bytes in unpadded base64url'],
    ['with padding', { ...ed, x: `${ed.x}=` }, 'is not 32 bytes in unpadded base64url'],
    ['in base64', { ...ed, x: `+${ed.x?.slice(1)}` }, 'is not 32 bytes in unpadded base64url'],
    ['off its curve', { ...EC, y: x, x: y }, 'ecdsa-p256 key: not a point of the curve (04'],
    [
      'at infinity',
      { ...EC, x: toBase64url(new Uint8Array(32)), y: toBase64url(new Uint8Array(32)) },
      'ecdsa-p256 key: not a point of the curve (0400',
    ],
    ['of exponent 3', { kty: 'RSA', n, e: 'Aw' }, 'rsa-pss key: exponent 3 where 65537 is needed'],
    [
      'of 1024 bits',
      { kty: 'RSA', n: n?.slice(0, 171).replace(/.$/, 'A'), e: 'AQAB' },
      'where 2048 to 4096 are allowed',
    ],
    [
      'of 4104 bits',
      { kty: 'RSA', n: toBase64url(new Uint8Array(513).fill(0xff)), e: 'AQAB' },
      'rsa-pss key: a modulus of 4104 bits where 2048 to 4096 are allowed',
    ],
    ['with a zero before its modulus', { kty: 'RSA', n: `AA${n}`, e: 'AQAB' }, 'jwk'],
    ['with a zero before its exponent', { kty: 'RSA', n, e: 'AAEAAQ' }, 'jwk: n or e begins with'],
    [
      'of small order',
      { kty: 'OKP', crv: 'Ed25519', x: toBase64url(parseHex(`01${'00'.repeat(31)}`, 'x')) },
      'ed25519 key: of small order (0100',
    ],
    ['in a set', { keys: [ed] }, 'jwk: it is a set of keys: give one of them alone'],
  ])('%s is refused', (_, value, reason) => {
    const error = refusal(JSON.stringify(value));
    expect(error).toMatchObject({ code: 'malformed', message: expect.stringContaining(reason) });
  });

  test('with a member twice, or with more behind it, is refused', () => {
    const text = JSON.stringify(ed);
    expect(refusal(text.replace('{', '{"x":"AAAA",')).message).toMatch('member "x" occurs twice');
    expect(refusal(`${text}${text}`).message).toMatch('something follows the value');
  });

  test('with any private member is refused before anything else is looked at', () => {
    for (const name of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
      const { message } = refusal(JSON.stringify({ [name]: 'PLANTED', kty: 'none', what: 1 }));
      expect(message).toContain(`the member ${name}, which only private keys have`);
      expect(message).not.toContain('PLANTED');
    }
  });
});

/** SPKI with this algorithm and key, each in hex. */
function spkiWith(algorithm: string, key: string): string {
  const wrap = (tag: string, hex: string): string => {
    const length = hex.length / 2;
    const long = length < 128 ? '' : length < 256 ? '81' : '82';
    return `${tag}${long}${length.toString(16).padStart(long === '82' ? 4 : 2, '0')}${hex}`;
  };
  const bits = wrap('03', `00${key}`);
  return toBase64(parseHex(wrap('30', wrap('30', algorithm) + bits), 'SPKI'));
}

const EC_OID = '06072a8648ce3d0201';
const RSA = '06092a864886f70d0101010500';

/** The two numbers of an RSA key. */
function rsaKey(bits: number, exponent: string): string {
  const modulus = `00${'ff'.repeat(bits / 8)}`;
  const integer = (hex: string) => {
    const length = hex.length / 2;
    const size = length < 128 ? '' : length < 256 ? '81' : '82';
    return `02${size}${length.toString(16).padStart(size === '82' ? 4 : 2, '0')}${hex}`;
  };
  const body = integer(modulus) + integer(exponent);
  const size = body.length / 2 < 256 ? '81' : '82';
  return `30${size}${(body.length / 2).toString(16).padStart(size === '82' ? 4 : 2, '0')}${body}`;
}

describe('a weak or foreign key', () => {
  const point = (hex: string) => spkiWith(`${EC_OID}06082a8648ce3d030107`, hex);

  test.each<[string, string, string]>([
    ['RSA of 1024 bits', spkiWith(RSA, rsaKey(1024, '010001')), 'a modulus of 1024 bits'],
    ['RSA of 2040 bits', spkiWith(RSA, rsaKey(2040, '010001')), 'a modulus of 2040 bits'],
    ['RSA of 4104 bits', spkiWith(RSA, rsaKey(4104, '010001')), 'a modulus of 4104 bits'],
    ['RSA with exponent 3', spkiWith(RSA, rsaKey(2048, '03')), 'exponent 3 where 65537'],
    ['RSA with exponent 1', spkiWith(RSA, rsaKey(2048, '01')), 'exponent 1 where 65537'],
    [
      'RSA with a long exponent',
      spkiWith(RSA, rsaKey(2048, '01'.repeat(16))),
      'exponent of 121 bits where 65537',
    ],
    [
      'id-RSASSA-PSS',
      spkiWith('06092a864886f70d01010a', rsaKey(2048, '010001')),
      'id-RSASSA-PSS; RSA is taken as rsaEncryption',
    ],
    ['P-521', spkiWith(`${EC_OID}06052b81040023`, `04${'00'.repeat(132)}`), 'P-521 (1.3.132.0.35)'],
    ['secp256k1', spkiWith(`${EC_OID}06052b8104000a`, `04${'00'.repeat(64)}`), 'is secp256k1'],
    ['another curve', spkiWith(`${EC_OID}06032a0304`, '04'), 'its curve is not known (1.2.3.4)'],
    ['Ed448', spkiWith('06032b6571', '00'.repeat(57)), 'its algorithm is Ed448 (1.3.101.113)'],
    ['X25519', spkiWith('06032b656e', '00'.repeat(32)), 'its algorithm is X25519'],
    ['no known algorithm', spkiWith('06032a0304', '00'), 'its algorithm is not known (1.2.3.4)'],
    ['a compressed point', point(`02${'11'.repeat(32)}`), 'a compressed point where'],
    ['the point at infinity', point('00'), 'the point at infinity is no key'],
    ['a hybrid point', point(`06${'11'.repeat(64)}`), 'begin with 6 where a point has 65'],
    ['a point off its curve', point(`04${'11'.repeat(64)}`), 'not a point of the curve (0411'],
    ['a short point', point(`04${'11'.repeat(63)}`), '64 bytes that begin with 4 where'],
    ['no bits at all', toBase64(parseHex('300b300706032b657005000300', 'SPKI')), 'no unused bits'],
  ])('%s is refused with its reason', (_, text, reason) => {
    expect(refusal(text)).toMatchObject({
      code: 'malformed',
      message: expect.stringContaining(reason),
    });
    expect(refusal(pemOf(Uint8Array.from(Buffer.from(text, 'base64')))).message).toContain(reason);
  });

  test('Ed25519 of small order, with torsion, or not canonical is refused with its reason', () => {
    const key = (hex: string) => toBase64(ed25519Spki(parseHex(hex, 'key')));
    expect(refusal(key('00'.repeat(32))).message).toMatch('of small order (0000');
    expect(refusal(key(`${'ff'.repeat(31)}7f`)).message).toMatch('not canonical: y is not below');
    // Of the family of [CCTV]: a point with a component of order 8.
    const mixed = 'cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d';
    expect(refusal(key(mixed)).message).toMatch('not torsion-free (cdb2');
    const off = refusal(key(`02${'00'.repeat(31)}`));
    expect(off.message).toMatch('not a point of the curve (0200');
  });

  test('openssl’s own weak keys are refused as well', () => {
    openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-out', 'weak.key');
    expect(refusal(openssl('pkey', '-in', 'weak.key', '-pubout')).message).toBe(
      'rsa-pss key: a modulus of 1024 bits where 2048 to 4096 are allowed',
    );
    const explicit = ['-pkeyopt', 'ec_param_enc:explicit'];
    openssl('genpkey', ...KINDS['ecdsa-p256'], ...explicit, '-out', 'explicit.key');
    expect(refusal(openssl('pkey', '-in', 'explicit.key', '-pubout')).message).toMatch(
      'its curve is spelled out where a named curve is needed',
    );
    const compressed = openssl(
      ...['ec', '-in', 'ecdsa-p256.key', '-pubout', '-conv_form', 'compressed'],
    );
    expect(refusal(compressed).message).toMatch('ecdsa-p256 key: a compressed point');
  });
});

describe('a text', () => {
  test.each<[string, string, string]>([
    ['of nothing', '', 'in no form known'],
    ['of an SSH key', 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPLANTED me', 'in no form known'],
    ['of PKCS#1', pemOf(Uint8Array.of(0x30, 0), 'RSA PUBLIC KEY'), 'PKCS#1: "openssl rsa'],
    ['of a request', pemOf(Uint8Array.of(0x30, 0), 'CERTIFICATE REQUEST'), 'PEM of a "CERTIFICATE'],
    ['of a cut block', publicPem.ed25519.slice(0, -20), 'its PEM has no end'],
    ['of two blocks', publicPem.ed25519 + publicPem['rsa-pss'], '2 blocks of PEM where one'],
    ['of a whole chain', certificate.ed25519.repeat(3), '3 blocks of PEM where one'],
    ['of a block and a half', `${publicPem.ed25519}-----BEGIN PUBLIC KEY-----`, '2 blocks of PEM'],
    ['that is no base64', publicPem.ed25519.replace(/=?\n-----END/, '!\n-----END'), 'PEM'],
    ['with a foreign end', publicPem.ed25519.replace('END PUBLIC', 'END OTHER'), 'no end'],
    ['with set bits behind', `${toBase64(spki('ed25519')).slice(0, -2)}B=`, 'not canonical base64'],
  ])('%s is refused', (_, text, reason) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: 'malformed', message: expect.stringContaining(reason) });
    expect(error.message).not.toContain('PLANTED');
  });

  test('that is too long is not read', () => {
    expect(refusal('A'.repeat(KEY_TEXT_MAX + 1)).code).toBe('too_large');
  });

  test('almost right is refused, or is the key that it says', () => {
    const samples = kinds.flatMap((kind) => [spki(kind)]);
    expectOneSpelling(samples, (bytes) => parseKeyText(toBase64(bytes)).key.spki, { runs: 2_000 });
  });
});

describe('a certificate', () => {
  const der = (pem: string) =>
    Uint8Array.from(Buffer.from(pem.replace(/-----.*-----/g, ''), 'base64'));

  test('changed anywhere is read without a fault of ours, or refused', () => {
    const whole = der(certificate['ecdsa-p256']);
    for (let at = 0; at < whole.length; at++) {
      const changed = whole.with(at, (whole[at] ?? 0) ^ 0x81);
      try {
        readCertificate(changed);
      } catch (error) {
        expect(error).toMatchObject({ code: 'malformed' });
      }
      expect(() => readCertificate(whole.subarray(0, at))).toThrow('not DER');
    }
    expect(() => readCertificate(concat(whole, Uint8Array.of(0)))).toThrow(
      '1 bytes follow the end',
    );
  });

  test('keeps its times over the turn of the century, and may have no end', () => {
    const times = (from: string, to: string) => readCertificate(handMade(from, to));
    expect(times('490101000000Z', '20500101000000Z')).toMatchObject({
      notBeforeMs: Date.UTC(2049, 0, 1),
      notAfterMs: Date.UTC(2050, 0, 1),
    });
    expect(times('500101000000Z', '991231235959Z')).toMatchObject({
      notBeforeMs: Date.UTC(1950, 0, 1),
      notAfterMs: Date.UTC(1999, 11, 31, 23, 59, 59),
    });
    expect(times('250101000000Z', '99991231235959Z').notAfterMs).toBeUndefined();
    for (const [from, to, reason] of [
      ['250230000000Z', '260101000000Z', '"250230000000Z" is not a time'],
      ['2501010000Z', '260101000000Z', 'is not a time in UTC with seconds'],
      ['250101000000+0000', '260101000000Z', 'is not a time in UTC with seconds'],
      ['260101000000Z', '250101000000Z', 'it ends before it begins'],
      ['2601010000é0Z', '270101000000Z', 'certificate'],
    ] as const) {
      expect(() => times(from, to)).toThrow(reason);
    }
  });

  /** As short a certificate as there can be, with these times. */
  function handMade(from: string, to: string): Uint8Array {
    const element = (tag: number, ...content: readonly Uint8Array[]) => {
      const body = concat(...content);
      const length = body.length < 128 ? [body.length] : [0x81, body.length];
      return concat(Uint8Array.of(tag, ...length), body);
    };
    const time = (text: string) =>
      element(text.length > 13 && /^\d{14}/.test(text) ? 0x18 : 0x17, Buffer.from(text));
    const nothing = element(0x30);
    const tbs = element(
      0x30,
      element(0x02, Uint8Array.of(1)),
      nothing,
      nothing,
      element(0x30, time(from), time(to)),
      nothing,
      spki('ed25519'),
    );
    return element(0x30, tbs, nothing, element(0x03, Uint8Array.of(0)));
  }
});

describe('DER', () => {
  const read = (hex: string) => {
    const reader = new DerReader(parseHex(hex, 'DER'), 'it');
    const content = reader.content('sequence');
    reader.end();
    return content;
  };

  test('is read in its one form', () => {
    expect(read('3000')).toEqual(new Uint8Array());
    expect(read(`307f${'00'.repeat(127)}`)).toHaveLength(127);
    expect(read(`308180${'00'.repeat(128)}`)).toHaveLength(128);
    expect(read(`30820100${'00'.repeat(256)}`)).toHaveLength(256);
  });

  test.each([
    ['no bytes', '', 'nothing where a sequence'],
    ['no length', '30', 'a length of 0 bytes'],
    ['an indefinite length', '30800000', 'a length of 0 bytes'],
    ['a length of four bytes', '308400000001aa', 'a length of 4 bytes'],
    ['a length that fits one byte', '30817f', 'an overlong length'],
    ['a length with a zero before it', `308200ff${'00'.repeat(255)}`, 'an overlong length'],
    ['too little content', '300200', 'a sequence of 2 bytes where 1 are'],
    ['a cut length', '3082', 'an overlong length'],
    ['more behind it', '300000', '1 bytes follow the end'],
    ['another tag', '3100', 'tag 0x31 where a sequence'],
  ])('with %s is refused', (_, hex, reason) => {
    expect(() => read(hex)).toThrow(`it: not DER: ${reason}`);
  });

  test('names are written with dots', () => {
    const name = (hex: string) => oidText(parseHex(hex, 'OID'), 'it');
    expect(name('2a8648ce3d0201')).toBe('1.2.840.10045.2.1');
    expect(name('550406')).toBe('2.5.4.6');
    expect(name('883703')).toBe('2.999.3');
    for (const bad of ['', '80', '2a86', '2a8001', `2a${'ff'.repeat(9)}7f`]) {
      expect(() => name(bad)).toThrow('not DER');
    }
  });
});
