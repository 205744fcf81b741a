/**
 * Time stamps: what holds, what does not and why, with OpenSSL as the second opinion.
 *
 * OpenSSL is the laxer of the two: what holds here holds there, but for algorithms that its `ts` cannot do,
 * and it lets much pass that does not hold here. Where it may differ the case is marked.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { concat, utf8 } from '../../server/core/bytes.ts';
import { NoTrust, SteleError } from '../../server/core/errors.ts';
import {
  checkTimestamp,
  describeTimestamp,
  type Imprint,
  imprintOf,
  parseTimestampResponse,
  parseTsaRoots,
  type TimestampToCheck,
} from '../../server/core/rfc3161.ts';
import { opensslMissing } from '../certificates.ts';
import { opensslHolds } from '../openssl-ts.ts';
import { temporaryFolder } from '../temporary.ts';
import {
  algorithmId,
  attribute,
  boolean,
  CODE_SIGNING,
  certificateId,
  context,
  element,
  extension,
  GRANTED,
  hashed,
  integer,
  issuerSerial,
  type Kind,
  type Made,
  makeCertificate,
  makeResponse,
  NULL,
  nameOf,
  octets,
  oid,
  pemOf,
  type Stamping,
  sequence,
  set,
  signingCertificateV1,
  signingCertificateV2,
  sorted,
  TIME_STAMPING,
  utcTime,
  type Wanted,
} from './made-tsa.ts';
import { nearMiss } from './near-miss.ts';
import { thrownBy } from './thrown.ts';

const message = utf8('example.org/logs/a\n7\nSuGRk59U\n');
const TIME_MS = Date.UTC(2026, 10, 21, 3, 25, 22);

const root = makeCertificate({ name: 'root', isAuthority: true });
const between = makeCertificate({ name: 'between', isAuthority: true, by: root, pathLength: 0 });
const signer = makeCertificate({ name: 'authority', by: root });
const stranger = makeCertificate({ name: 'stranger', isAuthority: true });
const rsaRoot = makeCertificate({ name: 'rsa root', isAuthority: true, kind: 'rsa' });

const nonce = Uint8Array.of(0x00, 0xe3, 0xcc, 0xa6, 0x37, 0x9e, 0x1a, 0x98, 0xa0);

interface Case {
  readonly response: Uint8Array;
  readonly pinned?: readonly Made[];
  readonly others?: readonly Made[];
  readonly imprint?: Imprint;
  readonly given?: Partial<Omit<TimestampToCheck, 'message' | 'imprint'>>;
  /** OpenSSL may say something else: it looks less closely, or at something else, or cannot do it. */
  readonly otherwise?: true;
}

const authority = (...pinned: readonly Made[]) => parseTsaRoots(pemOf(...pinned), 'roots');

function check({ response, pinned = [root], imprint, given }: Case) {
  return checkTimestamp({
    response,
    ...(imprint === undefined ? { message } : { imprint }),
    authorities: [authority(...pinned)],
    ...given,
  });
}

const make = (stamping: Partial<Stamping> = {}) => makeResponse({ signer, message, ...stamping });

/** A token by a signer of its own, whose certificate is as wanted. */
function by(wanted: Wanted, stamping: Partial<Stamping> = {}): Uint8Array {
  return make({ signer: makeCertificate({ name: 'authority', by: root, ...wanted }), ...stamping });
}

/** A token by way of an authority that is as wanted. */
function through(wanted: Wanted, stamping: Partial<Stamping> = {}): Uint8Array {
  const middle = makeCertificate({ name: 'between', isAuthority: true, by: root, ...wanted });
  const leaf = makeCertificate({ by: middle });
  return make({ signer: leaf, certificates: [leaf, middle], ...stamping });
}

const signers = (Object.keys({ p256: 0, p384: 0, p521: 0, rsa: 0 }) as Kind[]).map(
  (kind) => [kind, makeCertificate({ by: root, kind })] as const,
);
const ed25519 = makeCertificate({ by: root, kind: 'ed25519' });
const rsa = signers.find(([kind]) => kind === 'rsa')?.[1] as Made;

