/**
 * Which public key did somebody give us, in whatever form they have it?
 *
 *     -----BEGIN PUBLIC KEY-----     SubjectPublicKeyInfo in PEM, as openssl prints it      spki.ts
 *     -----BEGIN CERTIFICATE-----    an X.509 certificate in PEM: its key, its validity     certificate.ts
 *     {"kty": "OKP", …}              a JSON Web Key                                         jwk.ts
 *     MCowBQYDK2VwAyEA…              the DER of the first, in base64
 *
 * The text comes from people who paste, so what is no public key may be a private one: no error here has
 * anything of a text whose form is not known (P10).
 *
 * [RFC 7468] PEM: text outside of the block is explanation and is not read.
 */
import { parseBase64, utf8 } from './bytes.ts';
import { readCertificate } from './certificate.ts';
import { malformed, SteleError, shown } from './errors.ts';
import { parseJson } from './json.ts';
import { parseJwk } from './jwk.ts';
import { type PublicKey, parsePublicKey } from './keys.ts';
import { algorithmOfSpki } from './spki.ts';

export interface GivenKey {
  readonly key: PublicKey;
  readonly form: 'pem' | 'certificate' | 'jwk' | 'der';
  /** What a certificate says of its own period: milliseconds since 1970, both included. */
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

/** Characters of a key in any form: a certificate with many names has some ten thousand. */
export const KEY_TEXT_MAX = 32_768;

const WHAT = 'public key';

const FORMS = 'give a public key or a certificate in PEM, a JWK, or the DER of the key in base64';

/** Reads a key from a stranger's text; throws `malformed`, or `too_large`. */
export function parseKeyText(text: string): GivenKey {
  if (text.length > KEY_TEXT_MAX) {
    throw new SteleError(
      'too_large',
      `${WHAT}: ${text.length} characters where at most ${KEY_TEXT_MAX} are allowed`,
    );
  }
  const trimmed = text.trim();
  // Before anything else: what follows may quote what it read.
  if (/PRIVATE KEY/.test(trimmed)) {
    throw malformed(
      WHAT,
      'it is a private key: take it for known to others, and give the public half of a new one',
    );
  }
  if (trimmed.startsWith('{')) {
    return { form: 'jwk', key: parseJwk(parseJson(utf8(trimmed), 'jwk')) };
  }
  if (trimmed.includes('-----BEGIN ')) return parsePem(trimmed);
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(trimmed)) throw malformed(WHAT, `in no form known: ${FORMS}`);
  return { form: 'der', key: keyOf(base64Of(trimmed)) };
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*)-----END \1-----/g;

function parsePem(text: string): GivenKey {
  const begins = text.split('-----BEGIN ').length - 1;
  const [block, ...others] = [...text.matchAll(BLOCK)];
  if (block === undefined) throw malformed(WHAT, 'its PEM has no end, or no base64 in it');
  if (others.length > 0 || begins > 1) {
    throw malformed(
      WHAT,
      `${begins} blocks of PEM where one is needed: the key's, or its own certificate`,
    );
  }
  const [, label = '', body = ''] = block;
  const der = base64Of(body.replace(/\s/g, ''));
  switch (label) {
    case 'PUBLIC KEY':
      return { form: 'pem', key: keyOf(der) };
    case 'CERTIFICATE': {
      const { spki, notBeforeMs, notAfterMs } = readCertificate(der);
      const period = notAfterMs === undefined ? { notBeforeMs } : { notBeforeMs, notAfterMs };
      return { form: 'certificate', key: keyOf(spki), ...period };
    }
    case 'RSA PUBLIC KEY':
      throw malformed(WHAT, 'PKCS#1: "openssl rsa -RSAPublicKey_in -pubout" prints what is taken');
    default:
      throw malformed(WHAT, `PEM of a ${shown(label)}: ${FORMS}`);
  }
}

function keyOf(spki: Uint8Array): PublicKey {
  return parsePublicKey(algorithmOfSpki(spki), spki);
}

/** Strict, and without quoting: it may not be what its label says. */
function base64Of(text: string): Uint8Array {
  try {
    return parseBase64(text, WHAT);
  } catch (error) {
    if (!(error instanceof SteleError)) throw error;
    throw malformed(WHAT, `${text.length} characters that are not canonical base64`);
  }
}
