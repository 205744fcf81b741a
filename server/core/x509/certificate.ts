/**
 * What does this certificate say, and what may it be used for?
 *
 *     Certificate  tbs { version? serial algorithm issuer validity subject key extensions? }  algorithm  signature
 *                  └──────────────────────── signed by the issuer ──────────────────────┘
 *
 * Only the form is judged here, since whole certificates come along that nobody needs. Whether one leads to
 * a pinned one is for `path.ts`, and whether its key and signature are of a kind that counts for
 * `algorithms.ts`. (`core/certificate.ts` asks less: a gateway's key is taken out of whatever holds it.)
 *
 * [RFC 5280 §4]
 */
import { equalBytes } from '../bytes.ts';
import { DerReader, oidText } from '../der.ts';
import { readTime } from '../der-time.ts';
import { malformed } from '../errors.ts';
import { nameText } from './name.ts';

export interface Certificate {
  readonly der: Uint8Array;
  /** What the issuer signed. */
  readonly tbs: Uint8Array;
  /** The content of its INTEGER. Some are negative, and nothing forbids it. */
  readonly serial: Uint8Array;
  /** Names, as elements: two are the same if their bytes are. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** The subject for people, as `nameText` has it. */
  readonly name: string;
  /** Milliseconds since 1970, both included. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly spki: Uint8Array;
  /** AlgorithmIdentifier, as an element. */
  readonly algorithm: Uint8Array;
  readonly signature: Uint8Array;
  readonly uses: Uses;
}

/** What the extensions say. */
export interface Uses {
  readonly isAuthority: boolean;
  /** How many authorities may stand between it and the last certificate. */
  readonly pathLengthMax?: number;
  /** Bits of `KEY_USAGE`. */
  readonly keyUsage?: number;
  /** Purposes, as object identifiers. */
  readonly extended?: { readonly isCritical: boolean; readonly purposes: readonly string[] };
  /** Critical extensions that are not known here: whoever meets one has to refuse. */
  readonly unknown: readonly string[];
}

export const KEY_USAGE = { digitalSignature: 0x80, contentCommitment: 0x40, keyCertSign: 0x04 };

const WHAT = 'certificate';

/** Bytes of one certificate: those of authorities have two thousand. */
export const CERTIFICATE_BYTES_MAX = 16_384;

/** Far beyond what certificates have; reading one stays a matter of microseconds. */
const EXTENSIONS_MAX = 64;
const PURPOSES_MAX = 32;

/** Reads a certificate from a stranger's DER; throws `malformed`. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > CERTIFICATE_BYTES_MAX) {
    throw malformed(WHAT, `${der.length} bytes where at most ${CERTIFICATE_BYTES_MAX} are allowed`);
  }
  const outer = new DerReader(der, WHAT);
  const certificate = outer.inside('sequence');
  outer.end();
  const tbs = certificate.element('sequence');
  const algorithm = certificate.element('sequence');
  const signature = readBits(certificate, 'signature');
  certificate.end();
  return { der, tbs, algorithm, signature, ...readSigned(tbs, algorithm) };
}

function readSigned(element: Uint8Array, outerAlgorithm: Uint8Array) {
  const tbs = new DerReader(element, WHAT).inside('sequence');
  const version = readVersion(tbs);
  const serial = tbs.integer();
  // SPEC: "This field MUST contain the same algorithm identifier" [RFC 5280 §4.1.1.2].
  if (!equalBytes(tbs.element('sequence'), outerAlgorithm)) {
    throw malformed(WHAT, 'it names one algorithm inside and another outside');
  }
  const issuer = tbs.element('sequence');
  const validity = tbs.inside('sequence');
  const notBeforeMs = readTime(validity, WHAT);
  const notAfterMs = readTime(validity, WHAT);
  validity.end();
  const subject = tbs.element('sequence');
  const spki = tbs.element('sequence');
  const hasExtensions = tbs.isNext('context3');
  if (hasExtensions && version !== 3) {
    throw malformed(WHAT, `it has extensions, and is of version ${version}`);
  }
  const uses = hasExtensions ? readExtensions(tbs) : { isAuthority: false, unknown: [] };
  tbs.end();
  const name = nameText(subject, WHAT);
  return { serial, issuer, notBeforeMs, notAfterMs, subject, name, spki, uses };
}

/** 1, 2 or 3; the first is not written. */
function readVersion(tbs: DerReader): number {
  if (!tbs.isNext('context0')) return 1;
  const explicit = tbs.inside('context0');
  const version = 1 + explicit.number(2);
  explicit.end();
  return version;
}