const good: Record<string, Case> = {
  'as small as it can be': { response: make() },
  ...Object.fromEntries(
    signers.flatMap(([kind, one]) =>
      (['sha256', 'sha384', 'sha512'] as const).map((hash) => [
        `signed by ${kind} with ${hash}`,
        { response: make({ signer: one, way: { hash } }) },
      ]),
    ),
  ),
  'signed by Ed25519': { response: make({ signer: ed25519 }), otherwise: true },
  'signed by RSA-PSS': {
    response: make({ signer: rsa, way: { hash: 'sha384', pss: true } }),
    otherwise: true,
  },
  'signed by RSA, which is said without its hash': {
    response: make({ signer: rsa, algorithm: sequence(oid('1.2.840.113549.1.1.1'), NULL) }),
  },
  'with digests said without parameters': {
    response: make({ digestAlgorithm: sequence(oid('2.16.840.1.101.3.4.2.1')) }),
  },
  'under a root of RSA-PSS': {
    pinned: [rsaRoot],
    response: by({ by: rsaRoot, way: { hash: 'sha256', pss: true } }),
  },
  'under a root of RSA': { pinned: [rsaRoot], response: by({ by: rsaRoot }) },
  'with an imprint of SHA-384': { response: make({ hash: 'sha384' }) },
  'with an imprint of SHA-512': { response: make({ hash: 'sha512' }) },
  'with an authority between': { response: through({}) },
  'with a path that is as long as it may be': { response: through({ pathLength: 0 }) },
  'with an authority between that is for time stamps alone': {
    response: through({ purposes: [TIME_STAMPING] }),
  },
  'with an authority between that is for any purpose': {
    response: through({ purposes: ['2.5.29.37.0'] }),
  },
  'with its certificate pinned, and not in it': {
    response: make({ certificates: [] }),
    pinned: [signer],
    // OpenSSL looks for the signer among those given beside the pinned ones.
    others: [signer],
  },
  'with its certificate pinned, and in it': { response: make(), pinned: [signer] },
  'with its root in it': { response: make({ certificates: [root, signer] }) },
  'with strange certificates in it': {
    response: make({ certificates: [stranger, signer, between] }),
  },
  'with a namesake of its signer in it': {
    response: make({
      certificates: [makeCertificate({ name: 'authority', serial: signer.serial }), signer],
    }),
  },
  'with accuracy': {
    response: make({ accuracy: sequence(integer(1), element(0x80, Uint8Array.of(5))) }),
  },
  'with an ordering': { response: make({ ordering: boolean(true) }) },
  'with no ordering, and said so': { response: make({ ordering: boolean(false) }) },
  'with a nonce': { response: make({ nonce }), given: { nonce } },
  'with its own name': { response: make({ tsa: signer.name }) },
  'with its own name in another form': {
    response: make({
      tsa: sequence(set(sequence(oid('2.5.4.3'), element(0x13, utf8('authority'))))),
    }),
  },
  'with an extension that is not critical': {
    response: make({ infoMore: [context(1, extension('1.2.3.4', false, NULL))] }),
  },
  'with a fraction of one digit': { response: make({ time: '20261121032522.5Z' }) },
  'with a fraction of nine digits': { response: make({ time: '20261121032522.000000001Z' }) },
  'with a negative serial': { response: make({ serial: element(0x02, Uint8Array.of(0xc1)) }) },
  'with a certificate named by SHA-512': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(certificateId(signer, 'sha512')),
        }),
    }),
  },
  'with a certificate named with its issuer': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(certificateId(signer, undefined, true)),
        }),
    }),
  },
  'with both forms of naming its certificate': {
    response: make({
      attributes: (given) => [...Object.values(given), signingCertificateV1(signer)],
    }),
  },
  'with unsigned attributes': {
    response: make({ unsigned: attribute('1.2.3.4', NULL) }),
  },
  'granted with changes': { response: make({ status: sequence(integer(1)) }) },
  'with a text beside its status': {
    response: make({ status: sequence(integer(0), sequence(element(0x0c, utf8('fine')))) }),
  },
  'as an older version of signed data': { response: make({ dataVersion: 1 }) },
  'by a certificate that was good to this very second': {
    response: by({ until: '261121032522Z' }),
    // To OpenSSL the end is excluded.
    otherwise: true,
  },
  'by a certificate that is good from this very second': {
    response: by({ from: '261121032522Z' }),
  },
  'by a certificate that has ended since': { response: by({ until: '261121032523Z' }) },
  'by a certificate without key usage': { response: by({ keyUsage: undefined }) },
  'by a certificate for signatures that bind': { response: by({ keyUsage: 0xc0 }) },
  'by a certificate with a critical policy': {
    response: by({
      more: [extension('2.5.29.32', true, sequence(sequence(oid('2.5.29.32.0'))))],
    }),
  },
  'by a certificate with an extension that is not known': {
    response: by({ more: [extension('1.2.3.4', false, NULL)] }),
  },
};

