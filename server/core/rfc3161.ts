/**
 * When did this exist at the latest, by the word of a time-stamping authority?
 *
 *     query     imprint (a hash of the message) · nonce          ──▶  authority     timestamp/query.ts
 *     response  status · token                                   ◀──                timestamp/response.ts
 *                        └ signed: imprint, time, accuracy, nonce                   timestamp/cms.ts
 *
 * A token counts if all of this holds:
 *
 *     granted       the status is that there is a token
 *     imprint       it is of this message, by SHA-256 or better
 *     nonce         it has the one of the query, where there was one
 *     signature     one signer, over the content, by the certificate that is named twice     timestamp/signer.ts
 *     path          that certificate leads to a pinned one, and all on the path were good
 *                   for time stamps at the very time that the token says                     x509/path.ts
 *
 * No clock is asked: an authority's word is good for its time, also when its certificates have ended since.
 * Whether that time is near ours is for whoever asked (`anchor/tsa.ts`).
 *
 * [RFC 3161] as updated by [RFC 5816].
 */
import { equalBytes, toHex } from './bytes.ts';
import { NoTrust, SteleError, shown, unverified } from './errors.ts';
import { certificatesOf, type TimestampAuthority } from './timestamp/authority.ts';
import { type Imprint, imprintOf } from './timestamp/query.ts';
import {
  parseTimestampResponse,
  type TimestampInfo,
  type TimestampResponse,
  type TimestampToken,
  TST_INFO,
} from './timestamp/response.ts';
import { checkSigner, isNamed, type Signer } from './timestamp/signer.ts';
import type { Certificate } from './x509/certificate.ts';
import { CertificateSignatures, checkPath, type PathOptions } from './x509/path.ts';

export {
  authorityOfChain,
  parseTsaRoots,
  type TimestampAuthority,
} from './timestamp/authority.ts';
export {
  type Imprint,
  imprintOf,
  makeTimestampQuery,
  parseTimestampQuery,
  type TimestampQuery,
} from './timestamp/query.ts';
export { parseTimestampResponse, type TimestampResponse } from './timestamp/response.ts';

/** What was stamped: the bytes, or a hash of them where they are not at hand. */
export type Stamped = { readonly message: Uint8Array } | { readonly imprint: Imprint };

export type TimestampToCheck = Stamped & {
  readonly response: Uint8Array;
  /** Whom the reader believes. */
  readonly authorities: readonly TimestampAuthority[];
  /** That of the query (`parseTimestampQuery`), where one is at hand. */
  readonly nonce?: Uint8Array;
  /** The times between which it has to be, both included. */
  readonly fromMs?: number;
  readonly untilMs?: number;
  /** By how much the authority may be off, by its own word; one that says nothing of it is let pass. */
  readonly accuracyMaxMs?: number;
};

export interface Timestamp {
  /** The authority's time, in milliseconds since 1970. */
  readonly timeMs: number;
  /** By how much it may be off, by the authority's own word. */
  readonly accuracyMs?: number;
  /** What is proven: it existed then at the latest. */
  readonly latestMs: number;
  /** The subject of the certificate that signed. */
  readonly authority: string;
  readonly policy: string;
  /** Lower-case hex of the INTEGER's content. */
  readonly serial: string;
  readonly imprint: Imprint;
  /** From the signer's certificate to the pinned one. */
  readonly path: readonly Certificate[];
}

const WHAT = 'time stamp';

/**
 * Checks an authority's answer by all the rules above. Throws `malformed` or `unverified`; `NoTrust` where
 * nothing is known to be wrong, but none of the authorities vouches for whoever signed.
 */
export function checkTimestamp(given: TimestampToCheck): Timestamp {
  const { signed, info } = grantedToken(parseTimestampResponse(given.response));
  checkInfo(info, given);
  const signer = checkSigner(signed, TST_INFO, certificatesOf(given.authorities));
  const { certificate } = signer;
  const path = pathOf(signer, signed.certificates, given.authorities, info.timeMs);
  // SPEC: tsa "MUST correspond to one of the subject names included in the certificate".
  if (info.name !== undefined && info.name !== certificate.name) {
    throw unverified(WHAT, `it says that it is by ${info.name}, and ${certificate.name} signed`);
  }
  const { timeMs, accuracyMs, policy, imprint } = info;
  return {
    timeMs,
    ...(accuracyMs === undefined ? {} : { accuracyMs }),
    latestMs: timeMs + (accuracyMs ?? 0),
    authority: certificate.name,
    policy,
    serial: toHex(info.serial),
    imprint,
    path,
  };
}

