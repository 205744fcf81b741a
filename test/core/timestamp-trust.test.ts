/** Whom a reader believes, and which way leads from whoever signed a time stamp to them. */
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../server/core/bytes.ts';
import { NoTrust } from '../../server/core/errors.ts';
import { authorityOfChain, checkTimestamp, parseTsaRoots } from '../../server/core/rfc3161.ts';
import {
  certificateId,
  type Made,
  makeCertificate,
  makeResponse,
  pemOf,
  type Stamping,
  signingCertificateV2,
} from './made-tsa.ts';
import { thrownBy } from './thrown.ts';

const message = utf8('example.org/logs/a\n7\nSuGRk59U\n');
const TIME_MS = Date.UTC(2026, 10, 21, 3, 25, 22);

const root = makeCertificate({ name: 'root', isAuthority: true });
const between = makeCertificate({ name: 'between', isAuthority: true, by: root, pathLength: 0 });
const signer = makeCertificate({ name: 'authority', by: root });
const stranger = makeCertificate({ name: 'stranger', isAuthority: true });

const authority = (...pinned: readonly Made[]) => parseTsaRoots(pemOf(...pinned), 'roots');

const make = (stamping: Partial<Stamping> = {}) => makeResponse({ signer, message, ...stamping });

const check = ({ response }: { readonly response: Uint8Array }) =>
  checkTimestamp({ response, message, authorities: [authority(root)] });

describe('of several authorities', () => {
  const chain = [signer.der, root.der];

  test('any may vouch for it', () => {
    const authorities = [authority(stranger), authority(root)];
    expect(checkTimestamp({ response: make(), message, authorities }).authority).toBe(
      'CN=authority',
    );
  });

  test('what one finds wrong outweighs that others do not know it', () => {
    const response = make({ signer: makeCertificate({ by: root, until: '250101000000Z' }) });
    for (const authorities of [
      [authority(stranger), authority(root)],
      [authority(root), authority(stranger)],
    ]) {
      const error = thrownBy(() => checkTimestamp({ response, message, authorities }));
      expect(error).not.toBeInstanceOf(NoTrust);
      expect(String(error)).toContain('valid until 2025');
    }
  });

  test('none is none: nothing is believed', () => {
    const error = thrownBy(() => checkTimestamp({ response: make(), message, authorities: [] }));
    expect(error).toBeInstanceOf(NoTrust);
  });

  test('one may be pinned by its chain, and from when to when', () => {
    const pinned = (fromMs: number, untilMs: number) => [
      authorityOfChain(chain, { fromMs, untilMs }, 'chain'),
    ];
    for (const response of [make(), make({ certificates: [] })]) {
      const held = (fromMs: number, untilMs: number) =>
        checkTimestamp({ response, message, authorities: pinned(fromMs, untilMs) });
      expect(held(TIME_MS, TIME_MS).authority).toBe('CN=authority');
      expect(() => held(TIME_MS + 1, Infinity)).toThrow('is outside of when CN=authority is');
      expect(() => held(-Infinity, TIME_MS - 1)).toThrow('is outside of when CN=authority is');
    }
  });

  test('one that is pinned by its chain has no other signer under the same root', () => {
    const other = makeCertificate({ name: 'other', by: root });
    const authorities = [authorityOfChain(chain, {}, 'chain')];
    const error = thrownBy(() =>
      checkTimestamp({ response: make({ signer: other }), message, authorities }),
    );
    expect(error).toBeInstanceOf(NoTrust);
    expect(String(error)).toContain('signed by CN=other, and another certificate is pinned');
  });

  test('a chain without a signer takes any under its root', () => {
    const authorities = [authorityOfChain([between.der, root.der], {}, 'chain')];
    const leaf = makeCertificate({ name: 'leaf', by: between });
    for (const one of [leaf, signer]) {
      const stamp = checkTimestamp({ response: make({ signer: one }), message, authorities });
      expect(stamp.path.at(-1)?.name).toBe('CN=root');
    }
  });

  test('a chain has certificates, and they can be read', () => {
    expect(() => authorityOfChain([], {}, 'chain')).toThrow('chain: 0 certificates');
    expect(() => authorityOfChain([signer.der.subarray(1)], {}, 'chain')).toThrow(
      'chain: certificate: not DER',
    );
  });
});