const issuerSerialName = ({ issuer, serial }: Made) =>
  sequence(sequence(context(4, issuer)), serial);

const rejected = sequence(integer(2), element(0x03, Uint8Array.of(7, 0x80)));

interface Bad extends Case {
  readonly code: 'malformed' | 'unverified' | 'no-trust';
  readonly says: string;
}

const bad: Record<string, Bad> = {
  // What it is about.
  'of another message': {
    response: make({ message: utf8('another') }),
    code: 'unverified',
    says: 'it is of something else: the imprint differs',
  },
  'of another message by the hash that is asked for': {
    response: make({ message: utf8('another') }),
    imprint: imprintOf(message),
    code: 'unverified',
    says: 'the imprint differs',
  },
  'of the message by another hash than is asked for': {
    response: make({ hash: 'sha512' }),
    imprint: imprintOf(message),
    code: 'unverified',
    says: 'the imprint differs',
    otherwise: true,
  },
  'with an imprint of SHA-1': {
    response: make({ hash: 'sha1' }),
    code: 'unverified',
    says: 'imprint: SHA-1 (1.3.14.3.2.26) is not taken',
    otherwise: true,
  },
  'with an imprint that is cut': {
    response: make({ digest: hashed('sha256', message).subarray(0, 31) }),
    code: 'malformed',
    says: 'imprint: 31 bytes where sha256 has 32',
  },
  'with another nonce': {
    response: make({ nonce: nonce.with(8, 1) }),
    given: { nonce },
    code: 'unverified',
    says: 'it answers another query: the nonce differs',
    otherwise: true,
  },
  'without the nonce': {
    response: make(),
    given: { nonce },
    code: 'unverified',
    says: 'the nonce differs',
    otherwise: true,
  },
  'before it may be': {
    response: make(),
    given: { fromMs: TIME_MS + 1 },
    code: 'unverified',
    says: 'its time 2026-11-21T03:25:22.000Z is not from 2026-11-21T03:25:22.001Z to ever',
    otherwise: true,
  },
  'after it may be': {
    response: make(),
    given: { untilMs: TIME_MS - 1 },
    code: 'unverified',
    says: 'is not from ever to 2026-11-21T03:25:21.999Z',
    otherwise: true,
  },
  'with less accuracy than is asked for': {
    response: make({ accuracy: sequence(integer(61)) }),
    given: { accuracyMaxMs: 60_000 },
    code: 'unverified',
    says: 'it may be off by 61000 ms where at most 60000 are allowed',
    otherwise: true,
  },
  // What was answered.
  'that is refused': {
    response: sequence(rejected),
    code: 'unverified',
    says: 'not granted, but rejection: badAlg',
  },
  'that is refused, with a token beside it': {
    response: make({ status: rejected }),
    code: 'malformed',
    says: 'rejection, and a token',
  },
  'that is to come': {
    response: sequence(sequence(integer(3))),
    code: 'unverified',
    says: 'not granted, but waiting',
  },
  'that is granted without a token': {
    response: sequence(GRANTED),
    code: 'malformed',
    says: 'granted, and no token',
  },
  'with a status that there is not': {
    response: make({ status: sequence(integer(6)) }),
    code: 'malformed',
    says: 'an INTEGER that is not from 0 to 5',
  },
  'with a byte behind it': {
    response: concat(make(), Uint8Array.of(0)),
    code: 'malformed',
    says: '1 bytes follow the end',
    otherwise: true,
  },
  'with an element behind its token': {
    response: make({ token: (token) => concat(token, NULL) }),
    code: 'malformed',
    says: '2 bytes follow the end',
  },
  'that is a token alone': {
    response: make().subarray(4 + GRANTED.length),
    code: 'malformed',
    says: 'tag 0x06 where a sequence is needed',
  },
  'in BER, of indefinite length outside': {
    response: make({
      token: (token) => {
        const content = token.subarray(4);
        return concat(Uint8Array.of(0x30, 0x80), content, Uint8Array.of(0, 0));
      },
    }),
    code: 'malformed',
    says: 'not DER',
    otherwise: true,
  },
  'in BER, with a length that is longer than it has to be': {
    response: make({
      token: (token) => concat(Uint8Array.of(0x30, 0x83, 0), token.subarray(2)),
    }),
    code: 'malformed',
    says: 'not DER: an overlong length',
    otherwise: true,
  },
  'that is too long': {
    response: new Uint8Array(65_537),
    code: 'malformed',
    says: '65537 bytes where at most 65536 are allowed',
  },
  // What is signed.
  'of another version': {
    response: make({ version: 2 }),
    code: 'malformed',
    says: 'version 2 where 1 is known',
  },
  'with a local time': {
    response: make({ time: '20261121032522' }),
    code: 'malformed',
    says: 'is not a time in UTC with seconds',
    otherwise: true,
  },
  'with a time of another zone': {
    response: make({ time: '20261121032522+0100' }),
    code: 'malformed',
    says: 'is not a time in UTC with seconds',
    otherwise: true,
  },
  'with a time without seconds': {
    response: make({ time: '202611210325Z' }),
    code: 'malformed',
    says: 'is not a time in UTC with seconds',
    otherwise: true,
  },
  'with a fraction that ends in zero': {
    response: make({ time: '20261121032522.50Z' }),
    code: 'malformed',
    says: 'is not a time in UTC with seconds',
    otherwise: true,
  },
  'on a day that there is not': {
    response: make({ time: '20260230032522Z' }),
    code: 'malformed',
    says: 'is not a time in UTC with seconds',
    otherwise: true,
  },
  'with an accuracy of a thousand thousandths': {
    response: make({ accuracy: sequence(element(0x80, Uint8Array.of(3, 0xe8))) }),
    code: 'malformed',
    says: 'not from 0 to 999',
    otherwise: true,
  },
  'with a negative accuracy': {
    response: make({ accuracy: sequence(element(0x02, Uint8Array.of(0xff))) }),
    code: 'malformed',
    says: 'not from 0 to',
    otherwise: true,
  },
  'with a critical extension': {
    response: make({ infoMore: [context(1, extension('1.2.3.4', true, NULL))] }),
    code: 'unverified',
    says: 'critical extension 1.2.3.4 is not known',
    otherwise: true,
  },
  "with another's name": {
    response: make({ tsa: nameOf('somebody else') }),
    code: 'unverified',
    says: 'it says that it is by CN=somebody else, and CN=authority signed',
  },
  'with something behind what is signed': {
    response: make({ infoMore: [NULL] }),
    code: 'malformed',
    says: 'bytes follow the end',
  },
  'of content that is no time stamp': {
    response: make({ contentType: '1.2.840.113549.1.7.1' }),
    code: 'malformed',
    says: 'type 1.2.840.113549.1.7.1 where what is stamped',
  },
  // The signature.
  'with another signature': {
    response: make({
      signers: (info) => [info.with(info.length - 1, (info.at(-1) ?? 0) ^ 1)],
    }),
    code: 'unverified',
    says: 'does not fit the message and key',
  },
  "with another's signature": {
    response: make({ signer: { ...signer, key: stranger.key } }),
    code: 'unverified',
    says: 'does not fit the message and key',
  },
  'with two signers': {
    response: make({ signers: (info) => [info, info] }),
    code: 'malformed',
    says: 'more than one signer',
  },
  'with no signer': {
    response: make({ signers: () => [] }),
    code: 'malformed',
    says: 'nothing where a sequence is needed',
  },
  'without signed attributes': {
    response: make({ attributes: () => [] }),
    code: 'unverified',
    says: 'no signed attribute has its content type',
  },
  'with digests of SHA-1': {
    response: make({ way: { hash: 'sha1' } }),
    code: 'unverified',
    says: 'digests: SHA-1 (1.3.14.3.2.26) is not taken',
    otherwise: true,
  },
  'with a signature by another hash than its digests': {
    response: make({ algorithm: algorithmId('p256', { hash: 'sha512' }) }),
    code: 'unverified',
    says: 'a signature with sha512 of digests with sha256',
    otherwise: true,
  },
  'with a signature of another kind than its key': {
    response: make({ algorithm: algorithmId('rsa', { hash: 'sha256' }) }),
    code: 'unverified',
    says: 'key of a certificate',
    otherwise: true,
  },
  'without the type of its content': {
    response: make({ attributes: ({ contentType: _, ...rest }) => Object.values(rest) }),
    code: 'unverified',
    says: 'no signed attribute has its content type',
    otherwise: true,
  },
  'signed as content of another type': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          contentType: attribute('1.2.840.113549.1.9.3', oid('1.2.840.113549.1.7.1')),
        }),
    }),
    code: 'unverified',
    says: 'signed as content of type 1.2.840.113549.1.7.1',
    otherwise: true,
  },
  'without the digest of its content': {
    response: make({ attributes: ({ messageDigest: _, ...rest }) => Object.values(rest) }),
    code: 'unverified',
    says: 'no signed attribute has its message digest',
  },
  'with the digest of other content': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          messageDigest: attribute('1.2.840.113549.1.9.4', octets(hashed('sha256', message))),
        }),
    }),
    code: 'unverified',
    says: 'its content is not what was signed',
  },
  'with two digests of its content': {
    response: make({
      attributes: (given) => {
        const right = given.messageDigest.subarray(-34);
        const wrong = octets(hashed('sha256', message));
        return Object.values({
          ...given,
          messageDigest: attribute('1.2.840.113549.1.9.4', right, wrong),
        });
      },
    }),
    code: 'malformed',
    says: 'bytes follow the end',
    otherwise: true,
  },
  'with one attribute twice': {
    response: make({
      attributes: (given) => [
        ...Object.values(given),
        attribute('1.2.840.113549.1.9.5', utcTime('261121032523Z')),
      ],
    }),
    code: 'malformed',
    says: 'signed attribute 1.2.840.113549.1.9.5 is there twice',
    otherwise: true,
  },
  'with signed attributes that are not in order': {
    response: make({ order: (given) => sorted(given).reverse() }),
    code: 'malformed',
    says: 'its signed attributes are not in order',
    otherwise: true,
  },
  // Whose it is.
  'without the hash of its certificate': {
    response: make({ attributes: ({ signingCertificate: _, ...rest }) => Object.values(rest) }),
    code: 'unverified',
    says: "no signed attribute has its signer's certificate",
  },
  'with its certificate named by SHA-1 alone': {
    response: make({
      attributes: (given) =>
        Object.values({ ...given, signingCertificate: signingCertificateV1(signer) }),
    }),
    code: 'unverified',
    says: 'named by SHA-1 alone (ESSCertID)',
    otherwise: true,
  },
  'with its certificate named by SHA-1 in the newer form': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(certificateId(signer, 'sha1')),
        }),
    }),
    code: 'unverified',
    says: 'hash of a certificate: SHA-1',
    otherwise: true,
  },
  "with another's certificate named under the signature": {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(certificateId(between)),
        }),
    }),
    code: 'unverified',
    says: 'under the signature another certificate is named than beside it',
  },
  'with its certificate named with another issuer': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(
            sequence(
              octets(hashed('sha256', signer.der)),
              sequence(sequence(context(4, stranger.name)), signer.serial),
            ),
          ),
        }),
    }),
    code: 'unverified',
    says: 'under the signature another certificate is named than beside it',
  },
  'with its certificate named with another serial': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(
            sequence(
              octets(hashed('sha256', signer.der)),
              sequence(sequence(context(4, signer.issuer)), integer(1)),
            ),
          ),
        }),
    }),
    code: 'unverified',
    says: 'under the signature another certificate is named than beside it',
  },
  'with something behind the name of its certificate': {
    response: make({
      attributes: (given) =>
        Object.values({
          ...given,
          signingCertificate: signingCertificateV2(
            sequence(octets(hashed('sha256', signer.der)), issuerSerialName(signer), NULL),
          ),
        }),
    }),
    code: 'malformed',
    says: 'bytes follow the end',
  },
  'with something behind its signers': {
    response: make({ dataMore: NULL }),
    code: 'malformed',
    says: 'bytes follow the end',
  },
  "with another's certificate named beside the signature": {
    response: make({ sid: issuerSerial(between), certificates: [signer, between] }),
    code: 'unverified',
    says: 'under the signature another certificate is named than beside it',
  },
  'with its signer named by a key identifier': {
    response: make({ signerVersion: 3, sid: element(0x80, Uint8Array.of(1, 2, 3)) }),
    code: 'malformed',
    says: 'its signer is not named by issuer and serial',
  },
  'without its certificate, which nobody has': {
    response: make({ certificates: [] }),
    code: 'no-trust',
    says: "its signer's certificate is neither in it nor pinned",
  },
  'by somebody whom nobody has pinned': {
    response: make(),
    pinned: [stranger],
    code: 'no-trust',
    says: '"CN=authority" does not lead to a pinned certificate',
  },
  'by somebody whom nobody has pinned, with his root in it': {
    response: make({ certificates: [signer, root] }),
    pinned: [stranger],
    code: 'no-trust',
    says: '"CN=authority" does not lead to a pinned certificate',
  },
  'under a namesake of the root': {
    response: make(),
    pinned: [makeCertificate({ name: 'root', isAuthority: true })],
    code: 'no-trust',
    says: '"CN=authority" does not lead to a pinned certificate; ecdsa-p256 signature',
  },
  'without the authority between': {
    response: make({ signer: makeCertificate({ by: between }) }),
    code: 'no-trust',
    says: 'does not lead to a pinned certificate',
  },
  // Whether it may.
  'by a certificate that had ended': {
    response: by({ until: '261121032521Z' }),
    code: 'unverified',
    says: '"CN=authority": valid until 2026-11-21T03:25:21.000Z, before the time stamp',
  },
  'by a certificate that had not begun': {
    response: by({ from: '261121032523Z' }),
    code: 'unverified',
    says: '"CN=authority": valid from 2026-11-21T03:25:23.000Z, after the time stamp',
  },
  'by way of an authority that had ended': {
    response: through({ until: '250101000000Z' }),
    code: 'unverified',
    says: '"CN=between": valid until 2025-01-01T00:00:00.000Z',
  },
  'by a certificate without a purpose': {
    response: by({ purposes: undefined }),
    code: 'unverified',
    says: 'no extended key usage where time stamping is needed',
  },
  'by a certificate for another purpose': {
    response: by({ purposes: [CODE_SIGNING] }),
    code: 'unverified',
    says: `extended key usage ${CODE_SIGNING} where time stamping alone is needed`,
  },
  'by a certificate for another purpose as well': {
    response: by({ purposes: [TIME_STAMPING, CODE_SIGNING] }),
    code: 'unverified',
    says: 'where time stamping alone is needed',
  },
  'by a certificate whose purpose is not critical': {
    response: by({ purposesCritical: false }),
    code: 'unverified',
    says: 'its extended key usage is not critical',
  },
  'by a certificate that is not for signatures': {
    response: by({ keyUsage: 0x20 }),
    code: 'unverified',
    says: 'its key usage is not signatures alone',
  },
  'by a certificate for signatures and more': {
    response: by({ keyUsage: 0xa0 }),
    code: 'unverified',
    says: 'its key usage is not signatures alone',
  },
  'by a certificate with a critical extension that is not known': {
    response: by({ more: [extension('1.2.3.4', true, NULL)] }),
    code: 'unverified',
    says: 'critical extension 1.2.3.4 is not known',
  },
  'by way of somebody who is no authority': {
    response: through({ isAuthority: false, keyUsage: 0x06, purposes: undefined }),
    code: 'unverified',
    says: '"CN=between": it is no authority, and another is signed by it',
  },
  'by way of an authority that may not sign certificates': {
    response: through({ keyUsage: 0x80 }),
    code: 'unverified',
    says: 'its key usage does not have certificates',
  },
  'by way of an authority for another purpose': {
    response: through({ purposes: [CODE_SIGNING] }),
    code: 'unverified',
    says: `extended key usage ${CODE_SIGNING}, without time stamping`,
    otherwise: true,
  },
  'by a longer path than its root allows': {
    response: (() => {
      const lower = makeCertificate({ name: 'lower', isAuthority: true, by: between });
      const leaf = makeCertificate({ by: lower });
      return make({ signer: leaf, certificates: [leaf, lower, between] });
    })(),
    code: 'unverified',
    says: '"CN=between": 1 authorities below it where 0 are allowed',
  },
  'by a path that was signed with SHA-1': {
    response: by({ way: { hash: 'sha1' } }),
    code: 'no-trust',
    says: 'signature of "CN=authority": ECDSA with SHA-1 (1.2.840.10045.4.1) is not taken',
    otherwise: true,
  },
  'by a certificate with a key that is too short': {
    response: by({ kind: 'rsa-1024' }),
    code: 'unverified',
    says: 'key of a certificate: rsa key',
    otherwise: true,
  },
  'by a certificate with a small exponent': {
    response: by({ kind: 'rsa-e3' }),
    code: 'unverified',
    says: 'key of a certificate: rsa key',
    otherwise: true,
  },
  'by a certificate of a curve that is not taken': {
    response: by({ kind: 'secp256k1' }),
    code: 'unverified',
    says: 'by ECDSA over P-256, P-384 or P-521, and the key is of no such kind',
    otherwise: true,
  },
  'by a certificate of the first version': {
    response: by({ withoutExtensions: true }),
    code: 'unverified',
    says: 'no extended key usage where time stamping is needed',
  },
  'with an authority on its path that the signer does not name': {
    response: (() => {
      const leaf = makeCertificate({ by: between });
      return make({
        signer: leaf,
        certificates: [leaf, between],
        attributes: (given) =>
          Object.values({
            ...given,
            signingCertificate: signingCertificateV2(certificateId(leaf), certificateId(stranger)),
          }),
      });
    })(),
    code: 'unverified',
    says: 'CN=between is on the path, and the signer does not name it',
  },
};

