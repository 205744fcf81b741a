/**
 * Which key is in this certificate, and for how long does it say that it is good?
 *
 * Nothing else is asked of it: no chain is verified, and neither issuer, signature, names nor extensions
 * are looked at. A certificate is a form in which some have their keys at hand, and that a key may submit
 * is for the log's operator to say.
 *
 *     Certificate  tbs { version? serial algorithm issuer validity { from, to } subject key … }  algorithm  signature
 *
 * [RFC 5280 §4.1]
 */
import { DerReader } from './der.ts';
import { readTime } from './der-time.ts';
import { malformed } from './errors.ts';

export interface CertifiedKey {
  readonly spki: Uint8Array;
  /** Milliseconds since 1970, both included. */
  readonly notBeforeMs: number;
  /** Nothing where the certificate says that it has no end. */
  readonly notAfterMs: number | undefined;
}

const WHAT = 'certificate';

/** [RFC 5280 §4.1.2.5] a certificate without a good end has this one. */
const NO_END_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** Reads a certificate from a stranger's DER; throws `malformed`. The key itself is not judged. */
export function readCertificate(der: Uint8Array): CertifiedKey {
  const outer = new DerReader(der, WHAT);
  const certificate = outer.inside('sequence');
  outer.end();
  const tbs = certificate.inside('sequence');
  certificate.content('sequence');
  certificate.content('bitString');
  certificate.end();
  if (tbs.isNext('context0')) tbs.content('context0');
  tbs.content('integer');
  tbs.content('sequence');
  tbs.content('sequence');
  const validity = tbs.inside('sequence');
  const notBeforeMs = readTime(validity, WHAT);
  const notAfterMs = readTime(validity, WHAT);
  validity.end();
  if (notAfterMs < notBeforeMs) throw malformed(WHAT, 'it ends before it begins');
  tbs.content('sequence');
  const spki = tbs.element('sequence');
  return {
    spki,
    notBeforeMs,
    notAfterMs: notAfterMs === NO_END_MS ? undefined : notAfterMs,
  };
}