function grantedToken({ status, text, failures, token }: TimestampResponse): TimestampToken {
  if (token !== undefined) return token;
  const why = [...failures, ...(text === '' ? [] : [shown(text, 200)])].join(', ');
  throw unverified(WHAT, `not granted, but ${status}${why === '' ? '' : `: ${why}`}`);
}

function checkInfo(info: TimestampInfo, given: TimestampToCheck): void {
  const { nonce, fromMs = -Infinity, untilMs = Infinity, accuracyMaxMs = Infinity } = given;
  // No two of the hashes have digests of one length.
  const { digest } =
    'message' in given ? imprintOf(given.message, info.imprint.hash) : given.imprint;
  if (!equalBytes(digest, info.imprint.digest)) {
    throw unverified(WHAT, 'it is of something else: the imprint differs');
  }
  if (nonce !== undefined && (info.nonce === undefined || !equalBytes(nonce, info.nonce))) {
    throw unverified(WHAT, 'it answers another query: the nonce differs');
  }
  if (info.timeMs < fromMs || info.timeMs > untilMs) {
    const [from, until] = [fromMs, untilMs].map((ms) => (Number.isFinite(ms) ? isoOf(ms) : 'ever'));
    throw unverified(WHAT, `its time ${isoOf(info.timeMs)} is not from ${from} to ${until}`);
  }
  if (info.accuracyMs !== undefined && info.accuracyMs > accuracyMaxMs) {
    throw unverified(
      WHAT,
      `it may be off by ${info.accuracyMs} ms where at most ${accuracyMaxMs} are allowed`,
    );
  }
}

/** The path by the first authority that vouches for it; what the last one holds against it, if none does. */
function pathOf(
  { certificate, named }: Signer,
  embedded: readonly Certificate[],
  authorities: readonly TimestampAuthority[],
  timeMs: number,
): readonly Certificate[] {
  const signatures = new CertificateSignatures();
  let refusal: SteleError = new NoTrust(WHAT, 'no authority is pinned');
  for (const authority of authorities) {
    try {
      const path = pathBy(authority, certificate, { others: embedded, atMs: timeMs, signatures });
      checkNamed(path, named);
      return path;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      // That somebody else does not know it says less than that somebody who does finds it wrong.
      if (refusal instanceof NoTrust) refusal = error;
    }
  }
  throw refusal;
}

function pathBy(
  { pinned, others, signer, fromMs = -Infinity, untilMs = Infinity }: TimestampAuthority,
  certificate: Certificate,
  given: Omit<PathOptions, 'pinned'>,
): readonly Certificate[] {
  if (signer !== undefined && !equalBytes(signer.der, certificate.der)) {
    throw new NoTrust(WHAT, `signed by ${certificate.name}, and another certificate is pinned`);
  }
  const path = checkPath(certificate, { ...given, pinned, others: [...others, ...given.others] });
  if (given.atMs < fromMs || given.atMs > untilMs) {
    const time = isoOf(given.atMs);
    throw unverified(WHAT, `its time ${time} is outside of when ${certificate.name} is believed`);
  }
  return path;
}

/** Where the signer names more than its own certificate, the path has no others [RFC 5035 §4]. */
function checkNamed(path: readonly Certificate[], named: Signer['named']): void {
  if (named.length < 2) return;
  for (const certificate of path.slice(1, -1)) {
    if (!named.some((id) => isNamed(certificate, id))) {
      throw unverified(WHAT, `${certificate.name} is on the path, and the signer does not name it`);
    }
  }
}

/** "2026-11-21T03:25:22.000Z (± 1 s) by CN=TSA,O=Example": for people. */
export function describeTimestamp({ timeMs, accuracyMs, authority }: Timestamp): string {
  const seconds = accuracyMs === undefined ? '' : ` (± ${accuracyMs / 1_000} s)`;
  return `${isoOf(timeMs)}${seconds} by ${authority}`;
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