const folder = { path: '' };
beforeAll(() => {
  folder.path = temporaryFolder(afterAll);
});

/** Which of these hold by OpenSSL, where nothing says that it may see them otherwise. */
function heldByOpenssl(cases: Readonly<Record<string, Case>>): Record<string, boolean> {
  const plain = Object.entries(cases).filter(([, { otherwise = false }]) => !otherwise);
  return Object.fromEntries(
    plain.map(([name, { response, pinned = [root], others }]) => [
      name,
      opensslHolds(folder.path, {
        response,
        message,
        pinned: pemOf(...pinned),
        ...(others === undefined ? {} : { others: pemOf(...others) }),
        atMs: TIME_MS,
      }),
    ]),
  );
}

const all = (cases: Readonly<Record<string, boolean>>, holds: boolean) =>
  Object.fromEntries(Object.keys(cases).map((name) => [name, holds]));

describe('a time stamp holds', () => {
  test.each(Object.entries(good))('%s', (_, given) => {
    const { timeMs, latestMs, authority } = check(given);
    expect(timeMs).toBeGreaterThanOrEqual(TIME_MS);
    expect(timeMs).toBeLessThan(TIME_MS + 1_000);
    expect(latestMs).toBeGreaterThanOrEqual(timeMs);
    expect(authority).toMatch(/^CN=/);
  });

  test.skipIf(opensslMissing)('and OpenSSL says so too', () => {
    const held = heldByOpenssl(good);
    expect(Object.keys(held).length).toBeGreaterThan(30);
    expect(held).toEqual(all(held, true));
  });
});

