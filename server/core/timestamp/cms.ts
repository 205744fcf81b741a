/**
 * Who signed this content, in the form that time stamps have?
 *
 *     ContentInfo
 *       SignedData   content · certificates · SignerInfo
 *                                               which certificate: issuer and serial
 *                                               signed attributes: type and digest of the content, hash of
 *                                                 the certificate, and what else there is
 *                                               signature over the attributes
 *
 * Of [RFC 5652] only what a time stamp may be: content inside, one signer, signed attributes. Everything is
 * DER; [RFC 5652] would let the outside be BER, but a time stamp's whole answer is DER by [RFC 3161 §3.4],
 * and a second form is a second reader. What nobody signed (certificates, their order, unsigned attributes)
 * is only ever used for what it proves by itself. Only the form is judged here; `signer.ts` says whether
 * the signature holds, and whose it is.
 */
import { DerReader, encodeDer, oidText } from '../der.ts';
import { malformed } from '../errors.ts';
import { TIMESTAMP_CERTIFICATES_MAX } from '../limits.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';

export interface SignedContent {
  readonly content: Uint8Array;
  readonly certificates: readonly Certificate[];
  readonly signer: SignerInfo;
}

export interface SignerInfo {
  /** Of its certificate. */
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
  /** AlgorithmIdentifiers, as elements. */
  readonly digestAlgorithm: Uint8Array;
  readonly algorithm: Uint8Array;
  /** What the signature is over. */
  readonly signed: Uint8Array;
  /** What is in the SET of each signed attribute, by type. */
  readonly attributes: ReadonlyMap<string, Uint8Array>;
  readonly signature: Uint8Array;
}

const WHAT = 'time stamp token';

const SIGNED_DATA = '1.2.840.113549.1.7.2';

/** Attributes of one signer: those of authorities have four or five. */
const ATTRIBUTES_MAX = 32;

/** Reads a ContentInfo, given as an element, with content of this type; throws `malformed`. */
export function parseSignedContent(element: Uint8Array, contentType: string): SignedContent {
  const outer = new DerReader(element, WHAT);
  const info = outer.inside('sequence');
  outer.end();
  expectOid(info, SIGNED_DATA, 'signed data');
  const explicit = info.inside('context0');
  info.end();
  const data = explicit.inside('sequence');
  explicit.end();
  // 3 by the rules; older programs write 1, and nothing depends on it.
  data.number(3);
  data.content('set');
  const content = readContent(data.inside('sequence'), contentType);
  const certificates = data.isNext('context0') ? readCertificates(data.inside('context0')) : [];
  if (data.isNext('context1')) data.content('context1');
  const signers = data.inside('set');
  data.end();
  const signer = readSigner(signers);
  if (!signers.isAtEnd) throw malformed(WHAT, 'more than one signer');
  return { content, certificates, signer };
}

function expectOid(reader: DerReader, wanted: string, name: string): void {
  const oid = oidText(reader.content('oid'), WHAT);
  if (oid !== wanted) throw malformed(WHAT, `type ${oid} where ${name} (${wanted}) is needed`);
}

function readContent(info: DerReader, contentType: string): Uint8Array {
  expectOid(info, contentType, 'what is stamped');
  const explicit = info.inside('context0');
  info.end();
  const content = explicit.content('octetString');
  explicit.end();
  return content;
}

function readCertificates(list: DerReader): Certificate[] {
  const certificates: Certificate[] = [];
  while (!list.isAtEnd) {
    if (
      certificates.push(parseCertificate(list.element('sequence'))) > TIMESTAMP_CERTIFICATES_MAX
    ) {
      throw malformed(WHAT, `more than ${TIMESTAMP_CERTIFICATES_MAX} certificates`);
    }
  }
  return certificates;
}

function readSigner(signers: DerReader): SignerInfo {
  const info = signers.inside('sequence');
  // The other form names the certificate by a key identifier, and is of version 3.
  if (info.number(3) !== 1) throw malformed(WHAT, 'its signer is not named by issuer and serial');
  const sid = info.inside('sequence');
  const issuer = sid.element('sequence');
  const serial = sid.integer();
  sid.end();
  const digestAlgorithm = info.element('sequence');
  if (!info.isNext('context0')) throw malformed(WHAT, 'no signed attributes');
  const content = info.content('context0');
  const algorithm = info.element('sequence');
  const signature = info.content('octetString');
  if (info.isNext('context1')) info.content('context1');
  info.end();
  return {
    issuer,
    serial,
    digestAlgorithm,
    algorithm,
    // SPEC: "The IMPLICIT [0] tag in the signedAttrs is not used … an EXPLICIT SET OF tag is used" [§5.4].
    signed: encodeDer('set', content),
    attributes: readAttributes(content),
    signature,
  };
}

function readAttributes(content: Uint8Array): Map<string, Uint8Array> {
  const list = new DerReader(content, WHAT);
  const attributes = new Map<string, Uint8Array>();
  let last: Uint8Array | undefined;
  while (!list.isAtEnd) {
    const whole = list.element('sequence');
    // SPEC: "SignedAttributes MUST be DER encoded": a SET OF in DER is in order [X.690 §11.6].
    if (last !== undefined && compareBytes(last, whole) >= 0) {
      throw malformed(WHAT, 'not DER: its signed attributes are not in order');
    }
    last = whole;
    const attribute = new DerReader(whole, WHAT).inside('sequence');
    const oid = oidText(attribute.content('oid'), WHAT);
    const values = attribute.content('set');
    attribute.end();
    if (attributes.has(oid)) throw malformed(WHAT, `signed attribute ${oid} is there twice`);
    if (attributes.set(oid, values).size > ATTRIBUTES_MAX) {
      throw malformed(WHAT, `more than ${ATTRIBUTES_MAX} signed attributes`);
    }
  }
  return attributes;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return (a[i] ?? 0) - (b[i] ?? 0);
  }
  return a.length - b.length;
}
