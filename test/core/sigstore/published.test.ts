/**
 * Bundles that others made, good ones and spoiled ones, with the verdict of Sigstore's own verifier beside
 * ours. Where it takes what is refused here, the test says so.
 *
 * Most published bundles are signed with certificates, which no anchor is. Of those the entry is judged, as
 * one of the certificate that the bundle has; what is wrong with certificate or artifact is not of the log.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseBase64, utf8 } from '../../../server/core/bytes.ts';
import { canonicalize } from '../../../server/core/canonical.ts';
import { NoTrust, SteleError } from '../../../server/core/errors.ts';
import type { Json } from '../../../server/core/json.ts';
import { parseKeyText } from '../../../server/core/key-text.ts';
import { read } from '../../../server/core/schema.ts';
import { checkLogged, checkRekorAnchor } from '../../../server/core/sigstore/rekor-anchor.ts';
import { readSigstoreBundle } from '../../../server/core/sigstore/sigstore-bundle.ts';
import { entryOf, TLOG_ENTRY } from '../../../server/core/sigstore/tlog-entry.ts';
import { parseTrustedRoot } from '../../../server/core/sigstore/trusted-root.ts';
import { sigstoreFlaw } from '../../anchor/sigstore-judge.ts';
import { SHARED, sharedBytes, sharedJson, sharedMissing } from '../../shared.ts';

const FIXTURES = ['fixtures', 'rekor'];
const VECTORS = ['vectors', 'sigstore-rekor'];

/** "holds", or the kind of refusal and its message. */
function verdictOf(check: () => unknown): string {
  try {
    check();
    return 'holds';
  } catch (error) {
    if (error instanceof NoTrust) return `no-trust ${error.message}`;
    if (error instanceof SteleError) return `${error.code} ${error.message}`;
    throw error;
  }
}

describe.skipIf(sharedMissing)('a generated bundle', () => {
  const folder = [...FIXTURES, 'generated'];

  /** What ours says; and whether Sigstore's verifier takes what ours refuses. */
  const cases: Record<string, [verdict: RegExp, isLax?: 'lax']> = {
    v1: [/^holds/],
    v2: [/^holds/],
    'v2-unknown-cosigner': [/^holds/],
    'v2-integrated-time-set': [/^holds/],
    'v1-bad-set': [/^unverified .*: promise: ecdsa-p256/],
    'v1-bad-checkpoint-signature': [/^unverified .*: checkpoint: .*does not fit/],
    'v1-root-mismatch': [/^unverified .*: rootHash:/, 'lax'],
    'v1-treesize-mismatch': [/^unverified .*: treeSize: 23, and 22/, 'lax'],
    'v1-origin-other-host': [/^unverified .*: checkpoint: .*"other\.example"/],
    'v2-bad-checkpoint-signature': [/^unverified .*: checkpoint: .*does not fit/],
    'v2-proof-minus-one': [/^unverified .*: inclusion: .*too few/],
    'v2-proof-altered': [/^unverified .*: inclusion: .*does not lead to the root/],
    'v2-wrong-index': [/^unverified .*: inclusion: .*not in a tree of 131/],
    'v2-unknown-log': [/^no-trust .*no log with the key ID/],
    'v2-body-digest-swapped': [/^unverified .*: body: .*data\.digest/],
    'v2-body-reserialised': [/^unverified .*: body: .*canonical spelling/],
  };

  test('is missed by no case', () => {
    const names = readdirSync(join(SHARED, ...folder, 'bundles'));
    expect(names.map((name) => name.replace('.sigstore.json', '')).sort()).toEqual(
      Object.keys(cases).sort(),
    );
  });

  test.each(Object.entries(cases))(
    '%s has the verdict that it has to have',
    (name, [verdict, isLax]) => {
      const json = sharedJson(...folder, 'bundles', `${name}.sigstore.json`);
      const text = sharedBytes(...folder, 'checkpoint.txt');
      const pem = readFileSync(join(SHARED, ...folder, 'anchor-key.pem'), 'utf8');
      const trust = parseTrustedRoot(sharedBytes(...folder, 'trusted_root.json'));
      const ours = verdictOf(() =>
        checkRekorAnchor(
          readSigstoreBundle(json as Json),
          { text },
          [parseKeyText(pem).key],
          trust,
        ),
      );
      expect(ours).toMatch(verdict);
      const trustedRoot = sharedJson(...folder, 'trusted_root.json');
      const theirs = sigstoreFlaw({ bundle: json, text, key: pem, trustedRoot });
      expect(theirs === undefined, theirs).toBe(ours === 'holds' || isLax === 'lax');
    },
  );
});