describe('a time stamp does not hold', () => {
  test.each(Object.entries(bad))('%s', (_, given) => {
    const error = thrownBy(() => check(given));
    expect(error).toBeInstanceOf(SteleError);
    const { code, message: said } = error as SteleError;
    expect(said).toContain(given.says);
    expect(error instanceof NoTrust ? 'no-trust' : code).toBe(given.code);
  });

  test.skipIf(opensslMissing)('and OpenSSL says so too, where it looks as closely', () => {
    const held = heldByOpenssl(bad);
    expect(Object.keys(held).length).toBeGreaterThan(30);
    expect(held).toEqual(all(held, false));
  });
});

describe('a time stamp says', () => {
  test('whose it is, its time, and by how much that may be off', () => {
    const accuracy = sequence(
      integer(2),
      element(0x80, Uint8Array.of(5)),
      element(0x81, Uint8Array.of(1)),
    );
    const stamp = check({ response: make({ accuracy, time: '20261121032522.4829131Z' }) });
    expect(stamp).toMatchObject({
      // What is finer than milliseconds is rounded up: it existed at the latest then.
      timeMs: TIME_MS + 483,
      accuracyMs: 2_006,
      latestMs: TIME_MS + 2_489,
      authority: 'CN=authority',
      policy: '1.3.6.1.4.1.57264.2',
      serial: '07',
      imprint: imprintOf(message),
    });
    expect(describeTimestamp(stamp)).toBe('2026-11-21T03:25:22.483Z (± 2.006 s) by CN=authority');
    expect(stamp.path.map(({ name }) => name)).toEqual(['CN=authority', 'CN=root']);
  });

  test('nothing of accuracy where the authority does not', () => {
    const stamp = check({ response: make() });
    expect(stamp).not.toHaveProperty('accuracyMs');
    expect(describeTimestamp(stamp)).toBe('2026-11-21T03:25:22.000Z by CN=authority');
  });
});

