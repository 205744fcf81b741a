/**
 * Does the signature of this signed content hold, and by which certificate?
 *
 * The signer says twice who signed: beside the signature by issuer and serial, which anybody could change,
 * and under it by a hash of the whole certificate (ESSCertIDv2). Both have to name the same one. It is taken
 * from what came along and from what is pinned; that it came along says nothing for it.
 *
 *     content ──digest──▶ signed attributes ◀──signature── key of the certificate
 *                           └─hash of the certificate─────────▶┘
 *
 * [RFC 5652 §5.4, §5.6, §11] signing. [RFC 5035 §4, RFC 5816] the certificate's hash.
 */
import { equalBytes } from '../bytes.ts';
import { DerReader, oidText } from '../der.ts';
import { malformed, NoTrust, unverified } from '../errors.ts';
import { TIMESTAMP_CERTIFICATES_MAX } from '../limits.ts';
import { checkSignatureBy, digestOf, type HashName, hashOf, schemeOf } from '../x509/algorithms.ts';
import type { Certificate } from '../x509/certificate.ts';
import type { SignedContent, SignerInfo } from './cms.ts';

const WHAT = 'time stamp token';

const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.12';
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';

export interface Signer {
  readonly certificate: Certificate;
  /** The hashes under the signature: the first is of the signer's certificate. */
  readonly named: readonly NamedCertificate[];
}

export interface NamedCertificate {
  readonly hash: HashName;
  readonly digest: Uint8Array;
  readonly issuer?: Uint8Array;
  readonly serial?: Uint8Array;
}

/**
 * Checks the signature; throws `unverified`, or `NoTrust` where the signer's certificate is neither in what
 * is signed nor among those that are `known`.
 */
export function checkSigner(
  { content, certificates, signer }: SignedContent,
  contentType: string,
  known: readonly Certificate[],
): Signer {
  const hash = hashOf(signer.digestAlgorithm, `${WHAT}: digests`);
  const scheme = schemeOf(signer.algorithm, `${WHAT}: signature`, hash);
  checkAttributes(signer, contentType, digestOf(hash, content));
  const named = readNamed(signer);
  const candidates = [...certificates, ...known].filter(
    ({ issuer, serial }) => equalBytes(issuer, signer.issuer) && equalBytes(serial, signer.serial),
  );
  if (candidates.length === 0) {
    throw new NoTrust(WHAT, "its signer's certificate is neither in it nor pinned");
  }
  const certificate = candidates.find((candidate) => isNamed(candidate, named[0]));
  if (certificate === undefined) {
    throw unverified(WHAT, 'under the signature another certificate is named than beside it');
  }
  checkSignatureBy(certificate.spki, scheme, signer.signed, signer.signature);
  return { certificate, named };
}

function checkAttributes(signer: SignerInfo, contentType: string, digest: Uint8Array): void {
  const type = oidText(attributeOf(signer, CONTENT_TYPE, 'content type').content('oid'), WHAT);
  if (type !== contentType) throw unverified(WHAT, `signed as content of type ${type}`);
  const signed = attributeOf(signer, MESSAGE_DIGEST, 'message digest').content('octetString');
  if (!equalBytes(signed, digest)) {
    throw unverified(WHAT, 'its content is not what was signed: the digests differ');
  }
}

/** A reader of the one value of a signed attribute. */
function attributeOf({ attributes }: SignerInfo, oid: string, name: string): DerReader {
  const content = attributes.get(oid);
  if (content === undefined) throw unverified(WHAT, `no signed attribute has its ${name}`);
  const values = new DerReader(content, WHAT);
  const { whole } = values.any();
  // SPEC: of each of these "there MUST NOT be zero or multiple instances of AttributeValue present".
  values.end();
  return new DerReader(whole, WHAT);
}

/**
 * ESSCertIDv2 only: the older form names the certificate by SHA-1, and an authority that has nothing else
 * is not taken.
 */
function readNamed(signer: SignerInfo): NamedCertificate[] {
  if (
    signer.attributes.has(SIGNING_CERTIFICATE) &&
    !signer.attributes.has(SIGNING_CERTIFICATE_V2)
  ) {
    throw unverified(WHAT, "its signer's certificate is named by SHA-1 alone (ESSCertID)");
  }
  const value = attributeOf(signer, SIGNING_CERTIFICATE_V2, "signer's certificate");
  const list = value.inside('sequence').inside('sequence');
  const named: NamedCertificate[] = [];
  while (!list.isAtEnd) {
    if (named.push(readOneNamed(list.inside('sequence'))) > TIMESTAMP_CERTIFICATES_MAX) {
      throw malformed(WHAT, `more than ${TIMESTAMP_CERTIFICATES_MAX} certificates are named`);
    }
  }
  return named;
}

function readOneNamed(id: DerReader): NamedCertificate {
  const hash = id.isNext('sequence')
    ? hashOf(id.element('sequence'), `${WHAT}: hash of a certificate`)
    : 'sha256';
  const digest = id.content('octetString');
  if (id.isAtEnd) return { hash, digest };
  const issuerSerial = id.inside('sequence');
  id.end();
  const names = issuerSerial.inside('sequence');
  const serial = issuerSerial.integer();
  issuerSerial.end();
  // SPEC: "The issuer's distinguished name MUST be … the only name" as a directoryName [RFC 5035 §4].
  const directory = names.inside('context4');
  names.end();
  const issuer = directory.element('sequence');
  directory.end();
  return { hash, digest, issuer, serial };
}

/** Whether this is the certificate that is named. */
export function isNamed(certificate: Certificate, named: NamedCertificate | undefined): boolean {
  if (named === undefined) return false;
  const { hash, digest, issuer, serial } = named;
  return (
    equalBytes(digestOf(hash, certificate.der), digest) &&
    (issuer === undefined || equalBytes(issuer, certificate.issuer)) &&
    (serial === undefined || equalBytes(serial, certificate.serial))
  );
}
