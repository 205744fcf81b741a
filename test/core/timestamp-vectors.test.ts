/** Published time stamps, and those that were made for this project, are judged as they are said to be. */
import { describe, expect, test } from 'vitest';
import { parseBase64, utf8 } from '../../server/core/bytes.ts';
import { NoTrust, SteleError } from '../../server/core/errors.ts';
import {
  authorityOfChain,
  checkTimestamp,
  makeTimestampQuery,
  parseTimestampQuery,
  parseTimestampResponse,
  parseTsaRoots,
  type Stamped,
  type TimestampAuthority,
} from '../../server/core/rfc3161.ts';
import { sharedBytes, sharedJson, sharedMissing } from '../shared.ts';

const pemAt = (...path: readonly string[]): TimestampAuthority =>
  parseTsaRoots(Buffer.from(sharedBytes(...path)).toString(), path.join('/'));

/** What is wrong, by its code; nothing if it holds. */
function refusal(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    return error instanceof NoTrust ? 'no-trust' : error.message;
  }
}

interface Case {
  readonly token: string;
  readonly certificates: string;
  readonly expect: 'valid' | 'nonce-mismatch' | 'invalid-signature';
  readonly messageB64?: string;
  readonly fields: {
    readonly policy: string;
    readonly serial: string;
    readonly genTime: string;
    readonly nonce: string;
    readonly hashAlgorithm: string;
    readonly messageImprint: string;
  };
}

describe.skipIf(sharedMissing)('vectors/rfc3161', () => {
  const folder = ['vectors', 'rfc3161'] as const;
  const { cases } = sharedMissing
    ? { cases: [] }
    : (sharedJson(...folder, 'index.json') as { cases: readonly Case[] });

  test.each(cases.map((one) => [one.token, one] as const))('%s', (_, one) => {
    const { token, certificates, fields } = one;
    const response = sharedBytes(...folder, ...token.split('/'));
    const message = parseBase64(one.messageB64 ?? 'aGVsbG8=', 'message');
    const asked = parseTimestampResponse(sharedBytes(...folder, ...token.split('/'))).token?.info;
    const nonce =
      one.expect === 'nonce-mismatch'
        ? parseTimestampResponse(sharedBytes(...folder, 'test_tsa', 'response.tsr')).token?.info
            .nonce
        : asked?.nonce;
    const check = () =>
      checkTimestamp({
        response,
        message,
        authorities: [pemAt(...folder, ...certificates.split('/'))],
        ...(nonce === undefined ? {} : { nonce }),
      });
    if (one.expect === 'nonce-mismatch') {
      expect(refusal(check)).toContain('the nonce differs');
    } else if (one.expect === 'invalid-signature') {
      expect(refusal(check)).toContain('signature');
    } else {
      const { policy, serial, timeMs, imprint } = check();
      expect({
        policy,
        serial: BigInt(`0x${serial}`),
        timeMs,
        hash: imprint.hash,
        digest: Buffer.from(imprint.digest).toString('hex'),
        nonce: BigInt(`0x${Buffer.from(nonce ?? []).toString('hex')}`),
      }).toEqual({
        policy: fields.policy,
        serial: BigInt(fields.serial),
        timeMs: Date.parse(fields.genTime),
        hash: fields.hashAlgorithm,
        digest: fields.messageImprint,
        nonce: BigInt(fields.nonce),
      });
    }
  });
});