describe('any byte changed', () => {
  const counts = (response: Uint8Array, pinned: readonly Made[]) => {
    const { path, ...rest } = check({ response, pinned, given: { nonce } });
    return { ...rest, path: path.map(({ der }) => Buffer.from(der).toString('hex')) };
  };
  const leaf = makeCertificate({ name: 'leaf', by: between });
  const tokens: Record<string, readonly [Uint8Array, Made]> = {
    'of a token by ECDSA': [make({ signer: leaf, certificates: [leaf, between], nonce }), root],
    'of a token by RSA': [
      make({
        signer: rsa,
        nonce,
        accuracy: sequence(integer(1)),
        unsigned: attribute('1.2.3.4', NULL),
        status: sequence(integer(0), sequence(element(0x0c, utf8('fine')))),
      }),
      root,
    ],
  };

  test.each(Object.entries(tokens))('%s is refused, or changes nothing that counts', (_, token) => {
    const [response, pin] = token;
    const before = counts(response, [pin]);
    let harmless = 0;
    for (let at = 0; at < response.length; at++) {
      const changed = response.with(at, (response[at] ?? 0) ^ (at % 2 === 0 ? 0x01 : 0x80));
      let after: ReturnType<typeof counts>;
      try {
        after = counts(changed, [pin]);
      } catch (error) {
        expect(error).toBeInstanceOf(SteleError);
        continue;
      }
      harmless++;
      expect(after, `byte ${at}`).toEqual(before);
    }
    // The status, the lists of digests, what is not signed: little, but there is some.
    expect(harmless).toBeGreaterThan(0);
    expect(harmless).toBeLessThan(response.length / 10);
  });

  test('taken out, put in, doubled or swapped: the same, and no other error', () => {
    const [response, pin] = tokens['of a token by ECDSA'] as readonly [Uint8Array, Made];
    const before = counts(response, [pin]);
    fc.assert(
      fc.property(nearMiss(response), (bytes) => {
        try {
          expect(counts(bytes, [pin])).toEqual(before);
        } catch (error) {
          if (!(error instanceof SteleError)) throw error;
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('noise is refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(thrownBy(() => parseTimestampResponse(bytes))).toBeInstanceOf(SteleError);
      }),
      { numRuns: 2_000 },
    );
  });
});
