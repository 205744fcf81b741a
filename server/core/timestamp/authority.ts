/**
 * Whose time stamps does a reader believe?
 *
 *     tsa_roots of a trust file      PEM: each certificate in it is pinned, the signer's own or one above it
 *     Sigstore's trusted_root.json   a chain, the signer's first, and from when to when it is believed
 *
 * [RFC 7468] PEM: text outside of the blocks is explanation and is not read.
 */
import { parseBase64 } from '../bytes.ts';
import { invariant, malformed, SteleError } from '../errors.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';

export interface TimestampAuthority {
  /** Believed as they stand. */
  readonly pinned: readonly Certificate[];
  /** Known to lead to them, and not believed by themselves. */
  readonly others: readonly Certificate[];
  /** Who alone may sign, where that is known. */
  readonly signer?: Certificate;
  /** The times that it is believed at, both included, in milliseconds since 1970. */
  readonly fromMs?: number;
  readonly untilMs?: number;
}

const CERTIFICATES_MAX = 64;

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*)-----END \1-----/g;

/** Reads the certificates in one PEM text; throws `malformed`, with `what` for the place. */
export function parseTsaRoots(pem: string, what: string): TimestampAuthority {
  if (pem.includes('PRIVATE KEY')) {
    throw malformed(what, 'it has a private key in it: only certificates belong here');
  }
  const blocks = [...pem.matchAll(BLOCK)];
  if (blocks.length === 0 || pem.split('-----BEGIN ').length - 1 !== blocks.length) {
    throw malformed(what, 'not certificates in PEM, each from its BEGIN to its END');
  }
  if (blocks.length > CERTIFICATES_MAX) {
    throw malformed(what, `${blocks.length} certificates where at most ${CERTIFICATES_MAX} may be`);
  }
  const pinned = blocks.map(([, label, body = '']) => {
    if (label !== 'CERTIFICATE') throw malformed(what, `a ${label} where certificates are needed`);
    const der = derOf(body.replace(/\s/g, ''), what);
    return placed(what, () => parseCertificate(der));
  });
  return { pinned, others: [] };
}

/**
 * The authority of a chain in DER, the signer's certificate first and the root last. Where the first may
 * sign certificates it is not the signer's, and whoever leads to the root may sign.
 */
export function authorityOfChain(
  chain: readonly Uint8Array[],
  period: { readonly fromMs?: number; readonly untilMs?: number },
  what: string,
): TimestampAuthority {
  if (chain.length === 0 || chain.length > CERTIFICATES_MAX) {
    throw malformed(what, `${chain.length} certificates where 1 to ${CERTIFICATES_MAX} may be`);
  }
  const certificates = chain.map((der) => placed(what, () => parseCertificate(der)));
  const [first] = certificates;
  const root = certificates.at(-1);
  invariant(
    first !== undefined && root !== undefined,
    'a chain has a first and a last certificate',
  );
  return {
    pinned: [root],
    others: certificates.slice(0, -1),
    ...(first.uses.isAuthority ? {} : { signer: first }),
    ...period,
  };
}

/** Every certificate that the authorities know. */
export function certificatesOf(authorities: readonly TimestampAuthority[]): Certificate[] {
  return authorities.flatMap(({ pinned, others }) => [...pinned, ...others]);
}

/** Without quoting: it may not be what its label says (P10). */
function derOf(text: string, what: string): Uint8Array {
  try {
    return parseBase64(text, what);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    throw malformed(what, `${text.length} characters that are not canonical base64`);
  }
}

function placed<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    throw malformed(what, error.message, { cause: error });
  }
}
