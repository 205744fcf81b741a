/** Certificates: what is read of them is what Node reads, and what is signed by whom is what Node says. */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { equalBytes, toHex } from '../../server/core/bytes.ts';
import { SteleError } from '../../server/core/errors.ts';
import { checkSignatureBy, schemeOf } from '../../server/core/x509/algorithms.ts';
import {
  type Certificate,
  KEY_USAGE,
  parseCertificate,
} from '../../server/core/x509/certificate.ts';
import { sharedBytes, sharedMissing } from '../shared.ts';
import { codeOf } from './codes.ts';
import {
  bits,
  boolean,
  CODE_SIGNING,
  context,
  element,
  extension,
  integer,
  type Kind,
  type Made,
  makeCertificate,
  NULL,
  octets,
  oid,
  sequence,
  signed,
  TIME_STAMPING,
  utcTime,
  type Wanted,
} from './made-tsa.ts';
import { nearMiss } from './near-miss.ts';

const root = makeCertificate({ name: 'root', isAuthority: true, pathLength: 3 });

const KINDS: readonly Kind[] = ['p256', 'p384', 'p521', 'rsa', 'ed25519'];

const wanted: Record<string, Wanted> = {
  'an authority': { isAuthority: true },
  'an authority with a length': { isAuthority: true, pathLength: 0 },
  'one without key usage or purposes': { keyUsage: undefined, purposes: undefined },
  'one with purposes that are not critical': {
    purposes: [CODE_SIGNING, TIME_STAMPING],
    purposesCritical: false,
  },
  'one of the first version': { withoutExtensions: true },
  'one with a negative serial': { serial: element(0x02, Uint8Array.of(0xc1, 0xe9)) },
  'one of the last century': { from: '500101000000Z', until: '991231235959Z' },
};
const samples: Record<string, Made> = Object.fromEntries([
  ...Object.entries(wanted).map(([name, one]) => [name, makeCertificate({ ...one, by: root })]),
  ...KINDS.map((kind) => [`one of ${kind}`, makeCertificate({ kind, by: root })]),
]);

/** Everything that both read, in the form of ours. */
function byNode(der: Uint8Array) {
  const node = new X509Certificate(der);
  const serial = BigInt(`0x${node.serialNumber.replace('-', '')}`);
  return {
    // Node shows the magnitude, and loses the sign of some.
    serial: serial.toString(16),
    notBeforeMs: node.validFromDate.getTime(),
    notAfterMs: node.validToDate.getTime(),
    spki: toHex(new Uint8Array(node.publicKey.export({ format: 'der', type: 'spki' }))),
    isAuthority: node.ca,
    purposes: node.keyUsage ?? [],
  };
}

function byUs({ serial, notBeforeMs, notAfterMs, spki, uses }: Certificate) {
  const n = BigInt(`0x${toHex(serial)}`);
  const isNegative = (serial[0] ?? 0) >= 0x80;
  return {
    serial: (isNegative ? 2n ** BigInt(8 * serial.length) - n : n).toString(16),
    notBeforeMs,
    notAfterMs,
    spki: toHex(spki),
    // Node's word means that it may sign certificates, too.
    isAuthority: uses.isAuthority && ((uses.keyUsage ?? 0x04) & KEY_USAGE.keyCertSign) !== 0,
    purposes: uses.extended?.purposes ?? [],
  };
}

