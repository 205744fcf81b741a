/**
 * Does this certificate lead to one that is pinned, and was it good for time stamps at that moment?
 *
 *     signer ──signed by──▶ authority ──signed by──▶ … ──signed by──▶ pinned
 *
 * A pinned certificate is believed as it stands, and a path ends at the first. What lies between may come
 * from a stranger: it counts for nothing but its place in a path.
 *
 *     every one       valid at the moment that is stamped; no critical extension that is unknown here
 *     the signer      extended key usage critical, and time stamping alone; key usage, if any, to sign
 *     the others      an authority that may sign certificates, not too far up, and not for other purposes only
 *
 * Revocation is not asked: that would need the network, and the word of a moment that is gone. Who learns
 * that an authority's key is lost takes it out of the trust file.
 *
 * [RFC 5280 §6] paths. [RFC 3161 §2.3] the signer.
 */
import { equalBytes } from '../bytes.ts';
import { invariant, NoTrust, SteleError, unverified } from '../errors.ts';
import { checkSignatureBy, schemeOf } from './algorithms.ts';
import { type Certificate, KEY_USAGE } from './certificate.ts';

const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
const ANY_PURPOSE = '2.5.29.37.0';

const WHAT = 'certificate path';

/** Certificates on a path: an authority's have three, some have a cross-signed root behind them. */
const PATH_MAX = 8;

/** Signatures that are checked for one time stamp, so that made-up certificates cannot cost more. */
const CHECKS_MAX = 64;

export interface PathOptions {
  readonly pinned: readonly Certificate[];
  /** What may lie between. */
  readonly others: readonly Certificate[];
  /** The moment that is stamped. */
  readonly atMs: number;
  /** Shared by all searches for one time stamp. */
  readonly signatures: CertificateSignatures;
}

/**
 * The path from `signer` to a pinned certificate. Throws `NoTrust` where there is none at all, and
 * `unverified` where what there is was not good at that moment.
 */
export function checkPath(signer: Certificate, options: PathOptions): readonly Certificate[] {
  const { atMs, signatures } = options;
  const search = new Search(options);
  const good = search.from(signer, (certificate, path) => flawOf(certificate, path, atMs));
  if (good !== undefined) return good;
  const { flaw } = search;
  // Once more, and this time whatever leads there: is it wrong, or only somebody else's?
  if (search.from(signer, () => undefined) !== undefined) {
    invariant(flaw !== undefined, 'only a flaw keeps from going a path that there is');
    throw unverified(WHAT, flaw);
  }
  const why = flaw ?? signatures.mismatch;
  const seen = why === undefined ? '' : `; ${why}`;
  throw new NoTrust(WHAT, `"${signer.name}" does not lead to a pinned certificate${seen}`);
}

/** What is wrong with a certificate where it would go on a path; the signer is the first on it. */
type Judge = (certificate: Certificate, path: readonly Certificate[]) => string | undefined;

/** Which certificate is signed by which: each pair is checked once. */
export class CertificateSignatures {
  readonly #known = new Map<Certificate, Map<Certificate, boolean>>();
  #checks = 0;
  /** What the first one said that did not fit. */
  mismatch: string | undefined;

  isBy(certificate: Certificate, issuer: Certificate): boolean {
    const ofOne = this.#known.get(certificate) ?? new Map<Certificate, boolean>();
    this.#known.set(certificate, ofOne);
    const known = ofOne.get(issuer) ?? this.#check(certificate, issuer);
    ofOne.set(issuer, known);
    return known;
  }

  #check({ algorithm, name, tbs, signature }: Certificate, { spki }: Certificate): boolean {
    if (++this.#checks > CHECKS_MAX) {
      throw unverified(WHAT, `more than ${CHECKS_MAX} signatures would have to be checked`);
    }
    try {
      checkSignatureBy(spki, schemeOf(algorithm, `signature of "${name}"`), tbs, signature);
      return true;
    } catch (error) {
      if (!(error instanceof SteleError)) throw error;
      this.mismatch ??= error.message;
      return false;
    }
  }
}

