/** Trusted roots: others write them, so more may be in them than is known, and what cannot be used is said. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../server/core/bytes.ts';
import { SteleError } from '../../../server/core/errors.ts';
import {
  isWithin,
  parseTrustedRoot,
  type TrustedLogInstance,
} from '../../../server/core/sigstore/trusted-root.ts';
import { sharedBytes, sharedMissing } from '../../shared.ts';
import { codeOf } from '../codes.ts';
import { nearMiss } from '../near-miss.ts';
import { Made } from './made.ts';

const made = new Made();

interface RootJson {
  mediaType: string;
  tlogs: Record<string, unknown>[];
  [name: string]: unknown;
}

/** The bytes of a root with one thing changed. */
function rootWith(change: (root: RootJson) => void): Uint8Array {
  const root = JSON.parse(JSON.stringify(made.trustedRootJson())) as RootJson;
  change(root);
  return utf8(JSON.stringify(root));
}

/** The first log of a root in which a log has one thing changed. */
function logWith(change: (log: Record<string, unknown>) => void): TrustedLogInstance {
  const { logs } = parseTrustedRoot(rootWith((root) => change(root.tlogs[0]!)));
  return logs[0]!;
}

describe('a trusted root', () => {
  test('gives each log with its key, its key ID and its time', () => {
    const { logs, authorities } = parseTrustedRoot(rootWith(() => undefined));
    expect(logs.map((log) => log.usable && log.key.alg)).toEqual(['ecdsa-p256', 'ed25519']);
    expect(logs.map((log) => Buffer.from(log.keyId))).toEqual([
      made.v1.shard.keyId,
      made.v2.shard.keyId,
    ]);
    expect(logs[0]).toMatchObject({
      baseUrl: 'https://rekor.test.example',
      validFor: [{ startMs: Date.UTC(2024, 0, 1) }],
    });
    expect(authorities).toEqual([]);
  });

  test('may have members that are not known, and null for what is not set', () => {
    const log = logWith((one) => {
      one.operator = 'somebody';
      one.checkpointKeyId = null;
      (one.publicKey as Record<string, Record<string, unknown>>).validFor!.end = null;
    });
    expect(log.usable && log.validFor).toEqual([{ startMs: Date.UTC(2024, 0, 1) }]);
  });

  test('knows a log by the ID of its checkpoints, where that is another', () => {
    const keyId = Buffer.alloc(32, 7);
    const log = logWith((one) => {
      one.checkpointKeyId = { keyId: keyId.toString('base64') };
    });
    expect(Buffer.from(log.keyId)).toEqual(keyId);
  });

  const flaws: Record<string, [change: (log: Record<string, unknown>) => void, flaw: RegExp]> = {
    'no begin of its time': [
      (log) => {
        (log.publicKey as Record<string, unknown>).validFor = { end: '2030-01-01T00:00:00Z' };
      },
      /does not say from when/,
    ],
    'no time at all': [
      (log) => {
        delete (log.publicKey as Record<string, unknown>).validFor;
      },
      /does not say from when/,
    ],
    'an RSA key': [
      (log) => {
        (log.publicKey as Record<string, unknown>).keyDetails = 'PKIX_RSA_PKCS1V15_4096_SHA256';
      },
      /kind "PKIX_RSA/,
    ],
    'another hash': [
      (log) => {
        log.hashAlgorithm = 'SHA2_512';
      },
      /"SHA2_512"/,
    ],
  };

  test.each(Object.entries(flaws))(
    'keeps a log with %s, and says why it is no use',
    (_, [change, flaw]) => {
      const log = logWith(change);
      expect(log.usable).toBe(false);
      expect(log.usable ? '' : log.flaw).toMatch(flaw);
    },
  );

  const spoiled: Record<string, (root: RootJson) => void> = {
    'another media type': (root) => {
      root.mediaType = 'application/json';
    },
    'no media type': (root) => {
      Reflect.deleteProperty(root, 'mediaType');
    },
    'a log without a key': (root) => {
      delete root.tlogs[0]!.publicKey;
    },
    'a log without an ID': (root) => {
      delete root.tlogs[0]!.logId;
    },
    'an ID of 31 bytes': (root) => {
      root.tlogs[0]!.logId = { keyId: Buffer.alloc(31).toString('base64') };
    },
    'an address that is none': (root) => {
      root.tlogs[0]!.baseUrl = 'rekor.test.example';
    },
    'an address with a user': (root) => {
      root.tlogs[0]!.baseUrl = 'https://a@rekor.test.example';
    },
    'a key of another algorithm than it says': (root) => {
      (root.tlogs[0]!.publicKey as Record<string, unknown>).keyDetails = 'PKIX_ED25519';
    },
    'a time that ends before it begins': (root) => {
      (root.tlogs[0]!.publicKey as Record<string, unknown>).validFor = {
        start: '2026-01-01T00:00:01Z',
        end: '2026-01-01T00:00:00Z',
      };
    },
    'a day that there is not': (root) => {
      (root.tlogs[0]!.publicKey as Record<string, unknown>).validFor = {
        start: '2026-02-30T00:00:00Z',
      };
    },
    'a time with an offset': (root) => {
      (root.tlogs[0]!.publicKey as Record<string, unknown>).validFor = {
        start: '2026-01-01T00:00:00+01:00',
      };
    },
    'one key ID for two keys': (root) => {
      root.tlogs[0]!.logId = root.tlogs[1]!.logId;
    },
    'logs that are no list': (root) => {
      root.tlogs = {} as RootJson['tlogs'];
    },
    '257 logs': (root) => {
      root.tlogs = Array.from({ length: 257 }, () => root.tlogs[0]!);
    },
    'an authority without certificates': (root) => {
      root.timestampAuthorities = [{ certChain: { certificates: [] } }];
    },
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (_, change) => {
    expect(codeOf(() => parseTrustedRoot(rootWith(change)))).toBe('malformed');
  });

  test('of more than a mebibyte is too large', () => {
    expect(codeOf(() => parseTrustedRoot(new Uint8Array(1_048_577)))).toBe('too_large');
  });

  test('may list a log twice, for two times and at two addresses', () => {
    const twice = rootWith((root) => {
      const again = structuredClone(root.tlogs[0]!);
      again.baseUrl = 'https://later.test.example';
      (again.publicKey as Record<string, unknown>).validFor = { start: '2027-01-01T00:00:00Z' };
      (root.tlogs[0]!.publicKey as Record<string, unknown>).validFor = {
        start: '2024-01-01T00:00:00Z',
        end: '2025-01-01T00:00:00Z',
      };
      root.tlogs.push(again);
    });
    const { logs } = parseTrustedRoot(twice);
    expect(logs).toHaveLength(2);
    expect(logs[0]).toMatchObject({
      baseUrls: ['https://rekor.test.example', 'https://later.test.example'],
      validFor: [
        { startMs: Date.UTC(2024, 0, 1), endMs: Date.UTC(2025, 0, 1) },
        { startMs: Date.UTC(2027, 0, 1) },
      ],
    });
  });

  test('knows a log that it lists once with a flaw and once without', () => {
    const twice = rootWith((root) => {
      const good = structuredClone(root.tlogs[0]!);
      delete (root.tlogs[0]!.publicKey as Record<string, unknown>).validFor;
      root.tlogs.push(good);
    });
    expect(parseTrustedRoot(twice).logs.map((log) => log.usable)).toEqual([false, true, true]);
  });

  test('names its authorities, with their chains and their time', () => {
    const [only] = parseTrustedRoot(
      rootWith((root) => {
        root.timestampAuthorities = [
          {
            subject: { organization: 'an organization', commonName: 'TSA 1' },
            uri: 'https://tsa.test.example',
            certChain: { certificates: [{ rawBytes: 'AQID' }, { rawBytes: 'BAU=' }] },
            validFor: { start: '2025-01-01T00:00:00.5Z' },
          },
        ];
      }),
    ).authorities;
    expect(only).toEqual({
      name: 'TSA 1',
      chain: [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5)],
      validFor: { startMs: Date.UTC(2025, 0, 1, 0, 0, 0, 500) },
    });
  });

  test('near a good one is read or malformed, and nothing else', () => {
    const good = rootWith(() => undefined);
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(nearMiss(good), fc.uint8Array({ maxLength: 64 })), (bytes) => {
        try {
          parseTrustedRoot(bytes);
          read++;
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
          expect(['malformed', 'too_large']).toContain(error.code);
        }
      }),
      { numRuns: 1_000 },
    );
    expect(read).toBeLessThan(1_000);
  });
});

