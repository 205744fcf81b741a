import { describe, expect, it } from 'vitest';
import { sha256, toBase64, utf8 } from '../../server/core/bytes.ts';
import { rawEd25519 } from '../../server/core/keys.ts';
import { makeVerifierKey, NOTE_COSIGNATURE } from '../../server/core/note.ts';
import { formatTrust, parseTrust } from '../../server/core/trust.ts';
import { MadeLog, makeKey } from '../verify/make.ts';
import { codeOf } from './codes.ts';
import { makeCertificate, pemOf } from './made-tsa.ts';
import { expectOneSpelling } from './near-miss.ts';

const log = new MadeLog({ gateways: ['ed25519', 'rsa-pss'] });
const other = new MadeLog({ origin: 'example.org/logs/other' });
const witness = makeVerifierKey('w.example', NOTE_COSIGNATURE, rawEd25519(makeKey().publicKey));
const policy = `log ${log.identityKey.text}\nwitness w ${witness.text}\nquorum w\n`;

const rekor = makeKey().publicKey;
const tsaRoot = makeCertificate({ name: 'tsa', isAuthority: true });

const [gateway] = log.gateways;
const file = {
  format: 'stele.trust/1',
  logs: [
    {
      origin: log.origin,
      keys: [{ vkey: log.identityKey.text, until_size: 9 }, { vkey: log.anchorKey.text }],
      gateways: log.gateways.map(({ publicKey: { keyid, alg, spki } }) => ({
        keyid,
        alg,
        spki: toBase64(spki),
      })),
    },
    { origin: other.origin, keys: [{ vkey: other.identityKey.text }], gateways: [] },
  ],
  policy,
  trusted_root: {
    mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
    tlogs: [
      {
        baseUrl: 'https://rekor.test.example',
        hashAlgorithm: 'SHA2_256',
        publicKey: {
          rawBytes: toBase64(rekor.spki),
          keyDetails: 'PKIX_ED25519',
          validFor: { start: '2026-01-01T00:00:00Z' },
        },
        logId: { keyId: toBase64(sha256(rekor.spki)) },
      },
    ],
  },
  tsa_roots: [pemOf(tsaRoot), pemOf(tsaRoot, makeCertificate({ by: tsaRoot }))],
};
const json = (value: unknown) => utf8(JSON.stringify(value));

describe('a trust file', () => {
  it('is read, and printed for people', () => {
    const trust = parseTrust(json(file));
    expect(trust.logs.map(({ origin }) => origin)).toEqual([log.origin, other.origin]);
    expect(trust.logs[0]?.keys.map(({ untilSize }) => untilSize)).toEqual([9, undefined]);
    expect(trust.policy?.parsed.quorum).toBe('w');
    const pinned = trust.tsaRoots?.authorities.map((authority) => authority.pinned.length);
    expect(pinned).toEqual([1, 2]);
    const [instance] = trust.trustedRoot?.parsed.logs ?? [];
    expect(instance).toMatchObject({ usable: true, baseUrl: 'https://rekor.test.example' });
    expect(JSON.parse(formatTrust(trust))).toEqual(file);
    expect(parseTrust(utf8(formatTrust(trust)))).toEqual(trust);
  });

  it('says the same thing as what it prints, after any small change', () => {
    const printed = utf8(formatTrust(parseTrust(json({ ...file, logs: file.logs.slice(1) }))));
    // White space is free, so the print of a print is compared.
    expectOneSpelling(
      [printed],
      (bytes) => {
        const once = formatTrust(parseTrust(bytes));
        expect(formatTrust(parseTrust(utf8(once)))).toBe(once);
        return once === Buffer.from(printed).toString() ? bytes : utf8(once);
      },
      { runs: 500 },
    );
  });

  it('may be a tlog-policy, in which a log is known by its key', () => {
    const trust = parseTrust(utf8(policy));
    expect(trust.logs).toMatchObject([{ origin: log.origin, gateways: [] }]);
    expect(trust.policy?.parsed.witnesses).toHaveLength(1);
  });

  const [first] = file.logs;
  it.each([
    ['an unknown member', { ...file, extra: 1 }],
    ['another format', { ...file, format: 'stele.trust/2' }],
    ['a log twice', { ...file, logs: [first, first] }],
    ['a log without keys', { ...file, logs: [{ ...first, keys: [] }] }],
    [
      'a key of another name',
      { ...file, logs: [{ ...first, keys: [{ vkey: other.identityKey.text }] }] },
    ],
    [
      'a key that is none',
      { ...file, logs: [{ ...first, keys: [{ vkey: `${log.origin}+00000000+AQ==` }] }] },
    ],
    [
      'a negative size',
      { ...file, logs: [{ ...first, keys: [{ vkey: log.identityKey.text, until_size: -1 }] }] },
    ],
    [
      'a keyid of another key',
      {
        ...file,
        logs: [
          {
            ...first,
            gateways: [
              {
                keyid: 'a'.repeat(64),
                alg: 'ed25519',
                spki: toBase64(gateway?.publicKey.spki ?? new Uint8Array()),
              },
            ],
          },
        ],
      },
    ],
    ['a bad policy', { ...file, policy: 'quorum\n' }],
    ['no logs', { format: 'stele.trust/1' }],
  ])('is malformed with %s', (_, value) => {
    expect(codeOf(() => parseTrust(json(value)))).toBe('malformed');
  });

  it('says what of its trusted_root cannot be read', () => {
    const spoil = (change: object) => () =>
      parseTrust(json({ ...file, trusted_root: { ...file.trusted_root, ...change } }));
    expect(codeOf(spoil({ mediaType: 'x' }))).toBe('malformed');
    expect(spoil({ mediaType: 'x' })).toThrow('trusted root: mediaType');
    const [tlog] = file.trusted_root.tlogs;
    expect(spoil({ tlogs: [tlog, { ...tlog, baseUrl: 'ftp://x' }] })).toThrow(
      'trusted root: tlogs.[1].baseUrl',
    );
  });

  it('says which of its tsa_roots cannot be read, and why', () => {
    const pem = pemOf(tsaRoot);
    for (const [text, reason] of [
      ['-----BEGIN CERTIFICATE-----', 'not certificates in PEM, each from its BEGIN to its END'],
      [pem.replace('MII', 'MII='), 'characters that are not canonical base64'],
      [pem.replaceAll('CERTIFICATE', 'PUBLIC KEY'), 'a PUBLIC KEY where certificates are needed'],
      [`${pem}-----BEGIN EC PRIVATE KEY-----`, 'it has a private key in it'],
    ] as const) {
      const action = () => parseTrust(json({ ...file, tsa_roots: [pem, text] }));
      expect(codeOf(action)).toBe('malformed');
      expect(action).toThrow(`trust file: tsa_roots.[1]: `);
      expect(action).toThrow(reason);
    }
  });

  it('has an upper bound', () => {
    expect(codeOf(() => parseTrust(new Uint8Array(2_097_153)))).toBe('too_large');
  });
});