class Search {
  readonly #pinned: readonly Certificate[];
  readonly #pool: readonly Certificate[];
  readonly #signatures: CertificateSignatures;
  /** The first thing that was wrong with a certificate. */
  flaw: string | undefined;

  constructor({ pinned, others, signatures }: PathOptions) {
    this.#pinned = pinned;
    this.#pool = [...pinned, ...others];
    this.#signatures = signatures;
  }

  /** The shortest path on which nothing is wrong. Every certificate is come to at most once. */
  from(signer: Certificate, judge: Judge): readonly Certificate[] | undefined {
    if (this.#isFlawed(signer, [], judge)) return undefined;
    const seen: Certificate[] = [signer];
    const open: (readonly Certificate[])[] = [[signer]];
    for (let path = open.shift(); path !== undefined; path = open.shift()) {
      const last = path.at(-1) as Certificate;
      if (this.#pinned.some((pin) => isSame(pin, last))) return path;
      if (path.length === PATH_MAX) continue;
      for (const issuer of this.#pool) {
        if (seen.some((known) => isSame(known, issuer))) continue;
        if (!equalBytes(issuer.subject, last.issuer)) continue;
        if (this.#isFlawed(issuer, path, judge) || !this.#signatures.isBy(last, issuer)) continue;
        seen.push(issuer);
        open.push([...path, issuer]);
      }
    }
    return undefined;
  }

  #isFlawed(certificate: Certificate, path: readonly Certificate[], judge: Judge): boolean {
    const flaw = judge(certificate, path);
    if (flaw !== undefined) this.flaw ??= `"${certificate.name}": ${flaw}`;
    return flaw !== undefined;
  }
}

function flawOf(
  { notBeforeMs, notAfterMs, uses }: Certificate,
  path: readonly Certificate[],
  atMs: number,
): string | undefined {
  const [critical] = uses.unknown;
  if (atMs < notBeforeMs) return `valid from ${isoOf(notBeforeMs)}, after the time stamp`;
  if (atMs > notAfterMs) return `valid until ${isoOf(notAfterMs)}, before the time stamp`;
  if (critical !== undefined) return `critical extension ${critical} is not known`;
  return path.length === 0 ? flawOfSigner(uses) : flawOfAuthority(uses, path);
}

/** SPEC: "only one instance of the extended key usage field … id-kp-timeStamping … MUST be critical". */
function flawOfSigner({ extended, keyUsage }: Certificate['uses']): string | undefined {
  if (extended === undefined) return 'no extended key usage where time stamping is needed';
  const { isCritical, purposes } = extended;
  if (purposes.length !== 1 || purposes[0] !== TIME_STAMPING) {
    return `extended key usage ${purposes.join(', ')} where time stamping alone is needed`;
  }
  if (!isCritical) return 'its extended key usage is not critical';
  const { digitalSignature, contentCommitment } = KEY_USAGE;
  const allowed = digitalSignature | contentCommitment;
  if (keyUsage !== undefined && (keyUsage === 0 || (keyUsage & ~allowed) !== 0)) {
    return 'its key usage is not signatures alone';
  }
  return undefined;
}

function flawOfAuthority(
  { isAuthority, keyUsage, pathLengthMax, extended }: Certificate['uses'],
  path: readonly Certificate[],
): string | undefined {
  if (!isAuthority) return 'it is no authority, and another is signed by it';
  if (keyUsage !== undefined && (keyUsage & KEY_USAGE.keyCertSign) === 0) {
    return 'its key usage does not have certificates';
  }
  // Those that bear their issuer's name are not counted [RFC 5280 §4.2.1.9].
  const below = path.slice(1).filter(({ subject, issuer }) => !equalBytes(subject, issuer));
  if (pathLengthMax !== undefined && below.length > pathLengthMax) {
    return `${below.length} authorities below it where ${pathLengthMax} are allowed`;
  }
  const { purposes = [TIME_STAMPING] } = extended ?? {};
  if (!purposes.includes(TIME_STAMPING) && !purposes.includes(ANY_PURPOSE)) {
    return `extended key usage ${purposes.join(', ')}, without time stamping`;
  }
  return undefined;
}

function isSame(a: Certificate, b: Certificate): boolean {
  return a === b || equalBytes(a.der, b.der);
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString();
}