describe.skipIf(sharedMissing)('a bundle of a self-managed key', () => {
  const folder = [...FIXTURES, 'upstream'];

  test.each(['managed-key-happy-path', 'managed-key-and-trusted-root'])(
    '%s holds, and with its key alone',
    (name) => {
      const files = [...folder, 'bundles', name];
      const own = existsSync(join(SHARED, ...files, 'trusted_root.json'));
      const root = own
        ? [...files, 'trusted_root.json']
        : [...folder, 'trust', 'trusted_root.public-good.json'];
      const text = sharedBytes(...folder, 'bundles', 'a.txt');
      const pem = readFileSync(join(SHARED, ...files, 'key.pub'), 'utf8');
      const json = sharedJson(...files, 'bundle.sigstore.json');
      const { key } = parseKeyText(pem);
      const trust = parseTrustedRoot(sharedBytes(...root));
      const anchored = checkRekorAnchor(readSigstoreBundle(json as Json), { text }, [key], trust);
      expect(anchored.timeMs).toBe(
        name === 'managed-key-happy-path' ? 1_766_077_479_000 : 1_767_810_965_000,
      );
      expect(
        sigstoreFlaw({ bundle: json, text, key: pem, trustedRoot: sharedJson(...root) }),
      ).toBeUndefined();
      expect(
        verdictOf(() => checkRekorAnchor(readSigstoreBundle(json as Json), { text }, [], trust)),
      ).toMatch(/^no-trust /);
    },
  );

  test('is refused with a key file that has no key', () => {
    const files = [...folder, 'bundles', 'managed-key-wrong-key_fail', 'key.pub'];
    const pem = readFileSync(join(SHARED, ...files), 'utf8');
    expect(verdictOf(() => parseKeyText(pem))).toMatch(/^malformed /);
  });
});

interface BundleJson {
  readonly verificationMaterial: {
    readonly tlogEntries: readonly [Json];
    readonly publicKey?: unknown;
    readonly certificate?: { readonly rawBytes: string };
    readonly x509CertificateChain?: {
      readonly certificates: readonly [{ readonly rawBytes: string }];
    };
  };
  readonly messageSignature?: {
    readonly messageDigest: { readonly digest: string };
    readonly signature: string;
  };
}

/** The entry that a bundle's own certificate, digest and signature make. */
function expectedBody(bundle: BundleJson, version: string): Uint8Array {
  const { certificate, x509CertificateChain } = bundle.verificationMaterial;
  const der = certificate?.rawBytes ?? x509CertificateChain?.certificates[0].rawBytes ?? '';
  const { messageDigest, signature = '' } = bundle.messageSignature ?? {};
  const digest = parseBase64(messageDigest?.digest ?? '', 'digest');
  if (version === '0.0.1') {
    const pem = `-----BEGIN CERTIFICATE-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END CERTIFICATE-----\n`;
    const hash = { algorithm: 'sha256', value: Buffer.from(digest).toString('hex') };
    return utf8(
      canonicalize({
        apiVersion: '0.0.1',
        kind: 'hashedrekord',
        spec: {
          data: { hash },
          signature: { content: signature, publicKey: { content: btoa(pem) } },
        },
      }),
    );
  }
  const verifier = { keyDetails: 'PKIX_ECDSA_P256_SHA_256', x509Certificate: { rawBytes: der } };
  const data = { algorithm: 'SHA2_256', digest: messageDigest?.digest ?? '' };
  return utf8(
    canonicalize({
      apiVersion: '0.0.2',
      kind: 'hashedrekord',
      spec: { hashedRekordV002: { data, signature: { content: signature, verifier } } },
    }),
  );
}

function entryVerdict(json: unknown, trustedRoot: Uint8Array): string {
  const bundle = json as BundleJson;
  return verdictOf(() => {
    const entry = entryOf(read(TLOG_ENTRY, bundle.verificationMaterial.tlogEntries[0], 'entry'));
    const body = expectedBody(bundle, entry.version);
    return checkLogged(entry, body, parseTrustedRoot(trustedRoot));
  });
}