test('a period includes both of its ends, and one of several is enough', () => {
  const periods = [{ startMs: 1_000, endMs: 2_000 }, { startMs: 5_000 }];
  expect([999, 1_000, 2_000, 2_001, 4_999, 5_000].map((ms) => isWithin(periods, ms))).toEqual([
    false,
    true,
    true,
    false,
    false,
    true,
  ]);
  expect(isWithin(periods, Number.MAX_SAFE_INTEGER)).toBe(true);
  expect(isWithin([], 1_000)).toBe(false);
});

describe.skipIf(sharedMissing)('published trusted roots', () => {
  test.each([
    ['vectors/sigstore-rekor/trusted-roots/public-good.json', 2, 1],
    ['vectors/sigstore-rekor/trusted-roots/staging-2025.json', 2, 1],
    ['vectors/sigstore-rekor/trusted-roots/staging-2026.json', 4, 1],
    ['vectors/sigstore-rekor/trusted-roots/managed-key-and-trusted-root.json', 2, 1],
    ['vectors/sigstore-rekor/trusted-roots/intoto-with-custom-trust-root.json', 1, 1],
    ['fixtures/rekor/upstream/trust/trusted_root.public-good.json', 2, 1],
    [
      'fixtures/rekor/upstream/bundles/trust-root-tlog-validity-end-inclusive/trusted_root.json',
      2,
      1,
    ],
    ['fixtures/rekor/generated/trusted_root.json', 2, 2],
  ])('%s can be used whole', (path, logs, authorities) => {
    const root = parseTrustedRoot(sharedBytes(...path.split('/')));
    expect(root.logs.map((log) => log.usable)).toEqual(Array.from({ length: logs }, () => true));
    expect(root.authorities).toHaveLength(authorities);
    expect(root.authorities.every((one) => one.validFor !== undefined)).toBe(true);
  });
});