/** The bytes of a BIT STRING that has whole ones. */
function readBits(reader: DerReader, name: string): Uint8Array {
  const content = reader.content('bitString');
  if (content[0] !== 0) throw malformed(WHAT, `${name}: ${content[0] ?? 'no'} unused bits`);
  return content.subarray(1);
}

function readExtensions(tbs: DerReader): Uses {
  const explicit = tbs.inside('context3');
  const list = explicit.inside('sequence');
  explicit.end();
  const seen = new Set<string>();
  const unknown: string[] = [];
  let uses: Omit<Uses, 'unknown'> = { isAuthority: false };
  while (!list.isAtEnd) {
    const extension = list.inside('sequence');
    const oid = oidText(extension.content('oid'), WHAT);
    const isCritical = extension.isNext('boolean') && extension.boolean();
    const value = new DerReader(extension.content('octetString'), WHAT);
    extension.end();
    // SPEC: "A certificate MUST NOT include more than one instance" [RFC 5280 §4.2].
    if (seen.has(oid)) throw malformed(WHAT, `extension ${oid} is there twice`);
    if (seen.add(oid).size > EXTENSIONS_MAX) {
      throw malformed(WHAT, `more than ${EXTENSIONS_MAX} extensions`);
    }
    const known = KNOWN[oid];
    if (known !== undefined) uses = { ...uses, ...known(value, isCritical) };
    else if (isCritical) unknown.push(oid);
  }
  return { ...uses, unknown };
}

const KNOWN: {
  readonly [oid: string]: (value: DerReader, isCritical: boolean) => Partial<Uses>;
} = {
  '2.5.29.19': readBasicConstraints,
  '2.5.29.15': readKeyUsage,
  '2.5.29.37': readExtendedKeyUsage,
  // Policies bind where somebody asks for one, and nobody does here.
  '2.5.29.32': () => ({}),
};

function readBasicConstraints(value: DerReader): Partial<Uses> {
  const constraints = value.inside('sequence');
  value.end();
  const isAuthority = constraints.isNext('boolean') && constraints.boolean();
  const pathLengthMax = constraints.isAtEnd ? undefined : constraints.number(255);
  constraints.end();
  return pathLengthMax === undefined ? { isAuthority } : { isAuthority, pathLengthMax };
}

function readKeyUsage(value: DerReader): Partial<Uses> {
  const [unused = 8, first = 0, ...rest] = value.content('bitString');
  value.end();
  // Nine bits have a meaning: the ninth, decipherOnly, is in a byte of its own and of no use here.
  const last = rest[0] ?? first;
  if (unused > 7 || rest.length > 1 || last % 2 ** unused !== 0) {
    throw malformed(WHAT, 'key usage: not a string of at most nine bits');
  }
  return { keyUsage: first };
}

function readExtendedKeyUsage(value: DerReader, isCritical: boolean): Partial<Uses> {
  const list = value.inside('sequence');
  value.end();
  const purposes: string[] = [];
  while (!list.isAtEnd) {
    if (purposes.push(oidText(list.content('oid'), WHAT)) > PURPOSES_MAX) {
      throw malformed(WHAT, `more than ${PURPOSES_MAX} purposes`);
    }
  }
  return { extended: { isCritical, purposes } };
}