/** The entries of bundles with certificates. What is not of the log is left out of the verdict, and said. */
const ENTRIES: Record<string, RegExp> = {
  'happy-path-v0.1': /^holds/,
  'happy-path-v0.3': /^holds/,
  'rekor2-happy-path': /^holds/,
  'rekor2-checkpoint-cosigned': /^holds/,
  'rekor2-checkpoint-two-sigs-from-origin': /^holds/,
  'rekor2-checkpoint-origin-not-first': /^holds/,
  'rekor2-timestamp-with-embedded-cert': /^holds/,
  'trust-root-tlog-validity-end-inclusive': /^holds/,
  'rekor2-timestamp-with-expired-cert-chain': /^holds/,
  // The stamp or the certificate is wrong, and not the entry.
  'rekor2-no-timestamp_fail': /^holds/,
  'rekor2-timestamp-payload-mismatch_fail': /^holds/,
  'rekor2-timestamp-with-incorrect-time_fail': /^holds/,
  'rekor2-timestamp-outside-tsa-cert-validity_fail': /^holds/,
  'integrated-time-in-future_fail': /^holds/,
  // Spoiled entries.
  'bundle-from-wrong-instance_fail': /^no-trust .*no log with the key ID/,
  'bundle-negative-log-index_fail': /^malformed /,
  'checkpoint-bad-keyhint_fail': /^unverified .*no line is by/,
  'checkpoint-wrong-roothash_fail': /^unverified .*(treeSize|rootHash)/,
  'inclusion-proof-corrupted-hash_fail': /^unverified .*does not lead to the root/,
  'invalid-checkpoint-signature_fail': /^unverified .*does not fit/,
  'invalid-inclusion-proof_fail': /^malformed .*checkpoint: it is required/,
  'set-invalid-signature_fail': /^unverified .*promise/,
  'message-digest-mismatch_fail': /^unverified .*body.*spec\.data\.hash\.value/,
  'wrong-hashedrekord-artifact_fail': /^unverified .*body/,
  'wrong-hashedrekord-entry_fail': /^unverified .*body/,
  'rekor2-checkpoint-missing-log-signature_fail': /^malformed .*checkpoint/,
  'rekor2-checkpoint-missing-origin_fail': /^malformed .*checkpoint/,
  'rekor2-checkpoint-missing-root-hash_fail': /^malformed .*checkpoint/,
  'rekor2-checkpoint-no-matching-signature_fail': /^unverified .*do not make the key ID/,
  'rekor2-no-inclusion-proof_fail': /^malformed .*inclusionProof: it is required/,
  // Other kinds than anchors have, and envelopes.
  'happy-path-intoto-in-dsse-v3': /^unverified .*kind "dsse"/,
  'dsse-mismatch-envelope_fail': /^unverified .*kind "dsse"/,
  'intoto-with-custom-trust-root': /^unverified .*kind "intoto"/,
  'intoto-log-entry-mismatch_fail': /^unverified .*kind "intoto"/,
  'rekor2-dsse-happy-path': /^unverified .*body/,
  'rekor2-dsse-mismatch-sig_fail': /^unverified .*body/,
};

describe.skipIf(sharedMissing)('the entry of a published bundle', () => {
  interface Case {
    readonly case: string;
    readonly bundle: string;
    readonly trustedRoot: string;
    readonly publicKey?: string;
  }
  const { cases } = sharedMissing
    ? { cases: [] }
    : (sharedJson(...VECTORS, 'index.json') as { readonly cases: readonly Case[] });

  test.each(
    cases.filter((one) => one.publicKey === undefined).map((one) => [one.case, one] as const),
  )('%s has its verdict', (name, { bundle, trustedRoot }) => {
    const verdict = ENTRIES[name];
    expect(verdict, name).toBeDefined();
    const root = sharedBytes(...VECTORS, ...trustedRoot.split('/'));
    expect(entryVerdict(sharedJson(...VECTORS, ...bundle.split('/')), root)).toMatch(verdict!);
  });

  const upstream = [...FIXTURES, 'upstream', 'bundles'];
  const names = sharedMissing
    ? []
    : readdirSync(join(SHARED, ...upstream)).filter(
        (name) => name !== 'a.txt' && !name.startsWith('managed-key'),
      );

  test.each(names)('%s of the conformance set has its verdict', (name) => {
    const verdict = ENTRIES[name];
    expect(verdict, name).toBeDefined();
    const own = [...upstream, name, 'trusted_root.json'];
    const root = existsSync(join(SHARED, ...own))
      ? own
      : [...FIXTURES, 'upstream', 'trust', 'trusted_root.public-good.json'];
    const json = sharedJson(...upstream, name, 'bundle.sigstore.json');
    expect(entryVerdict(json, sharedBytes(...root))).toMatch(verdict!);
  });
});