describe('a path', () => {
  test('goes round what is wrong where another way is right', () => {
    const old = makeCertificate({
      name: 'between',
      isAuthority: true,
      by: root,
      until: '250101000000Z',
    });
    const renewed = makeCertificate({ name: 'between', isAuthority: true, by: root, sharing: old });
    const leaf = makeCertificate({ name: 'leaf', by: old });
    const response = make({ signer: leaf, certificates: [leaf, old, renewed] });
    expect(check({ response }).path.map(({ name }) => name)).toEqual([
      'CN=leaf',
      'CN=between',
      'CN=root',
    ]);
  });

  test('counts no authority that bears the name of its issuer', () => {
    const renewed = makeCertificate({ name: 'between', isAuthority: true, by: between });
    const leaf = makeCertificate({ name: 'leaf', by: renewed });
    const response = make({ signer: leaf, certificates: [leaf, renewed, between] });
    expect(check({ response }).path).toHaveLength(4);
  });

  test('has at most eight certificates', () => {
    const authorities = [root];
    const stamped = () => {
      const leaf = makeCertificate({ name: 'leaf', by: authorities.at(-1) as Made });
      return make({ signer: leaf, certificates: [leaf, ...authorities.slice(1)] });
    };
    for (let i = 0; i < 6; i++) {
      const by = authorities.at(-1) as Made;
      authorities.push(makeCertificate({ name: `authority ${i}`, isAuthority: true, by }));
    }
    expect(check({ response: stamped() }).path).toHaveLength(8);
    const by = authorities.at(-1) as Made;
    authorities.push(makeCertificate({ name: 'one more', isAuthority: true, by }));
    expect(thrownBy(() => check({ response: stamped() }))).toBeInstanceOf(NoTrust);
  });

  test('that turns in a circle ends', () => {
    const first = makeCertificate({ name: 'a', isAuthority: true });
    const second = makeCertificate({ name: 'b', isAuthority: true, by: first });
    const back = makeCertificate({ name: 'a', isAuthority: true, by: second, sharing: first });
    const leaf = makeCertificate({ by: second });
    const response = make({ signer: leaf, certificates: [leaf, second, back, first] });
    expect(thrownBy(() => check({ response }))).toBeInstanceOf(NoTrust);
  });

  test('costs no more signatures than a bound, whatever comes along', () => {
    const name = 'one name for all';
    // By their name any could have signed any: eight have the key that signed, and seven another.
    const same = Array.from({ length: 8 }, () =>
      makeCertificate({ name, isAuthority: true, sharing: stranger }),
    );
    const others = Array.from({ length: 7 }, () => makeCertificate({ name, isAuthority: true }));
    const leaf = makeCertificate({ name: 'leaf', by: same[0] as Made });
    const response = make({ signer: leaf, certificates: [leaf, ...others, ...same] });
    expect(() => check({ response })).toThrow('more than 64 signatures would have to be checked');
    // However many authorities are known, a pair is checked once.
    const few = make({ signer: leaf, certificates: [leaf, ...same] });
    const authorities = Array.from({ length: 64 }, () => authority(root));
    const error = thrownBy(() => checkTimestamp({ response: few, message, authorities }));
    expect(error).toBeInstanceOf(NoTrust);
  });

  test('has no more certificates than a bound, in the token and under the signature', () => {
    const many = Array.from({ length: 17 }, () => signer);
    expect(() => check({ response: make({ certificates: many }) })).toThrow(
      'more than 16 certificates',
    );
    const ids = signingCertificateV2(...many.map((one) => certificateId(one)));
    const response = make({
      attributes: (given) => Object.values({ ...given, signingCertificate: ids }),
    });
    expect(() => check({ response })).toThrow('more than 16 certificates are named');
  });
});

describe('pinned certificates', () => {
  test('are all those of a text, with explanations between them', () => {
    const pem = `# of the authority\n${pemOf(root)}\nand\r\n${pemOf(stranger).replaceAll('\n', '\r\n')}`;
    expect(parseTsaRoots(pem, 'roots').pinned.map(({ name }) => name)).toEqual([
      'CN=root',
      'CN=stranger',
    ]);
  });

  test.each([
    ['nothing', '', 'not certificates in PEM'],
    ['no end', pemOf(root).replace(/-----END.*/, ''), 'not certificates in PEM'],
    ['one without an end', pemOf(root) + pemOf(root).slice(0, 90), 'not certificates in PEM'],
    ['another label', pemOf(root).replaceAll('CERTIFICATE', 'PUBLIC KEY'), 'a PUBLIC KEY where'],
    ['a private key', `${pemOf(root)}-----BEGIN PRIVATE KEY-----`, 'it has a private key in it'],
    ['what is no base64', pemOf(root).replace('MII', 'M='), 'canonical base64'],
    ['a certificate that is cut', pemOf({ ...root, der: root.der.subarray(0, 99) }), 'not DER'],
    ['too many', pemOf(...Array.from({ length: 65 }, () => root)), '65 certificates where at most'],
  ])('are refused with %s, and where', (_, pem, reason) => {
    const error = thrownBy(() => parseTsaRoots(pem, 'tsa_roots.[1]'));
    expect(error).toMatchObject({ code: 'malformed' });
    expect((error as Error).message).toMatch(/^tsa_roots\.\[1\]: /);
    expect((error as Error).message).toContain(reason);
  });
});