describe('what is read', () => {
  test.each(Object.entries(samples))('of %s is what Node reads', (_, { der }) => {
    expect(byUs(parseCertificate(der))).toEqual(byNode(der));
  });

  test('of a certificate with any byte changed is what Node reads, where both read it', () => {
    let both = 0;
    for (const { der } of [
      samples['one of p256'],
      samples['an authority with a length'],
    ] as Made[]) {
      for (let at = 0; at < der.length; at++) {
        for (const mask of [0x01, 0x02, 0x80]) {
          const changed = der.with(at, (der[at] ?? 0) ^ mask);
          let ours: Certificate;
          try {
            ours = parseCertificate(changed);
          } catch (error) {
            expect(error).toBeInstanceOf(SteleError);
            expect(error).toMatchObject({ code: 'malformed' });
            continue;
          }
          let node: ReturnType<typeof byNode>;
          try {
            node = byNode(changed);
          } catch {
            // Node reads the key as well, and ours waits until somebody needs it.
            continue;
          }
          both++;
          // Node writes the key anew, and to it nobody is an authority who has any extension that
          // cannot be read.
          const own = { spki: node.spki, ...(node.isAuthority ? {} : { isAuthority: false }) };
          expect({ ...byUs(ours), ...own }, `byte ${at} ^ ${mask}`).toEqual(node);
        }
      }
    }
    expect(both).toBeGreaterThan(500);
  });

  test('is refused where it is almost right, and never otherwise', () => {
    fc.assert(
      fc.property(fc.oneof(...Object.values(samples).map(({ der }) => nearMiss(der))), (bytes) => {
        expect([undefined, 'malformed']).toContain(codeOf(() => parseCertificate(bytes)));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('who signed', () => {
  const roots = KINDS.map((kind) => makeCertificate({ kind, isAuthority: true, name: kind }));
  const leaves = roots.flatMap((by) => [
    makeCertificate({ by }),
    ...(by.kind === 'ed25519' ? [] : [makeCertificate({ by, way: { hash: 'sha512' } })]),
    ...(by.kind === 'rsa' ? [makeCertificate({ by, way: { hash: 'sha384', pss: true } })] : []),
  ]);

  function isSignedBy(leaf: Uint8Array, issuer: Made): boolean {
    const { algorithm, tbs, signature } = parseCertificate(leaf);
    const code = codeOf(() =>
      checkSignatureBy(issuer.spki, schemeOf(algorithm, 'it'), tbs, signature),
    );
    expect([undefined, 'unverified']).toContain(code);
    return code === undefined;
  }

  test('is for every pair what Node says', () => {
    for (const leaf of leaves) {
      for (const issuer of roots) {
        const { publicKey } = new X509Certificate(issuer.der);
        const node = new X509Certificate(leaf.der).verify(publicKey);
        expect(isSignedBy(leaf.der, issuer)).toBe(node);
        expect(node).toBe(equalBytes(leaf.issuer, issuer.name));
      }
    }
  });

  test('is nobody where the signature is another', () => {
    for (const leaf of leaves) {
      const issuer = roots.find(({ name }) => equalBytes(leaf.issuer, name)) as Made;
      for (const back of [1, 20, 60]) {
        const at = leaf.der.length - back;
        const changed = leaf.der.with(at, (leaf.der[at] ?? 0) ^ 1);
        expect(isSignedBy(changed, issuer)).toBe(false);
      }
    }
  });
});

describe('a certificate is refused', () => {
  const { spki } = root;
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const name = sequence();
  const times = sequence(utcTime('200101000000Z'), utcTime('400101000000Z'));
  interface Parts {
    readonly version?: Uint8Array;
    readonly inner?: Uint8Array;
    readonly extensions?: readonly Uint8Array[];
    readonly signature?: Uint8Array;
    readonly more?: readonly Uint8Array[];
  }
  const whole = ({ version, inner = algorithm, extensions, signature, more = [] }: Parts) => {
    const tbs = sequence(
      ...(version === undefined ? [] : [version]),
      integer(1),
      inner,
      name,
      times,
      name,
      spki,
      ...(extensions === undefined ? [] : [context(3, sequence(...extensions))]),
      ...more,
    );
    const made = signed(root.key, { hash: 'sha256' }, tbs);
    return sequence(tbs, algorithm, signature ?? bits(made));
  };
  const v3 = context(0, integer(2));
  const basic = extension('2.5.29.19', true, sequence());

  test.each([
    ['with a version that there is not', { version: context(0, integer(3)) }, 'not from 0 to 2'],
    [
      'with another algorithm inside',
      { inner: sequence(oid('1.3.101.112')) },
      'one algorithm inside',
    ],
    ['with extensions, of the first version', { extensions: [] }, 'it has extensions'],
    ['with an extension twice', { version: v3, extensions: [basic, basic] }, 'is there twice'],
    [
      'with too many extensions',
      {
        version: v3,
        extensions: Array.from({ length: 65 }, (_, i) => extension(`1.2.3.${i}`, false, NULL)),
      },
      'more than 64 extensions',
    ],
    [
      'with too many purposes',
      {
        version: v3,
        extensions: [
          extension(
            '2.5.29.37',
            false,
            sequence(...Array.from({ length: 33 }, (_, i) => oid(`1.2.3.${i}`))),
          ),
        ],
      },
      'more than 32 purposes',
    ],
    [
      'with bits in its key usage that are not used',
      {
        version: v3,
        extensions: [extension('2.5.29.15', true, element(0x03, Uint8Array.of(7, 0xc0)))],
      },
      'key usage: not a string of at most nine bits',
    ],
    [
      'with a key usage of three bytes',
      {
        version: v3,
        extensions: [extension('2.5.29.15', true, element(0x03, Uint8Array.of(0, 1, 1, 1)))],
      },
      'key usage: not a string of at most nine bits',
    ],
    [
      'with something behind its constraints',
      {
        version: v3,
        extensions: [extension('2.5.29.19', true, sequence(boolean(true), integer(0), NULL))],
      },
      'bytes follow the end',
    ],
    ['with something behind its extensions', { more: [NULL] }, 'bytes follow the end'],
    [
      'with a signature that is no whole bytes',
      { signature: element(0x03, Uint8Array.of(1, 2)) },
      'signature: 1 unused bits',
    ],
    ['with an empty signature', { signature: element(0x03) }, 'signature: no unused bits'],
  ] as const)('%s', (_, parts, reason) => {
    expect(() => parseCertificate(whole(parts))).toThrow(`certificate: `);
    expect(() => parseCertificate(whole(parts))).toThrow(reason);
  });

  test('that is too long', () => {
    expect(() => parseCertificate(octets(new Uint8Array(16_384)))).toThrow(
      '16388 bytes where at most 16384 are allowed',
    );
  });

  test('and taken with all that may be there', () => {
    const der = whole({
      version: v3,
      extensions: [
        // False, and said so, as some write it.
        sequence(oid('2.5.29.19'), boolean(false), octets(sequence(boolean(false)))),
        extension('2.5.29.15', true, element(0x03, Uint8Array.of(7, 0x80, 0x80))),
        extension('1.2.3.4', true, NULL),
      ],
    });
    expect(parseCertificate(der).uses).toEqual({
      isAuthority: false,
      keyUsage: 0x80,
      unknown: ['1.2.3.4'],
    });
  });
});

test.skipIf(sharedMissing)('the published certificates are read as Node reads them', () => {
  for (const path of [
    'vectors/rfc3161/sigstage/ts_chain.pem',
    'vectors/rfc3161/test_tsa/ts_chain.pem',
    'fixtures/rekor/generated/tsa/root.pem',
    'fixtures/rekor/generated/tsa/ec.pem',
    'fixtures/rekor/generated/tsa/rsa.pem',
  ]) {
    const text = Buffer.from(sharedBytes(...path.split('/'))).toString();
    for (const [, body = ''] of text.matchAll(/BEGIN CERTIFICATE-----([^-]*)-----END/g)) {
      const der = new Uint8Array(Buffer.from(body, 'base64'));
      expect(byUs(parseCertificate(der))).toEqual(byNode(der));
    }
  }
});
