/**
 * What did a commitment commit to?
 *
 *     disclosure  base64url of the UTF-8 of [salt, name, value], in JCS
 *     digest      base64url of SHA-256 of the disclosure's ASCII
 *
 * The record holds `name → digest`; the disclosure is kept outside the tree and can be erased. The salt
 * is 16 random bytes, new for every field of every record: without it, whoever guesses a name or a
 * short prompt could test the guess against the digest. A disclosure has one spelling, so that it can
 * be made again from its parts.
 *
 * [RFC 9901 §4.2] the form is that of an SD-JWT Disclosure.
 */
import { parseBase64url, sha256, toBase64url, utf8 } from './bytes.ts';
import { canonicalize, parseCanonical } from './canonical.ts';
import { malformed, SteleError } from './errors.ts';
import type { Json } from './json.ts';
import { DISCLOSURE_BYTES_MAX } from './limits.ts';
import { base64url, int, object, text } from './schema.ts';
import { HASH_BYTES } from './units.ts';

export const SALT_BYTES = 16;

export interface Disclosure {
  /** Base64url, as it stands in the disclosure. */
  readonly salt: string;
  readonly name: string;
  readonly value: Json;
  /** What the record holds, base64url. */
  readonly digest: string;
}

/** What is disclosed of a body: enough to check its bytes, which travel beside it. */
export interface BodyValue {
  /** On the wire, after transfer decoding and before content decoding. */
  readonly bytes: number;
  readonly media_type: string;
  readonly content_encoding?: string;
  /** Base64url. */
  readonly sha256: string;
}

/** The disclosure of a value, and the digest for the record. `salt` is 16 bytes from a CSPRNG. */
export function makeDisclosure(
  name: string,
  value: Json,
  salt: Uint8Array,
): { readonly disclosure: string; readonly digest: string } {
  if (salt.length !== SALT_BYTES) {
    throw malformed('disclosure', `a salt of ${salt.length} bytes where it has ${SALT_BYTES}`);
  }
  const disclosure = toBase64url(utf8(canonicalize([toBase64url(salt), name, value])));
  // What is committed to must be readable later: a number beyond 2^53 − 1, say, would not be.
  return { disclosure, digest: parseDisclosure(disclosure).digest };
}

/** Reads a disclosure from a stranger's text; throws `malformed`, or `too_large`. */
export function parseDisclosure(disclosure: string): Disclosure {
  const what = 'disclosure';
  checkLength(disclosure);
  const bytes = parseBase64url(disclosure, what);
  const parts = parseCanonical(bytes, what);
  if (!Array.isArray(parts) || parts.length !== 3) {
    throw malformed(what, 'not a list of salt, name and value');
  }
  const [salt, name, value] = parts as [Json, Json, Json];
  if (typeof salt !== 'string' || parseBase64url(salt, `${what}: salt`).length !== SALT_BYTES) {
    throw malformed(what, `the salt is not ${SALT_BYTES} bytes in base64url`);
  }
  if (typeof name !== 'string') throw malformed(what, 'the name is not text');
  return { salt, name, value, digest: digestOf(disclosure) };
}

const BODY_VALUE = object(
  { bytes: int(), media_type: text(1_024), sha256: base64url(HASH_BYTES, true) },
  { content_encoding: text(1_024) },
);

/** The disclosed value as that of a body; nothing if it is any other value. */
export function bodyValueOf(value: Json): BodyValue | undefined {
  return BODY_VALUE.flaw(value) === undefined ? (value as unknown as BodyValue) : undefined;
}

function digestOf(disclosure: string): string {
  return toBase64url(sha256(utf8(disclosure)));
}

function checkLength(disclosure: string): void {
  if (disclosure.length > DISCLOSURE_BYTES_MAX) {
    throw new SteleError(
      'too_large',
      `disclosure: ${disclosure.length} characters where at most ${DISCLOSURE_BYTES_MAX} are allowed`,
    );
  }
}
