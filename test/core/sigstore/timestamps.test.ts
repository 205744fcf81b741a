/** Time stamps in bundles that others made: over the signature, by a chain of the trusted root, in its time. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseBase64 } from '../../../server/core/bytes.ts';
import { NoTrust, SteleError } from '../../../server/core/errors.ts';
import type { Json } from '../../../server/core/json.ts';
import { parseKeyText } from '../../../server/core/key-text.ts';
import { checkRekorAnchor } from '../../../server/core/sigstore/rekor-anchor.ts';
import { readSigstoreBundle } from '../../../server/core/sigstore/sigstore-bundle.ts';
import { authoritiesOf, timestampCheck } from '../../../server/core/sigstore/timestamps.ts';
import { parseTrustedRoot, type TrustedRoot } from '../../../server/core/sigstore/trusted-root.ts';
import { SHARED, sharedBytes, sharedJson, sharedMissing } from '../../shared.ts';

const UPSTREAM = ['fixtures', 'rekor', 'upstream'];
const GENERATED = ['fixtures', 'rekor', 'generated'];

interface Stamped {
  readonly verificationMaterial: {
    readonly timestampVerificationData?: {
      readonly rfc3161Timestamps: readonly { readonly signedTimestamp: string }[];
    };
  };
  readonly messageSignature?: { readonly signature: string };
}

/** When the bundle's stamps are of, or why they are of nothing. */
function stampsOf(json: unknown, root: TrustedRoot): string {
  const { verificationMaterial, messageSignature } = json as Stamped;
  const signature = parseBase64(messageSignature?.signature ?? '', 'signature');
  const stamps = verificationMaterial.timestampVerificationData?.rfc3161Timestamps ?? [];
  const check = timestampCheck(authoritiesOf(root));
  try {
    const times = stamps.map(({ signedTimestamp }) =>
      check(parseBase64(signedTimestamp, 'stamp'), signature),
    );
    return times.map(({ timeMs }) => new Date(timeMs).toISOString()).join(' ');
  } catch (error) {
    if (error instanceof NoTrust) return `no-trust ${error.message}`;
    if (error instanceof SteleError) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe.skipIf(sharedMissing)('the stamps of a published bundle', () => {
  const cases: Record<string, RegExp> = {
    'rekor2-happy-path': /^2025-06-12T12:02:20/,
    'rekor2-checkpoint-cosigned': /^2025-06-12T12:02:20/,
    'rekor2-timestamp-with-embedded-cert': /^2025-08-06T18:51:36/,
    // The chain has ended since; the stamp is of before.
    'rekor2-timestamp-with-expired-cert-chain': /^2025-08-07T15:32:26/,
    'rekor2-timestamp-payload-mismatch_fail': /^unverified .*imprint/,
    'rekor2-timestamp-outside-tsa-cert-validity_fail':
      /^unverified .*valid until 2025-08-07T15:37:08/,
    'rekor2-no-timestamp_fail': /^$/,
    'managed-key-happy-path': /^2025-12-18T17:04:39/,
  };

  test.each(Object.entries(cases))('%s', (name, stamps) => {
    const own = [...UPSTREAM, 'bundles', name, 'trusted_root.json'];
    const root = existsSync(join(SHARED, ...own))
      ? own
      : [...UPSTREAM, 'trust', 'trusted_root.public-good.json'];
    const json = sharedJson(...UPSTREAM, 'bundles', name, 'bundle.sigstore.json');
    expect(stampsOf(json, parseTrustedRoot(sharedBytes(...root)))).toMatch(stamps);
  });

  test('is by nobody for a reader who trusts no authority', () => {
    const json = sharedJson(
      ...UPSTREAM,
      'bundles',
      'managed-key-happy-path',
      'bundle.sigstore.json',
    );
    expect(stampsOf(json, { logs: [], authorities: [] })).toMatch(/^no-trust /);
  });

  test('is by nobody for a reader whose root does not say from when the authority is good', () => {
    const root = parseTrustedRoot(
      sharedBytes(...UPSTREAM, 'trust', 'trusted_root.public-good.json'),
    );
    const without = root.authorities.map((one) => ({ ...one, validFor: undefined }));
    const json = sharedJson(
      ...UPSTREAM,
      'bundles',
      'managed-key-happy-path',
      'bundle.sigstore.json',
    );
    expect(stampsOf(json, { ...root, authorities: without })).toMatch(/^no-trust /);
  });

  test('is refused out of the time that the root gives the authority', () => {
    const root = parseTrustedRoot(
      sharedBytes(...UPSTREAM, 'trust', 'trusted_root.public-good.json'),
    );
    const later = root.authorities.map((one) => ({
      ...one,
      validFor: { startMs: Date.UTC(2025, 11, 19) },
    }));
    const json = sharedJson(
      ...UPSTREAM,
      'bundles',
      'managed-key-happy-path',
      'bundle.sigstore.json',
    );
    expect(stampsOf(json, { ...root, authorities: later })).toMatch(/^(unverified|no-trust) /);
  });
});

describe.skipIf(sharedMissing)('a generated bundle with a stamp', () => {
  test.each(['v1', 'v2'])('of %s proves its time', (name) => {
    const json = sharedJson(...GENERATED, 'bundles', `${name}.sigstore.json`);
    const trust = parseTrustedRoot(sharedBytes(...GENERATED, 'trusted_root.json'));
    const pem = readFileSync(join(SHARED, ...GENERATED, 'anchor-key.pem'), 'utf8');
    const anchored = checkRekorAnchor(
      readSigstoreBundle(json as Json),
      { text: sharedBytes(...GENERATED, 'checkpoint.txt') },
      [parseKeyText(pem).key],
      trust,
      { checkTimestamp: timestampCheck(authoritiesOf(trust)) },
    );
    expect(anchored.stamps).toHaveLength(1);
    expect(anchored.unknownStamps).toBe(0);
    expect(new Date(anchored.timeMs ?? 0).toISOString()).toMatch(/^2026-11-21T03:25:/);
  });
});