describe.skipIf(sharedMissing)('fixtures/rekor', () => {
  const generated = ['fixtures', 'rekor', 'generated'] as const;
  const upstream = ['fixtures', 'rekor', 'upstream'] as const;
  const tsa = (name: string) => sharedBytes(...generated, 'tsa', name);

  const read = () => {
    const message = sharedBytes(...generated, 'checkpoint.txt');
    const root = pemAt(...generated, 'tsa', 'root.pem');
    const ec = pemAt(...generated, 'tsa', 'ec.pem');
    return { message, authorities: [{ pinned: root.pinned, others: ec.pinned }] };
  };

  test.each(['ec', 'rsa', 'fraction-us', 'nocert-nononce'])('%s holds', (name) => {
    const { timeMs, accuracyMs, authority } = checkTimestamp({
      response: tsa(`${name}.tsr`),
      ...read(),
    });
    expect(new Date(timeMs).toISOString()).toMatch(/^2026-11-21T03:25:22\.\d{3}Z$/);
    expect(accuracyMs).toBe(1_000);
    expect(authority).toMatch(/^CN=TSA (?:ec|rsa),O=Stele Fixture$/);
  });

  test.each(['ec', 'rsa'])('%s answers its query, and no other', (name) => {
    const query = parseTimestampQuery(tsa(`${name}.tsq`));
    const { message, authorities } = read();
    const given = { response: tsa(`${name}.tsr`), authorities };
    const { nonce, imprint } = query;
    if (nonce === undefined) throw new Error('the query has a nonce');
    expect(checkTimestamp({ ...given, imprint, nonce }).imprint).toEqual(imprint);
    expect(makeTimestampQuery(message, nonce)).toEqual(tsa(`${name}.tsq`));
    const other = parseTimestampQuery(tsa(name === 'ec' ? 'rsa.tsq' : 'ec.tsq')).nonce;
    expect(refusal(() => checkTimestamp({ ...given, imprint, nonce: other ?? nonce }))).toContain(
      'the nonce differs',
    );
  });

  test('over-signature is of the anchor signature', () => {
    const request = sharedJson(...generated, 'v1', 'request.json') as {
      spec: { signature: { content: string } };
    };
    const message = parseBase64(request.spec.signature.content, 'signature');
    const given = { ...read(), message, response: tsa('over-signature.tsr') };
    expect(checkTimestamp(given).authority).toBe('CN=TSA ec,O=Stele Fixture');
    expect(refusal(() => checkTimestamp({ ...given, ...read() }))).toContain('the imprint differs');
  });

  test.each([
    ['other-imprint', 'the imprint differs'],
    ['rejected-sha1', 'not granted, but rejection: badAlg, "Message digest algorithm is not'],
    ['bad-signature', 'signature'],
  ])('%s does not hold', (name, reason) => {
    const check = () => checkTimestamp({ response: tsa(`${name}.tsr`), ...read() });
    expect(refusal(check)).toContain(reason);
  });

  test('certificates that were put into a response do not speak for it', () => {
    const response = sharedBytes(...upstream, 'tsa', 'response-injected-certs.tsr');
    const message = utf8('hello');
    const root = pemAt('vectors', 'rfc3161', 'test_tsa', 'ts_chain.pem');
    const check = (authorities: readonly TimestampAuthority[]) =>
      checkTimestamp({ response, message, authorities });
    expect(check([root]).authority).toBe('CN=Test TSA Timestamping,O=local');
    const certificates = parseTimestampResponse(response).token?.signed.certificates ?? [];
    expect(certificates.map(({ name }) => name)).toContain('CN=Spoofed TSA');
    for (const injected of certificates.filter(
      ({ name }) => name !== 'CN=Test TSA Timestamping,O=local',
    )) {
      const alone = [authorityOfChain([injected.der], {}, 'injected')];
      expect(refusal(() => check(alone))).toBe('no-trust');
    }
  });

  test('a response that says nothing of its hash, as older services made them', () => {
    const response = sharedBytes(...upstream, 'tsa', 'rekor-test.tsr');
    const { token } = parseTimestampResponse(response);
    if (token === undefined) throw new Error('there is a token');
    const { imprint } = token.info;
    const root = token.signed.certificates[1]?.der ?? new Uint8Array();
    const authorities = [authorityOfChain([root], {}, 'root')];
    expect(refusal(() => checkTimestamp({ response, imprint, authorities }))).toContain(
      'signature: ECDSA without a hash (1.2.840.10045.2.1) is not taken',
    );
  });

  interface SigstoreBundle {
    readonly messageSignature?: { readonly signature: string };
    readonly dsseEnvelope?: { readonly signatures: readonly { readonly sig: string }[] };
    readonly verificationMaterial: {
      readonly timestampVerificationData?: {
        readonly rfc3161Timestamps?: readonly { readonly signedTimestamp: string }[];
      };
    };
  }
  interface TrustedRoot {
    readonly timestampAuthorities?: readonly {
      readonly certChain: { readonly certificates: readonly { readonly rawBytes: string }[] };
      readonly validFor: { readonly start: string; readonly end?: string | null };
    }[];
  }

  const stamps = (name: string) => {
    const folder = [...upstream, 'bundles', name] as const;
    const bundle = sharedJson(...folder, 'bundle.sigstore.json') as SigstoreBundle;
    const trust = sharedJson(...folder, 'trusted_root.json') as TrustedRoot;
    const signature = bundle.messageSignature?.signature ?? bundle.dsseEnvelope?.signatures[0]?.sig;
    const stamped: Stamped = { message: parseBase64(signature ?? '', 'signature') };
    const authorities = (trust.timestampAuthorities ?? []).map(({ certChain, validFor }) =>
      authorityOfChain(
        certChain.certificates.map(({ rawBytes }) => parseBase64(rawBytes, 'rawBytes')),
        {
          fromMs: Date.parse(validFor.start),
          ...(validFor.end == null ? {} : { untilMs: Date.parse(validFor.end) }),
        },
        name,
      ),
    );
    const { rfc3161Timestamps = [] } = bundle.verificationMaterial.timestampVerificationData ?? {};
    return rfc3161Timestamps.map(
      ({ signedTimestamp }) =>
        () =>
          checkTimestamp({
            response: parseBase64(signedTimestamp, 'signedTimestamp'),
            ...stamped,
            authorities,
          }),
    );
  };

  test.each([
    ['rekor2-happy-path', undefined],
    ['rekor2-timestamp-with-embedded-cert', undefined],
    ['rekor2-timestamp-with-expired-cert-chain', undefined],
    ['rekor2-timestamp-payload-mismatch_fail', 'the imprint differs'],
    ['rekor2-timestamp-outside-tsa-cert-validity_fail', 'valid until'],
  ])('the stamps of %s', (name, reason) => {
    const checks = stamps(name);
    expect(checks.length).toBeGreaterThan(0);
    for (const check of checks) {
      if (reason === undefined) expect(check().timeMs).toBeGreaterThan(0);
      else expect(refusal(check)).toContain(reason);
    }
  });
});
