/** Sigstore bundles: of what the format allows, what an anchor is made of. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseUtf8, utf8 } from '../../../server/core/bytes.ts';
import { SteleError } from '../../../server/core/errors.ts';
import {
  formatSigstoreBundle,
  parseSigstoreBundle,
  type SigstoreBundle,
  sigstoreBundleJson,
} from '../../../server/core/sigstore/sigstore-bundle.ts';
import { leafIndex } from '../../../server/core/units.ts';
import { sharedBytes, sharedMissing } from '../../shared.ts';
import { codeOf } from '../codes.ts';
import { nearMiss } from '../near-miss.ts';
import { Made } from './made.ts';

const made = new Made();
const v1 = made.bundle(1, made.anchorKey.head(1), [Uint8Array.of(1, 2), Uint8Array.of(3)]);
const v2 = made.bundle(2, made.anchorKey.head(2));

type Members = { [name: string]: unknown } & { [index: number]: unknown };

/** The bytes of a bundle with the member at a path changed; undefined takes it out. */
function bundleWith(bundle: SigstoreBundle, path: string, value: unknown): Uint8Array {
  const whole = JSON.parse(parseUtf8(formatSigstoreBundle(bundle), 'bundle')) as Members;
  const names = path.split('.');
  const last = names.pop() ?? '';
  let at = whole;
  for (const name of names) at = at[name] as Members;
  if (value === undefined) delete at[last];
  else at[last] = value;
  return utf8(JSON.stringify(whole));
}

const ENTRY = 'verificationMaterial.tlogEntries.0';

describe.each([
  ['v1', v1],
  ['v2', v2],
])('a bundle of %s', (_, bundle) => {
  test('is read back as it was', () => {
    expect(parseSigstoreBundle(formatSigstoreBundle(bundle))).toEqual(bundle);
  });

  test('may be laid out for people', () => {
    const pretty = utf8(JSON.stringify(sigstoreBundleJson(bundle), null, 2));
    expect(parseSigstoreBundle(pretty)).toEqual(bundle);
  });

  test('may leave out what has its default, as other writers do', () => {
    const first = { ...bundle.entry, index: leafIndex(0) };
    const proof = { ...first.proof, index: leafIndex(0), hashes: [] };
    const alone = { ...bundle, entry: { ...first, proof } };
    const json = sigstoreBundleJson(alone) as never as {
      verificationMaterial: { tlogEntries: [{ logIndex?: string; inclusionProof: Members }] };
    };
    const [entry] = json.verificationMaterial.tlogEntries;
    delete entry.logIndex;
    delete entry.inclusionProof.logIndex;
    delete entry.inclusionProof.hashes;
    expect(parseSigstoreBundle(utf8(JSON.stringify(json)))).toEqual(alone);
  });

  const spoiled: Record<string, [path: string, value: unknown]> = {
    'another media type': ['mediaType', 'application/vnd.dev.sigstore.bundle+json;version=0.1'],
    'a member more': ['extra', true],
    'no signature': ['messageSignature', undefined],
    'an envelope': ['dsseEnvelope', {}],
    'no digest': ['messageSignature.messageDigest', undefined],
    'another hash': ['messageSignature.messageDigest.algorithm', 'SHA2_512'],
    'a digest of 31 bytes': ['messageSignature.messageDigest.digest', btoa('x'.repeat(31))],
    'an empty signature': ['messageSignature.signature', ''],
    'url-safe base64': ['messageSignature.signature', '-_-_'],
    'a certificate': ['verificationMaterial.certificate', { rawBytes: 'AAAA' }],
    'no key': ['verificationMaterial.publicKey', undefined],
    'a hint that is no hash': ['verificationMaterial.publicKey.hint', 'my key'],
    'no entry': ['verificationMaterial.tlogEntries', []],
    'null for what is not set': ['verificationMaterial.timestampVerificationData', null],
    'nine time stamps': [
      'verificationMaterial.timestampVerificationData',
      { rfc3161Timestamps: Array.from({ length: 9 }, () => ({ signedTimestamp: 'AAAA' })) },
    ],
    'an index below zero': [`${ENTRY}.logIndex`, '-1'],
    'an index that is a number': [`${ENTRY}.logIndex`, 7],
    'an index with a zero before it': [`${ENTRY}.logIndex`, '07'],
    'an index beyond 2^53 - 1': [`${ENTRY}.logIndex`, '9007199254740992'],
    'an entry without a proof': [`${ENTRY}.inclusionProof`, undefined],
    'a proof without a checkpoint': [`${ENTRY}.inclusionProof.checkpoint`, undefined],
    'a proof without a root': [`${ENTRY}.inclusionProof.rootHash`, undefined],
    'a proof without a size': [`${ENTRY}.inclusionProof.treeSize`, undefined],
    'a proof of 64 hashes': [
      `${ENTRY}.inclusionProof.hashes`,
      Array.from({ length: 64 }, () => btoa('x'.repeat(32))),
    ],
    'a hash of 33 bytes': [`${ENTRY}.inclusionProof.hashes`, [btoa('x'.repeat(33))]],
    'no log': [`${ENTRY}.logId`, undefined],
    'no kind': [`${ENTRY}.kindVersion`, undefined],
    'no body': [`${ENTRY}.canonicalizedBody`, undefined],
  };

  test.each(Object.entries(spoiled))('with %s is malformed', (__, [path, value]) => {
    expect(codeOf(() => parseSigstoreBundle(bundleWith(bundle, path, value)))).toBe('malformed');
  });

  test('with two entries is malformed: it is about one', () => {
    const [entry] = (
      sigstoreBundleJson(bundle).verificationMaterial as never as { tlogEntries: unknown[] }
    ).tlogEntries;
    const twice = bundleWith(bundle, 'verificationMaterial.tlogEntries', [entry, entry]);
    expect(codeOf(() => parseSigstoreBundle(twice))).toBe('malformed');
  });

  test('near a good one is read or malformed, and what is read is printed and read again', () => {
    const good = formatSigstoreBundle(bundle);
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(nearMiss(good), fc.uint8Array({ maxLength: 64 })), (bytes) => {
        try {
          const parsed = parseSigstoreBundle(bytes);
          expect(parseSigstoreBundle(formatSigstoreBundle(parsed))).toEqual(
            parsed.entry.promise === undefined
              ? { ...parsed, entry: { ...parsed.entry, integratedTime: 0 } }
              : parsed,
          );
          read++;
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
          expect(error.code).toBe('malformed');
        }
      }),
      { numRuns: 1_000 },
    );
    expect(read).toBeLessThan(1_000);
  });
});

test('of more than a mebibyte is too large', () => {
  expect(codeOf(() => parseSigstoreBundle(new Uint8Array(1_048_577)))).toBe('too_large');
});

describe.skipIf(sharedMissing)('a published bundle of a self-managed key', () => {
  test.each(['managed-key-happy-path', 'managed-key-and-trusted-root'])(
    '%s is printed as it was',
    (name) => {
      const bytes = sharedBytes('vectors', 'sigstore-rekor', 'bundles', `${name}.json`);
      const parsed = parseSigstoreBundle(bytes);
      expect(sigstoreBundleJson(parsed)).toEqual(JSON.parse(parseUtf8(bytes, 'bundle')));
    },
  );
});
